# R10 threads, cancelling, strange hosts.
. "$(dirname "$0")/lib.sh"
program=$build/tests/handles_program
try() { part "$1" env OMP_NUM_THREADS=4 timeout 7200 "$program" "$1" $2 >"$build/trust/handles-$1.txt" && figure "$(cat "$build/trust/handles-$1.txt")"; }
if long; then
    takes 4
    try threads 200
    takes 390
    try cancel 200
    takes 40
    try cycles 1000
    takes 1
    try host
    takes 10
    part "1,000 cycles and others" env CHECK_EFFORT=long CK_RUN_CASE=guest "$build/tests/check_guest"
    takes 20
    part "thread programs" env PYTHON="$python" bash tests/threads.sh "$build"
    # The tools do not see what oneDNN and libgomp synchronise with: their frames are left out, and nothing else.  What
    # clang's ThreadSanitizer calls is in the program alone, so the library may lack it.
    tsan="-fsanitize=thread"
    under_tsan() {
        TSAN_OPTIONS="suppressions=$PWD/tests/trust/tsan.supp exitcode=66" ONEDNN_MAX_CPU_ISA=SSE41 OMP_NUM_THREADS=1 timeout 7200 "$build/tsan/tests/handles_program" "$@"
    }
    takes 200
    part "build for ThreadSanitizer" $MAKE --no-print-directory BUILD="$build/tsan" CC=clang FORTIFY= KERNEL_FLAGS=-O1 CFLAGS="-O1 -g $tsan -Wno-pass-failed" \
        LDFLAGS="$tsan -Wl,-z,undefs" "$build/tsan/tests/handles_program" >"$build/trust/build.txt" 2>&1 &&
        takes 60 &&
        part "ThreadSanitizer" under_tsan threads 4 >"$build/trust/tsan.txt" 2>&1 && figure "ThreadSanitizer finds nothing" &&
        takes 100 && # threads that read ahead, and what one thread asks of another
        part "ThreadSanitizer, calls that are stopped" under_tsan cancel 2 >"$build/trust/tsan-cancel.txt" 2>&1 && figure "nor within calls that are stopped"
    takes 120
    part "helgrind" env JSIMD_FORCENONE=1 OMP_NUM_THREADS=1 timeout 7200 valgrind -q --tool=helgrind --error-exitcode=9 --suppressions=tests/trust/helgrind.supp \
        "$program" threads 1 >"$build/trust/helgrind.txt" 2>&1 && figure "helgrind finds nothing"
else
    try threads 8
    try cancel 2
    try cycles 20
    try host
fi
finish
