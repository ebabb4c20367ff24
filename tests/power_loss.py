#!/usr/bin/env python3
"""The power goes off while checkpoints are written: power_loss.py BUILD [--run] [--prefixes N] [--seed S]

A training program (with --run it is cm-train, whose directory has a configuration, a log and a model too) takes steps with a checkpoint each, and tests/record_shim.c records what it does to its files.  Each
trial takes a prefix of that record, and leaves of it what a disk may have:

  * of a file what was there at its last fsync; of each page (4096 bytes) written since, by chance, the new bytes or what
    was there before, which is zeros beyond the end; its size that of the fsync or the last one
  * of the names in a folder those of its last fsync, and of what was created, renamed and removed since, in order, the
    first few, by chance

On what is left the program starts again: it goes on from the last step that it had announced or a later one, its
checkpoint is whole, and it ends with the bytes of a run that was never stopped.  Without config.json a run of cm-train
has not begun, so it may not have announced anything.
"""
import argparse, concurrent.futures, glob, hashlib, json, os, random, re, shutil, subprocess, sys, tempfile

p = argparse.ArgumentParser()
p.add_argument("build")
p.add_argument("--run", action="store_true")
p.add_argument("--prefixes", type=int, default=500)
p.add_argument("--seed", type=int, default=1)
o = p.parse_args()
top = tempfile.mkdtemp(prefix="cm-power-")
program, shim = os.path.abspath(o.build + "/tests/train_program"), os.path.abspath(o.build + "/tests/record_shim.so")
pictures = os.path.dirname(os.path.abspath(__file__)) + "/data/kept/pictures"
NETWORK = {"network": {"type": "songunet", "img_resolution": 8, "in_channels": 3, "out_channels": 3, "model_channels": 4, "label_dim": 2,
                       "channel_mult": [1], "num_blocks": 1, "attn_resolutions": []}, "precond": {"type": "edm"}}
train = [os.path.abspath(o.build + "/bin/cm-train"), "--data", pictures, "--network", json.dumps(NETWORK), "--batch", "2", "--threads", "1",
         "--checkpoint-every", "1", "--keep", "2", "--sample-every", "0", "--no-estimate"]
PAGE, STEPS, LAST = 4096, 4, 5
env = dict(os.environ, OMP_NUM_THREADS="1")


