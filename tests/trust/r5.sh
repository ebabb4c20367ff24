# R5 old files stay readable: those that are kept in tests/data/kept.
. "$(dirname "$0")/lib.sh"
takes 1
part "kept files" "$python" tests/kept_files.py "$build" >"$build/trust/kept.txt"
cat "$build/trust/kept.txt"
figure "$(tail -1 "$build/trust/kept.txt")"
finish
