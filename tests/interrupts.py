#!/usr/bin/env python3
"""interrupts.py BUILD [MOMENTS]: Ctrl-C (every third time SIGTERM) at random moments of each program that may take long.

It ends with 130 (143) or, where a run is kept, 75, with no file that is not whole under its final name and no other file
left; or the work was done already, and the files are those of a run that nobody stopped."""
import glob
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

build, moments = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
bin = os.path.abspath(build + "/bin") + "/"
top = tempfile.mkdtemp(prefix="cm-interrupts-")
models = os.path.abspath("tests/data/models") + "/"
model, teacher = models + "digits_consistency.safetensors", models + "digits_teacher.safetensors"
pictures = os.path.abspath("tests/data/pictures")
features = os.path.abspath("models/features/lenet.safetensors")
adm = top + "/adm.safetensors"  # of a kind that diffusers has
random.seed(14)
failures = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

COMMANDS = {
    "sample": [bin + "cm-sample", teacher, "--method", "heun", "--steps", "12", "-n", "24", "--batch", "4", "-o", "out.png"],
    "sample images": [bin + "cm-sample", model, "-n", "60", "--batch", "4", "--images", "%d.png"],
    "sample npz": [bin + "cm-sample", model, "-n", "60", "--batch", "4", "--npz", "out.npz"],
    "edit": [bin + "cm-edit", "inpaint", model, pictures + "/digit-2.png", "--mask", pictures + "/lower-half.png", "-l", "2", "--variations", "12", "-o", "out.png"],
    "convert": [bin + "cm-convert", adm, "out.pt"],
    "convert type": [bin + "cm-convert", adm, "out.safetensors", "--dtype", "bfloat16"],
    "convert folder": [bin + "cm-convert", adm, "out", "--max-shard-size", "10M"],
    "info": [bin + "cm-info", adm, "--check"],
    "eval": [bin + "cm-eval", "--metric", "fd-lenet", "--features", features, "--few", "--samples", "80", "--write", "out.npz", "--keep", "kept.npz", model],
    "search": [bin + "cm-eval", "--search-times", "2", "--metric", "fd-lenet", "--features", features, "--few", "--samples", "20", "-o", "times.json", model, top + "/of.npz"],
    "pack": [bin + "cm-data", "pack", top + "/many", "--images", "--size", "32", "-o", "out.tar"],
    "show": [bin + "cm-data", "show", top + "/many", "--size", "32", "--rows", "40", "--columns", "40", "-o", "out.png"],
    "train": [bin + "cm-train", "--data", "set", "--out", "run", "--steps", "12", "--batch", "4", "--preset", "smoke", "--no-estimate", "--checkpoint-every", "4"],
}
# What the next call goes on from.
KEEPS = {"search": "times.json.state"}


def files_of(folder):
    return {os.path.relpath(os.path.join(d, f), folder): hashlib.sha256(open(os.path.join(d, f), "rb").read()).hexdigest()
            for d, _, names in os.walk(folder) for f in names if not os.path.islink(d) and "set" not in os.path.relpath(d, folder).split("/")}


def broken(directory):
    """Files of a run that are not whole under their final names; "" where there are none."""
    said = ""
    for path in glob.glob(directory + "/**/*.safetensors", recursive=True) + glob.glob(directory + "/**/*.json", recursive=True):
        if ".tmp" in path:
            continue
        if path.endswith(".json"):
            try:
                json.load(open(path))
            except ValueError as error:
                said += "BROKEN %s: %s\n" % (path, error)
        else:
            done = subprocess.run([bin + "cm-info", path, "--check"], capture_output=True, text=True)
            if done.returncode:
                said += "BROKEN %s: %s\n" % (path, done.stderr)
    return said


def run(command, after=None, number=signal.SIGINT):
    """(exit code, files, standard error, seconds)"""
    folder = tempfile.mkdtemp(dir=top)
    os.symlink(top + "/set", folder + "/set")
    began = time.monotonic()
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if after is not None:
        try:
            child.wait(after)
        except subprocess.TimeoutExpired:
            child.send_signal(number)
    try:
        err = child.communicate(timeout=300)[1]
    except subprocess.TimeoutExpired:
        child.kill()
        err = "it went on for five minutes"
    spent = time.monotonic() - began
    files = files_of(folder)
    err += broken(folder + "/run")
    shutil.rmtree(folder)
    return child.returncode, files, err, spent


def made_set():
    os.mkdir(top + "/set")
    subprocess.run([bin + "cm-sample", model, "-n", "8", "-l", "0,1,2,3,4,5,6,7", "-q", "--images", top + "/set/%d.png"], check=True)
    os.mkdir(top + "/many")
    for i in range(1500):
        os.link(top + "/set/%d.png" % (i % 8), top + "/many/%d.png" % i)
    subprocess.run([bin + "cm-eval", "--metric", "fd-lenet", "--features", features, "--few", "--write", top + "/of.npz", top + "/set", "-q"], check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run([build + "/tests/make_model", json.dumps(
        {"type": "adm", "image_size": 8, "in_channels": 3, "out_channels": 3, "model_channels": 192, "num_res_blocks": 2, "channel_mult": [1, 1],
         "attention_resolutions": [], "resblock_updown": True}), '{"type": "cm"}', "8", "8", adm], check=True)


def main():
    made_set()
    stopped = tried = 0
    for name, command in COMMANDS.items():
        code, whole, err, seconds = run(command)
        if code != 0:
            failures.append("%s: ends with %d: %s" % (name, code, err))
            continue
        seconds = min(seconds, run(command)[3])  # the first one may have waited for the disk
        before = stopped
        for k in range(moments):
            number = signal.SIGTERM if k % 3 == 2 else signal.SIGINT
            code, files, err, _ = run(command, random.uniform(min(0.02, 0.3 * seconds), 1.05 * seconds), number)
            tried += 1
            stopped += code != 0
            expected = (0, 75, 128 + number, -number) if name == "train" else (0, 128 + number, -number)
            if code not in expected:
                failures.append("%s: signal %d gives exit %d: %s" % (name, number, code, err[-300:]))
            if code == -number and files and name != "train":
                failures.append("%s: the signal ended it although it had begun: %s" % (name, sorted(files)))
            if name == "train":
                # A signal before the first step ends it at once; what it was writing then goes with the next checkpoint.
                left = [f for f in files if ".tmp" in f] if code >= 0 else []
            else:
                left = [f for f in files if files[f] != whole.get(f) and f != KEEPS.get(name)]
            if left:
                failures.append("%s: exit %d leaves %s" % (name, code, left[:5]))
            if code == 0 and name != "train" and files != whole:
                failures.append("%s: other files than without a signal" % name)
            if "BROKEN" in err:
                failures.append("%s: exit %d leaves what is not whole: %s" % (name, code, err[err.index("BROKEN"):][:300]))
        if moments >= 20 and stopped == before:
            failures.append("%s: no signal came before its end" % name)
    shutil.rmtree(top, ignore_errors=True)
    for f in failures:
        print("FAIL interrupts:", f)
    print("interrupts: %d programs' commands at %d moments, %d stopped, %d faults" % (len(COMMANDS), tried, stopped, len(failures)))
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
