#!/bin/bash
# searching.sh BUILD: cm-eval --search-times and --curve as a user types them: what they find, their files and plots,
# what goes on after Ctrl-C, and what is refused.
bin=$1/bin
dir=$(mktemp -d /tmp/cm-searching-XXXXXX)
trap 'rm -rf "$dir"' EXIT
model=tests/data/models/digits_consistency.safetensors teacher=tests/data/models/digits_teacher.safetensors
digits=models/features/lenet-train.npz
# holds NAME PYTHON: an assertion over d, the JSON of the file, and svg, its plot
holds() {
    n=$((n + 1))
    python3 - "$dir/$1.json" "$dir/$1.svg" <<END || fail "$1: $2"
import json, sys
import xml.etree.ElementTree as xml
d, svg = json.load(open(sys.argv[1])), xml.parse(sys.argv[2]).getroot()
S = "{http://www.w3.org/2000/svg}"
texts = [t.text for t in svg.iter(S + "text")]
dots = [c for c in svg.iter(S + "circle") if c.get("r") == "3.2"]
for c in dots:
    assert 80 < float(c.get("cx")) < 736 and 44 < float(c.get("cy")) < 402, c.attrib
assert $2, (d, texts)
END
}
cd "$(dirname "$0")/.." || exit 1
. tests/support/commands.sh

# --- a search ---
few="--few --samples 12 --grid 9 --batch 12"
search="$bin/cm-eval --search-times 3 --metric fd-lenet $few"
expect 0 "the best of each length:" $search $model $digits -o $dir/times.json
[ ! -e $dir/times.json.state ] || fail "the state of a finished search is left"
holds times 'd["metric"] == "fd-lenet" and d["better"] == "smaller" and d["samples"] == 12 and d["grid"] == 9'
holds times '[len(l["sigmas"]) for l in d["lists"]] == [1, 2, 3] and d["sigmas"] == d["lists"][2]["sigmas"]'
holds times 'all(d["lists"][k]["score"] == min(t["score"] for t in d["tried"] if len(t["sigmas"]) == k + 1) for k in (1, 2))'
holds times 'all(t["sigmas"][:-1] == d["lists"][len(t["sigmas"]) - 2]["sigmas"] for t in d["tried"])'
holds times 'all(x > y for t in d["tried"] for x, y in zip(t["sigmas"], t["sigmas"][1:]))'
holds times 'len(dots) == len(d["tried"]) and "fd-lenet of 12 samples" in texts'
holds times 'all("%.4g at %.4g" % (l["score"], l["sigmas"][-1]) in texts for l in d["lists"][1:])'
expect 1 "(--force replaces it)" $search $model $digits -o $dir/times.json
expect 1 "(--force replaces it)" $search $model $digits -o $dir/other.json --plot $dir/times.svg
cp $dir/times.json $dir/first.json
expect 0 "times.svg" $search $model $digits -o $dir/times.json --force
cmp -s $dir/times.json $dir/first.json || fail "a search again finds another thing"
$search $model $digits -o $dir/json.json --json >$dir/printed.json 2>/dev/null || fail "--json"
cmp -s $dir/json.json $dir/printed.json || fail "--json prints another thing than the file has"
[ -z "$($search $model $digits -o $dir/quiet.json -q 2>&1)" ] || fail "-q speaks"
expect 2 "at most 64" $bin/cm-eval --curve 1,65 --metric fd-lenet --few --samples 2 $model $digits -o $dir/long.json
# What was found is what sampling gives.
two=$(python3 -c 'import json,sys; d = json.load(open(sys.argv[1])); print(",".join("%.9g" % s for s in d["lists"][1]["sigmas"]))' $dir/times.json)
score=$(python3 -c 'import json,sys; d = json.load(open(sys.argv[1])); print("%.4g" % d["lists"][1]["score"])' $dir/times.json)
expect 0 "$score" $bin/cm-eval --metric fd-lenet --few --samples 12 --sigmas $two $model $digits
expect 0 "$score" $bin/cm-eval --metric fd-lenet --few --samples 12 --times $dir/times.json --steps 2 $model $digits
expect 0 "3 network evaluations" $bin/cm-sample $model --times $dir/times.json -n 2 --npz $dir/three.npz
expect 0 "2 network evaluations" $bin/cm-sample $model --times $dir/times.json --steps 2 -n 2 --labels 3 --npz $dir/times.npz
expect 0 "2 network evaluations" $bin/cm-sample $model --sigmas $two -n 2 --labels 3 --npz $dir/sigmas.npz
cmp -s $dir/times.npz $dir/sigmas.npz || fail "--times draws others than its levels"
# A level that is fixed, and one candidate alone.
expect 0 "80,0.821," $bin/cm-eval --search-times 3 --metric fd-lenet $few --sigmas 80,0.821 $model $digits -o $dir/fixed.json
holds fixed '[len(l["sigmas"]) for l in d["lists"]] == [2, 3] and all(t["sigmas"][:2] == [80, 0.821] for t in d["tried"])'
expect 0 "the best of each length" $bin/cm-eval --search-times 2 --metric fd-lenet --few --samples 12 --grid 3 $model $digits -o $dir/one.json
holds one 'len(d["tried"]) == 1 and len(dots) == 1'
expect 2 "give a larger --grid" $bin/cm-eval --search-times 3 --metric fd-lenet --few --samples 12 --grid 3 $model $digits -o $dir/none.json
rm -f $dir/none.json.state
# A larger number is better; one of two numbers.
expect 0 "right-lenet of 12 samples" $bin/cm-eval --search-times 2 --metric right-lenet $few $model -o $dir/right.json
holds right 'd["better"] == "larger" and d["score"] == max(t["score"] for t in d["tried"]) and "reference" not in d'
$bin/cm-sample $teacher --steps 4 -n 12 -l 0,1,2,3,4,5,6,7,8,9 --npz $dir/samples.npz -q || fail "samples"
expect 0 "pr-lenet-recall" $bin/cm-eval --search-times 2 --metric pr-lenet-recall $few $model $dir/samples.npz -o $dir/recall.json
holds recall 'd["better"] == "larger"'
expect 0 "pr-lenet-precision" $bin/cm-eval --metric pr-lenet-precision --few $dir/samples.npz $dir/samples.npz
expect 2 "say pr-lenet-precision or pr-lenet-recall" $bin/cm-eval --search-times 2 --metric pr-lenet $few $model $dir/samples.npz

