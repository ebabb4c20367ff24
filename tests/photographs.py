#!/usr/bin/env python3
"""A folder as people have them goes through all programs: photographs.py BUILD [--photographs DIR] [--budget SECONDS]

Pictures of all sizes and forms, gray and in colour, some of a few pixels, some damaged, and files that are none: cm-data tells what is
wrong with it, shows it and packs it, cm-train --preset auto makes a plan of random crops, and cm-sample draws from what came of it.  The
folder is made here; DIR is one of photographs instead, such as skimage/data of the wheel of scikit-image."""
import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile

import plain_png

p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
p.add_argument("build")
p.add_argument("--photographs", help="a folder")
p.add_argument("--budget", type=float, default=12, help="seconds of the plan")
o = p.parse_args()
here, top = os.path.dirname(os.path.abspath(__file__)), tempfile.mkdtemp(prefix="cm-photographs-")
failures = []


def fail(text):
    failures.append(text)
    print("photographs.py: " + text, file=sys.stderr)


def run(program, *words, code=0, says=()):
    r = subprocess.run([os.path.join(o.build, "bin", program), *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, text=True)
    missing = [w for w in says if not re.search(w, r.stdout)]
    if r.returncode != code or missing:
        fail("exit %d, expected %d%s: %s %s\n%s" % (r.returncode, code, "".join(", no '%s'" % w for w in missing), program,
                                                   " ".join(words), r.stdout))
    return r.stdout


def png(path, height, width, colours):
    """Waves of one colour or of all."""
    one, two = random.uniform(2, 30), random.uniform(2, 30)
    lines = [bytes(int(127 + 60 * ((x / one) % 2 > 1) - 50 * ((y / two + c) % 2 > 1)) for x in range(width) for c in range(colours))
             for y in range(height)]
    with open(path, "wb") as f:
        f.write(plain_png.encode(lines, colours))


def mess(folder):
    """Pictures of the tests, of 1 x 3 pixels and more, larger ones of many shapes, and what else lies about; how many of which."""
    shutil.copytree(os.path.join(here, "data", "pictures"), folder + "/small")
    small = len(os.listdir(folder + "/small"))
    os.makedirs(folder + "/holidays/2019")
    random.seed(1)
    for i in range(180):
        where = folder + ("/holidays/2019" if i % 3 else "/holidays")
        png("%s/%d.png" % (where, i), random.randint(40, 200), random.randint(40, 300), (1, 3, 3, 4)[i % 4])
    with open(folder + "/holidays/0.png", "rb") as f:
        whole = f.read()
    for name, content in (("half.png", whole[:len(whole) // 2]), ("empty.jpg", b""), ("text.png", b"no picture"), ("film.mp4", b"\0" * 99),
                          (".hidden.png", whole), ("Thumbs.db", b"x"), ("same.PNG", whole)):
        with open(folder + "/" + name, "wb") as f:
            f.write(content)
    return small + 181, 3


data = o.photographs or top + "/mess"
plain = ["--labels", "none"]
if o.photographs:
    print(run("cm-data", "check", data, *plain, code=1))
else:
    pictures, damaged = mess(data)
    run("cm-data", "check", data, code=1, says=(r"4 of \d+ pictures lie beside folders of others such as 'small'",))
    run("cm-data", "check", data, *plain, code=1, says=(r"damaged +%d\b" % damaged, r"duplicates +2\b", r"left out +1\b"))
    told = run("cm-data", "check", data, *plain, "--json", "-q", code=1)
    found = json.loads(told[told.index("{"):])  # behind the warnings
    if found["pictures"] != pictures:
        fail("cm-data check reads %s pictures of %d" % (found["pictures"], pictures))
run("cm-data", "show", data, *plain, "--size", "32", "--crop", "random", "-o", top + "/page.png")
run("cm-data", "pack", data, *plain, "--images", "--size", "32", "-o", top + "/packed.tar")
for source in (data, top + "/packed.tar"):
    out = top + "/run-" + os.path.basename(source)
    crops = ["--random-crop"] if source == data else []
    run("cm-train", "--preset", "auto", "--data", source, *plain, *crops, "--budget", "%gs" % o.budget, "--batch", "8", "--out", out,
        says=(r"in colour, 0 classes", r"size +\d+ x \d+" if o.photographs else r"size +32 x 32", r"the model is"))
    run("cm-sample", out, "-n", "4", "-o", out + ".png", says=(r"4 images",))
    if not os.path.exists(out + "/report.html"):
        fail("%s has no report" % out)
shutil.rmtree(top)
print("photographs.py: %d failures" % len(failures))
sys.exit(1 if failures else 0)
