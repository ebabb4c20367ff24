#!/bin/sh
# [MPIRUN=mpirun.mpich] mpi.sh BUILD [ROUNDS]: cm-train under mpirun: the bytes of one process, faults that name rank and phase, checkpoints that are
# whole.  ROUNDS: kills at random moments, half of each rank (1).
build=$(realpath "$1") rounds=${2:-1}
cd "$(dirname "$0")/.." || exit 1
skip() { echo "mpi: not run, $1" | tee -a "${CHECK_SKIPS:-/dev/null}"; exit 0; }
[ -f "$build/lib/libconsistency-mpi.so" ] || skip "there is no plugin: mpi-default-dev is absent"
MPIRUN=${MPIRUN:-mpirun}
$MPIRUN --version >/dev/null 2>&1 || skip "there is no mpirun"
dir=$(mktemp -d /tmp/cm-mpi-XXXXXX)
trap 'rm -rf "$dir"' EXIT
status=0 done=0
fail() { echo "FAIL mpi: $1"; cat "$dir/out" 2>/dev/null; status=1; }
if $MPIRUN --version | grep -q "Open MPI"; then run="$MPIRUN --oversubscribe --bind-to none"; [ "$(id -u)" = 0 ] && run="$run --allow-run-as-root"
else run=$MPIRUN; fi
python3 - "$dir" <<'END'
import os, random, struct, sys
random.seed(1)
os.mkdir(sys.argv[1] + "/set")
open(sys.argv[1] + "/set/train-images-idx3-ubyte", "wb").write(struct.pack(">IIII", 2051, 64, 28, 28) + bytes(random.randrange(256) for _ in range(64 * 784)))
open(sys.argv[1] + "/set/train-labels-idx1-ubyte", "wb").write(struct.pack(">II", 2049, 64) + bytes(i % 10 for i in range(64)))
END
cat > $dir/network.json <<'END'
{"network": {"type": "songunet", "img_resolution": 32, "img_channels": 1, "label_dim": 10, "model_channels": 8, "channel_mult": [1, 2], "num_blocks": 1,
 "attn_resolutions": [16]}, "precond": {"type": "edm"}, "image": {"channels": 1, "height": 32, "width": 32, "labels": 10}}
END
t="$build/bin/cm-train --data $dir/set --network $dir/network.json --batch 16 --set micro_shards=4 --sample-every 0 --no-estimate -q"
same() { for f in model ema-warmup-0.9999 optimizer; do cmp -s "$1/$f.safetensors" "$2/$f.safetensors" || return 1; done; }
last() { echo "$1/checkpoints/$(cat "$1/checkpoints/LATEST")"; }

# The bytes of one process, of 2 and of 4; and of a run that 4 processes go on with.
$t --steps 12 --out $dir/one || fail "one process"
for n in 2 4; do
    timeout 120 $run -n $n $t --steps 12 --out $dir/r$n >$dir/out 2>&1 || fail "$n processes"
    [ -f $dir/r$n/checkpoints/LATEST ] || { cat $dir/out; echo "FAIL mpi: nothing works"; exit 1; }
    same $(last $dir/one) $(last $dir/r$n) && done=$((done + 1)) || fail "$n processes write other bytes than one"
done
timeout 120 $run -n 2 $t --steps 7 --out $dir/part >$dir/out 2>&1 || fail "the first part of a run"
timeout 120 $run -n 4 $t --steps 12 --resume --out $dir/part >$dir/out 2>&1 || fail "its second part"
$t --steps 12 --resume --out $dir/part >$dir/out 2>&1 || fail "a run that is finished"
[ "$(cat $dir/part/checkpoints/LATEST)" = step-000000012 ] || fail "a run of two parts ends at $(cat $dir/part/checkpoints/LATEST)"
same $(last $dir/one) $(last $dir/part) && done=$((done + 1)) || fail "a run of two parts writes other bytes than one"

