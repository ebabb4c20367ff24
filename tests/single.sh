#!/bin/bash
# single.sh MAKE BUILD: the archive that only draws and edits (make single).  It is below 2,000,000 bytes, has the calls of its headers and
# none that train or measure, needs no LAPACK, and programs built with it and the headers alone draw and edit the same pictures as
# those of the whole library.
make=$1 build=$2
root=$(mktemp -d /tmp/cm-single-XXXXXX)
trap 'rm -rf "$root"' EXIT
status=0
fail() { echo "FAIL single: $1"; status=1; }
$make -s single BUILD="$build" >/dev/null || exit 1
archive=$build/lib/libconsistency-inference.a
bytes=$(stat -c %s "$archive")
[ "$bytes" -lt 2000000 ] || fail "the archive has $bytes bytes"
nm -g --defined-only "$archive" | sed -n 's/.* T //p' | sort >"$root/has"
cat include/consistency/{base,model,checkpoint,sampler,edit,image}.h | tr '\n' ' ' | grep -oE 'CM_API [^;(]*\(' | grep -oE 'cm_\w+\(' | tr -d '(' | sort -u >"$root/wanted"
diff "$root/wanted" "$root/has" || fail "its symbols are not the calls of its headers"
nm -u "$archive" | grep -E 'dsyev|dnnl_.*(loss|lrn)|zip_source' && fail "it refers to what it should not need"
pc() { PKG_CONFIG_PATH="$build/lib" pkg-config --define-variable=libdir="$PWD/$build/lib" --define-variable=includedir="$PWD/include" "$@" consistency-inference; }
case $(pc --libs) in *lapack*) fail "pkg-config asks for LAPACK" ;; esac
model=tests/data/models/digits_consistency.safetensors
for program in draw fill; do
    gcc -O2 -Wall -Wextra -Werror -o "$root/$program" tests/install/$program.c $(pc --cflags) -Wl,--as-needed -Wl,--gc-sections $(pc --libs) ${CM_EXTRA_LIBS:-} ||
        fail "$program.c is not built"
    gcc -O2 -o "$root/$program-whole" tests/install/$program.c -Iinclude -L"$build/lib" -lconsistency -Wl,-rpath,"$PWD/$build/lib" || fail "$program.c with the whole library"
    strip "$root/$program"
    ldd "$root/$program" | grep -E 'lapack|libconsistency' && fail "$program needs what it should not"
    for kind in "" -whole; do "$root/$program$kind" $model "$root/$program$kind.png" || fail "$program$kind fails"; done
    cmp "$root/$program.png" "$root/$program-whole.png" || fail "$program draws another picture than with the whole library"
done
[ $status = 0 ] && echo "single: $(wc -l <"$root/has") calls in an archive of $bytes bytes; a stripped program that draws has $(stat -c %s "$root/draw"), one that edits $(stat -c %s "$root/fill")"
exit $status
