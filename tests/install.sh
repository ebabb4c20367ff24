#!/bin/bash
# install.sh: make install into a folder; a ten-line program in C and C++ is
# built against it through pkg-config, shared and static, and runs; headers
# compile alone; uninstall leaves nothing.
make=$1 build=$2
root=$(mktemp -d /tmp/cm-install-XXXXXX)
trap 'rm -rf "$root"' EXIT
status=0
fail() { echo "FAIL $1"; status=1; }
$make -s install BUILD="$build" DESTDIR="$root/dest" PREFIX=/opt/cm LIBDIR=/opt/cm/lib/x >/dev/null || exit 1
export PKG_CONFIG_PATH=$root/dest/opt/cm/lib/x/pkgconfig PKG_CONFIG_SYSROOT_DIR=
pc() { pkg-config --define-prefix --define-variable=prefix="$root/dest/opt/cm" --define-variable=libdir="$root/dest/opt/cm/lib/x" --define-variable=includedir="$root/dest/opt/cm/include" "$@" consistency; }
[ "$(pc --modversion)" = "$("$build/bin/cm-info" --version | head -1 | cut -d' ' -f2)" ] || fail "pkg-config version"
cp tests/install/ten_lines.c "$root/ten.c"; cp tests/install/ten_lines.c "$root/ten.cc"
warn="-Wall -Wextra -Wpedantic -Wconversion -Werror"
# A program that links the archive alone needs the packages of ./bootstrap, not what their own archives need.
for name in $(pc --static --libs); do
    case $name in -l*) echo " consistency dnnl jansson jpeg png png16 z zip xxhash stdc++ m gomp " | grep -qF " ${name#-l} " || fail "pkg-config --static asks for $name" ;; esac
done
for compiler in "gcc -std=c99 $root/ten.c" "g++ -std=c++11 $root/ten.cc" "clang -std=c11 $root/ten.c" "clang++ -std=c++17 $root/ten.cc"; do
    set -- $compiler
    command -v "$1" >/dev/null || continue
    $1 $2 $warn -o "$root/shared" $3 $(pc --cflags --libs) || { fail "$compiler shared"; continue; }
    LD_LIBRARY_PATH=$root/dest/opt/cm/lib/x "$root/shared" models/digits_consistency.safetensors >/dev/null || fail "$compiler shared runs"
    case $1 in clang*) continue ;; esac # gcc's OpenMP objects in the archive need libgomp
    rm -f "$root/static"
    $1 $2 $warn -o "$root/static" $3 $(pc --cflags) -Wl,-Bstatic -L"$root/dest/opt/cm/lib/x" -lconsistency -Wl,-Bdynamic $(pc --static --libs | sed 's/-lconsistency//') ${CM_EXTRA_LIBS:-} || { fail "$compiler static"; continue; }
    ldd "$root/static" | grep -q libconsistency && fail "$compiler static is not static"
    "$root/static" models/digits_consistency.safetensors >/dev/null || fail "$compiler static runs"
done
"$root/dest/opt/cm/bin/cm-info" --machine >/dev/null 2>&1 || LD_LIBRARY_PATH=$root/dest/opt/cm/lib/x "$root/dest/opt/cm/bin/cm-info" --machine >/dev/null || fail "installed cm-info"
for header in include/consistency.h include/consistency/*.h; do
    for std in c99 c11 c17; do echo "#include \"$PWD/$header\"" | gcc -std=$std $warn -Iinclude -fsyntax-only -xc - || fail "$header as $std"; done
    for std in c++11 c++14 c++17 c++20; do echo "#include \"$PWD/$header\"" | g++ -std=$std $warn -Iinclude -fsyntax-only -xc++ - || fail "$header as $std"; done
    command -v clang >/dev/null && { echo "#include \"$PWD/$header\"" | clang -std=c99 $warn -Iinclude -fsyntax-only -xc - || fail "$header with clang"; }
done
$make -s uninstall BUILD="$build" DESTDIR="$root/dest" PREFIX=/opt/cm LIBDIR=/opt/cm/lib/x >/dev/null
[ -z "$(find "$root/dest" -type f -o -type l)" ] || fail "uninstall leaves $(find "$root/dest" -type f -o -type l)"
[ $status = 0 ] && echo "install: C and C++, shared and static, headers alone, uninstall clean"
exit $status
