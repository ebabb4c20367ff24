#!/bin/bash
# matrix.sh BUILD "UNITS" NAME...: the library as other compilations make it, and what analysers say of src.  A line for each
# NAME; BUILD/matrix-NAME.txt has all that was said.
#
#   O0        gcc -O0                                       UNITS run
#   lto       gcc -O3 -flto: the shared library, UNITS run  types that differ between files are errors
#   fortify   gcc -O2 -D_FORTIFY_SOURCE=3                   UNITS run
#   pattern   clang -ftrivial-auto-var-init=pattern         UNITS run: what is read before it is written is not zero
#   msan      clang -fsanitize=memory, without oneDNN       the corpora of all fuzz targets, whole and damaged
#   cppcheck  --enable=warning,portability                  src
#   tidy      clang-tidy, the checks in tidy below          src
#   analyzer  gcc -fanalyzer                                src, file by file
#
# What the analysers say and is wrong stands in matrix.supp with its reason.
build=$1 units=$2 status=0
shift 2
cd "$(dirname "$0")/../.." || exit 1
make=${MAKE:-make}
known=tests/trust/matrix.supp

absent() { # NAME TOOL
    command -v "$2" >/dev/null && return 1
    echo "matrix: $1: not run, $2 is absent"
}
failed() { # NAME WHAT
    echo "matrix: $1: FAILED: $2 ($build/matrix-$1.txt)"
    status=1
    return 1
}
built() { # NAME VARIABLES OF MAKE..., TARGETS...
    local name=$1
    shift
    $make --no-print-directory BUILD="$build/matrix-$name" "$@" >"$build/matrix-$name.txt" 2>&1 || { failed "$name" "it does not build"; return 1; }
}
# The units of a configuration, built and run.
run_units() { # NAME VARIABLES OF MAKE...
    local name=$1 place=$build/matrix-$1 unit checks=0 n
    built "$@" $(for unit in $units; do echo "$place/tests/$unit"; done) || return
    for unit in $units; do
        CHECK_EFFORT=${CHECK_EFFORT:-short} "$place/tests/$unit" >"$place/said" 2>&1 || { cat "$place/said" >>"$build/matrix-$name.txt"; failed "$name" "$unit"; return; }
        cat "$place/said" >>"$build/matrix-$name.txt"
        n=$(sed -n 's/.*Checks: \([0-9]*\), Failures: 0, Errors: 0.*/\1/p' "$place/said" | paste -sd+ | bc)
        checks=$((checks + ${n:-0}))
    done
    echo "matrix: $name: $(echo $units | wc -w) programs, $checks cases pass"
}

O0() { run_units O0 CC=gcc FORTIFY= CFLAGS="-O0 -g -Werror -Wno-frame-larger-than"; }
lto() {
    absent lto gcc-ar && return
    # One job links: -flto=1.  Kernels of several CPU levels are one unit here, each function with its own flags.
    local flags="-O3 -flto=1 -Werror=lto-type-mismatch -Werror=odr -Wno-frame-larger-than"
    run_units lto CC=gcc AR=gcc-ar CFLAGS="$flags" "$build/matrix-lto/lib/libconsistency.so"
}
fortify() { run_units fortify CC=gcc FORTIFY="-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3" CFLAGS="-O2 -g -Werror"; }
pattern() {
    absent pattern clang && return
    run_units pattern CC=clang FORTIFY= CFLAGS="-O1 -g -ftrivial-auto-var-init=pattern -Wno-frame-larger-than -Wno-pass-failed"
}

# What malloc gives counts as written, for the libraries that are compiled without it; what the library asks its context for does
# not (tests/support/memory.c).
msan() {
    absent msan clang && return
    local place=$build/matrix-msan flags="-O1 -g -fsanitize=memory -fno-omit-frame-pointer -Wno-frame-larger-than -Wno-pass-failed" t said copies=0 wraps="" targets
    targets=$(sed -n 's/^FUZZ := //p' tests/tests.mk)
    for t in zip_stat_index zip_file_get_external_attributes zip_fread inflate png_set_write_fn; do wraps="$wraps -Wl,--wrap=$t"; done
    set -- MATRIX_MSAN=1 CC=clang DNNL=none FORTIFY= CFLAGS="$flags"
    built msan "$@" "$place/tests/trust/msan.o" || return
    built msan "$@" LDFLAGS="$wraps $place/tests/trust/msan.o -Wl,--version-script=tests/trust/msan.map" $(for t in $targets; do echo "$place/tests/replay-$t"; done) || return
    for t in $targets; do
        said=$(MSAN_OPTIONS=poison_in_malloc=0:poison_in_free=0 FUZZ_QUIET=1 "$place/tests/replay-$t" $($make -s --no-print-directory BUILD="$place" print-corpus-$t) 2>&1) ||
            { echo "$said" >>"$build/matrix-msan.txt"; failed msan "the corpus of $t"; continue; }
        echo "$said" >>"$build/matrix-msan.txt"
        copies=$((copies + $(echo "$said" | awk '/ files, [0-9]+ damaged copies$/ { n += $(NF - 2) } END { print n + 0 }')))
    done
    echo "matrix: msan: $(echo $targets | wc -w) targets, $copies damaged files"
}