# Moments and averages split among the ranks: the same weights and pages of their average, files of each rank, and one process that goes on from them.
timeout 120 $run -n 4 $t --set split_state=1 --steps 7 --out $dir/split >$dir/out 2>&1 || fail "a run that is split"
[ -f $(last $dir/split)/part-0003-of-0004.safetensors ] && [ ! -f $(last $dir/split)/optimizer.safetensors ] || fail "a run that is split has no files of its ranks"
timeout 120 $run -n 2 $t --steps 9 --resume --allow-changes --out $dir/split >$dir/out 2>&1 || fail "two ranks go on from the files of four"
$t --steps 12 --resume --allow-changes --set split_state=0 --out $dir/split >$dir/out 2>&1 || fail "one process goes on from the files of two"
same $(last $dir/one) $(last $dir/split) && cmp $dir/one/model.safetensors $dir/split/model.safetensors && done=$((done + 1)) || fail "a run that was split writes other bytes than one"

# Without a launcher.
$t --steps 2 --mpi --out $dir/alone >$dir/out 2>&1 || fail "--mpi without mpirun"
grep -q "one process: it was not started by mpirun or srun" $dir/out || fail "--mpi without mpirun does not say so"

# Where the ranks run is printed, and with --log-ranks what each of them has to say.
timeout 60 $run -n 2 ${t% -q} --threads 1 --steps 2 --log-ranks --out $dir/logged >$dir/out 2>&1 || fail "--log-ranks"
grep -q "^ranks 0-1: .*, processors [0-9,-]*, 1 thread each" $dir/out && grep -q "^rank 1: step 2 of 2" $dir/out && grep -q "^rank 0: step 2 of 2" $dir/out &&
    done=$((done + 1)) || fail "two ranks do not say where they run"
timeout 60 $run -n 2 $build/bin/cm-train --preset auto --budget 1min --data $dir/set --out $dir/auto >$dir/out 2>&1 && fail "--preset auto of two processes"
grep -q "auto is of one process, and there are 2" $dir/out && [ ! -e $dir/auto ] && done=$((done + 1)) || fail "--preset auto of two processes is not refused"
$t --steps 2 --log-ranks --out $dir/nobody 2>$dir/out && fail "--log-ranks of one process"

# Ranks that differ are refused by name.
refused() { # WORDS, then the two commands
    words=$1; shift
    timeout 60 $run -n 1 $1 : -n 1 $2 >$dir/out 2>&1 && fail "ranks that differ are taken: $words"
    grep -q "$words" $dir/out && done=$((done + 1)) || fail "no '$words'"
}
refused "rank 1 of 2 has other options than rank 0: lr was 0.001, is 0.002" "$t --steps 4 --out $dir/x1" "$t --steps 4 --out $dir/x1 --set lr=0.002"
refused "rank 1 of 2 has other options than rank 0: hash of the weights" "$t --steps 4 --init $(last $dir/one)/model.safetensors --network given --out $dir/x2" \
    "$t --steps 4 --init $(last $dir/r2)/ema-warmup-0.9999.safetensors --network given --out $dir/x2"
cp -r $dir/set $dir/other
printf '\0\0\10\3\0\0\0\74' | dd of=$dir/other/train-images-idx3-ubyte conv=notrunc 2>/dev/null
printf '\0\0\10\1\0\0\0\74' | dd of=$dir/other/train-labels-idx1-ubyte conv=notrunc 2>/dev/null
truncate -s $((16 + 60 * 784)) $dir/other/train-images-idx3-ubyte
truncate -s $((8 + 60)) $dir/other/train-labels-idx1-ubyte
refused "rank 1 of 2 has other data than rank 0: images was 64, is 60" "$t --steps 4 --out $dir/x3" "$(echo "$t" | sed "s|$dir/set|$dir/other|") --steps 4 --out $dir/x3"

