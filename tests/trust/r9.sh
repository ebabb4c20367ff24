# R9 bad arguments: every function, every argument at its edges, alone and in pairs.
. "$(dirname "$0")/lib.sh"
if long; then
    san="-fsanitize=address,undefined -fno-sanitize-recover=all"
    takes 150
    part "calls under the sanitizers" $MAKE --no-print-directory BUILD="$build/san" FORTIFY= STEP=5 \
        CFLAGS="-O1 -g $san -Wno-frame-larger-than" LDFLAGS="$san" run-bad_arguments \
        >"$build/trust/arguments.txt" 2>&1
    tail -3 "$build/trust/arguments.txt"
    figure "$(sed -n 's/^bad arguments: //p' "$build/trust/arguments.txt"), under AddressSanitizer"
else
    elsewhere "one of 37 pairs (run-bad_arguments)"
fi
finish
