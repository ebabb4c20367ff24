#!/usr/bin/env python3
"""gallery.py BUILD [--write]: the pictures of docs/gallery.md are what the commands above them make.

Each command is run in a folder with the models and the pictures of the tests.  Its page has the size of the stored one, and differs from
it by less than one grey level on average (other processors round otherwise).  --write stores the pages."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("CONSISTENCY_BUILD", os.path.join(ROOT, sys.argv[1]))
sys.path.insert(0, os.path.join(ROOT, "bindings", "python"))
import consistency as cm  # noqa: E402


def flat(values):
    if isinstance(values, list):
        for v in values:
            yield from flat(v)
    else:
        yield values


def apart(a, b):
    """The mean difference of two pictures in grey levels, or None where their sizes differ."""
    one, two = cm.read_image(a), cm.read_image(b)
    if tuple(one.shape) != tuple(two.shape):
        return None
    pairs = list(zip(flat(one.tolist()), flat(two.tolist())))
    return sum(abs(x - y) for x, y in pairs) / len(pairs) * 127.5


def main():
    images = os.path.join(ROOT, "docs", "images")
    with open(os.path.join(ROOT, "docs", "gallery.md"), encoding="utf-8") as f:
        entries = re.findall(r"^    (cm-\S+ .* -o (gallery-[\w-]+\.png))\n\n!\[[^]]+\]\(images/(\S+)\)$", f.read(), re.M)
    faults = [] if entries else ["docs/gallery.md has no entries"]
    stored = {f for f in os.listdir(images) if f.startswith("gallery-")}
    with tempfile.TemporaryDirectory() as folder:
        os.symlink(os.path.join(ROOT, "models"), os.path.join(folder, "models"))
        pictures = os.path.join(ROOT, "tests", "data", "pictures")
        for name in os.listdir(pictures):
            os.symlink(os.path.join(pictures, name), os.path.join(folder, name))
        environment = dict(os.environ, PATH=os.path.join(ROOT, sys.argv[1], "bin") + ":" + os.environ["PATH"])
        for command, name, shown in entries:
            done = subprocess.run(command + " -q", shell=True, cwd=folder, capture_output=True, text=True, env=environment)
            made, kept = os.path.join(folder, name), os.path.join(images, name)
            if done.returncode or shown != name:
                faults.append("%s: %s" % (command, done.stderr.strip()[-200:] or "its picture is not shown below it"))
                continue
            if "--write" in sys.argv:
                shutil.copyfile(made, kept)
                stored.add(name)
            distance = apart(made, kept) if os.path.exists(kept) else None
            if distance is None or not distance < 1:
                faults.append("%s is %s from what its command makes" % (name, "missing or of another size" if distance is None else "%.2f levels" % distance))
    if stored != {name for _, name, _ in entries}:
        faults.append("docs/images has other pages: %s" % sorted(stored ^ {name for _, name, _ in entries}))
    for fault in faults:
        print("FAIL gallery: " + fault)
    if not faults:
        print("gallery: %d pictures are those of their commands" % len(entries))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
