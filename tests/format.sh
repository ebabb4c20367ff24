#!/bin/sh
# format.sh [FOLDER...]: every C and C++ file stands as clang-format 14 (Debian 12's) lays it out; other versions lay some
# lines out differently, so where that one is absent nothing is compared and a line says so.
cd "$(dirname "$0")/.." || exit 1
for tool in clang-format-14 clang-format none; do
    $tool --version 2>/dev/null | grep -q 'version 14\.' && break
done
[ "$tool" = none ] && {
    echo "format: not checked, clang-format 14 is absent" | tee -a "${CHECK_SKIPS:-/dev/null}"
    exit 0
}
[ $# -gt 0 ] || set -- src include tests examples embed
files=$(find "$@" -name '*.c' -o -name '*.h' -o -name '*.cc')
[ "$(echo "$files" | wc -l)" -gt 20 ] || { echo "FAIL format: too few files were seen"; exit 1; }
bad=$($tool --style=file --dry-run $files 2>&1 | sed -n 's/^\([^ :]*\):[0-9]*:[0-9]*: warning: .*clang-format.*/\1/p' | sort -u)
[ -z "$bad" ] && { echo "format: $(echo "$files" | wc -l) files"; exit 0; }
echo "$bad" | sed 's/^/FAIL not formatted (make format): /'
exit 1
