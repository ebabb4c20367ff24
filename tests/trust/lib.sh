# lib.sh - read first by each tests/trust/rN.sh BUILD EFFORT.
#
#   part WHAT COMMAND...   runs it; where it fails the promise is not kept, and the others still run
#   long                   true where the promise is to be shown as far as it goes, not a sample of it
#   figure TEXT            one of the figures of the promise's line
#   elsewhere TEXT         what of the promise other targets of make check run, so that a sample does not
#   skip TEXT              what could not be shown here, and why
#   finish                 the last command
#
# What `make check` runs anyway is not run again by a sample.
build=$1 effort=$2 status=0
exec 3>&1 # the log, also where the output of a part goes to a file
cd "$(dirname "$0")/../.." || exit 1
python=${PYTHON:-python3}
export CONSISTENCY_BUILD=$build

long() { [ "$effort" = long ]; }
figure() { echo "figure: $*"; }
elsewhere() { echo "elsewhere: $*"; }
skip() { echo "skipped: $*"; }
part() {
    local what=$1
    shift
    echo "--- $what: $*" >&3
    "$@" || { echo "failed: $what" >&3; status=1; return 1; }
}
finish() { exit $status; }