# --- after Ctrl-C ---
slow="$bin/cm-eval --search-times 2 --metric fd-lenet --few --samples 30 --grid 12"
$slow $model $digits -o $dir/whole.json -q || fail "the whole search"
$slow $model $digits -o $dir/part.json >$dir/part.txt 2>&1 &
pid=$!
for i in $(seq 600); do [ -s $dir/part.json.state ] && break; sleep 0.05; done
kill -INT $pid
wait $pid
got=$?
[ $got = 130 ] || fail "exit $got after Ctrl-C, expected 130: $(cat $dir/part.txt)"
grep -q "the same command goes on from there" $dir/part.txt || fail "Ctrl-C: $(cat $dir/part.txt)"
[ -s $dir/part.json.state ] && [ ! -e $dir/part.json ] || fail "Ctrl-C leaves $(ls $dir)"
state() { cp $dir/kept.state $dir/part.json.state; }
cp $dir/part.json.state $dir/kept.state
other="$bin/cm-eval --search-times 2 --few --grid 12 -o $dir/part.json"
expect 2 "its seed is 0, not 5" $other --metric fd-lenet --samples 30 --seed 5 $model $digits
expect 2 "its number of samples is 30, not 31" $other --metric fd-lenet --samples 31 $model $digits
expect 2 "its metric is fd-lenet, not kid-lenet" $other --metric kid-lenet --samples 30 $model $dir/samples.npz
expect 2 "its model is" $other --metric fd-lenet --samples 30 $teacher $digits
expect 2 "its reference is" $other --metric fd-lenet --samples 30 $model $dir/samples.npz
cmp -s $dir/kept.state $dir/part.json.state || fail "a refused search changes the state"
expect 0 "scores are known" $slow $model $digits -o $dir/part.json
cmp -s $dir/whole.json $dir/part.json || fail "a search that was stopped finds another thing"
echo "{" >$dir/part.json.state
expect 2 "cannot be read" $slow $model $digits -o $dir/part.json --force
echo "{}" >$dir/part.json.state
expect 2 "is no file of scores" $slow $model $digits -o $dir/part.json --force
state
sed -i 's/"0 80": /"0 80": "x", "y": /' $dir/part.json.state
expect 2 "is no number" $slow $model $digits -o $dir/part.json --force
rm -f $dir/part.json.state

