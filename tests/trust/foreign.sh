#!/bin/bash
# foreign.sh i386|arm64 BUILD: the library with its plain kernels built by clang for another processor, and run there: i386 by
# this machine where it is an x86_64, arm64 by qemu.  Debian's packages of that processor are unpacked into
# BUILD/foreign/ARCH, and nothing is installed.  oneDNN is not asked: what is run does not need it.
arch=$1 place=$PWD/$2/foreign/$1
root=$place/root
case $arch in
i386) triple=i686-linux-gnu dir=i386-linux-gnu more="" flags="-msse2 -mfpmath=sse" ;;
arm64) triple=aarch64-linux-gnu dir=aarch64-linux-gnu more="qemu-user-static binutils-aarch64-linux-gnu" flags="" ;;
*) exit 2 ;;
esac
mkdir -p "$place"/apt/{state/lists/partial,cache/archives/partial} "$root" "$place/obj" "$place/host"
: >>"$place/apt/status"
cat >"$place/apt/conf" <<E
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
Dir::State "$place/apt/state";
Dir::State::status "$place/apt/status";
Dir::Cache "$place/apt/cache";
E
if [ ! -f "$place/unpacked" ]; then
    export APT_CONFIG=$place/apt/conf
    apt-get -qq update >/dev/null 2>&1
    apt-get -qq -y --no-install-recommends --download-only install libc6-dev libgcc-12-dev libstdc++-12-dev libjansson-dev libzip-dev libxxhash-dev \
        zlib1g-dev libpng-dev libjpeg-dev liblapack-dev check >/dev/null || { echo "foreign: Debian's packages of $arch cannot be fetched"; exit 3; }
    unset APT_CONFIG
    for deb in "$place"/apt/cache/archives/*.deb; do dpkg-deb -x "$deb" "$root" || exit 1; done
    for package in $more; do
        (cd "$place/host" && apt-get -qq download "$package" >/dev/null 2>&1) || { echo "foreign: $package cannot be fetched"; exit 3; }
    done
    for deb in "$place"/host/*.deb; do [ -f "$deb" ] && dpkg-deb -x "$deb" "$place/host"; done
    touch "$place/unpacked"
fi
[ $arch = arm64 ] && export PATH=$place/host/usr/bin:$PATH LD_LIBRARY_PATH=$place/host/usr/lib/x86_64-linux-gnu
loader=$(find "$root" -name 'ld-linux*.so.[0-9]' | head -1)
run() {
    local libraries=$root/usr/lib/$dir:$root/lib/$dir:$root/usr/lib/$dir/lapack:$root/usr/lib/$dir/blas
    if [ $arch = arm64 ]; then env -u LD_LIBRARY_PATH "$place/host/usr/bin/qemu-aarch64-static" -L "$root" -E LD_LIBRARY_PATH="$libraries" "$@"
    else env -u LD_LIBRARY_PATH "$loader" --library-path "$libraries" "$@"; fi
}
cc="clang --target=$triple --sysroot=$root -std=c11 -O1 -g $flags -Wall -Wextra -Wno-unknown-warning-option -ffp-contract=off -fPIC -Iinclude -Isrc -Itests
    -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -D_FILE_OFFSET_BITS=64"
sources="$(ls src/*/*.c | grep -vE '^src/(dnnl/backend|kernels/)') tests/support/memory.c src/kernels/dispatch.c"
objects=""
for source in $sources; do
    object=$place/obj/$(echo "$source" | tr / _).o
    [ "$object" -nt "$source" ] || $cc -c -o "$object" "$source" 2>>"$place/warnings" || { tail -5 "$place/warnings"; echo "foreign: $source does not compile for $arch"; exit 1; }
    objects="$objects $object"
done
for kind in pointwise sums_f64 gemm_f32 gemm_bf16 winograd_f32 winograd_bf16 bf16; do
    object=$place/obj/kernel_$kind.o
    level=$([ $kind = bf16 ] && echo plain || echo baseline)
    $cc -O2 -DCM_TABLE=cmi_${kind}_$level -DCM_LANES=4 -c -o "$object" src/kernels/$kind.c 2>>"$place/warnings" || { tail -5 "$place/warnings"; echo "foreign: src/kernels/$kind.c does not compile for $arch"; exit 1; }
    objects="$objects $object"
done
# The corpora of the parsers, whole and damaged; then what the kernels give beside plain loops.  The target of command lines
# is one of the programs, and is not run here; those of options and states take long under qemu.
without=cli
[ $arch = arm64 ] && without='cli|options|state'
targets=$(sed -n 's/^FUZZ := //p' tests/tests.mk | tr ' ' '\n' | grep -vxE "$without")
libraries="-L$root/usr/lib/$dir -L$root/lib/$dir -L$root/usr/lib/$dir/lapack -L$root/usr/lib/$dir/blas -llapack -lblas -ljansson -lzip -lpng -ljpeg -lz -lxxhash -l:libm.so.6 -lpthread"
link() { clang --target=$triple --sysroot="$root" -o "$place/$1" "$place/obj/$1.o" "${@:2}" $objects $libraries 2>"$place/link" || { tail -5 "$place/link"; echo "foreign: $1 does not link for $arch"; exit 1; }; }
$cc -c -o "$place/obj/replay.o" tests/fuzz/replay.c || exit 1
copies=0
for t in $targets; do
    $cc -c -o "$place/obj/$t.o" tests/fuzz/$t.c || exit 1
    link $t "$place/obj/replay.o"
    said=$(FUZZ_QUIET=1 run "$place/$t" $(${MAKE:-make} -s --no-print-directory print-corpus-$t)) || { echo "foreign: the corpus of $t fails on $arch: $said"; exit 1; }
    copies=$((copies + $(echo "$said" | awk '/ files, [0-9]+ damaged copies$/ { n += $(NF - 2) } END { print n + 0 }')))
done
$cc -Wno-unused-function -c -o "$place/obj/plain_kernels.o" tests/trust/plain_kernels.c || exit 1
link plain_kernels
kernels=$(run "$place/plain_kernels") || { echo "foreign: plain kernels on $arch: $kernels"; exit 1; }
echo "$arch: $copies damaged files by $(echo $targets | wc -w) targets; $kernels"