class File:
    """Bytes as the system shows them, and as they were at the last fsync."""

    def __init__(self):
        self.now, self.kept, self.touched, self.synced = bytearray(), b"", set(), False

    def write(self, at, data):
        self.now[at:at + len(data)] = data
        self.touched.update(range(at // PAGE, (at + len(data) - 1) // PAGE + 1))

    def sync(self):
        self.kept, self.touched, self.synced = bytes(self.now), set(), True

    def left(self, chance):
        if not self.touched and len(self.now) == len(self.kept):
            return bytes(self.kept)
        size = chance.choice([len(self.kept), len(self.now)])
        out = bytearray(self.kept[:size]) + bytes(max(0, size - len(self.kept)))
        for page in self.touched:
            a, b = page * PAGE, min((page + 1) * PAGE, size)
            if a < b and chance.randrange(3) == 0:
                out[a:b] = (self.now[a:b] + bytes(b - a))[:b - a]
        return bytes(out)


class Folder:
    """Names, and as they were at the last fsync with the changes since."""

    def __init__(self):
        self.now, self.kept, self.since = {}, {}, []

    def change(self, name, what):
        self.since.append((name, what))
        if what is None:
            self.now.pop(name, None)
        else:
            self.now[name] = what

    def sync(self):
        self.kept, self.since = dict(self.now), []


class Disk:
    def __init__(self, root):
        self.root, self.top, self.at, self.offset, self.said = root, Folder(), {}, {}, 0

    def find(self, path):
        what = self.top
        for name in [n for n in os.path.relpath(path, self.root).split("/") if n != "."]:
            what = what.now[name]
        return what

    def parent(self, path):
        return self.find(os.path.dirname(path)), os.path.basename(path)

    def do(self, call, text, data):
        if call in ("create", "open"):
            fd, path = text.split(" ", 1)
            if call == "create":
                folder, name = self.parent(path)
                folder.change(name, File())
            try:
                self.at[fd], self.offset[fd] = self.find(path), 0
            except KeyError:
                self.at.pop(fd, None)
        elif call == "trunc" and isinstance(self.at.get(text), File) and self.at[text].now:
            raise SystemExit("FAIL a file with something in it is emptied in place")
        elif call == "write":
            fd = text.split()[0]
            self.at[fd].write(self.offset[fd], data)
            self.offset[fd] += len(data)
        elif call == "fsync" and text in self.at:
            self.at[text].sync()
        elif call == "close":
            self.at.pop(text, None)
        elif call == "mkdir":
            folder, name = self.parent(text)
            folder.change(name, Folder())
        elif call == "remove":
            folder, name = self.parent(text)
            folder.change(name, None)
        elif call == "rename":
            a, b = text.split("|")
            (here, old), (there, new) = self.parent(a), self.parent(b)
            what = here.now[old]
            if here is there:  # one change of one folder: both names or neither
                here.now.pop(old)
                here.now[new] = what
                here.since.append(((old, new), what))
            else:
                there.change(new, what)
                here.change(old, None)
        elif call == "said":
            for step in re.findall(rb"saved (?:step )?(\d+)\n", data):
                self.said = int(step)

    def leave(self, to, chance):
        def put(folder, path):
            os.makedirs(path, exist_ok=True)
            names = dict(folder.kept)
            for name, what in folder.since[:chance.randint(0, len(folder.since))]:
                if isinstance(name, tuple):
                    names.pop(name[0], None)
                    names[name[1]] = what
                elif what is None:
                    names.pop(name, None)
                else:
                    names[name] = what
            for name, what in names.items():
                if isinstance(what, Folder):
                    put(what, path + "/" + name)
                else:
                    with open(path + "/" + name, "wb") as f:
                        f.write(what.left(chance))

        put(self.top, to)


def start(run, until, more=None):
    """A run of cm-train has all its steps: with fewer it would be another run."""
    command = train + ["--steps", str(LAST), "--out", run] + ["--resume"] * os.path.exists(run + "/config.json")
    return subprocess.run(command if o.run else [program, run, str(until)], env=dict(env, **(more or {})), capture_output=True, text=True)


def read_record(path):
    calls, data, at = [], open(path, "rb").read(), 0
    while at < len(data):
        end = data.index(b"\n", at)
        call, text = data[at:end].decode().split(" ", 1)
        at, body = end + 1, b""
        if call in ("write", "said"):
            n = int(text.split()[-1])
            body, at = data[at:at + n], at + n
        calls.append((call, text, body))
    return calls


def hashes(run, step=None):
    name = "step-%09d" % step if step else open(run + "/checkpoints/LATEST").read().strip()
    return {os.path.basename(f): hashlib.sha256(open(f, "rb").read()).hexdigest() for f in glob.glob(run + "/checkpoints/" + name + "/*")}


def first_step(said):
    """Which step the program says that it went on from."""
    if not o.run:
        return next((int(step) for step in re.findall(r"begins at (\d+)", said)), None)
    return min([int(step) - 1 for step in re.findall(r"saved step (\d+)", said)], default=LAST)


def wrong_run(run):
    """What is wrong beside the checkpoints."""
    steps = [int(step) for step in re.findall(r'^\{"step": (\d+), .*\}$', open(run + "/log.jsonl").read(), re.M)]
    if steps != list(range(1, LAST + 1)):
        return "its log has the steps %s" % steps
    if open(run + "/model.safetensors", "rb").read() != open(whole + "/model.safetensors", "rb").read():
        return "another model"
    return None


def trial(number):
    """What is wrong, or None; and which step it went on from."""
    chance = random.Random("%d %d" % (o.seed, number))
    prefix = chance.randint(1, len(calls))
    disk, run = Disk(recorded), "%s/trial-%d" % (top, number)
    for call in calls[:prefix]:
        disk.do(*call)
    disk.leave(run, chance)
    wrong = begins = None
    if o.run and not os.path.exists(run + "/config.json"):
        wrong = "nothing is left, though step %d had been announced" % disk.said if disk.said else None
    else:
        r = start(run, LAST)
        begins = first_step(r.stdout)
        if r.returncode != 0 or begins is None:
            wrong = "exit %d: %s" % (r.returncode, r.stderr.strip())
        elif begins < disk.said:
            wrong = "it went on from step %s, though step %d had been announced" % (begins, disk.said)
        elif hashes(run) != good:
            wrong = "other bytes"
        elif [f for f in os.listdir(run + "/checkpoints") if "tmp" in f]:
            wrong = "leftovers: %s" % os.listdir(run + "/checkpoints")
        elif o.run:
            wrong = wrong_run(run)
    shutil.rmtree(run, ignore_errors=True)
    return ("after call %d of %d (%s), seed %d: %s" % (prefix, len(calls), calls[prefix - 1][:2], number, wrong) if wrong else None,
            begins, disk.said)


try:
    recorded, whole = top + "/recorded", top + "/whole"
    os.mkdir(recorded)
    r = start(recorded, STEPS, {"RECORD_DIR": recorded, "RECORD_TO": top + "/record", "LD_PRELOAD": shim})
    if r.returncode != 0:
        raise SystemExit("FAIL the recorded run: %s" % r.stderr)
    start(whole, LAST)
    good, calls = hashes(whole), read_record(top + "/record")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(trial, range(o.prefixes)))
    for text in [t for t, _, _ in results if t][:10]:
        print("FAIL", text)
    bad = sum(1 for t, _, _ in results if t)
    steps, said = (sorted({r[k] for r in results if r[k] is not None}) for k in (1, 2))
    if len(calls) < 100 or len(steps) < 3 or len(said) < 3:
        print("FAIL only %d calls, steps %s to go on from, %s announced" % (len(calls), steps, said))
        bad += 1
    print("power loss%s: %d prefixes of %d calls, %d not old or new and whole; went on from steps %s, %s had been announced" %
          (" of cm-train" if o.run else "", o.prefixes, len(calls), bad, steps, said))
finally:
    shutil.rmtree(top, ignore_errors=True)
sys.exit(bool(bad))
