#!/bin/bash
# meson.sh MAKE BUILD: the README's program built by Meson: with the installed library by pkg-config, and with the library
# as a subproject by a wrap, whole and inference alone.  All draw the same picture.
make=$1 build=$2
command -v meson >/dev/null && command -v ninja >/dev/null || { echo "meson: not run, meson or ninja is absent" | tee -a "${CHECK_SKIPS:-/dev/null}"; exit 0; }
root=$(mktemp -d /tmp/cm-meson-XXXXXX)
trap 'rm -rf "$root"' EXIT
status=0
fail() { echo "FAIL meson: $1"; status=1; }
$make -s install BUILD="$build" PREFIX="$root/opt" >/dev/null || exit 1
mkdir "$root/program" "$root/wrapped" "$root/wrapped/subprojects"
cp tests/install/meson/* tests/install/draw.c "$root/program"
cp tests/install/meson/* tests/install/draw.c "$root/wrapped"
# A wrap names where the source comes from; here it lies in its place already, and is built where the objects are.
ln -s "$PWD" "$root/wrapped/subprojects/libconsistency"
sed -n '/^    \[wrap-git\]/,/^    consistency = /s/^    //p' docs/building.md >"$root/wrapped/subprojects/libconsistency.wrap"
[ -s "$root/wrapped/subprojects/libconsistency.wrap" ] || fail "docs/building.md shows no wrap"
draw() { # NAME MESON-SOURCE OPTIONS...
    name=$1 source=$2
    shift 2
    meson setup "$root/$name" "$source" "$@" >"$root/said" 2>&1 && ninja -C "$root/$name" >>"$root/said" 2>&1 ||
        { fail "$name: $(grep -iE 'error|failed' "$root/said" | head -5)"; return; }
    "$root/$name/draw" tests/data/models/digits_consistency.safetensors "$root/$name.png" || fail "$name does not run"
    cmp -s "$root/shared.png" "$root/$name.png" || fail "$name draws another picture"
}
export PKG_CONFIG_PATH=$root/opt/lib/pkgconfig
LD_LIBRARY_PATH=$root/opt/lib draw shared "$root/program"
ldd "$root/shared/draw" | grep -q libconsistency || fail "shared is not"
draw whole "$root/wrapped" --force-fallback-for=consistency -Dlibconsistency:build_dir="$PWD/$build"
draw inference "$root/wrapped" --force-fallback-for=consistency -Dlibconsistency:build_dir="$PWD/$build" -Dlibconsistency:inference=true
ldd "$root/whole/draw" | grep -q libconsistency && fail "whole is not the archive"
ldd "$root/inference/draw" | grep -qE 'lapack|libconsistency' && fail "inference needs what it should not"
[ $status = 0 ] && echo "meson: by pkg-config, and as a subproject, whole and inference alone"
exit $status
