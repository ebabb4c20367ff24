#!/bin/bash
# faults.sh BUILD: what shows that the tests of the promises see faults: changed operators, and coverage of the whole tree.
build=$1
cd "$(dirname "$0")/../.." || exit 1
status=0
"${PYTHON:-python3}" tests/mutations.py "$build" --number 100 --least 85 || status=1
bash tests/trust/coverage.sh "$build" tests 90 80 || status=1
exit $status