# --- a curve ---
curve="$bin/cm-eval --curve 1,2,4 --metric fd-lenet --few --samples 12"
expect 0 "heun, 4 steps" $curve $model $teacher $digits -o $dir/curve.json
holds curve '[[p["nfe"] for p in c["points"]] for c in d["curves"]] == [[1, 2, 4], [1, 3, 7]]'
holds curve '[c["method"] for c in d["curves"]] == ["multistep", "heun"] and len(dots) == 6'
holds curve 'len(d["curves"][0]["points"][2]["sigmas"]) == 4 and "digits_teacher.safetensors, heun" in texts'
holds curve '[t for t in ("1", "2", "3", "4", "7") if t not in texts] == []'
score=$(python3 -c 'import json,sys; print("%.4g" % json.load(open(sys.argv[1]))["curves"][0]["points"][1]["score"])' $dir/curve.json)
expect 0 "$score" $bin/cm-eval --metric fd-lenet --few --samples 12 --method multistep $model $digits
expect 0 "euler, 2 steps" $curve --method euler $teacher $digits -o $dir/euler.json
expect 0 "multistep, 3 steps: 80," $bin/cm-eval --curve 1,2,3 --metric fd-lenet --few --samples 12 --times $dir/times.json $model $digits -o $dir/found.json
holds found '[p["sigmas"] for p in d["curves"][0]["points"]] == [l["sigmas"] for l in json.load(open("'$dir'/times.json"))["lists"]]'
expect 2 "no list of 4 levels" $curve --times $dir/times.json $model $digits -o $dir/none.json
expect 2 "have to rise" $bin/cm-eval --curve 2,1 --metric fd-lenet $model $digits
expect 2 "whole numbers" $bin/cm-eval --curve 1,x --metric fd-lenet $model $digits
expect 1 "onestep" $curve --method onestep $model $digits -o $dir/none.json

# --- what is refused ---
expect 2 "found for a model with weights" $bin/cm-sample $teacher --times $dir/times.json -n 1 --npz $dir/none.npz
expect 2 "no list of 9 levels" $bin/cm-sample $model --times $dir/times.json --steps 9
expect 2 "--sigmas has no effect with --times" $bin/cm-sample $model --times $dir/times.json --sigmas 80,1
expect 2 "--grid has no effect with --times" $bin/cm-sample $model --times $dir/times.json --grid 40
expect 2 "for the method multistep" $bin/cm-sample $model --times $dir/times.json --method heun
expect 2 "no file of cm-eval" $bin/cm-sample $model --times $dir/curve.json
expect 2 "--times" $bin/cm-sample $model --times $model
expect 2 "--times" $bin/cm-sample $model --times $dir/nothing.json
sed 's/\[80, /["a", /' $dir/times.json >$dir/broken.json
expect 2 "is no number" $bin/cm-sample $model --times $dir/broken.json
for option in "--subsets 3" --infinity "--keep x.npz" "--method heun" "--steps 3" "--ts 0,2" "--times $dir/times.json" "--curve 1,2"; do
    expect 2 "--$(echo ${option#--} | cut -d' ' -f1) has no effect with --search-times" $search $option $model $digits -o $dir/none.json
done
for option in "--subsets 3" --infinity "--keep x.npz" "--steps 3" "--ts 0,2" "--sigmas 80,1" "--grid 9"; do
    expect 2 "--$(echo ${option#--} | cut -d' ' -f1) has no effect with --curve" $curve $option $model $digits -o $dir/none.json
done
expect 2 "--search-times has no effect with --pairs" $bin/cm-eval --pairs --search-times 2 $dir/samples.npz $dir/samples.npz
expect 2 "--resize has no effect: neither set is pictures" $search --resize $model $digits -o $dir/none.json
expect 2 "--resize has no effect" $bin/cm-eval --metric fd-lenet --few --resize --samples 12 $model $digits
expect 2 "--limit has no effect" $bin/cm-eval --metric fd-lenet -n 30 $digits $digits
expect 2 "--plot has no effect" $bin/cm-eval --metric fd-lenet --plot $dir/x.svg $dir/samples.npz $digits
expect 2 "end with .svg" $search --plot $dir/x.png $model $digits
expect 2 "looks at one metric" $bin/cm-eval --search-times 2 --metric fd-lenet,kid-lenet $model $digits
expect 2 "give a model, and what" $search $model
expect 2 "give a model, and what" $search $model $model $digits
expect 2 "is no model" $search $dir/samples.npz $digits -o $dir/none.json
expect 2 "finds nothing" $search --sigmas 80,2,1 $model $digits -o $dir/none.json
expect 1 "noise levels are in" $search --sigmas 90 $model $digits -o $dir/none.json
expect 2 "--few compares them all the same" $bin/cm-eval --search-times 2 --metric fd-lenet --samples 12 $model $digits -o $dir/none.json
expect 1 "cannot write" $search $model $digits -o $dir/nowhere/times.json
expect 1 "is no regular file" $search $model $digits -o $dir
expect 2 "not a whole number in 2..17" $bin/cm-eval --search-times 1 --metric fd-lenet $model $digits
[ ! -e $dir/none.json ] || fail "a refused command writes"
[ $status = 0 ] && echo "searching: $n commands"
exit $status
