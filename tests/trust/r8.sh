# R8 hostile files: the catalogue, as released and under the sanitizers.
. "$(dirname "$0")/lib.sh"
if long; then
    san="-fsanitize=address,undefined -fno-sanitize-recover=all"
    takes 10
    part "catalogue" "$python" tests/catalogue.py "$build" >"$build/trust/catalogue.txt"
    figure "$(sed -n 's/^catalogue: //p' "$build/trust/catalogue.txt")"
    takes 300
    part "build under the sanitizers" $MAKE --no-print-directory BUILD="$build/san" FORTIFY= CFLAGS="-O1 -g $san -Wno-frame-larger-than" \
        LDFLAGS="$san" "$build/san/tests/catalogue_program" >"$build/trust/build.txt" 2>&1
    takes 60
    part "catalogue under the sanitizers" env ASAN_OPTIONS=allocator_may_return_null=1 "$python" tests/catalogue.py "$build/san" \
        >"$build/trust/catalogue-san.txt" && figure "the same under AddressSanitizer and UndefinedBehaviorSanitizer"
    tail -5 "$build"/trust/catalogue*.txt
else
    elsewhere "the catalogue (tests/catalogue.py)"
fi
finish
