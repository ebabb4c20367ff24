#!/bin/bash
# install.sh: make install into a folder; the README's program in C and C++ is
# built against it through pkg-config, shared and static, and runs; so do
# programs in C, C++ and Python that use every header, and the C and C++ ones
# through CMake's find_package, shared and static, from a folder that was moved; Rust lays every struct out as C does; headers compile alone;
# uninstall leaves nothing.
make=$1 build=$2
root=$(mktemp -d /tmp/cm-install-XXXXXX)
trap 'rm -rf "$root"' EXIT
status=0
fail() { echo "FAIL $1"; status=1; }
$make -s install BUILD="$build" DESTDIR="$root/dest" PREFIX=/opt/cm LIBDIR=/opt/cm/lib/x >/dev/null || exit 1
export PKG_CONFIG_PATH=$root/dest/opt/cm/lib/x/pkgconfig PKG_CONFIG_SYSROOT_DIR=
pc() { pkg-config --define-prefix --define-variable=prefix="$root/dest/opt/cm" --define-variable=libdir="$root/dest/opt/cm/lib/x" --define-variable=includedir="$root/dest/opt/cm/include" "$@" consistency; }
[ "$(pc --modversion)" = "$("$build/bin/cm-info" --version | head -1 | cut -d' ' -f2)" ] || fail "pkg-config version"
for name in "$build"/bin/*; do
    name=${name##*/}
    for file in bin/$name share/man/man1/$name.1 share/bash-completion/completions/$name share/zsh/site-functions/_$name share/fish/vendor_completions.d/$name.fish; do
        [ -s "$root/dest/opt/cm/$file" ] || fail "$file is not installed"
    done
done
cp tests/install/draw.c "$root/draw.c"; cp tests/install/draw.c "$root/draw.cc"
warn="-Wall -Wextra -Wpedantic -Wconversion -Werror"
# A program that links the archive alone needs the packages of ./bootstrap, not what their own archives need.
for name in $(pc --static --libs); do
    case $name in -l*) echo " consistency dnnl lapack blas jansson jpeg png png16 z zip xxhash stdc++ m gomp " | grep -qF " ${name#-l} " || fail "pkg-config --static asks for $name" ;; esac
done
for compiler in "gcc -std=c99 $root/draw.c" "g++ -std=c++11 $root/draw.cc" "clang -std=c11 $root/draw.c" "clang++ -std=c++17 $root/draw.cc"; do
    set -- $compiler
    command -v "$1" >/dev/null || continue
    $1 $2 $warn -o "$root/shared" $3 $(pc --cflags --libs) || { fail "$compiler shared"; continue; }
    LD_LIBRARY_PATH=$root/dest/opt/cm/lib/x "$root/shared" tests/data/models/digits_consistency.safetensors "$root/shared.png" && [ -s "$root/shared.png" ] || fail "$compiler shared runs"
    LD_LIBRARY_PATH=$root/dest/opt/cm/lib/x "$root/shared" README.md "$root/none.png" 2>/dev/null && fail "$compiler draws from what is no model"
    case $1 in clang*) continue ;; esac # gcc's OpenMP objects in the archive need libgomp
    rm -f "$root/static"
    $1 $2 $warn -o "$root/static" $3 $(pc --cflags) -L"$(pc --variable=libdir)" -l:libconsistency.a -Wl,--as-needed $(pc --static --libs) ${CM_EXTRA_LIBS:-} || { fail "$compiler static"; continue; }
    ldd "$root/static" | grep -q libconsistency && fail "$compiler static is not static"
    "$root/static" tests/data/models/digits_consistency.safetensors "$root/static.png" || fail "$compiler static runs"
    cmp -s "$root/shared.png" "$root/static.png" || fail "$compiler static draws another picture"
done
# Where there is only the archive, what pkg-config --static names is all that it takes.
mkdir "$root/archive" && cp "$(pc --variable=libdir)/libconsistency.a" "$root/archive"
gcc -std=c99 $warn -o "$root/alone" tests/install/draw.c $(pc --cflags) -Wl,--as-needed $(pc --define-variable=libdir="$root/archive" --static --libs) ${CM_EXTRA_LIBS:-} || fail "pkg-config --static"
ldd "$root/alone" | grep -q libconsistency && fail "pkg-config --static is not static"
"$root/alone" tests/data/models/digits_consistency.safetensors "$root/alone.png" && cmp -s "$root/shared.png" "$root/alone.png" || fail "what pkg-config --static links draws another picture"
# The plugin for MPI, where there is one, has flags of its own.
if [ -f "$root/dest/opt/cm/lib/x/libconsistency-mpi.so" ]; then
    printf '#include <consistency_mpi.h>\nint main(void) { cm_group group; return cm_mpi_open(0, &group, 0, 0) != CM_OK; }\n' >"$root/group.c"
    mpi() { pkg-config --define-variable=prefix="$root/dest/opt/cm" --define-variable=libdir="$root/dest/opt/cm/lib/x" --define-variable=includedir="$root/dest/opt/cm/include" "$@" consistency-mpi; }
    gcc -std=c99 $warn -o "$root/group" "$root/group.c" $(mpi --cflags --libs) -Wl,--unresolved-symbols=ignore-in-shared-libs || fail "a program with the plugin"
    grep -q "\"$(readelf -dW "$root/dest/opt/cm/lib/x/libconsistency-mpi.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')\"" plugins/consistency_mpi.h || fail "CM_MPI_PLUGIN is not the plugin's name"
    [ "$(mpi --modversion)" = "$(pc --modversion)" ] || fail "pkg-config version of the plugin"
