#!/usr/bin/env python3
"""The sets that docs/data.md names, as they are installed: data_sets.py BUILD

What cm-data check says of each of them, the archive that cm-data pack makes of the first, and what cm-train --preset auto makes of the two that
are neither digits nor CIFAR-10.  A set that is not there is told to CHECK_SKIPS."""
import json
import os
import subprocess
import sys
import tempfile

build, shared = sys.argv[1], "../shared/data"
os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
EMOJI, CLOTHES = shared + "/noto_emoji64.tar", "/usr/share/datasets/fashion-mnist"
SETS = (  # path, kind, pictures, side, channels, duplicates, classes from, the first class and its pictures, number of classes
    (EMOJI, "tar", 1636, 64, 3, 5, "file names", "activities", 85, 8),
    (CLOTHES, "idx", 60000, 32, 1, 0, "labels file", None, 6000, 10),
    (shared + "/mnist", "idx", 60000, 32, 1, 0, "labels file", None, 5923, 10),
    (shared + "/cifar10_test.tar", "tar", 10000, 32, 3, 0, "folder names", "airplane", 1000, 10),
)
PLANS = (
    (EMOJI, ["--labels", "prefix"], ("1636 pictures (tar), in colour, 8 classes from file names", "81 pictures, whose loss is watched",
                                     "half of them; --set flip=0", "for the teacher: the set has fewer than 20000", "in every stage: the set has fewer than 5000")),
    (CLOTHES, ["--class-names", "T-shirt,trousers,pullover,dress,coat,sandal,shirt,sneaker,bag,boot"], ("mirrored   half of them",)),
    (CLOTHES, [], ("60000 pictures (idx), gray, 10 classes from labels file", "2019 pictures, whose loss is watched", "mirrored   none")),
)
failures = []


def absent(path):
    if os.path.exists(path):
        return False
    print("data_sets.py: %s is absent: not tried" % path)
    with open(os.environ.get("CHECK_SKIPS", os.devnull), "a") as skips:
        skips.write("data_sets.py: %s is absent\n" % path)
    return True


def run(*words):
    r = subprocess.run([os.path.join(build, "bin", words[0]), *words[1:]], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if r.returncode:
        failures.append("exit %d: %s\n%s%s" % (r.returncode, " ".join(words), r.stdout, r.stderr))
    return r.stdout


def check(path, *expected):
    d = json.loads(run("cm-data", "check", path, "--json", "-q") or "{}")
    classes = d.get("classes") or [{}]
    found = (d.get("kind"), d.get("pictures"), d.get("height"), d.get("channels"), d.get("duplicates"), d.get("classes_from"),
             classes[0].get("name"), classes[0].get("pictures"), len(classes))
    if found != expected or not d.get("is_sound") or d["width"] != d["height"]:
        failures.append("%s: expected %s, found %s" % (path, expected, found))


for path, *expected in SETS:
    if not absent(path):
        check(path, *expected)
if os.path.exists(EMOJI):
    with tempfile.TemporaryDirectory(prefix="cm-sets-") as top:
        run("cm-data", "pack", EMOJI, "--images", "--size", "32", "-o", top + "/small.tar", "-q")
        check(top + "/small.tar", "tar", 1636, 32, *SETS[0][4:])
for path, words, says in PLANS:
    if not os.path.exists(path):
        continue
    text = run("cm-train", "--preset", "auto", "--data", path, *words, "--size", "32", "--budget", "20min", "--threads", "1", "--print-plan")
    failures += ["no '%s' in the plan of %s:\n%s" % (word, path, text) for word in says if word not in text]
for text in failures:
    print("FAIL " + text)
print("data_sets.py: %d failures" % len(failures))
sys.exit(bool(failures))
