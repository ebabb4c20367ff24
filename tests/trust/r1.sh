# R1 memory may run out: requests of ours and of the process, each in turn, and bounds on all of it.
. "$(dirname "$0")/lib.sh"
under_shim() { LD_PRELOAD=$PWD/$build/tests/malloc_shim.so "$@"; }
every_request() {
    local told=$PWD/$build/trust/told.txt
    rm -f "$told"
    CHECK_EFFORT=long OPERATIONS_TOLD="$told" "$build/tests/check_operations" || return 1
    echo "$(wc -l <"$told") operations, each of $(awk '{n += $1} END {print n}' "$told") requests failing once and for good, 25 budgets each"
}
if long; then
    takes 3600
    part "every request of every operation, once and for good, and 25 budgets" every_request >"$build/trust/operations.txt"
    figure "$(tail -1 "$build/trust/operations.txt")"
    takes 10
    part "guest" env CHECK_EFFORT=long CK_RUN_CASE=guest "$build/tests/check_guest"
    takes 900
    part "training" env CHECK_EFFORT=long "$build/tests/check_train_memory"
    takes 900
    part "memory of the process" under_shim "$build/tests/process_memory" 100 >"$build/trust/process.txt"
    takes 200
    part "address space" bash tests/address_space.sh "$build" 250 >"$build/trust/space.txt"
    cat "$build/trust/process.txt" "$build/trust/space.txt"
    figure "$(tail -1 "$build/trust/space.txt")"
else
    part "memory of the process" under_shim "$build/tests/process_memory" 1 >"$build/trust/process.txt"
    cat "$build/trust/process.txt"
fi
figure "$(grep 'in turn' "$build/trust/process.txt")"
figure "$(grep 'bounds on' "$build/trust/process.txt")"
finish