# The library of another version: the number in a copy of it is changed.
mkdir $dir/newer
python3 - $build/lib/libconsistency.so.0 $dir/newer/libconsistency.so.0 "$($build/bin/cm-info --version | head -1 | cut -d' ' -f2)" <<'END'
import sys
version = sys.argv[3].encode()
old, new = b"\0" + version + b"\0", b"\0" + version[:-1] + b"9\0"
data = open(sys.argv[1], "rb").read()
assert old != new and old in data
open(sys.argv[2], "wb").write(data.replace(old, new))
END
refused "rank 1 of 2 has other options than rank 0: library was" "$t --steps 4 --out $dir/x4" "env LD_LIBRARY_PATH=$dir/newer $t --steps 4 --out $dir/x4"

# Every objective: with micro_shards the bytes of one process; without, and by plain descent, its weights but for the rounding of sums in another order, which is held
# within a rounding of the largest weight, 2^-23 (the long suite takes 20 steps of all).
objectives="cd sct" steps=4
[ $rounds = 0 ] || { objectives="" steps=20; }
$build/tests/mpi_steps none $steps 4 $objectives > $dir/steps1 2>$dir/out && $build/tests/mpi_steps none $steps $dir/weights1 $objectives > $dir/names 2>$dir/out || fail "steps of one process"
for n in 2 4; do
    m="timeout 600 $run -n $n $build/tests/mpi_steps $build/lib/libconsistency-mpi.so $steps"
    $m 4 $objectives > $dir/steps$n 2>$dir/out && $m $dir/weights$n $objectives >/dev/null 2>$dir/out || fail "steps of $n processes"
    cmp $dir/steps1 $dir/steps$n && done=$((done + 1)) || fail "$n processes take other steps than one"
    python3 - $dir/names $dir/weights1 $dir/weights$n >$dir/out 2>&1 <<'END' && done=$((done + 1)) || fail "$n processes learn other weights than one"
import array, sys
a, b = [array.array("f", open(path, "rb").read()) for path in sys.argv[2:]]
at, worst = 0, 0
for line in open(sys.argv[1]):
    name, n = line.split()
    x, y = a[at:at + int(n)], b[at:at + int(n)]
    at += int(n)
    far = max(abs(p - q) for p, q in zip(x, y)) / max(map(abs, x))
    print(name, far)
    assert far < 1.2e-7, (name, far)
assert at == len(a) == len(b) > 0
END
    [ $rounds = 0 ] || cat $dir/out
done
[ "$(wc -l < $dir/steps1)" -ge 2 ] || fail "no steps"

# Samples and metrics: the bytes of one process, in files of rank 0 and of each rank.
model=tests/data/models/digits_consistency.safetensors
s="$build/bin/cm-sample $model -n 42 -l rows --batch 4 -q"
e="$build/bin/cm-eval --metric fd-lenet,kid-lenet,is-lenet,right-lenet --few --json --samples 200 $model $dir/images1"
mkdir $dir/images1 $dir/images2 $dir/images4
$s -o $dir/page1.png && $s -n 600 --npz $dir/all1.npz && $s --images $dir/images1/%03d.png && $e --keep $dir/kept1.npz > $dir/eval1 || fail "samples of one process"
for n in 2 4; do
    { timeout 100 $run -n $n $s -o $dir/page$n.png && timeout 100 $run -n $n $s -n 600 --npz $dir/all$n.npz &&
        timeout 100 $run -n $n $s --images $dir/images$n/%03d.png && timeout 100 $run -n $n $e --keep $dir/kept$n.npz > $dir/eval$n; } 2>$dir/out ||
        fail "samples of $n processes"
    cmp $dir/page1.png $dir/page$n.png && cmp $dir/all1.npz $dir/all$n.npz && diff -r $dir/images1 $dir/images$n && cmp $dir/eval1 $dir/eval$n &&
        cmp $dir/kept1.npz $dir/kept$n.npz && done=$((done + 1)) || fail "samples or metrics of $n processes are not those of one"
