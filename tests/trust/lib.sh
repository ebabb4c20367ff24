# lib.sh - read first by each tests/trust/rN.sh BUILD EFFORT.
#
#   part WHAT COMMAND...   runs it; where it fails the promise is not kept, and the others still run
#   long                   true where the promise is to be shown as far as it goes, not a sample of it
#   figure TEXT            one of the figures of the promise's line
#   skip TEXT              what could not be shown here, and why
#   finish                 the last command
#
# What `make check` runs anyway is not run again by a sample.
build=$1 effort=$2 status=0
cd "$(dirname "$0")/../.." || exit 1
python=${PYTHON:-python3}
export CONSISTENCY_BUILD=$build

long() { [ "$effort" = long ]; }
figure() { echo "figure: $*"; }
skip() { echo "skipped: $*"; }
part() {
    local what=$1
    shift
    echo "--- $what: $*"
    "$@" || { echo "failed: $what"; status=1; return 1; }
}
finish() { exit $status; }
