# R2 system calls may fail: each of a kind in turn, within each operation; full disks; descriptors are counted.
. "$(dirname "$0")/lib.sh"
if long; then
    takes 700
    part "every call" "$python" tests/io_faults.py "$build" >"$build/trust/io.txt"
    takes 30
    part "saving and loading" bash tests/faults.sh "$build" >"$build/trust/faults.txt"
    cat "$build/trust/faults.txt"
    figure "$(tail -1 "$build/trust/faults.txt")"
else
    part "some calls" "$python" tests/io_faults.py "$build" --sample 10 >"$build/trust/io.txt"
fi
cat "$build/trust/io.txt"
grep -q 'could be mounted' "$build/trust/io.txt" && skip "a full disk: no file system could be mounted"
figure "$(grep '^io faults' "$build/trust/io.txt")"
finish