fi
# The program of docs/training.md: a run, stopped by Ctrl-C, and continued.
mkdir "$root/pictures"
for i in 1 2 3 4 5 6; do cp "$root/shared.png" "$root/pictures/$((i % 2))_$i.png"; done
gcc -std=c99 $warn -o "$root/train" tests/install/train.c $(pc --cflags --libs) || fail "docs/training.md's program"
for lines in 1 20; do
    LD_LIBRARY_PATH=$root/dest/opt/cm/lib/x "$root/train" "$root/pictures" "$root/run" 100000 >"$root/said" 2>&1 &
    child=$!
    until [ "$(grep -c . "$root/run/log.jsonl" 2>/dev/null || true)" -ge $lines ] 2>/dev/null || ! kill -0 $child 2>/dev/null; do sleep 0.05; done
    kill -INT $child
    wait $child
    grep -q "the same command goes on" "$root/said" || fail "docs/training.md's program is not stopped: $(tail -1 "$root/said")"
done
# One use of every header, in each language: everything.* MODEL FOLDER.
lib=$root/dest/opt/cm/lib/x model=tests/data/models/digits_consistency.safetensors languages=""
everything() { # NAME COMMAND...
    name=$1
    shift
    mkdir "$root/$name"
    LD_LIBRARY_PATH=$lib "$@" $model "$root/$name" >"$root/said" 2>&1 && grep -q "^everything: libconsistency" "$root/said" &&
        [ -s "$root/$name/pictures/0_0.png" ] && [ -d "$root/$name/run/checkpoints/step-000000002" ] || fail "everything in $name: $(tail -1 "$root/said")"
    cmp -s "$root/everything-gcc/pictures/0_0.png" "$root/$name/pictures/0_0.png" || fail "everything in $name draws another picture"
    languages="$languages ${name#everything-}"
}
for compiler in "gcc -std=c99" "clang -std=c17" "g++ -std=c++17" "clang++ -std=c++20"; do
    set -- $compiler
    command -v "$1" >/dev/null || { echo "install: $1 was not tried, it is absent" | tee -a "${CHECK_SKIPS:-/dev/null}"; continue; }
    case $1 in *++) source=everything.cc ;; *) source=everything.c ;; esac
    $compiler $warn -D_DEFAULT_SOURCE -o "$root/e-$1" "tests/install/$source" $(pc --cflags --libs) || { fail "$compiler $source"; continue; }
    everything "everything-$1" "$root/e-$1"
    case $1 in clang*) continue ;; esac
    $compiler $warn -D_DEFAULT_SOURCE -o "$root/s-$1" "tests/install/$source" $(pc --cflags) -L"$lib" -l:libconsistency.a -Wl,--as-needed $(pc --static --libs) ${CM_EXTRA_LIBS:-} || { fail "$compiler $source static"; continue; }
    ldd "$root/s-$1" | grep -q libconsistency && fail "$compiler $source static is not static"
    everything "everything-$1-static" "$root/s-$1"
done
if command -v cmake >/dev/null; then
    mv "$root/dest" "$root/moved" # the package has no path of its own
    if cmake -S tests/install -B "$root/cmake" -DCMAKE_PREFIX_PATH="$root/moved/opt/cm/lib/x/cmake" >"$root/cmake-said" 2>&1 &&
        cmake --build "$root/cmake" >"$root/said" 2>&1; then
        lib=$root/moved/opt/cm/lib/x
        for kind in "" _static; do
            everything "everything-cmake-c$kind" "$root/cmake/everything-c$kind"
            everything "everything-cmake-cc$kind" "$root/cmake/everything-cc$kind"
            for language in c cc; do
                ldd "$root/cmake/everything-$language$kind" | grep -q libconsistency && linked=shared || linked=_static
                [ "$linked" = "${kind:-shared}" ] || fail "cmake: everything-$language$kind is linked $linked"
            done
        done
        lib=$root/dest/opt/cm/lib/x
        found=$(sed -n 's/^-- \(version\|component\) \(.*\): \(.*\)/\2=\3/p' "$root/cmake-said" | paste -sd' ')
        [ "$found" = "0.1.0=1 0.0.9=1 0.1...<0.2=1 0.99=0 1.0=0 0.2...0.9=0 gpu=0" ] || fail "cmake finds $found"
    else
        fail "cmake: $(cat "$root/cmake-said" "$root/said" | grep -iA3 error | head -8)"
    fi
    mv "$root/moved" "$root/dest"
    # Headers in a folder of their own, outside of the prefix.
    $make -s install BUILD="$build" PREFIX="$root/apart" INCLUDEDIR="$root/the headers/0" >/dev/null || fail "make install with INCLUDEDIR"
    cmake -S tests/install -B "$root/cmake-apart" -DCMAKE_PREFIX_PATH="$root/apart" >"$root/said" 2>&1 &&
        cmake --build "$root/cmake-apart" --target everything-c >>"$root/said" 2>&1 || fail "cmake with INCLUDEDIR: $(grep -iA6 error "$root/said" | head -8)"
