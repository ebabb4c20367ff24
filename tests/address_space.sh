#!/bin/bash
# address_space.sh BUILD [STEP]: a sampler and a trainer under every `ulimit -v` (in steps of STEP KiB) from where programs
# begin to start up to where they succeed.  Each run succeeds or says that memory is short; none ends by a signal.
build=$1 step=${2:-2500}
dir=$(mktemp -d /tmp/cm-space-XXXXXX)
trap 'rm -rf "$dir"' EXIT
status=0 good=0 short=0
export OMP_NUM_THREADS=1
try() { # KIB COMMAND...
    (ulimit -v "$1"; shift; exec timeout 600 "$@") >"$dir/out" 2>&1
    code=$?
    case $code in
    0) good=$((good + 1)) ;;
    127) ;; # the loader had no room for the libraries
    1) if grep -qi "memory" "$dir/out"; then short=$((short + 1)); else
           echo "FAIL ulimit -v $1: $(tail -1 "$dir/out")"; status=1
       fi ;;
    *) echo "FAIL ulimit -v $1: exit $code: $2 $(tail -1 "$dir/out")"; status=1 ;;
    esac
} 2>/dev/null
for ((v = 40000; v <= 160000; v += step)); do
    try $v "$build/bin/cm-sample" tests/data/models/digits_consistency.safetensors -n 4 --threads 1 --force -o "$dir/page.png"
    rm -rf "$dir/run"
    try $v "$build/tests/train_program" "$dir/run" 2
done
[ $good -gt 9 ] && [ $short -gt 9 ] || { echo "FAIL only $good runs succeeded and $short were short of memory"; status=1; }
[ $status = 0 ] && echo "address space: $good runs succeeded, $short said that memory is short, none crashed"
exit $status
