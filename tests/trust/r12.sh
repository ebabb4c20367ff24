# R12 numerical correctness: kernels and operators beside plain loops, networks beside the published implementations.
. "$(dirname "$0")/lib.sh"
if long; then
    for program in kernels ops convs graph base; do
        takes 200
        part "check_$program with ten times the shapes" env CHECK_EFFORT=long "$build/tests/check_$program" >"$build/trust/numbers-$program.txt"
        cat "$build/trust/numbers-$program.txt"
    done
    if [ -d "$GOLDEN/networks" ]; then
        takes 600
        part "reference numbers" "$build/tests/golden/golden" "$GOLDEN" >"$build/trust/golden.txt"
        tail -2 "$build/trust/golden.txt"
        figure "$(grep -c '^ok' "$build/trust/golden.txt") reference cases"
    else
        skip "the reference numbers $GOLDEN are absent"
    fi
    figure "$(sed -n 's/.*Checks: \([0-9]*\),.*/\1/p' "$build"/trust/numbers-*.txt | paste -sd+ | bc) cases of kernels, operators, convolutions, networks and noise (10,000,000 numbers), of up to 500 random shapes each, beside plain loops in float64"
else
    elsewhere "the kernels, the operators and the small reference cases"
fi
finish
