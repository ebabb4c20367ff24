#!/bin/bash
# programs.sh BUILD: cm-sample, cm-edit, cm-info, cm-convert, cm-eval, cm-data and cm-train as a user types them: results, exit
# codes, messages, nothing half-written, Ctrl-C.
bin=$1/bin
dir=$(mktemp -d /tmp/cm-programs-XXXXXX)
trap 'rm -rf "$dir"' EXIT
model=tests/data/models/digits_consistency.safetensors teacher=tests/data/models/digits_teacher.safetensors
cd "$(dirname "$0")/.." || exit 1
. tests/support/commands.sh
expect 0 "images/s" $bin/cm-sample $model -n 4 -o $dir/a.png
[ "$(head -c 4 $dir/a.png | tail -c 3)" = PNG ] || fail "a.png is no PNG"
expect 1 "(--force replaces it)" $bin/cm-sample $model -n 4 -o $dir/a.png
expect 0 "a.png" $bin/cm-sample $model -n 4 -o $dir/a.png --force
expect 0 "b.jpg" $bin/cm-sample $model --labels rows --columns 5 -n 20 -o $dir/b.jpg
expect 0 "2 network evaluations" $bin/cm-sample $model --sigmas 80,0.821 -n 2 -o $dir/c.png
# Names of classes stand over columns that have one each: 11 rows of pixels more; not where images touch, nor over one class.
for way in "-l 1,2" "-l 1,2 --columns 1" "-l 1,2 --margin 0" "-l 7"; do $bin/cm-sample $model -n 4 --columns 2 $way -q --force -o "$dir/named$way.png"; done
sizes=$(python3 -c 'if True:
    import struct, sys
    for path in sys.argv[1:]: print("%dx%d" % struct.unpack(">II", open(path, "rb").read(24)[16:]), end=" ")' "$dir/named-l 1,2.png" "$dir/named-l 1,2 --columns 1.png" "$dir/named-l 1,2 --margin 0.png" "$dir/named-l 7.png")
[ "$sizes" = "70x81 36x138 64x64 70x70 " ] || fail "pages with names of classes are of $sizes"
expect 0 "2 network evaluations" $bin/cm-sample $model --ts 0,22,39 --grid 40 -n 2 -o $dir/d.png
expect 0 "5 network evaluations" $bin/cm-sample $teacher --method heun --steps 3 -n 2 -o $dir/e.png
expect 0 '"nfe": 1' $bin/cm-sample $model -n 3 --images "$dir/i-%04d.png" --seed 9 --labels 3 --json
expect 0 "1 network evaluation an image" $bin/cm-sample $model -n 3 --images "$dir/j-%04d.png"
# An adaptive method counts the evaluations that images took, not those that they may take.
$bin/cm-sample tests/data/models/digits_teacher.safetensors -m rk45 --rtol 0.05 --atol 0.05 -n 4 --npz $dir/rk45.npz --json | python3 -c 'import json,sys; d = json.load(sys.stdin); assert d["nfe"] % 6 == 2 and 8 <= d["nfe_mean"] <= d["nfe"] < 200' || fail "evaluations of rk45"
[ -f $dir/i-0002.png ] || fail "no i-0002.png"
expect 0 '"seconds_per_image"' $bin/cm-sample --bench --batch 2 --threads 1 --dtype f32 --method onestep -n 2 $model --json
$bin/cm-sample --bench -n 2 $model --json | python3 -c 'import json,sys; d = json.load(sys.stdin); assert d["images"] == 2 and d["peak_bytes"] > 0 and d["yardstick_seconds"] > 0 and d["plan_seconds"] > 0 and d["load_seconds"] > 0' || fail "bench JSON"
expect 0 "2 network evaluations" $bin/cm-sample $model --sigmas 80,0.5 --below $model --border 1 -n 2 -o $dir/below.png
expect 2 "--below and --border go together" $bin/cm-sample $model --border 1 -o $dir/border.png
expect 1 "one side of the border" $bin/cm-sample $model --below $model --border 1 -m onestep -o $dir/below2.png
# Temperatures: pictures, notes, edits that begin with noise, evaluations that say theirs, searches and curves of one only.
for way in "" "--temperature 1" "--temperature 0.5"; do $bin/cm-sample $model $way -n 2 -l 3 -q --no-note --force -o "$dir/cold.png" && md5sum <$dir/cold.png; done >$dir/cold.txt
[ "$(uniq $dir/cold.txt | wc -l)" = 2 ] && [ "$(sed -n 1p $dir/cold.txt)" = "$(sed -n 2p $dir/cold.txt)" ] || fail "temperatures"
$bin/cm-sample $model --temperature 0.5 -n 2 -l 3 -q --force -o $dir/cold.png && $bin/cm-sample --like $dir/cold.png $model -q -o $dir/cold2.png && cmp -s $dir/cold.png $dir/cold2.png || fail "--like of a temperature"
expect 2 "'3' is not a number in 0.1..2" $bin/cm-sample $model --temperature 3 -o $dir/hot.png
expect 0 "" $bin/cm-sample $model -n 1 -l 3 --margin 0 -q -o $dir/warm.png
expect 0 "cold-stroke.png" $bin/cm-edit stroke $model $dir/warm.png -l 3 --sigma 5 --temperature 0.5 -o $dir/cold-stroke.png
expect 0 "cold-frames.png" $bin/cm-edit interpolate $model -l 3 --temperature 0.5 -o $dir/cold-frames.png
expect 1 "option temperature has no effect on denoise" $bin/cm-edit denoise $model $dir/warm.png -l 3 --sigma 0.5 --temperature 0.5 -o $dir/cold-denoise.png
$bin/cm-sample $model -n 32 -l 0,1 -q --npz $dir/warm.npz
few="--metric fd-lenet --few --samples 16"
expect 0 "seed 0, temperature 0.5" $bin/cm-eval $few --temperature 0.5 $model $dir/warm.npz
expect 0 '"temperature": 1, "guidance": 1}' $bin/cm-eval $few --json $model $dir/warm.npz
expect 2 "--temperature has no effect with --search-times" $bin/cm-eval --search-times 2 $few --temperature 0.5 $model $dir/warm.npz
expect 2 "--temperature has no effect with --metric bpd" $bin/cm-eval --metric bpd --temperature 0.5 $teacher $dir/warm.npz
expect 0 '"temperature": 0.5' bash -c "$bin/cm-eval --curve 1 $few --temperature 0.5 --method onestep $model $dir/warm.npz --write $dir/cold.json --plot $dir/cold.svg && cat $dir/cold.json"
# Guidance: of a diffusion model, which is evaluated twice; a consistency model has what it learnt.
expect 0 "led-stroke.png" $bin/cm-edit stroke $teacher $dir/warm.png -l 3 --sigma 5 --guidance 2 -o $dir/led-stroke.png
for way in "" "--guidance 1" "--guidance 3"; do $bin/cm-sample $teacher $way -m euler --steps 2 -n 2 -l 3 -q --no-note --force -o "$dir/led.png" && md5sum <$dir/led.png; done >$dir/led.txt
[ "$(uniq $dir/led.txt | wc -l)" = 2 ] && [ "$(sed -n 1p $dir/led.txt)" = "$(sed -n 2p $dir/led.txt)" ] || fail "guidance"
expect 0 "4 network evaluations" $bin/cm-sample $teacher --guidance 3 -m euler --steps 2 -n 2 -l 3 --force -o $dir/led.png
$bin/cm-sample --like $dir/led.png $teacher -q -o $dir/led2.png && cmp -s $dir/led.png $dir/led2.png || fail "--like of a guidance"
expect 1 'a model of precond "ecm" has what guidance it learnt' $bin/cm-sample $model --guidance 2 -o $dir/led3.png
expect 0 "seed 0, guidance 2" $bin/cm-eval $few --guidance 2 --method euler --steps 2 $teacher $dir/warm.npz
expect 0 '"nfe": 4' bash -c "$bin/cm-eval --curve 2 $few --guidance 2 --method euler $teacher $dir/warm.npz --write $dir/led.json --plot $dir/led.svg >/dev/null && cat $dir/led.json"
expect 1 "guidance has no effect on images without labels" $bin/cm-sample $teacher --guidance 2 -l none -o $dir/led4.png
expect 0 "" $bin/cm-sample $model --guidance 1 -n 1 -l 3 -q -o $dir/led5.png
expect 2 "--guidance has no effect with --search-times" $bin/cm-eval --search-times 2 $few --guidance 2 $teacher $dir/warm.npz
expect 2 "--guidance has no effect with --metric bpd" $bin/cm-eval --metric bpd --guidance 2 $teacher $dir/warm.npz
$bin/cm-convert $model --config '{"sampling": {"sigmas": [80, 0.7]}}' $dir/levels.safetensors >/dev/null 2>&1
expect 0 "sampling     sigmas [80,0.7]" $bin/cm-info $dir/levels.safetensors
expect 2 "did you mean --sigmas" $bin/cm-sample $model --sigma 80
expect 1 "method flowmap is for networks of two times" $bin/cm-sample $model --method flowmap -o $dir/flow.png
PYTHONPATH=bindings/python CONSISTENCY_BUILD=$1 python3 - $dir/two-times.safetensors <<'EOF' || fail "no model of two times"
import sys, consistency as cm
network = {"type": "songunet", "img_resolution": 8, "img_channels": 1, "model_channels": 8, "channel_mult": [1],
           "num_blocks": 1, "second_time": "concat"}
cm.Model.create({"network": network, "precond": {"type": "average-velocity"}}).save(sys.argv[1])
EOF
expect 0 "4 network evaluations" $bin/cm-sample $dir/two-times.safetensors --method flowmap --steps 4 -n 2 -o $dir/flow.png
expect 0 "3 network evaluations" $bin/cm-sample $dir/two-times.safetensors --method flowmap --sigmas 1e8,4,1 -n 2 -o $dir/flow3.png
expect 0 "2 network evaluations" $bin/cm-sample $dir/two-times.safetensors --method multistep -n 2 -o $dir/flow2.png
expect 2 "none of" $bin/cm-sample $model --method onestop
# A picture says how it was drawn, and is drawn again with the same bytes: a page, files, with an adaptive method and without labels.
k=0
for drawn in "$model -l 3,5 -n 4 --sigmas 80,0.8 --seed 7" "$model -n 3 --no-clip --first 5 --margin 0" "$model -l rows --columns 3" \
    "$teacher -m rk45 --rtol 0.05 --atol 0.05 -n 2" "$teacher -m dpmpp --order 2 --steps 4 -n 2 --torch-noise" "$dir/two-times.safetensors --method flowmap --steps 4 -n 2"; do
    k=$((k + 1))
    expect 0 "noted-$k.png" $bin/cm-sample $drawn -o $dir/noted-$k.png
    expect 0 "weights" $bin/cm-info $dir/noted-$k.png
    expect 0 "noted-$k-again" $bin/cm-sample --like $dir/noted-$k.png --threads 1 --batch 3 -o $dir/noted-$k-again.png
    cmp $dir/noted-$k.png $dir/noted-$k-again.png || fail "--like draws another picture than $drawn"
    expect 0 "noted-$k-%03d" $bin/cm-sample $(echo $drawn | sed 's/--margin 0//') --images "$dir/noted-$k-%03d.png"
    one=$(ls $dir/noted-$k-[0-9]*.png | sed -n 2p)
    expect 0 "noted-one.png" $bin/cm-sample --like $one --force -o $dir/noted-one.png
    cmp $one $dir/noted-one.png || fail "--like draws another picture than the second of $drawn"
    expect 0 "noted-$k-l" $bin/cm-sample --like $dir/noted-$k.png --images "$dir/noted-$k-l%03d.png"
done
$bin/cm-info $dir/noted-1.png --json | python3 -c 'import json,sys; d = json.load(sys.stdin)["note"]; assert d["method"] == "multistep" and d["seed"] == "7" and d["sigmas"] == [80, 0.8] and len(d["weights"]) == 16 and d["program"].startswith("cm-sample "), d' || fail "cm-info of a picture"
[ -z "$($bin/cm-info $dir/noted-1.png | sed 's/^ *\([^ ]*\).*/\1/' | sort | uniq -d)" ] || fail "cm-info of a picture says something twice"
# Notes that others wrote: numbers are printed, and what another program drew is not drawn again.
PYTHONPATH=bindings/python CONSISTENCY_BUILD=$1 python3 -c 'import consistency as cm, json, sys
for name, program in (("numbers", "other 1"), ("sampler", "cm-sampler 1")):
    cm.write_page("%s/noted-%s.png" % (sys.argv[1], name), [[[[0.0] * 8] * 8]], note=json.dumps({"program": program, "model": sys.argv[2], "weights": "0", "steps": 31, "quick": True}))' $dir $model || fail "notes are not written"
expect 0 "steps        31" $bin/cm-info $dir/noted-numbers.png
expect 0 "quick        true" $bin/cm-info $dir/noted-numbers.png
expect 2 "does not say how" $bin/cm-sample --like $dir/noted-sampler.png -o $dir/other.png
# A note that names a pipe is not waited for.
mkfifo $dir/noted-pipe
PYTHONPATH=bindings/python CONSISTENCY_BUILD=$1 python3 -c 'import consistency as cm, json, sys
for name, model, options in (("times", sys.argv[2], {"times": sys.argv[1] + "/noted-pipe"}), ("model", sys.argv[1] + "/noted-pipe", {})):
    cm.write_page("%s/noted-%s.png" % (sys.argv[1], name), [[[[0.0] * 8] * 8]], note=json.dumps({"program": "cm-sample 1", "model": model, "weights": "0", "options": options}))' $dir $model || fail "notes are not written"
for name in times model; do expect 2 "neither a file nor a folder" timeout 20 $bin/cm-sample --like $dir/noted-$name.png -o $dir/other.png; done
# A name that is not UTF-8 cannot stand in a note as it is: the model is said besides.
odd=$dir/odd-$(printf '\377').safetensors
cp $model "$odd"
expect 0 "odd.png" $bin/cm-sample "$odd" -n 2 -o $dir/odd.png
expect 1 "cannot open" $bin/cm-sample --like $dir/odd.png -o $dir/odd-again.png
expect 0 "odd-again.png" $bin/cm-sample $model --like $dir/odd.png --no-note -o $dir/odd-again.png
expect 2 "of a model with weights" $bin/cm-sample $teacher --like $dir/noted-1.png -o $dir/other.png
expect 0 "a changed one" $bin/cm-sample --like $dir/noted-1.png --seed 8 -o "$dir/a changed one.png"
cmp -s $dir/noted-1.png "$dir/a changed one.png" && fail "--like ignores --seed"
expect 0 "unsaid.png" $bin/cm-sample $model -n 1 --no-note -o $dir/unsaid.png
expect 0 "does not say how" $bin/cm-info $dir/unsaid.png
expect 2 "does not say how" $bin/cm-sample --like $dir/unsaid.png -o $dir/other.png
expect 2 "does not say how" $bin/cm-sample --like $dir/b.jpg -o $dir/other.png
expect 1 "neither a PNG nor a JPEG" $bin/cm-sample --like $model -o $dir/other.png
expect 2 "--no-note has no effect" $bin/cm-sample $model --no-note --npz $dir/other.npz
expect 2 "--check has no effect on a picture" $bin/cm-info --check $dir/unsaid.png
expect 2 "one model file" $bin/cm-sample
# Every option of the help is read by something, whatever it then says of this value.
for option in $($bin/cm-sample --help | grep -oE -- ' --[a-z0-9-]+ ' | grep -vE 'help|version|bench'); do
    n=$((n + 1))
    $bin/cm-sample $option 1 $dir/none.safetensors 2>&1 </dev/null | grep "read by nothing" && fail "$option is read by nothing"
done
for option in $($bin/cm-edit --help | grep -oE -- ' --[a-z0-9-]+ ' | grep -vE 'help|version'); do
    n=$((n + 1))
    $bin/cm-edit inpaint $option 1 $dir/none.safetensors $dir/none.png 2>&1 </dev/null | grep "read by nothing" && fail "$option is read by nothing"
done
# cm-convert: every format and type and back, what it refuses, and nothing left behind.
adm=$dir/adm.safetensors
PYTHONPATH=bindings/python CONSISTENCY_BUILD=$1 python3 - $adm <<'EOF' || fail "no adm model"
import sys, consistency as cm
cm.Model.create({"network": {"type": "adm", "image_size": 8, "in_channels": 3, "out_channels": 3, "model_channels": 32,
                             "num_res_blocks": 1, "channel_mult": [1, 2], "attention_resolutions": [2], "num_head_channels": 32,
                             "num_classes": 3, "resblock_updown": True},
                 "precond": {"type": "cm"}, "classes": ["cat", "dog", "cow"]}, seed=4).save(sys.argv[1])
EOF
expect 0 "written as torch" $bin/cm-convert $adm $dir/adm.pt
expect 0 "written as diffusers" $bin/cm-convert $dir/adm.pt $dir/adm-folder --max-shard-size 300KB
[ -f $dir/adm-folder/unet/diffusion_pytorch_model.safetensors.index.json ] || fail "no index of shards"
expect 0 '"format": "native"' $bin/cm-convert $dir/adm-folder $dir/adm-back.safetensors --json
for name in adm adm-back; do $bin/cm-info --tensors $dir/$name.safetensors | grep ' F32 ' > $dir/$name.list; done
[ -s $dir/adm.list ] && cmp -s $dir/adm.list $dir/adm-back.list || fail "the tensors changed on the way"
expect 0 "dog" $bin/cm-info $dir/adm-folder
expect 0 "1 image in" $bin/cm-sample $dir/adm-folder --labels dog -n 1 --no-note -o $dir/dog.png
expect 0 "1 image in" $bin/cm-sample $dir/adm-folder/unet --labels 1 -n 1 --no-note -o $dir/dog-unet.png
cmp -s $dir/dog.png $dir/dog-unet.png || fail "the folder unet alone gives another picture"
part=$(echo $dir/adm-folder/unet/*-00001-of-*.safetensors)
expect 1 "give the folder that it is in" $bin/cm-sample $part -n 1 -o $dir/part.png
expect 1 "give the folder that it is in" $bin/cm-sample $dir/adm-folder/model_index.json -n 1 -o $dir/part.png
expect 0 "give the folder that it is in" $bin/cm-info $part
expect 0 "written as native" $bin/cm-convert $adm $dir/adm-half.safetensors --dtype float16
expect 0 "F16" $bin/cm-info $dir/adm-half.safetensors --tensors
expect 1 "(--force replaces it)" $bin/cm-convert $adm $dir/adm-folder
expect 0 "written as diffusers" $bin/cm-convert $adm $dir/adm-folder --force
[ -f $dir/adm-folder/unet/diffusion_pytorch_model.safetensors.index.json ] && fail "shards of the old folder are left"
touch $dir/adm-folder/notes.txt
expect 1 "notes.txt" $bin/cm-convert $adm $dir/adm-folder --overwrite
expect 1 "native and torch" $bin/cm-convert $model $dir/songunet
expect 2 "--to" $bin/cm-convert $adm $dir/adm.ckpt
expect 2 "none of native, torch, diffusers" $bin/cm-convert $adm $dir/x --to onnx
expect 2 "none of float32" $bin/cm-convert $adm $dir/x --dtype f8
expect 2 "no effect" $bin/cm-convert $adm $dir/x.pt --max-shard-size 1M
expect 2 "where it is to be written" $bin/cm-convert $adm
expect 1 "No such file" $bin/cm-convert $dir/none.pt $dir/x.safetensors
expect 1 "(its folder has to be made first)" $bin/cm-convert $adm $dir/no/folder
expect 1 "it is a file" $bin/cm-convert $adm $adm --to diffusers --force
(ulimit -f 40; expect 1 "cannot write" $bin/cm-convert $adm $dir/x.pt; expect 1 "cannot write" $bin/cm-convert $adm $dir/x; exit $status) || status=1
ls -a $dir | grep -q 'tmp-' && fail "cm-convert left something unfinished"
[ -e $dir/x ] || [ -e $dir/x.pt ] && fail "a conversion that failed left its output"
expect 2 "needs a value" $bin/cm-sample $model --steps
expect 2 "whole number" $bin/cm-sample $model -n 0
expect 2 "%d" $bin/cm-sample $model --images "$dir/%s%n.png"
expect 2 "margin has no effect" $bin/cm-sample $model --images "$dir/n-%d.png" --margin 2
# Enlarged: each point is a square, and the note says it.
$bin/cm-sample $model -n 4 --columns 2 --margin 0 -q -o $dir/as_drawn.png
$bin/cm-sample $model -n 4 --columns 2 --margin 0 -q --enlarge 3 -o $dir/large.png
PYTHONPATH=bindings/python CONSISTENCY_BUILD=${bin%/bin} python3 - $dir/as_drawn.png $dir/large.png <<'END' || fail "the enlarged page is another one"
import sys, consistency as cm
a, b = (cm.read_image(p).tolist()[0] for p in sys.argv[1:])
a, b = (p[0] if isinstance(p[0][0], list) else p for p in (a, b))
assert len(b) == 3 * len(a) == 192 and len(b[0]) == 192
assert all(b[y][x] == a[y // 3][x // 3] for y in range(192) for x in range(192))
END
expect 0 "large2.png" $bin/cm-sample --like $dir/large.png -o $dir/large2.png
cmp -s $dir/large.png $dir/large2.png || fail "--like draws an enlarged page otherwise"
expect 0 "large-%d.png" $bin/cm-sample --like $dir/large.png --images "$dir/large-%d.png"
expect 2 "enlarge has no effect with --images" $bin/cm-sample $model --images "$dir/n-%d.png" --enlarge 2
expect 2 "enlarge has no effect with --npz" $bin/cm-sample $model --npz $dir/n.npz --enlarge 2
expect 1 "outside the limits" $bin/cm-sample $model -n 20000 --enlarge 16 -o $dir/huge.png
expect 2 "columns has no effect" $bin/cm-sample $model --images "$dir/n-%d.png" --columns 2
expect 2 "margin has no effect" $bin/cm-edit interpolate $model --images "$dir/n-%d.png" --margin 0
expect 1 "labels[0] is 12" $bin/cm-sample $model --labels 12 -o $dir/f.png
expect 1 "steps has no effect" $bin/cm-sample $model --method onestep --steps 4 -o $dir/f.png
expect 2 "none of" $bin/cm-sample $model --precision f16 -o $dir/f.png
expect 2 "none of" $bin/cm-sample $model --memory lean -o $dir/f.png
expect 1 "bf16_tile has no effect" $bin/cm-sample $model --debug bf16_tile=4 -o $dir/f.png
expect 1 "0..4" $bin/cm-sample $model --precision bf16 --debug bf16_tile=5 -o $dir/f.png
expect 0 "1 image in" $bin/cm-sample $model -n 1 --memory small -o $dir/small.png
expect 0 '"precision": "bf16"' $bin/cm-sample --bench --json --dtype bf16 --debug bf16_emulate=1 --method onestep -n 2 $model
expect 1 "No such file" $bin/cm-sample $dir/none.safetensors
expect 1 "(its folder has to be made first)" $bin/cm-sample $model -n 1 -o $dir/no/f.png
expect 1 "cm-sample: '$dir/f.bmp' ends neither" $bin/cm-sample $model -n 1 -o $dir/f.bmp
expect 0 "1 image in" $bin/cm-sample $model -n 1 -o $dir/one.png
expect 1 ".png" $bin/cm-sample $model -n 1 -o $dir/f.gif
expect 0 "usage" $bin/cm-sample --help
expect 0 "oneDNN" $bin/cm-sample --version
expect 0 "744401 parameters" $bin/cm-info $model
expect 0 "map_layer0.weight" $bin/cm-info $model --tensors
expect 0 "oneDNN" $bin/cm-info --machine
# cm-eval: 30 digits of the bundled model, which the bundled network reads.
digits=models/features/lenet-train.npz
expect 0 "samples.npz" $bin/cm-sample $model -n 20 -l 3,8 --npz $dir/samples.npz --json
expect 1 "(--force replaces it)" $bin/cm-sample $model -n 20 --npz $dir/samples.npz
expect 0 "right-lenet " $bin/cm-eval --metric right-lenet --few $dir/samples.npz
expect 2 "one of" $bin/cm-sample $model --npz $dir/s.npz -o $dir/s.png
expect 2 "no effect" $bin/cm-sample $model --npz $dir/s.npz --margin 3
mkdir $dir/digits $dir/few $dir/large $dir/nothing
$bin/cm-sample $model -n 30 --labels 0,1,2,3,4,5,6,7,8,9 --images "$dir/digits/%04d.png" -q || fail "digits for cm-eval"
cp $dir/digits/0000.png $dir/few/
cp docs/images/edit-colorize.png docs/images/digits-onestep.png $dir/large/
expect 0 "fd-lenet " $bin/cm-eval --metric fd-lenet --few $dir/digits $digits
expect 0 "is-lenet" $bin/cm-eval --metric is-lenet --few $dir/digits
expect 0 "pr-lenet-recall" $bin/cm-eval --metric pr-lenet,kid-lenet --few $dir/digits $dir/digits
expect 0 "30 images" $bin/cm-eval --metric fd-lenet --few $dir/digits $dir/digits -o $dir/stats.npz --subsets 3 --infinity &&
    expect 0 "of 30 images" $bin/cm-eval --metric fd-lenet --few $dir/stats.npz $dir/stats.npz
expect 1 "(--force replaces it)" $bin/cm-eval --metric fd-lenet --few $dir/digits $digits -o $dir/stats.npz
$bin/cm-eval --metric fd-lenet --few --json $dir/stats.npz $dir/digits | python3 -c 'import json,sys; d = json.load(sys.stdin); assert d["fd-lenet"] < 1e-6 and d["a"]["kind"] == "statistics" and d["b"]["images"] == 30 and len(d["lenet"]["weights"]) == 32, d' || fail "cm-eval JSON"
expect 2 "--few compares them all the same" $bin/cm-eval --metric fd-lenet $dir/digits $digits
expect 2 "name the network" $bin/cm-eval --metric fd $dir/digits $digits
# A model as a set: its images are those that cm-sample writes.
$bin/cm-sample $model -n 30 -l 0,1,2,3,4,5,6,7,8,9 --npz $dir/thirty.npz -q || fail "samples for cm-eval"
drawn="$bin/cm-eval --json --metric fd-lenet,right-lenet --few --samples 30 $model $digits"
written="$bin/cm-eval --json --metric fd-lenet,right-lenet --few $dir/thirty.npz $digits"
[ "$($drawn | sed 's/.*"lenet"//')" = "$($written | sed 's/.*"lenet"//')" ] || fail "a model as a set is not what cm-sample writes"
expect 0 "30 samples of 32 x 32, 2 network evaluations each, seed 7" $bin/cm-eval --metric fd-lenet --few --samples 30 --sigmas 80,1 --method multistep --seed 7 $model $dir/digits
# Features that are kept stand for their images.
expect 0 "30 images" $bin/cm-eval --metric fd-lenet --few $dir/digits $digits --keep $dir/kept.npz
kept="$($bin/cm-eval --json --metric fd-lenet,kid-lenet,is-lenet --few $dir/kept.npz $dir/thirty.npz | sed 's/.*"lenet"//')"
[ "$kept" = "$($bin/cm-eval --json --metric fd-lenet,kid-lenet,is-lenet --few $dir/digits $dir/thirty.npz | sed 's/.*"lenet"//')" ] || fail "kept features: $kept"
expect 0 "features of 20 images" $bin/cm-eval --metric fd-lenet --few -n 20 $dir/kept.npz $digits
expect 1 "(--force replaces it)" $bin/cm-eval --metric fd-lenet --few $dir/digits $digits --keep $dir/kept.npz
expect 1 "do not compare" $bin/cm-eval --metric fd-resnet20 --few $dir/kept.npz $dir/kept.npz
expect 2 "neither set is a model" $bin/cm-eval --metric fd-lenet --few --samples 30 $dir/digits $digits
expect 2 "neither set is a model" $bin/cm-eval --metric fd-lenet --few --seed 3 $dir/digits $digits
expect 1 "not a data set" $bin/cm-eval --metric fd-lenet --few README.md $digits
# The Inception network, with weights that follow from their names.
inception=$dir/inception.safetensors
$1/tests/make_weights tests/data/golden/metrics/keys_inception_pytorch_fid.tsv $inception || fail "weights of the Inception network"
fid="$bin/cm-eval --few --features $inception"
expect 2 "pt_inception-2015-12-05-6726825d.pth" $bin/cm-eval --metric fid --few $dir/digits $dir/digits
expect 0 "as OpenAI's evaluator" $fid --metric fid,sfid,is,pr,kid -n 8 $dir/digits $model --samples 8 -o $dir/inception.npz
expect 0 "as pytorch-fid" $fid --metric fid --inputs pytorch-fid -n 3 $dir/digits $dir/digits
expect 0 "sfid " $fid --metric sfid -n 8 $dir/digits $dir/inception.npz --keep $dir/keptfid.npz
expect 0 "features of 8 images" $fid --metric fid,sfid,is,pr,kid $dir/keptfid.npz $dir/keptfid.npz
$fid --metric fid,sfid --json -n 8 $dir/digits $dir/inception.npz | python3 -c 'import json,sys; d = json.load(sys.stdin); assert d["fid"] < 1e-6 and d["sfid"] < 1e-6 and "resize" in d["inception"], d' || fail "FID of a set and its statistics"
expect 2 "--resize has no effect" $fid --metric fid -n 2 --resize $dir/digits $dir/inception.npz
expect 2 "--inputs has no effect" $bin/cm-eval --metric fd-lenet --inputs openai --few $dir/digits $digits
expect 2 "no spatial features" $bin/cm-eval --metric sfd-lenet --few $dir/digits $digits
expect 2 "holds statistics" $fid --metric is $dir/inception.npz
expect 1 "is no inception" $bin/cm-eval --metric fid --few --features models/features/resnet56.safetensors $dir/digits $dir/digits
rm $inception
expect 2 "none of" $bin/cm-eval --metric fd-resnet18 $dir/digits $digits
expect 2 "give two sets" $bin/cm-eval --metric fd-lenet $dir/digits
expect 2 "holds statistics" $bin/cm-eval --metric kid-lenet --few $dir/digits $digits
expect 2 "holds statistics" $bin/cm-eval --metric fd-lenet --few $digits $dir/digits --infinity
# One set is enough to write what stands for it; statistics know their network.
expect 0 "30 images" $bin/cm-eval --metric fd-lenet --few $dir/digits -o $dir/alone.npz
cmp -s $dir/alone.npz $dir/stats.npz || fail "statistics written without a second set differ"
expect 2 "no effect without a second set" $bin/cm-eval --metric fd-lenet --few $dir/digits -o $dir/alone2.npz --infinity
expect 2 "alone.npz: statistics: features of the network lenet and of resnet20 do not compare" $bin/cm-eval --metric fd-resnet20 --few $dir/alone.npz $dir/digits
expect 2 "lenet-train.npz: statistics: features of the network lenet" $bin/cm-eval --metric fd-resnet20 --few $dir/digits $digits
expect 2 "give --pairs too" $bin/cm-eval --metric lpips-vgg $dir/digits $dir/digits
# Files that are neither pictures nor statistics are told of by what they lack.
python3 - $dir <<'END'
import struct, sys, zipfile
def npz(name, **arrays):
    with zipfile.ZipFile(sys.argv[1] + "/" + name, "w") as z:
        for member, (descr, shape, data) in arrays.items():
            header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
            header += b" " * (-(len(header) + 11) % 64) + b"\n"
            z.writestr(member + ".npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + data)
doubles = lambda *v: struct.pack("<%dd" % len(v), *v)
npz("nan.npz", mu=("<f8", (2,), doubles(0, float("nan"))), sigma=("<f8", (2, 2), doubles(1, 0, 0, 1)))
npz("only-mu.npz", mu=("<f8", (2,), doubles(0, 1)))
npz("names.npz", mean=("<f8", (2,), doubles(0, 1)), cov=("<f8", (2, 2), doubles(1, 0, 0, 1)))
npz("pickled.npz", mu=("|O", (2,), b"pickle"), sigma=("<f8", (2, 2), doubles(1, 0, 0, 1)))
npz("two.npz", mu=("<f8", (2,), doubles(0, 1)), sigma=("<f8", (2, 2), doubles(1, 0, 0, 1)))
END
expect 1 "nan" $bin/cm-eval --metric fd-lenet --few $dir/nan.npz $digits
expect 1 "sigma" $bin/cm-eval --metric fd-lenet --few $dir/only-mu.npz $digits
expect 1 "mu" $bin/cm-eval --metric fd-lenet --few $dir/names.npz $digits
expect 1 "object arrays are refused" $bin/cm-eval --metric fd-lenet --few $dir/pickled.npz $digits
expect 2 "two.npz: statistics of 2 features, and the network lenet has 64" $bin/cm-eval --metric fd-lenet --few $dir/two.npz $digits
expect 2 "--subsets has no effect without fid" $bin/cm-eval --metric sfid --subsets 3 --few $dir/digits $dir/digits
expect 2 "--infinity has no effect without fid" $bin/cm-eval --metric pr-lenet --infinity --few $dir/digits $dir/digits
expect 2 "no effect without --write" $bin/cm-eval --metric fd-lenet --force $dir/digits $digits
expect 2 "give --metric" $bin/cm-eval $dir/digits $digits
expect 2 "names fd-lenet twice" $bin/cm-eval --metric fd-lenet,is-lenet,fd-lenet $dir/digits $digits
expect 2 "both name" $bin/cm-eval --metric fd-lenet --few --write $dir/two.npz --keep $dir/two.npz $dir/digits $digits
expect 1 "cannot write" $bin/cm-eval --metric fd-lenet --few --write $dir/nowhere/two.npz $dir/absent $digits
expect 2 "is-resnet20 needs images" $bin/cm-eval --metric is-resnet20 --few models/features/resnet20-train.npz
# JSON appears whole or not at all.
[ -z "$($bin/cm-eval --metric fd-lenet --infinity --few --limit 5 --json $dir/digits $digits 2>/dev/null)" ] || fail "half of a JSON text"
expect 1 "it needs 20, and there are 5" $bin/cm-eval --metric fd-lenet --infinity --few --limit 5 $dir/digits $digits
# Pairs: digits against those of another seed and themselves; LPIPS by a network of made-up weights.
mkdir $dir/others
$bin/cm-sample $model -n 30 --labels 0,1,2,3,4,5,6,7,8,9 --seed 1 --images "$dir/others/%04d.png" -q || fail "digits for --pairs"
python3 - $dir/alex.safetensors <<'EOF'
import array, json, math, random, struct, sys
draw, header, blocks, at = random.Random(5), {}, [], 0
for name, out, channels, k in (("0", 64, 3, 11), ("3", 192, 64, 5), ("6", 384, 192, 3), ("8", 256, 384, 3), ("10", 256, 256, 3)):
    for member, shape in (("weight", [out, channels, k, k]), ("bias", [out])):
        n, part = math.prod(shape), [draw.uniform(-1, 1) * (6 / (channels * k * k)) ** 0.5 for _ in range(997)]
        blocks.append(array.array("f", (part * (n // 997 + 1))[:n]).tobytes())
        header["features.%s.%s" % (name, member)] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + 4 * n]}
        at += 4 * n
text = json.dumps(header).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(text)) + text + b"".join(blocks))
EOF
# bits/dim of pictures under a diffusion model: two of the thirty, as many evaluations as they took, and what does not go with it.
bpd="$bin/cm-eval --metric bpd --limit 2"
$bpd --seed 3 --json $teacher $dir/digits | python3 -c 'import json,sys; d = json.load(sys.stdin); assert d["images"] == 2 and d["seed"] == 3 and d["probes"] == 1 and 1 < d["bpd"] < 7 and d["bpd-deviation"] > 0 and d["nfe"] % 6 == 2 and d["nfe_mean"] <= d["nfe"] < 1000, d' || fail "cm-eval --metric bpd JSON"
expect 0 "2 pictures of 32 x 32" $bpd $teacher $dir/digits
expect 1 "consistency function" $bpd $model $dir/digits
expect 2 "give a model and pictures" $bpd $teacher
expect 2 "stands alone" $bin/cm-eval --metric bpd,fid $teacher $dir/digits
expect 2 "--probes has no effect without --metric bpd" $bin/cm-eval --metric fd-lenet --probes 2 $dir/digits $digits
for more in "--steps 2" --few "--samples 3" "--batch 2" "--precision bf16" "--write $dir/w.npz"; do expect 2 "has no effect with --metric bpd" $bpd $more $teacher $dir/digits; done
expect 2 "whole number in 1..1000" $bpd --probes 0 $teacher $dir/digits
expect 1 "nothing-there" $bpd $teacher $dir/nothing-there
expect 0 "30 pairs of 32 x 32, of which 0 do not differ" $bin/cm-eval --pairs $dir/digits $dir/others
$bin/cm-eval --pairs --json --metric psnr,ssim,lpips-alex --features $dir/alex.safetensors $dir/digits $dir/others | python3 -c 'import json,sys; d = json.load(sys.stdin); assert d["pairs"] == 30 and 5 < d["psnr"] < 20 and 0 < d["ssim"] < 0.6 and d["lpips-alex"] > 0 and len(d["alex"]["weights"]) == 32, d' || fail "cm-eval --pairs JSON"
$bin/cm-eval --pairs --json --metric psnr,ssim,lpips-alex --features $dir/alex.safetensors $dir/digits $dir/digits | python3 -c 'import json,sys; d = json.load(sys.stdin); assert d["same"] == 30 and d["psnr"] is None and d["ssim"] == 1 and d["lpips-alex"] == 0, d' || fail "cm-eval --pairs of the same"
expect 2 "needs --features FILE" $bin/cm-eval --pairs --metric lpips-vgg $dir/digits $dir/others
expect 1 "is no vgg" $bin/cm-eval --pairs --metric lpips-vgg --features $dir/alex.safetensors $dir/digits $dir/others
expect 2 "--few has no effect with --pairs" $bin/cm-eval --pairs --few $dir/digits $dir/others
expect 2 "as many of both" $bin/cm-eval --pairs $dir/digits $dir/few
expect 2 "no effect without --pairs" $bin/cm-eval --metric fd-lenet --lin $dir/alex.safetensors $dir/digits $digits
expect 2 "one network of LPIPS" $bin/cm-eval --pairs --metric lpips-vgg,lpips-alex --features $dir/alex.safetensors $dir/digits $dir/others
expect 1 "covariance needs two" $bin/cm-eval --metric fd-lenet --few $dir/few $digits
expect 1 "holds no picture" $bin/cm-eval --metric fd-lenet --few $dir/nothing $digits
expect 1 "is no lenet" $bin/cm-eval --metric fd-lenet --few --features models/features/resnet20.safetensors $dir/digits $digits
expect 1 "nothing is cut" $bin/cm-eval --metric fd-resnet20 --few $dir/large $dir/large
mkdir $dir/wrong && cp docs/images/edit-stroke.png $dir/wrong/
expect 1 "cm-eval: " $bin/cm-eval --metric fd-resnet20 --few $dir/wrong $dir/wrong
expect 0 "cut and scaled" $bin/cm-eval --metric fd-resnet20 --few --resize $dir/large $dir/large
tiny=tests/data/golden/checkpoints/tiny_adm_fp32.safetensors
plain=tests/data/golden/checkpoints/st_ok.safetensors
echo '{"network": {"type": "adm", "image_size": 8, "in_channels": 3, "model_channels": 32, "out_channels": 3, "num_res_blocks": 1, "attention_resolutions": [],
 "channel_mult": [1], "num_head_channels": 32, "use_scale_shift_norm": true, "resblock_updown": true, "num_classes": 10}, "precond": {"type": "cm"}}' > $dir/side.json
expect 0 "no network of this library" $bin/cm-info $plain
expect 0 "sound: 24 bytes" $bin/cm-info $plain --check
expect 1 "give one of the files in it" $bin/cm-info tests/data/golden/checkpoints
expect 1 "lacks 'consistency.network', and by their names" $bin/cm-sample $plain -n 1 -o $dir/plain.png
expect 1 "Give it by --config, for example" $bin/cm-sample $plain -n 1 -o $dir/plain.png
expect 1 "checksum is 12345678" $bin/cm-info tests/data/golden/checkpoints/h_bad_crc.pt
expect 1 "attributes" $bin/cm-info $plain --config '{"network": {"type": "adm"}, "attributes": 1}'
expect 0 "185251 parameters" $bin/cm-info $tiny
expect 1 "holds one set" $bin/cm-info $tiny --weights ema
expect 0 "assumed: image_size 8, one head" $bin/cm-sample $tiny -n 2 -o $dir/tiny.png
expect 0 "185251 parameters" $bin/cm-info $tiny --config $dir/side.json
expect 0 "images/s" $bin/cm-sample $tiny --config $dir/side.json -n 2 -o $dir/h.png
expect 2 "neither JSON nor a file" $bin/cm-info $tiny --config $dir/none.json
$bin/cm-info $model --json --tensors | python3 -c 'import json,sys; d = json.load(sys.stdin); assert d["tensor_count"] == len(d["tensors"]) and d["config"]["image"]["labels"] == 10' || fail "info JSON"
# cm-edit: every task, sizes, masks, and what it refuses.
for i in 3 5; do $bin/cm-sample $model -n 1 --labels $i --margin 0 --seed $i -o $dir/d$i.png --quiet >/dev/null; done
$bin/cm-sample $model -n 6 --columns 3 -o $dir/wide.jpg --quiet >/dev/null
# A gray and a noisy picture, written without any module.
python3 - $dir <<'EOF'
import random, struct, sys, zlib
def png(name, rows):
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    raw = b"".join(b"\0" + bytes(r) for r in rows)
    open(sys.argv[1] + name, "wb").write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 0, 0, 0, 0)) +
                                         chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))
random.seed(1)
png("/gray.png", [[100] * 32 for _ in range(32)])
png("/noisy.png", [[min(255, max(0, round(random.gauss(0, 40)))) for _ in range(32)] for _ in range(32)])
EOF
e="$bin/cm-edit" d="$dir/d3.png $dir/d5.png -l 3,5 --steps 2"
# Masks as a person draws them: 32 x 32, nothing and the lower half to generate; a digit with half of it transparent.
python3 - $dir <<'END'
import struct, sys, zlib
def png(name, kind, pixel):
    rows = b"".join(b"\0" + b"".join(bytes(pixel(x, y)) for x in range(32)) for y in range(32))
    part = lambda tag, data: struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))
    with open(sys.argv[1] + "/" + name, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + part(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, kind, 0, 0, 0))
                + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b""))
png("keep.png", 0, lambda x, y: [0])
png("lower.png", 0, lambda x, y: [255 * (y >= 16)])
png("holes.png", 4, lambda x, y: [(7 * x + 5 * y) % 256, 255 * (y < 16)])
png("opaque.png", 4, lambda x, y: [(7 * x + 5 * y) % 256, 255])
END
expect 0 "inpaint: 8 results" $e inpaint $model $d --mask $dir/a.png --fit resize -o $dir/e1.png
expect 0 "inpaint: 1 result in" $e inpaint $model $dir/holes.png -l 3 --steps 2 --mask alpha -v 1 -o $dir/e2.png
expect 2 "nothing of $dir/d3.png is transparent" $e inpaint $model $d --mask alpha -o $dir/e8.png
expect 2 "nothing of $dir/opaque.png is transparent" $e inpaint $model $dir/holes.png $dir/opaque.png -l 3 --mask alpha -o $dir/e8.png
expect 0 "inpaint: 3 results" $e inpaint $model $dir/wide.jpg -l 3 --steps 2 --fit pad --mask alpha -v 3 -o $dir/e3.jpg
expect 0 "super-resolve: 8 results" $e super-resolve $model $d --factor 4 --fit resize -o $dir/e4.png
expect 0 "stroke: 4 results" $e stroke $model $dir/wide.jpg -l 3 --sigma 5 --fit crop -o $dir/e5.png
expect 0 "denoise: 2 results" $e denoise $model $d --sigma 0.5 -o $dir/e6.png
expect 0 "interpolate: 5 results" $e interpolate $model --frames 5 --to 3 -l 4 -o $dir/e7.png
expect 0 '"results": 4' $e inpaint $model $d --mask $dir/keep.png -v 2 --images "$dir/v%03d.png" --json
[ -f $dir/v003.png ] || fail "no v003.png"
cmp -s <($bin/cm-sample $model -n 1 -l 3 --margin 0 --seed 3 --no-note -o $dir/same.png -q >/dev/null; cat $dir/same.png) $dir/v000.png || fail "an opaque picture came back changed"
expect 1 "exists" $e denoise $model $d --sigma 0.5 -o $dir/e6.png
expect 2 "say --fit" $e inpaint $model $dir/wide.jpg -l 3 --mask alpha -o $dir/e8.png
expect 2 "say --fit" $e super-resolve $model $d --factor 4 -o $dir/e8.png
expect 2 "does not divide" $e super-resolve $model $d --factor 5 --fit crop -o $dir/e8.png
expect 2 "needs --factor" $e super-resolve $model $d
expect 2 "needs --mask" $e inpaint $model $d
expect 0 "steps of a byte (estimated)" $e denoise $model $dir/noisy.png -l 3 -o $dir/e9.png
expect 0 '"sigmas": [0.' $e denoise $model $dir/noisy.png -l 3 --images "$dir/w%d.png" --json
expect 2 "no noise is found in it: say with --sigma" $e denoise $model $dir/gray.png -l 3
expect 2 "--no-cut has no effect on stroke" $e stroke $model $d --sigma 1 --no-cut
expect 2 "no effect on stroke" $e stroke $model $d --mask alpha
expect 1 "sigma has no effect" $e inpaint $model $d --mask $dir/lower.png --sigma 3 -o $dir/e8.png
expect 1 "80]" $e stroke $model $d --sigma 90 -o $dir/e8.png
expect 1 "labels[0] is 12" $e inpaint $model $dir/d3.png -l 12 --mask $dir/lower.png -o $dir/e8.png
expect 2 "say with --labels" $e inpaint $model $dir/d3.png --mask alpha -o $dir/e8.png
expect 2 "makes gray pictures" $e colorize $model $d
expect 2 "cm-edit: 'inpant' is none of inpaint" $e inpant $model $d
expect 2 "takes no picture" $e interpolate $model $d
expect 2 "give the pictures" $e stroke $model -l 3
expect 1 "No such file" $e stroke $model $dir/none.png -l 3 --sigma 3 -o $dir/e8.png
expect 1 "neither a JPEG nor a PNG" $e inpaint $model $dir/d3.png -l 3 --mask Makefile -o $dir/e8.png
expect 0 "usage" $e --help
[ -f $dir/e8.png ] && fail "a failed edit left a file"
# Images as they are made: the same bytes as in one call, and as many at a time as are in flight.
for b in 3 16; do expect 0 "7 images" $bin/cm-sample $model -n 7 --batch $b -l 1,2 --seed 4 --method multistep --images "$dir/b$b-%d.png"; done
for i in 0 1 2 3 4 5 6; do cmp -s $dir/b3-$i.png $dir/b16-$i.png || fail "image $i depends on the batch"; done
for b in 1 2 3 16; do expect 0 "6 results" $e inpaint $model $d --mask $dir/lower.png -v 3 --batch $b --seed 2 --images "$dir/c$b-%d.png"; done
for b in 1 2 3; do for i in 0 1 2 3 4 5; do cmp -s $dir/c$b-$i.png $dir/c16-$i.png || fail "result $i depends on the batch of $b"; done; done
expect 0 "6 results" $e inpaint $model $d --mask $dir/lower.png -v 3 --batch 2 --seed 2 -o $dir/p2.png
expect 0 "6 results" $e inpaint $model $d --mask $dir/lower.png -v 3 --batch 16 --seed 2 -o $dir/p16.png
cmp -s $dir/p2.png $dir/p16.png || fail "the page of results depends on the batch"
# What cannot be written is said before the work: the model does not even have to be there.
none=$dir/none.safetensors; mkdir $dir/real.png $dir/taken; touch $dir/taken/00004.png
for program in "cm-sample $none" "cm-edit stroke $none $dir/d3.png -l 3"; do
    expect 1 "exists" $bin/$program -o $dir/a.png
    expect 1 "No such file" $bin/$program -o $dir/no/f.png
    expect 1 "No such file" $bin/$program --images "$dir/no/%d.png"
    expect 1 ".png" $bin/$program -o $dir/f.webp
    expect 1 ".png" $bin/$program --images "$dir/%d"
    expect 1 "$dir/real.png" $bin/$program -o $dir/real.png --force
    expect 1 "Not a directory" $bin/$program -o $dir/a.png/f.png
    expect 1 "too long" $bin/$program -o $dir/$(printf 'x%.0s' $(seq 252)).png
    expect 2 "too long" $bin/$program --images "$dir/$(printf 'x%.0s' $(seq 4000))%d.png"
done
long="--method heun --steps 20000" # would take minutes
expect 1 "exists" $bin/cm-sample $teacher $long -n 9 --images "$dir/taken/%05d.png"
expect 1 "limits" $bin/cm-sample $teacher $long -n 10000000 -o $dir/f.png
expect 1 "65500" $bin/cm-sample $teacher $long -n 63 --columns 1 --margin 992 -o $dir/f.jpg
expect 1 "limits" $e denoise $model $d --sigma 1 --steps 20000 -v 60000 -o $dir/e8.png
expect 1 "No such file" $bin/cm-sample $teacher $long -n 9 --images "$dir/of%d/i.png"
# Root writes into every folder, unless it gives that up.
mkdir -m 555 $dir/closed
as_others=""
[ -w $dir/closed ] && as_others="setpriv --bounding-set -dac_override,-dac_read_search"
if $as_others sh -c "touch $dir/closed/tried" 2>/dev/null; then
    echo "programs: every folder can be written here: that a read-only one is refused was not tried" | tee -a "${CHECK_SKIPS:-/dev/null}"
else
    expect 1 "Permission denied" $as_others $bin/cm-sample $none -o $dir/closed/f.png
fi
# Numbers are what was typed, or refused.
for bad in 3.9 1e10 nan 0x3 +3 3, ,3 3x " 3" 4294967299 -2; do expect 2 "--labels" $bin/cm-sample $model -l "$bad" -o $dir/f.png; done
for bad in -1 18446744073709551616 1e3 0x10 +1 " 1" 1.0 ""; do expect 2 "0..18446744073709551615" $bin/cm-sample $none --seed "$bad" -o $dir/f.png; done
for bad in 22.5 nan 1e2 -1; do expect 2 "--ts" $bin/cm-sample $none --ts 0,$bad --grid 40 -o $dir/f.png; done
for bad in nan inf 0x50 +80 " 80" 80, 1e999; do expect 2 "--sigmas" $bin/cm-sample $none --sigmas "$bad" -o $dir/f.png; done
for bad in nan 0x7 +7 7x ""; do expect 2 "--rho" $bin/cm-sample $none --rho "$bad" -o $dir/f.png; done
for bad in +4 0x4 4.0 4e0 " 4" 9223372036854775808 100000000000000000000G; do expect 2 "--count" $bin/cm-sample $none -n "$bad" -o $dir/f.png; done
for bad in 3.9 nan; do expect 2 "--labels" $e stroke $model $dir/d3.png -l $bad -o $dir/e8.png; done
expect 0 "images/s" $bin/cm-sample $model -n 1 --seed 18446744073709551615 -o $dir/top.png
$bin/cm-sample $model -n 1 --seed 9223372036854775807 -o $dir/half.png -q
cmp -s $dir/top.png $dir/half.png && fail "seed 2^64 - 1 is taken for 2^63 - 1"
printf '{"precond"\0: {}}' > $dir/nul.json
expect 2 "NUL" $bin/cm-info $model --config $dir/nul.json
cp $model $dir/-m.safetensors
b=$(realpath $bin); (cd $dir && $b/cm-info -q -- -m.safetensors) || fail "no operand after --"
# Quiet is silent; a full output is a failure; closed descriptors are nobody's file.
for command in "cm-sample $model -n 1 -o $dir/q1.png" "cm-edit stroke $model $dir/d3.png -l 3 --sigma 3 --steps 2 -o $dir/q2.png" "cm-info $model"; do
    [ -z "$($bin/$command -q 2>&1)" ] || fail "$command -q prints something"
done
expect 0 '"images": 1' $bin/cm-sample $model -n 1 -o $dir/q3.png -q --json
for command in "cm-sample --help" "cm-sample --version" "cm-edit --help" "cm-info --version" "cm-info --machine" "cm-info $model" "cm-train --help" "cm-train --version" \
    "cm-train --list-presets" "cm-train --list-options" "cm-train --print-config" "cm-sample $model -n 1 -o $dir/full.png" "cm-edit stroke $model $dir/d3.png -l 3 --sigma 3 --steps 2 -o $dir/full2.png"; do
    n=$((n + 1)); $bin/$command >/dev/full 2>$dir/err && fail "$command succeeds into a full output"
    grep -q "standard output" $dir/err || fail "$command: no word of the full output: $(cat $dir/err)"
done
expect 0 "130" $bin/cm-sample --help
$bin/cm-sample $model -n 1 --seed 3 -o $dir/open.png -q
for closed in ">&-" "2>&-" "<&-" "<&- >&- 2>&-"; do
    n=$((n + 1)); eval "$bin/cm-sample $model -n 1 --seed 3 --force -o $dir/closed.png >/dev/null $closed" || fail "with $closed"
    cmp -s $dir/open.png $dir/closed.png || fail "the picture made with $closed is another one"
done
# cm-train: a run from nothing, one from a checkpoint, distillation, and what it refuses.
mkdir $dir/set
for i in 0 1 2 3 4 5 6 7 8 9 10 11; do $bin/cm-sample $model -n 1 --labels $((i % 10)) --margin 0 --seed $i -o $dir/set/$((i % 10))_$i.png --quiet >/dev/null; done
t="$bin/cm-train --data $dir/set --preset smoke --steps 3 --batch 4 --threads 1"
expect 0 "saved step 3" $t --out $dir/run --sample-every 2
[ -f $dir/run/samples/step-000000002.png ] && [ -f $dir/run/config.json ] && [ "$(wc -l < $dir/run/log.jsonl)" = 3 ] || fail "the run directory lacks something"
expect 0 "images/s" $bin/cm-sample $dir/run/checkpoints/step-000000003/ema-warmup-0.9.safetensors --steps 2 -n 2 -o $dir/run.png
expect 0 "songunet" $bin/cm-info $dir/run/checkpoints/step-000000003/model.safetensors
# The directory of a run is a model: its file at the end, the newest average of one that has not ended.
cmp -s $dir/run/model.safetensors $dir/run/checkpoints/step-000000003/ema-warmup-0.9.safetensors || fail "model.safetensors is not the average"
expect 0 "$dir/run/model.safetensors is used" $bin/cm-sample $dir/run --no-note --steps 2 -n 2 -o $dir/of_run.png
$bin/cm-sample $dir/run/model.safetensors --no-note --steps 2 -n 2 -o $dir/of_file.png -q && cmp -s $dir/of_run.png $dir/of_file.png || fail "a run draws other images than its model"
mv $dir/run/model.safetensors $dir/run.safetensors
expect 0 "step-000000003/ema-warmup-0.9.safetensors is used" $bin/cm-sample $dir/run --steps 2 -n 2 -o $dir/of_run.png --force
expect 0 "is finished" $bin/cm-train --out $dir/run --resume
# Of several averages the first of the options, not of the alphabet, unless the options cannot be told.
expect 0 "saved step 2" $bin/cm-train --data $dir/set --preset smoke --steps 2 --batch 4 --threads 1 --set ema=halflife:9,halflife:10 --out $dir/two_averages
rm $dir/two_averages/model.safetensors
expect 0 "step-000000002/ema-halflife-9.safetensors is used" $bin/cm-info $dir/two_averages
echo "{" > $dir/two_averages/checkpoints/step-000000002/state.json
expect 0 "step-000000002/ema-halflife-10.safetensors is used" $bin/cm-info $dir/two_averages
expect 0 "$dir/run/model.safetensors is used" $bin/cm-info $dir/run
expect 0 "$dir/run/model.safetensors is used" $bin/cm-convert $dir/run $dir/of_run.pt
mkdir -p $dir/adopted/checkpoints && cp $dir/run/config.json $dir/adopted && cp $model $dir/adopted/model.safetensors
expect 0 "$dir/adopted/model.safetensors is used" $bin/cm-eval --metric fd-lenet --few --samples 30 $dir/adopted $digits
expect 0 "most of the" $bin/cm-train --doctor $dir/run
mkdir $dir/ill; cp $dir/run/config.json $dir/ill; printf '{"step": 1, "loss": null, "grad_norm": 1}\nx\n{"step": 2, "lo' > $dir/ill/log.jsonl
expect 3 "1 of 1 lines have a loss or a gradient that is no number" $bin/cm-train --doctor $dir/ill
expect 3 "1 lines of log.jsonl are damaged" $bin/cm-train --doctor $dir/ill
expect 1 "log.jsonl' cannot be read" sh -c "mkdir $dir/unlogged && cp $dir/run/config.json $dir/unlogged && $bin/cm-train --doctor $dir/unlogged"
expect 1 "is no run" $bin/cm-train --doctor $dir
expect 2 "--out has no effect with --doctor" $bin/cm-train --doctor $dir/run --out $dir/x
cmp -s $dir/run/model.safetensors $dir/run.safetensors || fail "--resume of a finished run does not write its model"
expect 0 "stroke: 4 results" $bin/cm-edit stroke $dir/run $dir/set/1_1.png --fit crop -l 1 --sigma 3 --steps 1 -o $dir/of_edit.png
# An objective whose batch counts pairs, 16 of an image: this step sees one of the 12 pictures.
expect 0 "saved step 1" $bin/cm-train --data $dir/set --preset digits-cmt-30min --teacher $teacher --batch 16 --steps 1 --set anneal_begin=0 --out $dir/mid --no-estimate
grep -q '"images": 16, "epoch": 0.0833333,' $dir/mid/log.jsonl || fail "the epoch of a run that counts pairs: $(cat $dir/mid/log.jsonl)"
# Networks of two times: only some objectives train them, from nothing.
expect 0 "saved step 1" $bin/cm-train --data $dir/set --preset digits-meanflow-30min --batch 2 --steps 1 --set anneal_begin=0 --out $dir/flow --no-estimate
expect 0 "1 network evaluation" $bin/cm-sample $dir/flow/checkpoints/step-000000001/ema-warmup-0.999.safetensors -n 1 -o $dir/flow1.png
expect 0 "state of an optimizer" $bin/cm-info $dir/run/checkpoints/step-000000003/optimizer.safetensors
expect 1 "not empty" $t --out $dir/run
cp -r $dir/set $dir/inside
expect 0 "stands inside the folder of its pictures" $t --data $dir/inside --out $dir/inside/run
expect 0 "12 pictures of 1 x 32 x 32" $t --out $dir/ect --objective ect --init $model --network given
expect 2 "model_channels is 8 in the preset and 16 in the model" $t --out $dir/x --objective ect --init $model
expect 2 "--teacher $model: the model's network is another than that of preset smoke" $t --out $dir/x --objective cd --teacher $model
expect 2 "needs --init or --teacher" $t --out $dir/x --network given
expect 0 "default: 0.001 (edm), 0.0004 (cd, ct), 0.00005 (pd, tcm2), 0.0001 (ict, ect, sct, scd, dscd, tcm, soflow, imeanflow), 0.000005 (ccd, cct), 0.0002 (cmt), 0.0006 (meanflow)" $bin/cm-train --list-options
$bin/cm-train --list-options | grep -v '^ ' | sed -n 's/^\([a-z0-9_]*\)  *[A-Z0-9].*[.]$/\1/p' > $dir/listed
sed -n '/tables of tests/,/end of the tables/s/^| `\([a-z0-9_]*\)` .* | .* | .* |$/\1/p' docs/training.md | cmp -s - $dir/listed && [ -s $dir/listed ] ||
    fail "--list-options has other options than docs/training.md: $(tr '\n' ' ' < $dir/listed)"
expect 0 "526.305 M  EDM, the --teacher of lsun256-cd-l2" $bin/cm-train --list-presets
expect 0 "saved step 3" $t --out $dir/cd --objective cd --teacher $dir/run/checkpoints/step-000000003/model.safetensors
expect 0 '"precond": "cm"' $bin/cm-info --json $dir/cd/checkpoints/step-000000003/model.safetensors
expect 1 "needs a teacher" $t --out $dir/x --objective cd
expect 1 "no configuration" $t --out $dir/x --objective cd --teacher $plain
expect 1 "give --batch 12 or less" $t --out $dir/x --batch 13
expect 1 "give --batch 48 or less" $t --out $dir/x --batch 52 --objective cmt --teacher $teacher --network given --set cmt_nfe=4
expect 1 "--size 64 is not what the network takes" $t --out $dir/x --size 64
expect 1 "1 x 16 x 16 (C x H x W), the network takes 1 x 32 x 32" $t --out $dir/x --size 16 --init $model --objective ect --network given
expect 1 "--size 64 is not what the network takes" $t --out $dir/x --size 64 --objective cd --network given --teacher $teacher
expect 1 "no checkpoint" $t --out $dir/x --resume
# Names of classes: from the folders into the model, out of it, and understood.
for i in 0 1 2 3; do for class in cat dog; do mkdir -p $dir/named/$class; cp $dir/set/${i}_$i.png $dir/named/$class/; done; done
t2="$bin/cm-train --data $dir/named --preset smoke --steps 2 --batch 4 --threads 1 --out $dir/names -q"
expect 0 "saved step 2" ${t2% -q}
names=$dir/names/checkpoints/step-000000002/ema-warmup-0.9.safetensors
expect 0 "0 cat, 1 dog" $bin/cm-info $names
expect 0 '"classes": ["cat", "dog"' $bin/cm-info --json $names
grep -q '"class_names": \["cat", "dog"\]' $dir/names/config.json || fail "config.json lacks the names of the classes"
# Names that are given, for this run and for one that goes on with it.
expect 0 "saved step 2" ${t2% -q} --out $dir/names2 --class-names tabby,poodle
expect 0 "0 tabby, 1 poodle" $bin/cm-info $dir/names2/model.safetensors
expect 0 "saved step 3" $bin/cm-train --out $dir/names2 --resume --steps 3 --allow-changes
expect 0 "0 tabby, 1 poodle" $bin/cm-info $dir/names2/model.safetensors
expect 1 "class_names has 1 names, and the set has 2 classes" $t2 --out $dir/names3 --class-names tabby
expect 0 "images/s" $bin/cm-sample $names --steps 2 -n 2 --no-note -l cat,dog -o $dir/by_name.png
expect 0 "images/s" $bin/cm-sample $names --steps 2 -n 2 --no-note -l 0,1 -o $dir/by_number.png
cmp -s $dir/by_name.png $dir/by_number.png || fail "labels by name give another page than by number"
expect 0 "images/s" $bin/cm-sample $names --steps 2 -n 20 --columns 10 --no-note -l 0,1,2,3,4,5,6,7,8,9 -o $dir/by_turn.png
expect 0 "images/s" $bin/cm-sample $names --steps 2 -n 20 --no-note -l all -o $dir/by_all.png
cmp -s $dir/by_turn.png $dir/by_all.png || fail "--labels all is another page than each label in turn"
expect 0 "80 images" $bin/cm-sample $names --steps 1 -l all -o $dir/by_all.png --force
plain_net='{"network": {"type": "songunet", "img_resolution": 32, "img_channels": 1, "model_channels": 8, "channel_mult": [1], "num_blocks": 1,
 "attn_resolutions": []}, "precond": {"type": "edm"}}'
expect 0 "saved step 2" $bin/cm-train --data $dir/named --labels none --preset smoke --network "$plain_net" --steps 2 --batch 4 --threads 1 --out $dir/plain
expect 2 "--labels all: the model has no classes" $bin/cm-sample $dir/plain -l all -o $dir/f.png
expect 0 "images/s" $bin/cm-sample $names --steps 2 -n 2 -l dog,0 -o $dir/mixed.png
expect 2 "no class 'dgo' (did you mean 'dog'?); the model knows cat, dog" $bin/cm-sample $names -l cat,dgo -o $dir/f.png
expect 2 "have no names, give numbers 0..9" $bin/cm-sample $model -l cat -o $dir/f.png
expect 0 "by_name" $e stroke $names $dir/d3.png -l dog --sigma 3 --steps 2 -o $dir/edit_by_name.png
expect 2 "did you mean 'cat'" $e stroke $names $dir/d3.png -l Cat --sigma 3 --steps 2 -o $dir/f.png
mv $dir/named/dog $dir/named/eel
expect 1 "the data has changed" $t2 --resume
expect 1 "No such file" $t --out $dir/x --data $dir/none
expect 2 "above 0" $t --out $dir/x --set lr=-1
expect 2 "expected a number" $t --out $dir/x --set lr=nan
expect 2 "expected 0..1" $t --out $dir/x --set ema=1.01
expect 2 "expected 2" $t --out $dir/x --objective cd --set start_scales=1
expect 2 "did you mean 'warmup_steps'" $t --out $dir/x --set warmup_step=3
expect 2 "no preset is called 'digit' (did you mean one of digits-*?)" $t --out $dir/x --preset digit
expect 2 "did you mean one of cifar10-*?" $t --out $dir/x --preset cifar
expect 2 "did you mean 'lr'?" $t --out $dir/x --set learning_rate=1
expect 2 "give it as --set lr=VALUE" $t --out $dir/x --lr 0.1
expect 2 "did you mean --batch?" $t --out $dir/x --batch-size 4
expect 2 "give this one as --sample-every 3" $t --out $dir/x --set sample_every=3
expect 2 "did you mean 'super-resolve'?" $e superres $model $d
expect 2 "did you mean 'ancestral'?" $bin/cm-sample $model --method euler_ancestral
expect 2 "are needed" $bin/cm-train
expect 2 "data is needed" $bin/cm-train --out $dir/x
expect 2 "no config.json that says it" $bin/cm-train --out $dir/x --resume
expect 0 "digits-teacher-30min" $bin/cm-train --list-presets
expect 0 '"ect_stages": 8' $bin/cm-train --preset cifar10-ect --print-config
# What a run needs is known before it is made: refused with numbers, and what is proposed fits.
echo '{"network": {"type": "songunet", "img_resolution": 32, "img_channels": 1, "label_dim": 10, "model_channels": 96, "channel_mult": [1, 2], "num_blocks": 2,
 "attn_resolutions": [16], "dropout": 0}, "precond": {"type": "edm"}, "image": {"channels": 1, "height": 32, "width": 32, "labels": 10}}' > $dir/big.json
big="$bin/cm-train --data $dir/set --network $dir/big.json --batch 12 --set microbatch=12 --steps 2 --threads 1 --sample-every 0 --out $dir/x"
(ulimit -v 720000; $big --batch 12 >$dir/refused 2>&1); got=$?
[ $got = 1 ] && grep -q "needs about .* GB of memory, and ulimit -v leaves" $dir/refused && grep -q "give --batch [0-9]* (" $dir/refused ||
    fail "exit $got, no refusal with numbers: $(cat $dir/refused)"
[ -d $dir/x ] && fail "a refused run left a directory"
# A run goes to any empty directory, which stays what it is; whether it can is said before the work.
u="$bin/cm-train --data $dir/set --preset smoke --steps 3 --batch 4 --threads 1 --no-estimate -q"
mkdir -m 700 $dir/own; ln -s own $dir/link; mkdir -p $dir/dot $dir/mount/lost+found; ln -s nowhere $dir/dangling; b=$(realpath $bin)
for run in link new/ mount; do expect 0 "" $u --out $dir/$run; [ -f $dir/$run/config.json ] || fail "no run in $run"; done
[ "$(stat -c %a $dir/own)" = 700 ] && [ -L $dir/link ] || fail "--out changed the directory it was given"
(cd $dir/dot && $b/cm-train --data ../set --preset smoke --steps 3 --batch 4 --threads 1 --no-estimate -q --out .) || fail "--out ."
expect 1 "not empty" $u --out $dir/own
expect 1 "No such file" $u --data $dir/none --out $dir/no/run
expect 1 "no/run" $u --data $dir/none --out $dir/no/run
expect 1 "$dir/dangling" $u --out $dir/dangling
expect 1 "Not a directory" $u --out $dir/a.png
expect 1 "Not a directory" $u --out $dir/a.png/run
expect 1 "too long" $u --out $dir/$(printf 'x%.0s' $(seq 300))
# The log is JSON, and the report lives with it, also of a run that diverges and of names that are no text.
expect 0 "" $u --steps 6 --out $dir/diverged --sample-every 0 --log-every 1 --set lr=1e6 --set skip_nonfinite=9 --set ema=none
cp -r $dir/set "$dir/s"$'\xff'
expect 0 "" $u --out "$dir/bytes"$'\xff' --data "$dir/s"$'\xff'
$u --out $dir/closed-run >&- 2>&- <&- || fail "a run with closed descriptors"
python3 - $dir <<'END' || fail "JSON of odd runs"
import json, os, sys
def refuse(name):
    raise ValueError(name + " is no JSON")
d = os.fsencode(sys.argv[1])
for run in (b"/diverged", b"/bytes\xff", b"/closed-run"):
    json.load(open(d + run + b"/config.json", encoding="utf-8"), parse_constant=refuse)
    rows = [json.loads(line, parse_constant=refuse) for line in open(d + run + b"/log.jsonl", encoding="utf-8")]
    assert [r["step"] for r in rows] == list(range(1, len(rows) + 1)) and len(rows) in (3, 6), (run, rows)
    assert all(r["img_per_s"] > 0 for r in rows)
    if run == b"/diverged":
        assert rows[0]["loss"] > 0 and rows[-1]["loss"] is None and rows[-1]["grad_norm"] is None, rows
END
for run in $dir/diverged "$dir/bytes"$'\xff'; do
    PYTHONPATH=bindings/python expect 0 "report.html" python3 -m consistency.report "$run"
    PYTHONPATH=bindings/python expect 0 "tfevents" python3 -m consistency.tensorboard "$run"
done
n=$((n + 1)); $bin/cm-train --data $dir/set --preset smoke --steps 3 --batch 4 --no-estimate --out $dir/full-run >/dev/full 2>$dir/err && fail "a run into a full output succeeds"
grep -q "standard output" $dir/err && [ -d $dir/full-run/checkpoints/step-000000003 ] || fail "a run into a full output: $(cat $dir/err)"
[ -z "$($u --out $dir/quiet 2>&1)" ] || fail "cm-train -q prints something"
for bad in -1 " -1" +1 1.5 1e3 18446744073709551616; do expect 2 "seed is" $bin/cm-train --preset smoke --print-config --seed "$bad"; done
for bad in 1.5 nan 0x4 +4 ""; do expect 2 "batch is" $bin/cm-train --preset smoke --print-config --batch "$bad"; done
batch=$(sed -n 's/.*give --batch \([0-9]*\) .*/\1/p' $dir/refused)
(ulimit -v 720000; $big --batch ${batch:-12} >$dir/fits 2>&1) || fail "the proposed batch $batch does not run: $(cat $dir/fits)"
rm -rf $dir/x
expect 0 "GB of memory" $t --out $dir/shares --steps 40 --set warmup_steps=100
[ "$(echo "$out" | grep -c "warmup_steps 100")" = 1 ] || fail "a warning is said other than once: $out"
# A metric on the way: what cm-eval prints of the best weights, and what is refused before the training begins.
lenet=models/features/lenet-train.npz
m="$t --no-estimate --sample-every 0 --out $dir/metric"
expect 2 "needs --metric-data" $m --metric fd-lenet
expect 2 "did you mean 'fd-lenet'" $m --metric fd-lenett --metric-data $lenet
expect 2 "give pytorch-fid's file with --metric-features" $m --metric fid --metric-data $lenet
expect 2 "give 2000 or more, or --metric-few" $m --metric fd-lenet --metric-data $lenet --metric-samples 64
expect 2 "no effect with --metric-every" $m --metric fd-lenet --metric-data $lenet --metric-every 1 --metric-share 3
expect 2 "no effect without --metric" $m --metric-every 1
expect 2 "give this one as --metric-every 3" $m --set metric_every=3
expect 1 "has 12 images, of which a distance says little" $m --metric fd-lenet --metric-data $dir/set
expect 1 "No such file" $m --metric fd-lenet --metric-data $dir/none
expect 1 "resnet20.safetensors" $m --metric fd-lenet --metric-data $lenet --metric-features models/features/resnet20.safetensors
[ -e $dir/metric ] && fail "a refused metric left a run"
m="$m --metric fd-lenet --metric-data $lenet --metric-every 1 --metric-samples 64 --metric-steps 2 --metric-few"
expect 0 ", the best so far: $dir/metric/best.safetensors" $m
best=$(echo "$out" | sed -n 's/^step [0-9]*: fd-lenet \([0-9.e+]*\), the best so far.*/\1/p' | tail -1)
[ "$(echo "$out" | grep -c "^step [123]: fd-lenet ")" = 3 ] || fail "three evaluations print other than three lines: $out"
expect 0 "$(printf '%-22s %s' fd-lenet "$best")" $bin/cm-eval --metric fd-lenet --few --samples 64 --steps 2 $dir/metric/best.safetensors $lenet
expect 0 "saved step 5" $bin/cm-train --out $dir/metric --resume --steps 5
[ "$(grep -c '"fd-lenet": ' $dir/metric/log.jsonl)" = 5 ] || fail "the metric does not go on with the run"
expect 0 "fd-lenet was not evaluated: it takes more than 0.1 %" $t --sample-every 0 --out $dir/metric-share --metric fd-lenet --metric-data $lenet --metric-share 0.1
PYTHONPATH=bindings/python expect 0 "report.html" python3 -m consistency.report $dir/metric
grep -q "fd-lenet, least" $dir/metric/report.html || fail "the report has no curve of the metric"
PYTHONPATH=bindings/python expect 0 "tfevents" python3 -m consistency.tensorboard $dir/metric
grep -q "fd-lenet" $dir/metric/events.out.tfevents.consistency || fail "TensorBoard's file has no metric"
# A run is continued by its name alone, made longer by name, and says when it is finished or its data has changed.
r="$bin/cm-train --out $dir/again --resume"
expect 0 "saved step 3" $t --out $dir/again --no-estimate --sample-every 0
expect 0 "is finished: it has taken its 3 steps" $r
expect 0 "saved step 5" $r --steps 5
grep -q '"steps": 5' $dir/again/config.json || fail "config.json does not say the new number of steps"
expect 1 "lr was 0.001, is 0.5" $r --set lr=0.5
cp -r $dir/set $dir/set2; rm $dir/set2/1_1.png
expect 1 "--allow-changes to go on with this" $r --steps 7 --data $dir/set2
expect 1 "the data has changed: the run was made with '$dir/set' of 12 pictures" $r --steps 7 --data $dir/set2
expect 0 "saved step 7" $r --steps 7 --data $dir/set2 --allow-changes
$bin/cm-train --preset smoke --steps 7 --print-config > $dir/printed.json
expect 0 "saved step 2" $bin/cm-train --config $dir/again/config.json --steps 2 --out $dir/configured --no-estimate
$bin/cm-train --config $dir/printed.json --print-config | cmp -s - $dir/printed.json || fail "--print-config is not read back"
grep -q '"type": "songunet"' $dir/printed.json || fail "--print-config does not print the network"
$bin/cm-train --data $dir/set --size 32 --print-config | grep -q '"type":"songunet"' || fail "--print-config does not print the network that the pictures decide"
expect 2 "no effect with --sample-every" $t --out $dir/x --sample-every 2 --sample-share 3
PYTHONPATH=bindings/python expect 0 "report.html" python3 -m consistency.report $dir/run
PYTHONPATH=bindings/python expect 0 "tfevents" python3 -m consistency.tensorboard $dir/run
[ -f $dir/f.png ] && fail "a failed run left f.png"
# Outputs that are there and no files; links.
mkdir $dir/odd && mkfifo $dir/odd/pipe.png $dir/odd/i-1.png && ln -s /dev/null $dir/odd/null.png && ln -s real.png $dir/odd/link.png
expect 1 "a pipe" $bin/cm-sample $model -n 1 -o $dir/odd/pipe.png --force
expect 1 "a device" $bin/cm-sample $model -n 1 -o $dir/odd/null.png --force
expect 1 "a pipe" $bin/cm-sample $model -n 2 --images "$dir/odd/i-%d.png" --force
expect 0 "link.png" $bin/cm-sample $model -n 1 -o $dir/odd/link.png --force
[ -p $dir/odd/pipe.png -a -p $dir/odd/i-1.png -a -L $dir/odd/null.png -a -L $dir/odd/link.png -a -s $dir/odd/real.png ] || fail "an odd output was replaced"
mv $dir/run/report.html $dir/odd/ && ln -s ../odd/report.html $dir/run/report.html && : >$dir/odd/report.html && chmod 600 $dir/odd/report.html
rm $dir/run/events.out.tfevents.consistency && mkfifo $dir/run/events.out.tfevents.consistency
PYTHONPATH=bindings/python expect 0 "report.html" python3 -m consistency.report $dir/run
[ -L $dir/run/report.html -a -s $dir/odd/report.html -a "$(stat -c %a $dir/odd/report.html)" = 600 ] || fail "the report's link was replaced"
PYTHONPATH=bindings/python expect 1 "not a regular file" python3 -m consistency.tensorboard $dir/run
[ -p $dir/run/events.out.tfevents.consistency ] || fail "a pipe was replaced"
ls $dir | grep -q tmp && fail "temporary files are left"
# Ctrl-C: clean stop, nothing written.  On a busy machine the program may not
# even have begun after a second, and then dies of it: try longer.
for seconds in 1 4 16 64; do
    timeout --foreground -s INT $seconds $bin/cm-sample $teacher --method heun --steps 20000 -n 16 -o $dir/g.png >/dev/null 2>$dir/err
    [ $? = 124 ] || fail "the run ended before it was interrupted"
    [ -f $dir/g.png ] && fail "an interrupted run left a picture"
    grep -q interrupted $dir/err && break
done
grep -q interrupted $dir/err || fail "no word of the interruption"
# A limit on the size of files is a failure that leaves nothing behind, not the end of the program.
mkdir $dir/limited
(ulimit -f 2; $bin/cm-sample $model -n 64 -o $dir/limited/page.png) >/dev/null 2>$dir/err; got=$?
[ $got = 1 ] && grep -q "File too large" $dir/err && [ -z "$(ls -A $dir/limited)" ] || fail "exit $got under ulimit -f: $(cat $dir/err)"
# With a file an image no memory is needed for all (4 GB here), and what was whole before the interruption stays.
for seconds in 1 4 16 64; do
    mkdir -p $dir/kept
    (ulimit -v 3000000; exec timeout --foreground -s INT $seconds $bin/cm-sample $model --batch 2 -n 1000000 --force --images "$dir/kept/%d.png") >/dev/null 2>$dir/err
    [ $? = 124 ] || fail "the run ended before it was interrupted"
    grep -q "images are written" $dir/err && break
done
kept=$(ls $dir/kept | wc -l)
grep -q " $kept of 1000000 images are written" $dir/err || fail "$kept images are left, but: $(cat $dir/err)"
$bin/cm-info $model >/dev/null && expect 0 "inpaint" $e inpaint $model $dir/kept/$((kept - 1)).png -l none --steps 2 --mask $dir/lower.png -o $dir/last.png
[ $status = 0 ] && echo "programs: $n commands as expected"
exit $status
