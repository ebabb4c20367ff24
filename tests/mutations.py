#!/usr/bin/env python3
"""mutations.py BUILD [--number 100] [--seed 1] [--least 85]: how many small faults the fast tests find.

One operator or number of a parser, of the checkpoints' code or of a schedule is changed at a time, in a copy of the tree;
the file is compiled, and the tests that know this code are run until one fails.  Prints what was not found, and fails
below --least of a hundred.  A change that does not compile, or gives the same object, is drawn again."""
import argparse
import hashlib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time

p = argparse.ArgumentParser()
p.add_argument("build")
p.add_argument("--number", type=int, default=100)
p.add_argument("--seed", type=int, default=1)
p.add_argument("--least", type=float, default=85)
p.add_argument("--minutes", type=float, default=600, help="after which no other change is tried")
o = p.parse_args()

# Files, and the programs that know them, the quickest first.
GROUPS = [
    ("io/json_text.c io/json_tree.c io/safetensors.c io/tensors.c io/input.c", "formats io catalogue"),
    ("io/pickle.c io/pickle_machine.c io/pickle_opcodes.c io/pickle_symbols.c io/zip_directory.c io/torch.c io/torch_data.c io/torch_zip.c "
     "io/torch_legacy.c io/torch_modules.c", "formats catalogue zip"),
    ("io/edm_pickle.c io/edm_network.c", "snapshots snapshot_damage catalogue"),
    ("io/msgpack.c io/flax.c io/flax_tree.c", "flax catalogue"),
    ("io/picture.c io/orient.c io/jpeg.c io/png.c", "pictures catalogue"),
    ("io/npy.c io/npz.c io/zip.c", "data metric_files catalogue"),
    ("data/tar.c data/idx.c data/cifar.c data/zipset.c data/npzset.c data/label_json.c data/folder.c", "data folders catalogue"),
    ("train/state_save.c train/state_resume.c train/state_parts.c train/state_compare.c", "train_state trainer_calls"),
    ("train/curriculum.c train/ema.c train/phema.c train/axis.c", "train_options golden edm2"),
    ("diffusion/schedule.c diffusion/times.c diffusion/levels.c diffusion/option_checks.c", "sampler_options golden sampler"),
]
CHANGES = [(r"<=", ["<", ">="]), (r">=", [">", "<="]), (r"==", ["!="]), (r"!=", ["=="]), (r"&&", ["||"]), (r"\|\|", ["&&"]),
           (r"(?<=\s)<(?=\s)", ["<=", ">"]), (r"(?<=\s)>(?=\s)", [">=", "<"]), (r"(?<=\w\s)\+(?=\s)", ["-"]), (r"(?<=[\w)]\s)-(?=\s)", ["+"]),
           (r"(?<=[\w)]\s)\*(?=\s)", ["+"]), (r"(?<=[\w)]\s)/(?=\s)", ["*"]), (r"(?<=[\s(])!(?=\w)", [""]), (r"\+\+", ["--"]), (r"(?<=\s)\+=", ["-="]),
           (r"(?<=[\s(\[])1(?=[;,)\]\s])", ["0", "2"]), (r"(?<=[\s(\[])0(?=[;,)\]\s])", ["1"]), (r"<<", [">>"]), (r"(?<=\s)&(?=\s)", ["|"])]
# Not code, or of no effect that a test could see.
SKIP = re.compile(r"^\s*(/?\*|//|#|enum\b|typedef\b)|CM_FAIL|cmi_fail|cmi_log|snprintf|\(void\)|^\s*\"|static const char|MEMORY|if \(!\w+(->\w+)?\) return|cmi_malloc|cmi_calloc")


def places(path):
    found, comment = [], False
    for n, line in enumerate(open(path).read().split("\n")):
        code = line
        if comment:
            comment = "*/" not in line
            continue
        if re.match(r"\s*/\*", line):
            comment = "*/" not in line
            continue
        if SKIP.search(line):
            continue
        code = re.sub(r"/\*.*", "", code)
        quoted = [m.span() for m in re.finditer(r"\"(\\.|[^\"\\])*\"|'(\\.|[^'\\])*'", code)]
        for pattern, others in CHANGES:
            for m in re.finditer(pattern, code):
                if not any(a <= m.start() < b for a, b in quoted):
                    found += [(n, m.start(), m.end(), other) for other in others]
    return found


def sh(command, folder, seconds=1800, **more):
    return subprocess.run(command, shell=isinstance(command, str), cwd=folder, capture_output=True, text=True, errors="replace", timeout=seconds, **more)


