#!/bin/bash
# exit.sh BUILD [RUNS]: main returns at a random moment while one to three threads make samplers; none of RUNS ends by a
# signal or hangs.
build=$1 runs=${2:-60}
bad=0
for ((i = 0; i < runs; i++)); do
    us=$((15000 + RANDOM * 4))
    timeout -s KILL 300 "$build/tests/exit_program" tests/data/models/digits_consistency.safetensors $us $((i % 3 + 1)) >/dev/null
    code=$?
    [ $code = 0 ] || { echo "FAIL exit after $us us beside $((i % 3 + 1)) threads: exit $code"; bad=$((bad + 1)); }
done 2>/dev/null
[ $bad = 0 ] && echo "exit: $runs returns from main beside threads at work, none crashed"
exit $((bad > 0))
