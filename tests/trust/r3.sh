# R3 a killed or powerless machine leaves a whole checkpoint.
. "$(dirname "$0")/lib.sh"
rotten=$(mktemp -d /tmp/cm-rot-XXXXXX)
trap 'rm -rf "$rotten"' EXIT
long && prefixes=500 bits=1000 || prefixes=10 bits=3
takes 20
part "power loss" "$python" tests/power_loss.py "$build" --prefixes $prefixes >"$build/trust/power.txt"
cat "$build/trust/power.txt"
figure "$(tail -1 "$build/trust/power.txt")"
takes 10
part "bit rot" "$build/tests/rot_program" "$rotten/run" $bits >"$build/trust/rot.txt"
cat "$build/trust/rot.txt"
figure "$(tail -1 "$build/trust/rot.txt")"
if long; then
    takes 140
    part "kills" "$python" tests/kill_resume.py "$build" --trials 200 --steps 500 --stops 50 >"$build/trust/kills.txt"
    cat "$build/trust/kills.txt"
    figure "$(sed -n 's/^trials: //p' "$build/trust/kills.txt")"
    figure "$(sed -n 's/^systematic: //p' "$build/trust/kills.txt")"
fi
finish
