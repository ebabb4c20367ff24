# R13 several processes: the bits of one, and an end of all after a fault of one.
. "$(dirname "$0")/lib.sh"
if [ ! -f tests/mpi.sh ]; then
    skip "this version trains in one process"
elif long; then
    takes 120
    part "processes" bash tests/mpi.sh "$build" 3 >"$build/trust/mpi.txt"
    cat "$build/trust/mpi.txt"
    figure "$(tail -1 "$build/trust/mpi.txt")"
else
    elsewhere "processes alone and together, and the in-process group"
fi
finish
