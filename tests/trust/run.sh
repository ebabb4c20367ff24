#!/bin/bash
# run.sh BUILD EFFORT PROMISE...: the promises one after the other, a line for each.  EFFORT is `sample`, `long` or
# `estimate`.  What a promise prints stands in BUILD/trust/PROMISE.log.  Exit 0: all are kept.
#
# Long parts that have passed stand in TRUST_KEPT (BUILD/trust/kept), by promise and by the hash of the sources, and are
# not run again: what one session has no time for the next one runs.
build=$1 effort=$2
shift 2
here=$(dirname "$0")
mkdir -p "$build/trust"
status=0
top=${TRUST_KEPT:-$build/trust/kept}
total=0
# The documents count for the promise about them alone.
sources() {
    (cd "$here/../.." && { git ls-files -co --exclude-standard 2>/dev/null || find . -path ./build -prune -o -type f -print; } | sort |
        { [ "$1" = r14 ] && cat || grep -vE '^(\./)?(docs|man)/|\.md$|NEWS$'; } | tr '\n' '\0' | xargs -0 sha256sum 2>/dev/null) | sha256sum | cut -c1-16
}
for promise; do
    log=$build/trust/$promise.log
    name=$(echo "$promise" | tr r R)
    if [ ! -f "$here/$promise.sh" ]; then
        echo "$name not shown: there is no $here/$promise.sh" | tee -a "${CHECK_SKIPS:-/dev/null}"
        [ "$effort" = sample ] || status=1
        continue
    fi
    begin=$SECONDS
    if [ "$effort" != sample ]; then
        export TRUST_KEPT=$top/$promise-$(sources "$promise")
        mkdir -p "$TRUST_KEPT"
    fi
    if [ "$effort" = estimate ]; then
        bash "$here/$promise.sh" "$build" estimate 2>/dev/null | sed -n 's/^takes: //p' >"$log"
        left=$(grep -v '(shown)$' "$log" | awk '{n += $1} END {print n + 0}')
        total=$((total + left))
        echo "$name $left s of a processor are left: $(sed 's/^\([0-9]*\) \(.*\)/\2 \1 s/' "$log" | paste -sd ';' | sed 's/;/; /g')"
        continue
    fi
    bash "$here/$promise.sh" "$build" "$effort" >"$log" 2>&1
    code=$?
    figures=$(sed -n 's/^figure: //p' "$log" | paste -sd ';' | sed 's/;/; /g')
    elsewhere=$(sed -n 's/^elsewhere: //p' "$log")
    if [ $code = 0 ] && [ -z "$figures" ] && [ -n "$elsewhere" ]; then
        echo "$name in other targets of make check: $elsewhere"
    elif [ $code = 0 ] && [ -z "$figures" ]; then
        echo "$name not shown"
        [ "$effort" = sample ] || status=1
    elif [ $code = 0 ]; then
        echo "$name kept: $figures ($((SECONDS - begin)) s)"
    else
        echo "$name NOT KEPT: $(sed -n 's/^failed: //p' "$log" | paste -sd ';'); $figures ($log)"
        tail -15 "$log" | sed 's/^/    /'
        status=1
    fi
    sed -n 's/^skipped: /'"$name"' in part: /p' "$log" | tee -a "${CHECK_SKIPS:-/dev/null}"
done
[ "$effort" != estimate ] || echo "in all $total s"
[ "$effort" != sample ] || echo "the samples of $# promises took $SECONDS s"
exit $status