else
    echo "install: CMake was not run, it is absent" | tee -a "${CHECK_SKIPS:-/dev/null}"
fi
everything everything-python env CONSISTENCY_LIBRARY="$lib/libconsistency.so.0" PYTHONPATH=bindings/python "${PYTHON:-python3}" tests/install/everything.py
# Rust's idea of every struct, from the declarations that headers.py prints.
"${PYTHON:-python3}" tests/headers.py --rust-test >"$root/layout.rs" || fail "headers.py --rust-test"
if command -v rustc >/dev/null; then
    rustc -o "$root/layout" "$root/layout.rs" -L "$lib" 2>"$root/said" && LD_LIBRARY_PATH=$lib "$root/layout" >"$root/said" 2>&1 &&
        grep -q "sizes and offsets" "$root/said" || fail "Rust: $(head -3 "$root/said")"
    languages="$languages Rust ($(cat "$root/said"))"
else
    echo "install: Rust's sizes and offsets were not compared, rustc is absent" | tee -a "${CHECK_SKIPS:-/dev/null}"
fi
echo "install: everything in$languages"
"$root/dest/opt/cm/bin/cm-info" --machine >/dev/null 2>&1 || LD_LIBRARY_PATH=$root/dest/opt/cm/lib/x "$root/dest/opt/cm/bin/cm-info" --machine >/dev/null || fail "installed cm-info"
# The examples of the headers, against those that are installed.
"${PYTHON:-python3}" tests/headers.py --examples >"$root/examples.c" && cp "$root/examples.c" "$root/examples.cc"
examples="-Wall -Wextra -Werror -Wno-unused -Wno-unused-parameter -Wno-uninitialized -fsyntax-only"
gcc -std=c17 $examples $(pc --cflags) "$root/examples.c" || fail "the examples of the headers in C"
g++ -std=c++17 $examples $(pc --cflags) "$root/examples.cc" || fail "the examples of the headers in C++"
for header in include/consistency.h include/consistency/*.h; do
    for std in c99 c11 c17; do echo "#include \"$PWD/$header\"" | gcc -std=$std $warn -Iinclude -fsyntax-only -xc - || fail "$header as $std"; done
    for std in c++11 c++14 c++17 c++20; do echo "#include \"$PWD/$header\"" | g++ -std=$std $warn -Iinclude -fsyntax-only -xc++ - || fail "$header as $std"; done
    command -v clang >/dev/null && { echo "#include \"$PWD/$header\"" | clang -std=c99 $warn -Iinclude -fsyntax-only -xc - || fail "$header with clang"; }
done
# A prefix with blanks and letters beyond ASCII, twice, with an umask that lets nobody read; what a user has put there stays.
odd="$root/ein Präfix & more"
for again in 1 2; do (umask 077 && $make -s install BUILD="$build" PREFIX="$odd" >/dev/null) || fail "make install into '$odd'"; done
[ -z "$(find "$odd" ! -type l ! -perm -o=r)" ] || fail "what is installed is not everybody's to read: $(find "$odd" ! -type l ! -perm -o=r | head -3)"
odd_pc() { PKG_CONFIG_PATH="$odd/lib/pkgconfig" pkg-config "$@" consistency; }
eval "gcc -o '$root/odd' tests/install/draw.c $(odd_pc --cflags --libs)" && LD_LIBRARY_PATH=$odd/lib "$root/odd" tests/data/models/digits_consistency.safetensors "$root/odd.png" &&
    cmp -s "$root/shared.png" "$root/odd.png" || fail "a program of '$odd'"
"$odd/bin/cm-info" --machine >/dev/null || fail "a program in '$odd'"
echo mine >"$odd/share/consistency/features/mine"
$make -s uninstall BUILD="$build" PREFIX="$odd" >/dev/null 2>&1 || fail "make uninstall where a file is the user's"
[ "$(find "$odd" -type f -o -type l)" = "$odd/share/consistency/features/mine" ] || fail "uninstall leaves $(find "$odd" -type f -o -type l)"
$make -s uninstall BUILD="$build" DESTDIR="$root/dest" PREFIX=/opt/cm LIBDIR=/opt/cm/lib/x >/dev/null
[ -z "$(find "$root/dest" -type f -o -type l)" ] || fail "uninstall leaves $(find "$root/dest" -type f -o -type l)"
[ $status = 0 ] && echo "install: C and C++, shared and static, headers alone, uninstall clean"
exit $status
