#!/usr/bin/env python3
"""reference.py BUILD: `make reference` makes the pages of the C interface without a warning, and every public function, struct
and enumeration stands there with words of its header.  No page has the path of the source."""
import glob
import html
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
build = sys.argv[1]
try:
    subprocess.run(["doxygen", "--version"], capture_output=True, check=True)
except FileNotFoundError:
    note = "reference: the pages of the C interface were not made, doxygen is absent"
    print(note)
    with open(os.environ.get("CHECK_SKIPS", os.devnull), "a", encoding="utf-8") as f:
        f.write(note + "\n")
    sys.exit(0)
# Without the options of a make that runs this: of its -j the inner make would say that it has no part.
alone = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
run = subprocess.run(["make", "-s", "reference", "BUILD=" + build], cwd=ROOT, capture_output=True, text=True, env=alone)
if run.returncode or run.stderr.strip() or "warning" in run.stdout:
    sys.exit("FAIL reference: doxygen says: " + (run.stdout + run.stderr).strip()[:2000])
pages = ""
for path in glob.glob(os.path.join(ROOT, build, "reference/html/*_8h.html")):
    with open(path, encoding="utf-8") as f:
        pages += f.read()
with open(os.path.join(ROOT, "lib/libconsistency.map"), encoding="utf-8") as f:
    functions = re.findall(r"^\s+(cm_\w+);", f.read(), re.M)
faults, described = [], 0
for name in functions:
    if not re.search(r'class="memtitle">.*?</span>%s\(\)' % name, pages):
        faults.append(name + " is missing")
for block in re.findall(r'<h2 class="memtitle">.*?(?=<h2 class="memtitle">|<!-- contents -->)', pages, re.S):
    described += len(html.unescape(re.sub(r"<[^>]*>", "", block.split('class="memdoc">')[-1])).strip()) > 20
if described < len(functions) // 2:
    faults.append("only %d of the functions and types are described" % described)
if re.search(r"[^\\]\\[*_@]", html.unescape(re.sub(r'<pre.*?</pre>|"[^"]*"', "", pages, flags=re.S))):
    faults.append("characters that are marked for doxygen stand in the pages")
# The same pages from every folder: none has the path of this one, as it is or as doxygen writes it in anchors.
for path in glob.glob(os.path.join(ROOT, build, "reference/html/**/*"), recursive=True):
    if os.path.isfile(path):
        with open(path, encoding="utf-8", errors="replace") as f:
            text = f.read()
        if ROOT in text or re.sub(r"\W", "_", ROOT) in text:
            faults.append("%s has the path of the source" % os.path.basename(path))
for fault in faults:
    print("FAIL reference: " + fault)
if not faults:
    print("reference: %d functions without a warning of doxygen" % len(functions))
sys.exit(1 if faults else 0)
