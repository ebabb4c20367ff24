# R3 a killed or powerless machine leaves a whole checkpoint.
. "$(dirname "$0")/lib.sh"
rotten=$(mktemp -d /tmp/cm-rot-XXXXXX)
trap 'rm -rf "$rotten"' EXIT
# Objectives whose checkpoints have other files or other state than edm's share a second number of flips.
long && prefixes=500 bits=1000 shared=168 || prefixes=10 bits=3 shared=1
takes 20
part "power loss" "$python" tests/power_loss.py "$build" --prefixes $prefixes >"$build/trust/power.txt"
cat "$build/trust/power.txt"
figure "$(tail -1 "$build/trust/power.txt")"
takes 20
part "power loss of cm-train" "$python" tests/power_loss.py "$build" --run --prefixes $prefixes >"$build/trust/power-run.txt"
cat "$build/trust/power-run.txt"
figure "$(tail -1 "$build/trust/power-run.txt")"
rot() {
    local objective failed=0
    "$build/tests/rot_program" "$rotten/edm" $bits edm || failed=1
    for objective in cd ict ect sct pd tcm2; do
        "$build/tests/rot_program" "$rotten/$objective" $shared $objective || failed=1
    done
    return $failed
}
takes 20
part "bit rot" rot >"$build/trust/rot.txt"
cat "$build/trust/rot.txt"
figure "$(paste -sd ';' "$build/trust/rot.txt")"
if long; then
    takes 140
    part "kills" "$python" tests/kill_resume.py "$build" --trials 200 --steps 500 --stops 50 >"$build/trust/kills.txt"
    cat "$build/trust/kills.txt"
    figure "$(sed -n 's/^trials: //p' "$build/trust/kills.txt")"
    figure "$(sed -n 's/^systematic: //p' "$build/trust/kills.txt")"
fi
finish