# judged NAME: lines `FILE ID` in BUILD/matrix-NAME.found beside those of matrix.supp, `NAME FILE ID COUNT # reason`.
judged() {
    local name=$1 found=$build/matrix-$1.found new
    new=$(sort "$found" | uniq -c | awk -v name="$name" '
        FNR == NR { if ($1 == name) most[$2 " " $3] = $4; next }
        $1 > most[$2 " " $3] + 0 { printf "%s %s: %d, known %d; ", $2, $3, $1, most[$2 " " $3] }' "$known" -)
    [ -z "$new" ] || { failed "$name" "$new"; return; }
    echo "matrix: $name: nothing new; $(wc -l <"$found") findings are known to be wrong"
}
# Kernels are left to cppcheck: the others take their vector types for numbers or do not know them.
sources() { { git ls-files 'src/*.c' 2>/dev/null || find src -name '*.c'; } | grep -v '^src/kernels/[^d]'; }
cppcheck_() {
    absent cppcheck cppcheck && return
    cppcheck -q --enable=warning,portability --std=c11 -Iinclude -Isrc --suppress=missingIncludeSystem \
        --template='{file}:{line}: {message} [{id}]' src >"$build/matrix-cppcheck.txt" 2>&1 || { failed cppcheck "it ends with an error"; return; }
    sed -n 's/^\(src[^:]*\):[0-9]*: .* \[\([A-Za-z]*\)\]$/\1 \2/p' "$build/matrix-cppcheck.txt" >"$build/matrix-cppcheck.found"
    judged cppcheck
}
tidy() {
    local tidy=$(command -v clang-tidy clang-tidy-14 | head -1) f
    [ -n "$tidy" ] || { absent tidy clang-tidy; return; }
    for f in $(sources); do
        $tidy --quiet --checks="$tidy_checks" "$f" -- -std=c11 -Iinclude -Isrc -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE \
            $([ "$f" = src/base/status.c ] || echo -include tests/trust/analysed.h)
    done >"$build/matrix-tidy.txt" 2>"$build/matrix-tidy.log"
    sed -n "s|^$PWD/\(src[^:]*\):[0-9:]* warning: .* \[\([A-Za-z.,-]*\)\]$|\1 \2|p" "$build/matrix-tidy.txt" >"$build/matrix-tidy.found"
    grep -q 'error:' "$build/matrix-tidy.txt" && { failed tidy "a file does not compile"; return; }
    judged tidy
}
analyse() {
    local f
    for f in $(sources); do
        gcc -fanalyzer -O1 -std=c11 -Iinclude -Isrc -D_POSIX_C_SOURCE=200809L -D_DEFAULT_SOURCE -fdiagnostics-plain-output \
            -fdiagnostics-path-format=none $([ "$f" = src/base/status.c ] || echo -include tests/trust/analysed.h) -c -o /dev/null "$f" || return 1
    done
}
analyzer() {
    absent analyzer gcc && return
    analyse >"$build/matrix-analyzer.txt" 2>&1 || { failed analyzer "a file does not compile"; return; }
    sed -n 's/^\(src[^:]*\):[0-9:]* warning: .* \[-W\(analyzer-[a-z-]*\)\]$/\1 \2/p' "$build/matrix-analyzer.txt" >"$build/matrix-analyzer.found"
    judged analyzer
}
tidy_checks='-*,bugprone-*,-bugprone-easily-swappable-parameters,-bugprone-reserved-identifier,-bugprone-narrowing-conversions,-bugprone-implicit-widening-of-multiplication-result,-bugprone-assignment-in-if-condition,-bugprone-macro-parentheses,-bugprone-branch-clone,-bugprone-not-null-terminated-result,-bugprone-sizeof-expression'

mkdir -p "$build"
for name in "$@"; do
    case $name in
    O0 | lto | fortify | pattern | msan | tidy | analyzer) $name ;;
    cppcheck) cppcheck_ ;;
    *) echo "matrix: there is no '$name'"; status=1 ;;
    esac
done
exit $status
