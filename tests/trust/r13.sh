# R13 several processes: the bits of one, and an end of all after a fault of one.
. "$(dirname "$0")/lib.sh"
if [ ! -f tests/mpi.sh ]; then
    skip "this version trains in one process"
elif long; then
    takes 700 # of the kills every second is of rank 1: 50 of each
    part "processes" bash tests/mpi.sh "$build" 100 >"$build/trust/mpi.txt"
    takes 60
    part "a network that is slow, loses or is cut" "$python" tests/mpi_network.py "$build" >"$build/trust/mpi-network.txt"
    # Where there is no MPI, no root or no namespaces, they say so and end well.
    for name in mpi mpi-network; do
        cat "$build/trust/$name.txt"
        said=$(grep 'not run' "$build/trust/$name.txt")
        [ -n "$said" ] && skip "$said" || figure "$(tail -1 "$build/trust/$name.txt")"
    done
else
    elsewhere "processes alone and together, and the in-process group"
fi
finish
