#!/bin/bash
# faults.sh BUILD: every system call of saving and loading fails in turn, and
# the process ends right before every one of them.  Afterwards the files are
# the old or the new ones, whole; a failing call leaves no temporary file.
build=$1
dir=$(mktemp -d /tmp/cm-faults-XXXXXX)
trap 'rm -rf "$dir"' EXIT
export SHIM_DIR=$dir OMP_NUM_THREADS=1
status=0
fail() { echo "FAIL $1"; status=1; }
old() { rm -f "$dir"/*; echo old > "$dir/out.safetensors"; echo old > "$dir/out.png"; }
# run CALL N ERRNO [KILL]; sets $code and $calls
run() {
    calls=$(SHIM_CALL=$1 SHIM_N=$2 SHIM_ERRNO=$3 ${4:+env SHIM_KILL=1} \
        env LD_PRELOAD="$PWD/$build/tests/shim.so" "$build/tests/fault_program" "$dir" 9>&1 >/dev/null 2>"$dir/.err")
    code=$?
}
whole() { # every file is the old one or a good new one
    for f in safetensors png; do
        echo old | cmp -s - "$dir/out.$f" && continue
        cmp -s "$dir/out.$f" "$dir.good.$f" || fail "$1: out.$f is neither old nor new"
    done
}
old; run none 0 0
[ $code = 0 ] || { echo "FAIL without faults: $code"; cat "$dir/.err"; exit 1; }
cp "$dir/out.safetensors" "$dir.good.safetensors"; cp "$dir/out.png" "$dir.good.png"
tried=0
for call in open write fsync close rename; do
    for error in 5 28 122 24; do # EIO ENOSPC EDQUOT EMFILE
        n=1
        while :; do
            old; run $call $n $error
            [ "${calls:-0}" -lt $n ] && break
            tried=$((tried + 1))
            # a directory that cannot be flushed or a mapping's descriptor that
            # cannot be closed is no reason to fail: the data is safe
            [ $code = 3 ] || [ $code = 0 ] || { fail "$call $n errno $error: exit $code"; cat "$dir/.err"; }
            whole "$call $n errno $error"
            ls "$dir" | grep -q tmp && fail "$call $n errno $error leaves a temporary file"
            n=$((n + 1))
            [ $n -gt 400 ] && [ $call = write ] && break
        done
    done
done
for call in open write fsync; do # EINTR is retried
    for n in 1 2 3; do
        old; run $call $n 4
        [ $code = 0 ] || { fail "$call $n interrupted: exit $code"; cat "$dir/.err"; }
        tried=$((tried + 1))
    done
done
old; run short 0 0
[ $code = 0 ] || fail "short writes: exit $code"
whole "short writes"
n=1
while :; do # a crash before the n-th call of any kind
    old; run any $n 0 kill
    [ $code = 99 ] || break
    whole "crash before call $n"
    tried=$((tried + 1)); n=$((n + 1))
done
[ $n -gt 10 ] || fail "only $n calls to crash before"
rm -f "$dir".good.*
[ $status = 0 ] && echo "faults: $tried faults, files old or new and whole every time"
exit $status
