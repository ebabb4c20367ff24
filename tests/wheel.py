#!/usr/bin/env python3
"""wheel.py WHEEL|ARCHIVE [PYTHON...]: a wheel of `make wheel` as pip and the loader see it, or the archive of `make dist` as pip builds it.

RECORD has every file with its hash, METADATA the version, the tag is one that all shared objects keep to, every library that they ask for
is in the wheel or one of a Linux system's (auditwheel's rule; a wheel of BUNDLE=none has none and says so by its tag), and no path of the machine that built it is in it.  For each
PYTHON (this one by default; the newest pip of each) a fresh environment is made, the wheel installed with the environment's pip, and the Python program of the
README run there, in a folder without the source, whose name has a blank and a letter beyond ASCII; then it is removed, and nothing is left.  A Python without pip takes the wheel unpacked."""
import base64
import csv
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "bindings", "python"))
import consistency_build as made  # noqa: E402


def structure(path):
    """What is wrong with the wheel as a file, and how many shared objects it has."""
    with zipfile.ZipFile(path) as archive, tempfile.TemporaryDirectory() as folder:
        names = archive.namelist()
        record = next(n for n in names if n.endswith(".dist-info/RECORD"))
        rows = {row[0]: row[1:] for row in csv.reader(archive.read(record).decode().splitlines())}
        if set(rows) != set(names):
            yield "RECORD does not list the files: %s" % sorted(set(rows) ^ set(names))
        for name in names:
            if name != record and rows.get(name):
                digest = base64.urlsafe_b64encode(hashlib.sha256(archive.read(name)).digest()).rstrip(b"=").decode()
                if rows[name] != ["sha256=" + digest, str(archive.getinfo(name).file_size)]:
                    yield "RECORD has another hash of " + name
        tag = re.search(r"^Tag: (.*)$", archive.read(record.replace("RECORD", "WHEEL")).decode(), re.M).group(1)
        if os.path.basename(path) != "libconsistency-%s-%s.whl" % (made.version(), tag):
            yield "the name is not that of version and tag"
        archive.extractall(folder)
        objects = {os.path.basename(n): os.path.join(folder, n) for n in names if re.search(r"\.so(\.\d+)*$", n)}
        if list(n for n in objects if not n.startswith("cm-")) != ["libconsistency.so." + made.version()[0]]:
            yield "shared objects besides the library have names of their own: %s" % sorted(objects)
        for name, file in objects.items():
            needed, paths = made.needed(file)
            for other in needed:
                if other not in objects and not made.SYSTEM.match(other) and "-linux_" not in tag:
                    yield "%s asks for %s, which is neither in the wheel nor a part of every system" % (name, other)
            for where in paths:
                if not where.startswith("$ORIGIN"):
                    yield "%s looks for libraries in %s" % (name, where)
            with open(file, "rb") as f:
                if ROOT.encode() in f.read():
                    yield "%s has the path of the source in it" % name
        if "-linux_" in tag and len(objects) > 1:
            yield "a wheel of BUNDLE=none has libraries: %s" % sorted(objects)
        low = re.search(r"manylinux_2_(\d+)_", tag)
        if low and made.glibc(objects.values()) > int(low.group(1)):
            yield "the shared objects need glibc 2.%d" % made.glibc(objects.values())
        for licence in [n for n in objects if n.startswith("cm-")]:
            if not any("licenses/lib" + licence[3:] in n for n in names):
                yield "the licence of %s is not in the wheel" % licence


def installed(path, python, faults):
    """The wheel in an environment of that Python; returns its version."""
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as f:
        program = re.search(r"```python\n(.*?)```", f.read(), re.S).group(1)
    with tempfile.TemporaryDirectory(prefix="ein Ördner ") as folder:
        def run(*command, **more):
            environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "CONSISTENCY", "LD_", "MAKE", "MFLAGS"))}
            environment.update(more)
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
            if done.returncode:
                faults.append("%s: %s fails: %s" % (python, " ".join(command)[:80], done.stderr.strip()[-300:]))
            return done.stdout.strip()

        def files():
            return {os.path.join(d, n) for d, _, names in os.walk(os.path.join(folder, "env")) for n in names if not n.endswith(".pyc")}
        run(python, "-m", "venv", "env")
        env = os.path.join(folder, "env", "bin", "python")
        before = files()
        run(env, "-m", "pip", "-q", "install", "--no-index", os.path.abspath(path))
        os.symlink(os.path.join(ROOT, "models"), os.path.join(folder, "models"))
        run(env, "-c", program)
        if not os.path.exists(os.path.join(folder, "digits.png")):
            faults.append("%s: the program of the README wrote no digits.png" % python)
            return "?"
        where = run(env, "-c", "import consistency; print(consistency.__file__, consistency.version())")
        if "site-packages" not in where or not where.endswith(made.version()):
            faults.append("%s: the package is not that of the wheel: %s" % (python, where))
        if path.endswith(".whl"):  # without pip
            os.remove(os.path.join(folder, "digits.png"))
            run(python, "-m", "zipfile", "-e", os.path.abspath(path), "unpacked")
            run(python, "-S", "-c", program, PYTHONPATH=os.path.join(folder, "unpacked"))
            if not os.path.exists(os.path.join(folder, "digits.png")):
                faults.append("%s: the unpacked wheel wrote no digits.png" % python)
        version = run(env, "-c", "import platform; print(platform.python_version())")
        run(env, "-m", "pip", "-q", "uninstall", "-y", "libconsistency")
        if files() != before:
            faults.append("%s: after the removal: %s" % (python, sorted(files() ^ before)[:3]))
        return version


def main():
    path, pythons = sys.argv[1], sys.argv[2:] or [sys.executable]
    faults = list(structure(path)) if path.endswith(".whl") else []
    versions = [installed(path, python, faults) for python in pythons]
    for fault in faults:
        print("FAIL wheel: " + fault)
    if not faults:
        print("wheel: %s, %.1f MB, is whole; installed, tried and removed with Python %s" %
              (os.path.basename(path), os.path.getsize(path) / 1e6, ", ".join(versions)))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
