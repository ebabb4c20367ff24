# R7 any bytes are read or refused: every fuzz target, and how much of the parsers the corpora reach.  FUZZ_SECONDS a
# target (900).
. "$(dirname "$0")/lib.sh"
if long; then
    takes $(($(sed -n 's/^FUZZ := //p' tests/tests.mk | wc -w) * ${FUZZ_SECONDS:-900}))
    part "fuzzing" $MAKE --no-print-directory BUILD="$build" FUZZ_SECONDS="${FUZZ_SECONDS:-900}" fuzz >"$build/trust/fuzz.txt" 2>&1
    grep '^fuzz ' "$build/trust/fuzz.txt"
    figure "$(grep -c '^fuzz ' "$build/trust/fuzz.txt") targets, $(sed -n 's/^fuzz .*executions \([0-9][0-9]*\).*/\1/p' "$build/trust/fuzz.txt" | paste -sd+ | bc) executions"
    takes 400
    part "coverage of the parsers" bash tests/trust/coverage.sh "$build" corpus 90 0 >"$build/trust/coverage.txt" && figure "$(tail -1 "$build/trust/coverage.txt")"
else
    elsewhere "the corpora, whole and damaged (check-corpus)"
fi
finish