done
[ "$(ls $dir/images4 | wc -l)" = 42 ] || fail "not 42 pictures"
refused "rank 1 of 2 does not do what rank 0 does: '--seed: 2' instead of '--seed: 1'" "$s --seed 1 -o $dir/x.png" "$s --seed 2 -o $dir/x.png"

# Python.
cat > $dir/learn.py <<'END'
import sys
import consistency as cm
from consistency import mpi
model = cm.Model.load(sys.argv[1])
options = dict(objective="ect", batch=8, microbatch=2, steps=3, micro_shards=4, seed=1)
images = [[[[(7 * i + 3 * y + 5 * x) % 17 / 8.5 - 1 for x in range(32)] for y in range(32)]] for i in range(8)]
def learn(group):
    trainer = cm.Trainer(model, group=group, **options)
    for k in range(3):
        trainer.step(images, [(i + k) % 10 for i in range(8)])
    if group is None or group.rank == 0:
        trainer.model().save(sys.argv[2])
if sys.argv[3] == "alone":
    learn(None)
else:
    half = None
    if sys.argv[3] == "2 of 4":  # a communicator of mpi4py: of four processes the even and the odd ones
        from mpi4py import MPI
        half, sys.argv[3] = MPI.COMM_WORLD.Split(MPI.COMM_WORLD.rank % 2, MPI.COMM_WORLD.rank), "2"
        sys.argv[2] += ".%d" % (MPI.COMM_WORLD.rank % 2)
    with mpi.Group(seconds=60, communicator=half) as group:
        assert (group.size, group.engine != "") == (int(sys.argv[3]), True), (group.size, group.engine)
        learn(group)
END
py="env CONSISTENCY_LIBRARY=$build/lib/libconsistency.so.0 PYTHONPATH=bindings/python OMP_NUM_THREADS=1 ${PYTHON:-python3} $dir/learn.py $model"
$py $dir/py1.safetensors alone || fail "Python alone"
$py $dir/pym.safetensors 1 2>$dir/out || fail "Python with a group of one"
timeout 100 $run -n 2 $py $dir/py2.safetensors 2 >$dir/out 2>&1 || fail "Python on two ranks"
cmp $dir/py1.safetensors $dir/py2.safetensors && cmp $dir/py1.safetensors $dir/pym.safetensors && done=$((done + 1)) || fail "Python's two ranks learn something else than one"
if ! $MPIRUN --version | grep -q "Open MPI"; then
    : # Debian's mpi4py is of Open MPI
elif ${PYTHON:-python3} -c 'import mpi4py' 2>/dev/null; then
    timeout 100 $run -n 4 $py $dir/py4 "2 of 4" >$dir/out 2>&1 || fail "Python on communicators of mpi4py"
    cmp $dir/py1.safetensors $dir/py4.0 && cmp $dir/py1.safetensors $dir/py4.1 && done=$((done + 1)) || fail "communicators of mpi4py learn something else"
else
    echo "mpi: without a communicator of mpi4py, which is absent" | tee -a "${CHECK_SKIPS:-/dev/null}"
fi

