# R4 resuming is exact: every objective with every optimizer, stopped at several steps.
. "$(dirname "$0")/lib.sh"
if long; then
    takes 600
    part "resume" "$python" tests/resume_exact.py "$build" >"$build/trust/resume.txt"
    cat "$build/trust/resume.txt"
    figure "$(tail -1 "$build/trust/resume.txt")"
else
    elsewhere "every objective resumed by check_train_state, killed and resumed by kill_resume.py"
fi
finish
