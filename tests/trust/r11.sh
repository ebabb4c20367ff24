# R11 the binary interface stays, packages are sound.
. "$(dirname "$0")/lib.sh"
hardening() {
    local library
    for library in "$build"/lib/libconsistency.so "$build"/bin/cm-*; do
        [ -f "$library" ] || continue
        readelf -lW "$library" | grep -q 'GNU_STACK.*RW ' || { echo "$library: executable stack"; return 1; }
        readelf -lW "$library" | grep -q GNU_RELRO || { echo "$library: no read-only relocations"; return 1; }
        readelf -dW "$library" | grep -q TEXTREL && { echo "$library: text relocations"; return 1; }
    done
    nm -D "$build/lib/libconsistency.so" | grep -q __stack_chk_fail || { echo "no stack protector"; return 1; }
    nm -D "$build/lib/libconsistency.so" | grep -qE '_chk(@|$)' || { echo "no fortified calls"; return 1; }
}
# A program compiled against the headers of the description lib/libconsistency.abi, with this library.
previous() {
    local commit folder=$PWD/$build/trust/previous
    commit=$(git log -2 --format=%h -- lib/libconsistency.abi | tail -1)
    [ -n "$commit" ] || return 3
    rm -rf "$folder"
    mkdir -p "$folder"
    git archive "$commit" include tests/install | tar -x -C "$folder" || return 1
    gcc -std=c99 -D_DEFAULT_SOURCE -I"$folder/include" -o "$folder/everything" "$folder/tests/install/everything.c" -L"$build/lib" -lconsistency || return 1
    mkdir "$folder/out"
    LD_LIBRARY_PATH=$PWD/$build/lib "$folder/everything" tests/data/models/digits_consistency.safetensors "$folder/out" || return 1
    echo "of $commit"
}
reproducible() {
    local one=$PWD/$build/trust/one two=$PWD/$build/trust/folder-two n
    rm -rf "$one" "$two"
    for n in "$one" "$two"; do
        mkdir -p "$n"
        git ls-files | tar -c -T - | tar -x -C "$n" && (cd "$n" && CCACHE_DISABLE=1 $MAKE --no-print-directory -j2 all >make.log 2>&1) || { tail -3 "$n/make.log"; return 1; }
    done
    for n in "$one"/build/lib/libconsistency.so.* "$one"/build/lib/libconsistency.a "$one"/build/bin/cm-*; do
        [ -L "$n" ] || cmp "$n" "$two/${n#$one/}" || return 1
    done
    rm -rf "$one" "$two"
}
part "hardening" hardening && figure "stack, relocations, protector and fortified calls as they should be"
if long; then
    if command -v abidiff >/dev/null; then
        takes 60
        part "abidiff" $MAKE --no-print-directory BUILD="$build" abi-check && figure "abidiff: nothing but additions"
    else
        skip "abidiff is absent"
    fi
    if git rev-parse >/dev/null 2>&1; then
        takes 5
        part "the program of the description before" previous && figure "a program of the description before runs unchanged"
        takes 700
        part "two builds in two folders" reproducible && figure "two builds in two folders are the same bytes"
    else
        skip "this is no clone: no earlier description, no two builds"
    fi
    for arch in i386 arm64; do
        takes 400
        part "$arch" bash tests/trust/foreign.sh $arch "$build" >"$build/trust/$arch.txt"
        case $? in 0) figure "$(tail -1 "$build/trust/$arch.txt")" ;; *) tail -2 "$build/trust/$arch.txt" ;; esac
    done
fi
finish
