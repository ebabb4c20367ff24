#!/bin/bash
# campaign.sh BUILD FOLDER SECONDS ROUNDS TARGET...: fuzzing over days, in as many sessions as it takes.
#
# Each round gives every target SECONDS (by libFuzzer, BUILD/fuzz-TARGET).  FOLDER, outside of the tree, keeps what was
# found: corpus/TARGET (which begins with the tree's), findings/, and executions.tsv with a line a run: when, of which
# commit, target, seconds, executions, how it ended.  Without targets the sums are printed alone.
build=$1 folder=$2 seconds=$3 rounds=$4
[ -n "$folder" ] || { echo "usage: campaign.sh BUILD FOLDER SECONDS ROUNDS TARGET..."; exit 2; }
cd "$(dirname "$0")/../.." || exit 1
mkdir -p "$folder/corpus" "$folder/findings"
shift $(($# < 4 ? $# : 4))
ledger=$folder/executions.tsv
commit=$(git rev-parse --short HEAD 2>/dev/null || echo none)
stopped=0 status=0
trap 'stopped=1' INT TERM
for ((round = 0; round < ${rounds:-0} && !stopped; round++)); do
    for target; do
        [ $stopped = 0 ] || break
        corpus=$folder/corpus/$target log=$folder/$target.log
        more=""
        [ "$target" = cli ] && more=-close_fd_mask=3
        [ -f "tests/fuzz/$target.dict" ] && more="$more -dict=tests/fuzz/$target.dict"
        # shellcheck disable=SC2086 # options
        ASAN_OPTIONS=quarantine_size_mb=64 "$build/fuzz-$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=512 -max_len=16384 $more -print_final_stats=1 \
            -artifact_prefix="$folder/findings/$target-" "$corpus" >"$log" 2>&1
        code=$?
        executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
        [ $code = 0 ] && ended=good || ended="exit $code"
        [ $code = 0 ] || [ $stopped = 1 ] || { status=1; cp "$log" "$folder/findings/$target-$(date +%s).log"; }
        printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$(date -u +%FT%TZ)" "$commit" "$target" "$seconds" "${executions:-0}" "$ended" >>"$ledger"
    done
done
[ ! -f "$ledger" ] || awk -F'\t' '{n[$3] += $5; all += $5; bad += $6 != "good"}
    END {for (t in n) printf "campaign: %-12s %d\n", t, n[t] | "sort"; close("sort"); printf "campaign: %d executions in all, %d runs ended by a finding\n", all, bad}' "$ledger"
exit $status
