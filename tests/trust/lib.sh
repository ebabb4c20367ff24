# lib.sh - read first by each tests/trust/rN.sh BUILD EFFORT.
#
#   takes SECONDS          of a processor, by the next part in its long form (measured on one core of an AVX-512 machine)
#   part WHAT COMMAND...   runs it; where it fails the promise is not kept, and the others still run
#   long                   true where the promise is to be shown as far as it goes, not a sample of it
#   figure TEXT            one of the figures of the promise's line
#   elsewhere TEXT         what of the promise other targets of make check run, so that a sample does not
#   skip TEXT              what could not be shown here, and why
#   finish                 the last command
#
# What `make check` runs anyway is not run again by a sample.  A part of a long form that has passed is not run again
# while the sources are the same: TRUST_KEPT, a folder for this promise and these sources, has its output.  EFFORT
# `estimate` runs nothing and says what the long form would take.
build=$1 effort=$2 status=0 seconds=
exec 3>&1 # the log, also where the output of a part goes to a file
cd "$(dirname "$0")/../.." || exit 1
python=${PYTHON:-python3}
export CONSISTENCY_BUILD=$build

long() { [ "$effort" != sample ]; }
figure() { echo "figure: $*"; }
elsewhere() { echo "elsewhere: $*"; }
skip() { echo "skipped: $*"; }
takes() { seconds=$1; }

# Where the output of a part that has passed is kept; "" for none.  What builds is not kept: make knows what is there.
kept() {
    [ "$effort" != sample ] && [ -n "$TRUST_KEPT" ] || return
    case $1 in build*) ;; *) echo "$TRUST_KEPT/$(echo "$1" | tr -c 'A-Za-z0-9\n' -)" ;; esac
}
run_part() {
    local what=$1 place code
    shift
    place=$(kept "$what")
    if [ -z "$place" ]; then
        "$@"
        return
    fi
    "$@" >"$place.running"
    code=$?
    cat "$place.running"
    if [ $code = 0 ]; then mv "$place.running" "$place"; else rm -f "$place.running"; fi
    return $code
}
part() {
    local what=$1 place takes=$seconds
    shift
    seconds=
    place=$(kept "$what")
    if [ "$effort" = estimate ]; then
        echo "takes: ${takes:-0} $what$([ -f "$place" ] && echo " (shown)")" >&3
    elif [ -f "$place" ]; then
        echo "--- $what: shown before on these sources" >&3
        cat "$place"
    else
        echo "--- $what: $*" >&3
        run_part "$what" "$@" || { echo "failed: $what" >&3; status=1; return 1; }
    fi
}
finish() { exit $status; }
