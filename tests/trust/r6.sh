# R6 the same bits: levels D1 to D7.
. "$(dirname "$0")/lib.sh"
checks() { sed -n 's/.*Checks: \([0-9]*\),.*/\1 checks/p' "$build/trust/$1.txt" | tail -1; }
if long; then
    takes 55
    part "D1 to D4, D6" "$python" tests/determinism.py "$build" >"$build/trust/bits.txt"
    cat "$build/trust/bits.txt"
    figure "$(tail -1 "$build/trust/bits.txt")"
    if [ -x "$build/tests/check_group" ]; then
        part "D5, processes" "$build/tests/check_group" >"$build/trust/group.txt" && figure "D5 groups of ranks: $(checks group)"
    else
        skip "D5: this version trains in one process"
    fi
    takes 5
    part "D7, seeds mean the same for ever" "$build/tests/check_base" >"$build/trust/base.txt" && figure "D7 streams: $(checks base)"
else
    elsewhere "threads and batches by check_sampler, check_train and check_convs, streams by check_base"
fi
finish
