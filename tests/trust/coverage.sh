#!/bin/bash
# coverage.sh BUILD corpus|tests LINES BRANCHES: percentages of lines and branches that the fuzz targets' corpora reach in the
# parsers, or the unit tests and the corpora in all of src, by llvm-cov; fails below the given ones.  BUILD/trust/coverage-*.txt lists the
# files.  BUILD/fuzz/corpus, which fuzzing leaves, counts as corpus too.
build=$1 what=$2 lines=$3 branches=$4
cov=$build/cov
flags="-O1 -g -fprofile-instr-generate -fcoverage-mapping -Wno-frame-larger-than -Wno-pass-failed"
profdata=$(command -v llvm-profdata llvm-profdata-14 | head -1) llvmcov=$(command -v llvm-cov llvm-cov-14 | head -1)
[ -n "$profdata" ] && [ -n "$llvmcov" ] || { echo "coverage: llvm-cov is absent"; exit 1; }
run() { LLVM_PROFILE_FILE=$PWD/$cov/profiles/%p-%m.profraw "$@"; }
rm -rf "$cov/profiles"
mkdir -p "$cov/profiles" "$build/trust"
targets=$(sed -n 's/^FUZZ := //p' tests/tests.mk)
programs=$(for t in $targets; do echo "$cov/tests/replay-$t"; done)
if [ "$what" = tests ]; then
    programs="$programs $(sed -n '/^UNITS :=/,/[^\\]$/p' tests/tests.mk | sed 's/^UNITS :=//; s/\\$//' | tr ' ' '\n' | grep . | sed "s|^|$cov/tests/|")"
fi
${MAKE:-make} --no-print-directory -j2 BUILD="$cov" CC=clang FORTIFY= CFLAGS="$flags" LDFLAGS="-fprofile-instr-generate" \
    $programs >"$build/trust/coverage-build.txt" 2>&1 || { tail -5 "$build/trust/coverage-build.txt"; exit 1; }
objects=""
for p in $programs; do
    t=${p##*/replay-}
    if [ "$t" != "$p" ]; then
        files=$(ls tests/fuzz/corpus/"${t/checkpoint/torch}"/* "$build"/fuzz/corpus/"$t"/* 2>/dev/null)
        case $t in
        safetensors) files="$files $(ls tests/data/golden/checkpoints/*st_*.safetensors)" ;;
        torch | checkpoint) files="$files $(ls tests/data/golden/checkpoints/*.pt)" ;;
        flax) files="$files $(ls tests/data/golden/checkpoints/*flax*.msgpack)" ;;
        esac
        for group in $files; do echo "$group"; done | FUZZ_QUIET=1 run xargs -n 500 "$p" >/dev/null 2>&1 || echo "coverage: $p failed"
    else
        run "$p" >/dev/null 2>&1 || echo "coverage: $p failed"
    fi
    objects="$objects -object $p"
done
$profdata merge -sparse -o "$cov/all.profdata" "$cov"/profiles/*.profraw || exit 1
ignore='-ignore-filename-regex=(^|/)(tests|examples|include)/|[.]h$'
parsers="src/io/json_text.c src/io/json_tree.c src/io/safetensors.c src/io/pickle.c src/io/pickle_machine.c src/io/pickle_opcodes.c
        src/io/pickle_symbols.c src/io/zip_directory.c src/io/torch.c src/io/torch_choice.c src/io/torch_data.c src/io/torch_zip.c
        src/io/torch_legacy.c src/io/torch_modules.c src/io/edm_pickle.c src/io/edm_network.c src/io/msgpack.c src/io/flax.c src/io/flax_tree.c
        src/io/picture.c src/io/orient.c src/io/jpeg.c src/io/png.c src/io/npy.c src/io/npz.c src/io/zip.c src/io/gunzip.c src/data/tar.c src/data/idx.c
        src/data/cifar.c src/data/zipset.c src/data/npzset.c src/data/label_json.c src/train/state_resume.c src/train/settings_json.c src/metrics/statistics_file.c"
$llvmcov report "$ignore" -instr-profile "$cov/all.profdata" ${objects# -object } >"$build/trust/coverage-$what.txt" || exit 1
# total LINES BRANCHES NAME [FILE...]: of these files, or of all.
total() {
    local lines=$1 branches=$2 name=$3
    shift 3
    awk -v lines="$lines" -v branches="$branches" -v name="$name" -v files="$*" '
        function of(name,  i) { for (i in wanted) if (name == wanted[i] || substr(wanted[i], length(wanted[i]) - length(name)) == "/" name) return 1; return 0 }
        BEGIN { n = split(files, wanted, " ") }
        n ? of($1) : /^TOTAL/ { all += $8; missed += $9; branch += $11; taken += $12; count++ }
        END {
            l = 100 * (1 - missed / all); b = branch > 0 ? 100 * (1 - taken / branch) : 100
            printf "%s%.1f %% of %d lines, %.1f %% of %d branches\n", name, l, all, b, branch
            if (n && n != count) printf "coverage: %d of these files, not %d\n", count, n
            exit !(l >= lines && b >= branches && (!n || n == count)) }' "$build/trust/coverage-$what.txt"
}
status=0
{
    if [ "$what" = corpus ]; then
        total "$lines" "$branches" "" $parsers || status=1
    else
        # The parsers and what reads checkpoints have to be seen better than the rest.
        total 95 90 "parsers: " $parsers || status=1
        total "$lines" "$branches" "" || status=1
    fi
} >"$build/trust/coverage-total.txt"
tee -a "$build/trust/coverage-$what.txt" <"$build/trust/coverage-total.txt"
exit $status