def set_up():
    """A copy of the tree with its objects; returns its folder, the line that compiles and those that link each program."""
    top = tempfile.mkdtemp(prefix="cm-mutations-")
    for f in sh(["git", "ls-files"], ".").stdout.split("\n")[:-1]:
        os.makedirs(os.path.dirname(os.path.join(top, f)), exist_ok=True)
        shutil.copy(f, os.path.join(top, f))
    names = sorted({n for _, tests in GROUPS for n in tests.split()} - {"catalogue", "golden"})
    objects = ["tests/check_%s.o" % n for n in names] + ["tests/support/%s.o" % s for s in ("suite", "fill", "memory", "probe", "keys")]
    objects += ["tests/ref/naive.o", "tests/catalogue_program.o"]
    r = sh(["make", "-s", "-j2", "BUILD=" + o.build, *[o.build + "/" + x for x in ["obj/libconsistency-internal.a", "tests/golden/golden", *objects]]], ".", 7200)
    if r.returncode:
        raise SystemExit("mutations: the tree cannot be built: " + r.stderr[-500:])
    shutil.copytree(o.build + "/obj", top + "/build/obj")
    os.makedirs(top + "/build/tests")
    for d in ("golden", "support", "ref"):
        shutil.copytree("%s/tests/%s" % (o.build, d), "%s/build/tests/%s" % (top, d))
    for x in objects:
        shutil.copy(o.build + "/" + x, top + "/build/" + x)
    objects = ["build/" + x for x in objects]
    libs = sh("make -s -f - print <<'E'\ninclude Makefile\nprint:\n\t@echo $(ALL_LIBS) $(CHECK_LIBS)\nE", top).stdout.strip()
    compile_line = next(line for line in sh("make -n -B build/obj/io/npy.o", top).stdout.split("\n") if "-c -o" in line)
    support = [x for x in objects if "/support/" in x]
    golden = sorted("build/tests/golden/" + f for f in os.listdir(top + "/build/tests/golden") if f.endswith(".o"))
    parts = {n: ["build/tests/check_%s.o" % n, "build/tests/ref/naive.o", *support] for n in names}
    parts["catalogue"] = ["build/tests/catalogue_program.o", "build/tests/support/memory.o"]
    parts["golden"] = golden + [x for x in support if "suite" not in x]
    links = {n: "gcc -fopenmp -o %s %s build/obj/libconsistency-internal.a %s" %
             ("build/tests/catalogue_program" if n == "catalogue" else "build/t_" + n, " ".join(x), libs) for n, x in parts.items()}
    return top, compile_line, links


def command_of(test):
    if test == "catalogue":
        return [sys.executable, "tests/catalogue.py", "build"]
    if test == "golden":
        return ["build/t_golden", "tests/data/golden"]
    return ["build/t_" + test]


def fails(test, top, links, seconds):
    if sh(links[test], top).returncode:
        raise SystemExit("mutations: %s does not link" % test)
    try:
        return sh(command_of(test), top, seconds).returncode != 0
    except subprocess.TimeoutExpired:
        return True


def main():
    random.seed(o.seed)
    start = time.monotonic()
    top, compile_line, links = set_up()
    try:
        takes = {}
        for test in sorted({n for _, tests in GROUPS for n in tests.split()}):
            began = time.monotonic()
            if fails(test, top, links, 1800):
                raise SystemExit("mutations: %s fails without a change" % test)
            takes[test] = time.monotonic() - began
        sites = [(f, tests.split(), place) for files, tests in GROUPS for f in files.split() for place in places("src/" + f)]
        random.shuffle(sites)
        caught, missed, tried = 0, [], 0
        for f, tests, (n, begin, end, other) in sites:
            if tried == o.number or time.monotonic() - start > 60 * o.minutes:
                break
            path, obj = os.path.join(top, "src", f), os.path.join(top, "build/obj", f[:-2] + ".o")
            text = open(os.path.join("src", f)).read()
            lines = text.split("\n")
            lines[n] = lines[n][:begin] + other + lines[n][end:]
            before = open(obj, "rb").read()
            open(path, "w").write("\n".join(lines))
            done = sh(compile_line.replace("src/io/npy.c", "src/" + f).replace("build/obj/io/npy.o", "build/obj/%s.o" % f[:-2]) + " -w", top)
            same = done.returncode == 0 and hashlib.sha256(open(obj, "rb").read()).digest() == hashlib.sha256(before).digest()
            if done.returncode == 0 and not same:
                sh(["ar", "r", "build/obj/libconsistency-internal.a", "build/obj/%s.o" % f[:-2]], top)
                tried += 1
                by = next((t for t in tests if fails(t, top, links, 30 + 5 * takes[t])), None)
                caught += by is not None
                print("%3d %-28s line %-4d %-40s %s" % (tried, f, n + 1, lines[n].strip()[:40], "found by " + by if by else "NOT FOUND"), flush=True)
                if not by:
                    missed.append("src/%s:%d: %s" % (f, n + 1, lines[n].strip()))
            open(path, "w").write(text)
            with open(obj, "wb") as out:
                out.write(before)
            sh(["ar", "r", "build/obj/libconsistency-internal.a", "build/obj/%s.o" % f[:-2]], top)
    finally:
        shutil.rmtree(top, ignore_errors=True)
    for m in missed:
        print("not found:", m)
    print("mutations: %d of %d found (seed %d)" % (caught, tried, o.seed))
    return 100 * caught < o.least * tried


if __name__ == "__main__":
    sys.exit(main())
