#!/bin/sh
# symbols.sh LIBRARY.so LIBRARY.a: exports only cm_*, imports nothing that a guest may not
# use, no executable stack, no text relocations, no writable data of its own
# beyond the compiler's.  The static library shows the same symbols and no others.
library=$1 archive=$2
status=0
fail() { echo "FAIL $1"; status=1; }
nm -D --defined-only "$library" | awk '$2 != "A" {print $3}' | sed 's/@.*//' | grep -v '^cm_' && fail "exports above"
nm -D --undefined-only "$library" | awk '{print $2}' | sed 's/@.*//' |
    grep -xE 'abort|exit|_exit|__assert_fail|printf|puts|putchar|vprintf|fprintf|__printf_chk|__fprintf_chk|stdout|stderr|getenv|secure_getenv|rand|srand|random|setlocale|signal|sigaction|strtok|chdir|umask' &&
    fail "imports above"
readelf -lW "$library" | grep GNU_STACK | grep -q RWE && fail "executable stack"
readelf -dW "$library" | grep -q TEXTREL && fail "text relocations"
readelf -dW "$library" | grep -q 'SONAME.*libconsistency\.so\.0' || fail "SONAME"
readelf -dW "$library" | grep -qE 'BIND_NOW|FLAGS.*NOW' || fail "not bound at load"
# Writable objects: only what the compiler itself puts there (the per-thread
# message is thread-local, constants are read-only after relocation).
objdump -t "$library" | awk '($4 == ".data" || $4 == ".bss" || $5 == ".data" || $5 == ".bss") && $NF !~ /^\./ {print $NF}' |
    grep -vE '^(completed\.0|__dso_handle|__TMC_END__|__bss_start|_edata|_end)$' &&
    fail "writable objects above"
exports() { nm "$@" --defined-only | awk 'NF == 3 && $2 != "A" {print $3}' | sed 's/@.*//' | sort; }
# A function of the library that is not of the interface is called cmi_.
nm "$archive" --defined-only | awk 'NF == 3 && $2 ~ /[tdrb]/ && $3 ~ /^cm_[a-z0-9_]*$/ {print $3}' | grep . && fail "internal names that look public above"
[ "$(exports -D "$library")" = "$(exports -g "$archive")" ] || fail "the static library shows other symbols than the shared one"
[ $status = 0 ] && echo "symbols: $(nm -D --defined-only "$library" | grep -c ' T cm_') exports"
exit $status
