# R14 the programs do what their documents say: commands of the documents, exit codes, interrupts.
. "$(dirname "$0")/lib.sh"
if long; then
    takes 60
    part "documents" "$python" tests/docs.py "$build" >"$build/trust/docs.txt"
    figure "$(tail -1 "$build/trust/docs.txt")"
    takes 60
    part "programs" bash tests/programs.sh "$build" >"$build/trust/programs.txt" 2>&1
    figure "$(tail -1 "$build/trust/programs.txt")"
    takes 250
    part "interrupts" "$python" tests/interrupts.py "$build" 50 >"$build/trust/interrupts.txt"
    figure "$(tail -1 "$build/trust/interrupts.txt")"
else
    part "interrupts" "$python" tests/interrupts.py "$build" 2 >"$build/trust/interrupts.txt"
    cat "$build/trust/interrupts.txt"
    figure "$(tail -1 "$build/trust/interrupts.txt")"
fi
finish
