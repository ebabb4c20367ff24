#!/bin/bash
# run.sh BUILD EFFORT PROMISE...: the promises one after the other, a line for each.  EFFORT is `sample` or `long`.
# What a promise prints stands in BUILD/trust/PROMISE.log.  Exit 0: all are kept.
build=$1 effort=$2
shift 2
here=$(dirname "$0")
mkdir -p "$build/trust"
status=0
for promise; do
    log=$build/trust/$promise.log
    name=$(echo "$promise" | tr r R)
    if [ ! -f "$here/$promise.sh" ]; then
        echo "$name not shown: there is no $here/$promise.sh" | tee -a "${CHECK_SKIPS:-/dev/null}"
        [ "$effort" = sample ] || status=1
        continue
    fi
    begin=$SECONDS
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
exit $status
