#!/bin/sh
# slurm.sh BUILD: cm-train and cm-sample started by srun and sbatch, where this machine is part of a Slurm with PMIx (the packages slurmctld,
# slurmd, slurm-client and munge, a slurm.conf of one machine, and their services): the bytes of one process, a rank that dies, a batch job that is
# warned before its time is over and goes on.
build=$(realpath "$1")
cd "$(dirname "$0")/.." || exit 1
skip() { echo "slurm: not run, $1" | tee -a "${CHECK_SKIPS:-/dev/null}"; exit 0; }
[ -f "$build/lib/libconsistency-mpi.so" ] || skip "there is no plugin: mpi-default-dev is absent"
command -v srun >/dev/null && timeout 20 srun -n 2 true 2>/dev/null || skip "there is no Slurm with two processors"
dir=$(mktemp -d /tmp/cm-slurm-XXXXXX)
id=""
trap '[ -z "$id" ] || scancel $id 2>/dev/null; rm -rf "$dir"' EXIT
trap 'exit 1' INT TERM
status=0 done=0
fail() { echo "FAIL slurm: $1"; cat "$dir/out" 2>/dev/null; status=1; }
train="$build/bin/cm-train --data ../shared/data/mnist --preset smoke --set micro_shards=2 --threads 1 --sample-every 0 --no-estimate -q"
[ -d ../shared/data/mnist ] || skip "../shared/data/mnist is absent"
model=tests/data/models/digits_consistency.safetensors

$train --out $dir/one && timeout 100 srun -n 2 $train --out $dir/two >$dir/out 2>&1 || fail "a run"
cmp $dir/one/model.safetensors $dir/two/model.safetensors && done=$((done + 1)) || fail "two processes learn something else than one"
$build/bin/cm-sample $model -n 100 -q -o $dir/one.png && timeout 100 srun -n 2 $build/bin/cm-sample $model -n 100 -q -o $dir/two.png >$dir/out 2>&1 || fail "samples"
cmp $dir/one.png $dir/two.png && done=$((done + 1)) || fail "two processes draw something else than one"
# Where Slurm binds nobody, each has its share of the processors.
timeout 100 srun --cpu-bind=none -n $(nproc) $build/bin/cm-sample $model -n 2 -o $dir/unbound.png >$dir/out 2>&1 || fail "ranks that are not bound"
grep -q "^ranks 0-.*, 1 thread each" $dir/out && done=$((done + 1)) || fail "ranks that are not bound do not share the processors"

# A rank that is killed: all end, and the last checkpoint goes on.
lines() { cat "$1" 2>/dev/null | wc -l; }
pids() { pgrep -f "^$build/bin/cm-train.*--out $1( |\$)"; }
wait_for() { for i in $(seq 600); do [ -e "$1" ] && return; sleep 0.1; done; fail "$1 does not come"; }
srun -n 2 --kill-on-bad-exit $train --steps 100000 --checkpoint-every 3 --mpi-timeout 5 --out $dir/killed >$dir/out 2>&1 &
job=$!
wait_for $dir/killed/checkpoints/LATEST
kill -9 $(pids $dir/killed | tail -1)
for i in $(seq 150); do kill -0 $job 2>/dev/null || break; sleep 0.1; done
kill -0 $job 2>/dev/null && fail "after a kill the others do not end"
wait $job && fail "after a kill srun ends well"
newest=$(cat $dir/killed/checkpoints/LATEST)
$train --resume --allow-changes --steps $(($(echo "$newest" | sed 's/step-0*//') + 1)) --out $dir/killed >$dir/out 2>&1 && done=$((done + 1)) || fail "after a kill the run does not go on"

# The batch script of docs/cluster.md, for seconds: warned by USR1 it ends with 75, and started again it goes on.
cat >$dir/job.sh <<END2
#!/bin/bash
#SBATCH --ntasks=2 --output=$dir/job.out
more=""
[ -d $dir/job/checkpoints ] && more=--resume
srun --mpi=pmix --cpu-bind=cores --kill-on-bad-exit $train --steps 100000 --checkpoint-every 50000 --out $dir/job \$more
echo "\$?" >>$dir/codes
END2
for round in 1 2; do
    id=$(sbatch --parsable $dir/job.sh 2>$dir/out) || fail "sbatch"
    for i in $(seq 600); do [ "$(lines $dir/job/log.jsonl)" -gt $((10 * round)) ] && break; sleep 0.1; done
    [ $round = 1 ] || sleep 2
    scancel --signal=USR1 $id
    for i in $(seq 300); do [ "$(lines $dir/codes)" -ge $round ] && break; sleep 0.1; done
    scancel $id 2>/dev/null
    [ "$(sed -n ${round}p $dir/codes)" = 75 ] || { fail "USR1: exit code $(sed -n ${round}p $dir/codes)"; cat $dir/job.out; }
    steps=$(sed 's/step-0*//' $dir/job/checkpoints/LATEST)
    [ "$steps" -gt "${before:-0}" ] && done=$((done + 1)) || fail "the job goes on from ${before:-0} to $steps"
    before=$steps
done
echo "slurm: $done checks"
exit $status
