#!/bin/bash
# no_onednn.sh MAKE BUILD: the library without oneDNN (make DNNL=none), from the objects of the whole build, of which one is
# another.  Nothing of it, of C++ or of OpenMP is linked or asked for; it finds the same instructions and draws the same
# bytes; pkg-config, CMake and Meson link a program to it.
make=$1 build=$2
root=$(mktemp -d /tmp/cm-no-onednn-XXXXXX)
trap 'rm -rf "$root"' EXIT
status=0
fail() { echo "FAIL no_onednn: $1"; status=1; }
none=$build/none model=$PWD/tests/data/models/digits_consistency.safetensors
mkdir -p "$none" && rm -rf "$none/obj" && cp -r --preserve=timestamps "$build/obj" "$none/obj" && rm -rf "$none"/obj/{dnnl,with-*} || exit 1
without() { $make -s BUILD="$none" DNNL=none PREFIX="$root/opt" LIBDIR="$root/opt/lib" "$@" >"$root/said" 2>&1 || { tail -5 "$root/said"; exit 1; }; }
without "$none/lib/libconsistency.so" "$none/lib/libconsistency.a" single
# The programs link the shared library alone, so they are those of the whole build.
rm -rf "$none/bin" "$none/completions" && cp -r "$build/bin" "$build/completions" "$none" && touch "$none"/bin/* "$none"/completions/*/* || exit 1
without install
lib=$root/opt/lib
export PKG_CONFIG_PATH=$lib/pkgconfig
unset ONEDNN_MAX_CPU_ISA DNNL_MAX_CPU_ISA # a cap of oneDNN alone
nothing='dnnl|stdc\+\+|gomp'
readelf -d "$lib/libconsistency.so" | grep -E "NEEDED.*($nothing)" && fail "the library asks for what it should not need"
nm -u "$lib/libconsistency.a" "$none/lib/libconsistency-inference.a" | grep -iE 'dnnl_|omp_|_Zn|__cxa' && fail "an archive asks for what it should not need"
grep -E "$nothing" "$lib/pkgconfig/consistency.pc" "$none/lib/consistency-inference.pc" && fail "pkg-config asks for what is not needed"
grep -E "$nothing|@" "$lib/cmake/consistency/consistency-config.cmake" && fail "CMake asks for what is not needed"
tell() { "$1/bin/cm-info" --machine | sed -n "s/.*$2\([^;]*\);.*/\1/p" | head -1; }
grep -q "; no oneDNN; kernels" <("$none/bin/cm-info" --machine) || fail "cm-info --machine does not tell"
kernels=$(tell "$none" "kernels ")
[ -n "$kernels" ] && [ "$kernels" = "$(tell "$build" "kernels ")" ] || fail "kernels are $kernels, with oneDNN $(tell "$build" "kernels ")"
for b in "$build" "$none"; do "$b/bin/cm-sample" "$model" -n 20 --labels rows --columns 10 --no-note --force -q -o "$root/$(basename "$b").png" || fail "cm-sample of $b"; done
cmp "$root/$(basename "$build").png" "$root/none.png" || fail "it draws another picture than with oneDNN"
draws() { # NAME PROGRAM
    ldd "$2" | grep -E "$nothing|libconsistency" && fail "$1 links what it should not"
    "$2" "$model" "$root/$1.png" && cmp -s "$root/$1.png" "$root/first.png" || fail "a program by $1 draws another picture"
}
gcc -o "$root/first" tests/install/draw.c $(pkg-config --cflags --libs consistency) && LD_LIBRARY_PATH=$lib "$root/first" "$model" "$root/first.png" || fail "the shared library"
gcc -o "$root/static" tests/install/draw.c $(pkg-config --cflags consistency) -L"$lib" -l:libconsistency.a -Wl,--as-needed $(pkg-config --static --libs consistency) ${CM_EXTRA_LIBS:-} && draws pkg-config "$root/static" || fail "pkg-config --static"
single="pkg-config --define-variable=libdir=$PWD/$none/lib --define-variable=includedir=$PWD/include"
export PKG_CONFIG_PATH=$none/lib
gcc -o "$root/single" tests/install/draw.c $($single --cflags consistency-inference) -Wl,--as-needed $($single --libs consistency-inference) ${CM_EXTRA_LIBS:-} && draws single "$root/single" || fail "the small archive"
if command -v cmake >/dev/null; then
    mkdir "$root/cmake"
    printf '%s\n' 'cmake_minimum_required(VERSION 3.13)' 'project(draw C)' 'find_package(consistency REQUIRED COMPONENTS static)' \
        "add_executable(draw $PWD/tests/install/draw.c)" 'target_link_libraries(draw Consistency::consistency_static)' >"$root/cmake/CMakeLists.txt"
    cmake -S "$root/cmake" -B "$root/cmake/build" -DCMAKE_PREFIX_PATH="$root/opt" >"$root/said" 2>&1 && cmake --build "$root/cmake/build" >>"$root/said" 2>&1 &&
        draws cmake "$root/cmake/build/draw" || fail "cmake: $(grep -iA3 error "$root/said" | head -5)"
else
    echo "no_onednn: CMake was not run, it is absent" | tee -a "${CHECK_SKIPS:-/dev/null}"
fi
if command -v meson >/dev/null && command -v ninja >/dev/null; then
    mkdir -p "$root/meson/subprojects" && cp tests/install/meson/* tests/install/draw.c "$root/meson" && ln -s "$PWD" "$root/meson/subprojects/libconsistency"
    sed -n '/^    \[wrap-git\]/,/^    consistency = /s/^    //p' docs/building.md >"$root/meson/subprojects/libconsistency.wrap"
    meson setup "$root/meson/build" "$root/meson" --force-fallback-for=consistency -Dlibconsistency:build_dir="$PWD/$none" -Dlibconsistency:onednn=false >"$root/said" 2>&1 &&
        ninja -C "$root/meson/build" >>"$root/said" 2>&1 && draws meson "$root/meson/build/draw" || fail "meson: $(grep -iE 'error|failed' "$root/said" | head -5)"
else
    echo "no_onednn: Meson was not run, meson or ninja is absent" | tee -a "${CHECK_SKIPS:-/dev/null}"
fi
# The same folder with oneDNN again: what is made follows what is asked for.
$make -s BUILD="$none" "$none/lib/consistency.pc" "$none/lib/libconsistency.so" >"$root/said" 2>&1 || fail "$(tail -5 "$root/said")"
grep -q -e '-ldnnl' "$none/lib/consistency.pc" && readelf -d "$none/lib/libconsistency.so" | grep -q 'NEEDED.*dnnl' || fail "a build with oneDNN after one without is without"
[ $status = 0 ] && echo "no_onednn: $kernels, the same pictures; a library of $(stat -L -c %s "$lib/libconsistency.so") bytes"
exit $status
