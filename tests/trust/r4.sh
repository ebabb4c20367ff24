# R4 resuming is exact: every objective with every optimizer, stopped at several steps.
. "$(dirname "$0")/lib.sh"
long && short= || short=--short
part "resume" "$python" tests/resume_exact.py "$build" $short >"$build/trust/resume.txt"
cat "$build/trust/resume.txt"
figure "$(tail -1 "$build/trust/resume.txt")"
finish