# Ranks of a run that stand still or die: all end, with a message, and the last checkpoint goes on.
rank_pid() { # RUN RANK
    for p in $(pgrep -f "^$build/bin/cm-train.*--out $1( |\$)"); do
        tr '\0' '\n' < /proc/$p/environ 2>/dev/null | grep -qE "^(OMPI_COMM_WORLD_RANK|PMI_RANK)=$2\$" && echo $p
    done
}
begin() { # RUN: two ranks, in the background
    $run -n 2 $t --steps 100000 --checkpoint-every 3 --mpi-timeout 4 --out $1 >$dir/out 2>&1 &
    job=$!
    for i in $(seq 1200); do [ -f $1/checkpoints/LATEST ] && [ "$(cat $1/checkpoints/LATEST)" != step-000000000 ] && return; sleep 0.1; done
    fail "$1 does not begin"
}
ended() { # RUN SECONDS
    for i in $(seq $(($2 * 10))); do kill -0 $job 2>/dev/null || break; sleep 0.1; done
    kill -0 $job 2>/dev/null && { fail "$1 does not end within $2 s"; kill -9 $job $(rank_pid $1 0) $(rank_pid $1 1) 2>/dev/null; }
    wait $job && fail "$1: exit code 0"
    [ -z "$(rank_pid $1 0)$(rank_pid $1 1)" ] || { sleep 1; [ -z "$(rank_pid $1 0)$(rank_pid $1 1)" ] || fail "$1: a rank lives on"; }
    # A rank that is killed before its first checkpoint leaves none, and one that is killed in publishing it no LATEST yet.
    newest=$(cat $1/checkpoints/LATEST 2>/dev/null || ls $1/checkpoints 2>/dev/null | grep '^step-' | tail -1)
    [ -n "$newest" ] || { done=$((done + 1)); return; }
    step=$(echo "$newest" | sed 's/step-0*//')
    $t --resume --steps $((step + 1)) --allow-changes --out $1 >$dir/out2 2>&1 && done=$((done + 1)) || { fail "$1 does not go on"; cat $dir/out2; }
}
# Kills at random moments, from the start of the processes on; a run that was killed before its first checkpoint leaves none.
for round in $(seq $rounds); do
    rank=$((round % 2)) killed=$dir/killed$round often="--checkpoint-every 3"
    # Where both write into each checkpoint, one after every step, most kills fall into the writing.
    [ $((round % 4)) -lt 2 ] || often="--checkpoint-every 1 --set split_state=1"
    $run -n 2 $t --steps 100000 $often --mpi-timeout 4 --out $killed >$dir/out 2>&1 &
    job=$!
    for i in $(seq 100); do [ -n "$(rank_pid $killed $rank)" ] && break; sleep 0.05; done
    sleep "$(awk "BEGIN { srand($round); print 3 * rand() }")"
    kill -9 $(rank_pid $killed $rank) 2>/dev/null || fail "$killed: rank $rank was not there to be killed"
    ended $killed 9
    rm -rf $killed
done
for round in $(seq $(((rounds + 19) / 20))); do
    for rank in 0 1; do
        begin $dir/stopped$round$rank
        stopped=$(rank_pid $dir/stopped$round$rank $rank)
        kill -STOP $stopped
        ended $dir/stopped$round$rank 9
        grep -q "rank $rank is missing (last heard of:" $dir/out || fail "nobody says that rank $rank stands still"
    done
done

# Samples: the others draw what a rank that dies has not drawn, and what they cannot do without is said.
if [ $rounds -gt 0 ] && $MPIRUN --version | grep -q "Open MPI"; then
    s="$build/bin/cm-sample tests/data/models/digits_teacher.safetensors -n 300 -l rows --batch 4 --steps 18 --threads 1 -q"
    $s -o $dir/whole.png || fail "samples of one process"
    for retry in --retry ""; do
        timeout 100 $run --enable-recovery -n 3 $s --mpi-timeout 4 $retry -o $dir/less$retry.png >$dir/out 2>&1 &
        job=$!
        pid=""
        while [ -z "$pid" ] && kill -0 $job 2>/dev/null; do
            sleep 0.3
            for p in $(pgrep -f "^$build/bin/cm-sample.*less$retry.png"); do tr '\0' '\n' < /proc/$p/environ 2>/dev/null | grep -q "^OMPI_COMM_WORLD_RANK=1\$" && pid=$p; done
        done
        sleep 2
        kill -9 $pid || fail "rank 1 was not there to be killed"
        wait $job
        if [ -n "$retry" ]; then
            grep -q "rank 1 of 3 is missing: the others take over" $dir/out && cmp $dir/whole.png $dir/less$retry.png && done=$((done + 1)) || fail "samples after a death"
        else
            grep -q "rank 1 of 3 is missing; --retry lets" $dir/out && [ ! -f $dir/less.png ] && done=$((done + 1)) || fail "a death without --retry"
        fi
    done
