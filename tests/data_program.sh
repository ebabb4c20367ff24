#!/bin/bash
# data_program.sh BUILD: cm-data as a user types it: what it finds, draws and packs, its exit codes, nothing half-written.
bin=$1/bin
dir=$(mktemp -d /tmp/cm-data-XXXXXX)
trap 'rm -rf "$dir"' EXIT
cd "$(dirname "$0")/.." || exit 1
. tests/support/commands.sh
data=$bin/cm-data model=tests/data/models/digits_consistency.safetensors
mkdir -p $dir/set/cat $dir/set/dog
$bin/cm-sample $model -n 12 --images "$dir/set/cat/%d.png" -q || fail "no pictures"
$bin/cm-sample $model -n 12 --seed 1 --images "$dir/set/dog/%d.png" -q || fail "no pictures"
expect 0 "pictures     24, of 32 x 32" $data check $dir/set --least 12
expect 0 "2, from folder names" $data check $dir/set --least 12
expect 1 "class 0 (cat) has 12 pictures: fewer than 20" $data check $dir/set
expect 1 "is not sound" $data check $dir/set -q
cp $dir/set/cat/3.png $dir/set/dog/copy.png
echo text > $dir/set/notes.txt
head -c 60 $dir/set/cat/1.png > $dir/set/cat/cut.png
expect 1 "damaged      picture 12, cat/cut.png" $data check $dir/set --least 1
expect 1 "of class 1 (dog): the same pixels as picture" $data check $dir/set --least 1
expect 1 "left-out     notes.txt: no picture" $data check $dir/set --least 1
$data check $dir/set --json 2>/dev/null | python3 -c 'if True:
    import json, sys
    d = json.load(sys.stdin)
    assert d["is_sound"] is False and d["pictures"] == 25 and d["damaged"] == 1 and d["contradictions"] == 1 and d["left_out"] == 1
    assert [c["pictures"] for c in d["classes"]] == [13, 13] and d["classes"][1]["name"] == "dog"
    assert {f["kind"] for f in d["findings"]} >= {"damaged", "contradiction", "left-out", "class"}' || fail "check --json"
# The page: cat and dog over two columns, from the same seeds the same bytes; mirrored images differ.
expect 0 "8 images of 16 x 16 in 2 columns" $data show $dir/set --rows 4 --size 16 -o $dir/page.png
expect 1 "(--force replaces it)" $data show $dir/set --rows 4 --size 16 -o $dir/page.png
expect 0 "page2.png" $data show $dir/set --rows 4 --size 16 -o $dir/page2.png
cmp -s $dir/page.png $dir/page2.png || fail "two pages of one set differ"
expect 0 "page3.png" $data show $dir/set --rows 4 --size 16 --flip 1 -o $dir/page3.png
cmp -s $dir/page.png $dir/page3.png && fail "--flip 1 mirrors nothing"
expect 2 "the set has 2 classes" $data show $dir/set --columns 3 -o $dir/page4.png
PYTHONPATH=bindings/python CONSISTENCY_BUILD=$1 python3 - $dir/page.png $dir/page3.png <<'END' || fail "the pages are not mirror images"
import sys, consistency as cm
a, b = (cm.read_image(p) for p in sys.argv[1:])
a, b = (x.tolist() for x in (a, b))
while isinstance(a[0][0], list): a, b = a[-1], b[-1]  # one channel
assert len(a[0]) == 2 * 16 + 6 and len(a) == 4 * 16 + 10 + 11, (len(a), len(a[0]))
cell = lambda p, k: [row[2 + 18 * k:18 + 18 * k] for row in p[13:29]]
for k in (0, 1):
    assert cell(a, k) == [row[::-1] for row in cell(b, k)], k
END
# The archive: the same set, as it is and cut; whole or not at all.
expect 0 "25 of 26 pictures" $data pack $dir/set -o $dir/set.tar
expect 1 "(--force replaces it)" $data pack $dir/set -o $dir/set.tar
expect 0 '"pictures": 25, "damaged": 1' $data pack $dir/set -o $dir/again.tar --json -q
cmp -s $dir/set.tar $dir/again.tar || fail "two archives of one set differ"
tar -tf $dir/set.tar | grep -qx "dog/copy.png" || fail "tar does not read the archive"
expect 0 "25 of 25 pictures" $data pack $dir/set.tar --images --size 16 -o $dir/small.tar
expect 0 "images       16 x 16" $data check $dir/small.tar --least 1 -l none
expect 2 "--size has no effect without --images" $data pack $dir/set --size 16 -o $dir/x.tar
expect 2 "give --output" $data pack $dir/set
expect 1 "does not end in .tar" $data pack $dir/set -o $dir/x.zip
expect 2 "--class-names has no effect with pack" $data pack $dir/set --class-names a,b -o $dir/x.tar
expect 2 "--flip has no effect with check" $data check $dir/set --flip 1
expect 2 "none of check, show, pack (did you mean" $data chek $dir/set
expect 2 "give a task" $data check
expect 1 "cannot" $data check $dir/none
[ -z "$(ls -A $dir | grep -E 'x\.|never|page4|tmp-')" ] || fail "something is left of what failed"
# Ctrl-C: nothing is left.
for i in $(seq 2000); do cp $dir/set/cat/1.png $dir/set/cat/more$i.png; done
timeout --foreground --preserve-status -s INT 0.05 $data pack $dir/set -o $dir/stopped.tar -q 2>/dev/null
[ $? = 0 ] || [ ! -e $dir/stopped.tar ] || fail "a stopped archive is there"
[ -z "$(ls -A $dir | grep tmp-)" ] || fail "a temporary file is left"
echo "data_program.sh: $n commands, status $status"
exit $status