fi

# A rank that dies while MPI begins: the others do not wait for ever.
if [ $rounds -gt 0 ] && $MPIRUN --version | grep -q "Open MPI"; then
    : >$dir/said
    timeout 60 $run --enable-recovery -n 3 sh -c "exec $build/bin/cm-sample tests/data/models/digits_consistency.safetensors -q --retry --mpi-timeout 3 -o $dir/begins.png 2>>$dir/said" >$dir/out 2>&1 &
    job=$!
    pid=""
    while [ -z "$pid" ] && kill -0 $job 2>/dev/null; do
        for p in $(pgrep -f "^$build/bin/cm-sample.*begins.png"); do tr '\0' '\n' < /proc/$p/environ 2>/dev/null | grep -q "^OMPI_COMM_WORLD_RANK=1\$" && pid=$p; done
    done
    kill -9 $pid || fail "rank 1 was not there to be killed"
    # Open MPI's mpirun itself was seen waiting for ever on a lock of its own after this: what counts are the ranks, which
    # write what they say without its help.
    for i in $(seq 60); do
        pgrep -f "^$build/bin/cm-sample.*begins.png" >/dev/null || break
        sleep 1
    done
    pgrep -f "^$build/bin/cm-sample.*begins.png" >/dev/null && fail "a rank that dies at the beginning leaves the others waiting"
    sleep 2
    pkill -KILL -f "begins\.png"
    wait $job
    [ -f $dir/begins.png ] || grep -qE "MPI has not begun within 3 s|An error occurred in MPI_Init" $dir/said && done=$((done + 1)) || fail "nobody says that MPI has not begun"
fi

# A plugin of another MPI than mpirun's.
if [ $rounds -gt 0 ] && $MPIRUN --version | grep -q "Open MPI" && pkg-config --exists mpich; then
    mkdir $dir/mpich
    ${CC:-cc} -std=c11 -fPIC -shared -fvisibility=hidden -D_POSIX_C_SOURCE=200809L -Iinclude $(pkg-config --cflags mpich) -o $dir/mpich/libconsistency-mpi.so.0 plugins/mpi.c \
        $(pkg-config --libs mpich) -pthread || fail "a plugin for MPICH"
    LD_LIBRARY_PATH=$dir/mpich timeout 60 $run -x LD_LIBRARY_PATH -n 2 $t --steps 4 --out $dir/x5 >$dir/out 2>&1 && fail "a plugin of another MPI is taken"
    grep -q "does not hear of them: mpirun and the plugin are of different MPIs" $dir/out && done=$((done + 1)) || fail "a plugin of another MPI is not told"
fi

# A step under valgrind, where suppressions are for what is MPI's own.
if [ $rounds -gt 0 ] && command -v valgrind >/dev/null && $MPIRUN --version | grep -q "Open MPI"; then
    JSIMD_FORCENONE=1 timeout 900 $run --mca btl tcp,self -n 2 valgrind -q --num-callers=40 --error-exitcode=9 --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite \
        --suppressions=tests/mpi.supp --suppressions=tests/valgrind.supp $build/tests/mpi_steps $build/lib/libconsistency-mpi.so 1 4 cd >$dir/out 2>&1 && done=$((done + 1)) ||
        { fail "a step under valgrind"; grep "==" $dir/out | head -40; }
fi

# A stop that one rank is asked for is everybody's, and rank 0 writes a checkpoint.
begin $dir/asked
kill -USR1 $(rank_pid $dir/asked 1)
ended $dir/asked 9

[ $status = 0 ] && echo "mpi: $done checks"
exit $status
