#!/usr/bin/env python3
"""Training survives being killed: kill_resume.py BUILD [--trials N] [--steps S --stops K]

  trials       cm-train, checkpointing every step and evaluating a metric every third, is killed -9 after a random
               time; resuming has to work and to begin at the last step it had announced or later, and the best
               weights are whole
  chain        a run of S steps, stopped K times by kill -9, SIGTERM or SIGUSR1, ends with the bytes (best weights,
               logged losses and distances too) of a run that never stopped
  systematic   the process ends right before every system call of a save, then goes on: the same bytes again
  faults       every such call fails instead: an IO error, and the checkpoint before is still good
  objectives   of each objective a save is ended before some of its system calls (TRIALS / 20 of them): the same bytes
  stops        a signal is answered at once though a page of samples or an evaluation is due
  refusals     what cm-train says to a second trainer, a used directory, --resume of nothing
"""
import argparse, concurrent.futures, glob, hashlib, json, os, random, re, shutil, signal, struct, subprocess, sys, tempfile
import threading, time

p = argparse.ArgumentParser()
p.add_argument("build")
p.add_argument("--trials", type=int, default=20)
p.add_argument("--steps", type=int, default=60)
p.add_argument("--stops", type=int, default=6)
o = p.parse_args()
top = tempfile.mkdtemp(prefix="cm-kill-")
data = top + "/train-images-idx3-ubyte"
random.seed(1)
with open(data, "wb") as f:  # 64 made-up pictures of 28 x 28 in 10 classes
    f.write(struct.pack(">IIII", 0x803, 64, 28, 28) + bytes(random.randrange(256) for _ in range(64 * 784)))
with open(top + "/train-labels-idx1-ubyte", "wb") as f:
    f.write(struct.pack(">II", 0x801, 64) + bytes(i % 10 for i in range(64)))
env = dict(os.environ, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive")
failures = []


def fail(text):
    failures.append(text)
    print("FAIL", text, flush=True)


def command(run, steps, *more):
    return [o.build + "/bin/cm-train", "--preset", "smoke", "--data", data, "--out", run, "--steps", str(steps), "--batch", "4",
            "--threads", "1", "--checkpoint-every", "1", "--log-every", "1", "--sample-every", "0", "--no-estimate", *more]


def latest(run):
    """Hashes of the newest checkpoint's files, by name."""
    name = open(run + "/checkpoints/LATEST").read().strip()
    return {os.path.basename(f): hashlib.sha256(open(f, "rb").read()).hexdigest() for f in glob.glob(run + "/checkpoints/" + name + "/*")}


METRIC = ["--metric", "fd-lenet", "--metric-data", "models/features/lenet-train.npz", "--metric-every", "3", "--metric-samples", "20",
          "--metric-steps", "2", "--metric-few"]


def logged(run):
    """Losses and distances by step."""
    rows = list(map(json.loads, open(run + "/log.jsonl")))
    return [{d["step"]: d[key] for d in rows if key in d} for key in ("loss", "fd-lenet")]


def best(run):
    """The best weights, which are whole whenever they are there."""
    path = run + "/best.safetensors"
    if not os.path.exists(path):
        return None
    r = subprocess.run([o.build + "/bin/cm-info", path, "--check"], env=env, capture_output=True, text=True)
    if r.returncode != 0:
        fail("%s: %s" % (path, r.stderr or r.stdout))
    return hashlib.sha256(open(path, "rb").read()).hexdigest()


# A shell or a job's keeper may have started us with these ignored, which a program inherits.
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def end_of(child):
    """What a stopped program printed; one that goes on is killed and is a failure."""
    try:
        return child.communicate(timeout=1800)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        fail("%s goes on after a signal: %s" % (child.args[0], err))
        return out, err


def stop_at_random(args, longest, number=signal.SIGKILL):
    """Starts, stops after a random time; returns the last announced step and the exit code."""
    child = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    time.sleep(random.random() * longest)
    child.send_signal(number)
    out, err = end_of(child)
    steps = [int(s) for s in re.findall(r"saved step (\d+)\n", out)]
    return (steps[-1] if steps else None), child.returncode, err


def trials():
    run, seen, good, longest = top + "/trials", None, 0, 1.0
    while seen is None:  # a busy machine gets longer
        shutil.rmtree(run, ignore_errors=True)
        longest *= 1.5
        seen, code, err = stop_at_random(command(run, 1000000, *METRIC), longest)
        if code != -signal.SIGKILL:
            return fail("trials: exit %d: %s" % (code, err))
    longest = max(1.0, longest / 1.5)
    for trial in range(o.trials):
        before = seen
        step, code, err = stop_at_random(command(run, 1000000, "--resume"), longest)
        if code != -signal.SIGKILL:
            fail("trial %d: exit %d: %s" % (trial, code, err))
        best(run)
        name = open(run + "/checkpoints/LATEST").read().strip()
        reached = int(name[5:])
        if reached < before or (step is not None and reached < step):
            fail("trial %d: LATEST is %s, but step %s had been announced" % (trial, name, step or before))
        else:
            good += 1
        seen = max(reached, step or 0)
    print("trials: %d of %d resumes good, %d steps" % (good, o.trials, seen), flush=True)


def steps_of(run):
    try:
        return int(open(run + "/checkpoints/LATEST").read().strip()[5:])
    except FileNotFoundError:
        return None


def stop_after(args, run, step, number):
    """Starts, waits until the run has that checkpoint, stops it a random moment later."""
    child = subprocess.Popen(args, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=env)
    while child.poll() is None and (steps_of(run) or 0) < step:
        time.sleep(0.001)
    time.sleep(random.random() * 0.05)
    child.send_signal(number)
    err = end_of(child)[1]
    return child.returncode, err


def chain():
    whole, parts = top + "/whole", top + "/parts"
    subprocess.run(command(whole, o.steps, *METRIC), check=True, env=env, capture_output=True)
    stops, early = 0, 0
    for target in sorted(random.sample(range(1, o.steps * 9 // 10), o.stops)):
        number = random.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1])
        if steps_of(parts) is None:
            shutil.rmtree(parts, ignore_errors=True)
        code, err = stop_after(command(parts, o.steps, *(["--resume"] if os.path.exists(parts) else METRIC)), parts, target, number)
        if code == 75 or code == -signal.SIGKILL:
            stops += 1
        elif code in (-signal.SIGTERM, -signal.SIGUSR1):  # already past the target, and the handler not yet there
            early += 1
        else:
            fail("chain: exit %d after signal %d: %s" % (code, number, err))
            break
    more = ["--resume"] if os.path.exists(parts + "/checkpoints/LATEST") else METRIC
    last = subprocess.run(command(parts, o.steps, *more), env=env, capture_output=True, text=True)
    if last.returncode != 0:
        fail("chain: the last resume gave %d: %s" % (last.returncode, last.stderr))
        return
    a, b = latest(whole), latest(parts)
    if a != b:
        fail("chain: after %d stops these files differ: %s" % (stops, [n for n in a if a[n] != b.get(n)]))
    if logged(whole) != logged(parts) or len(logged(whole)[1]) != -(-o.steps // 3):
        fail("chain: the logged losses or distances differ")
    if best(whole) is None or best(whole) != best(parts):
        fail("chain: the best weights differ")
    if stops + early != o.stops or stops * 10 < o.stops * 7:
        fail("chain: %d of %d stops, %d before the handler stood" % (stops, o.stops, early))
    print("chain: %d steps, stopped %d times (%d before a handler stood), same bytes" % (o.steps, stops + early, early), flush=True)


def program(run, until, call=None, n=0, error=0, kill=False, objective=None):
    more = dict(env, SHIM_DIR=run)
    if call:
        more.update(LD_PRELOAD=os.path.abspath(o.build + "/tests/shim.so"), SHIM_CALL=call, SHIM_N=str(n), SHIM_ERRNO=str(error))
        if kill:
            more["SHIM_KILL"] = "1"
    return subprocess.run([o.build + "/tests/train_program", run, str(until), *([objective] if objective else [])], env=more,
                          capture_output=True, text=True)


def standing(base, objective=None):
    """Makes a run that stands at step 2; returns the hashes of one that went on to step 4 without a stop."""
    want = base + "-want"
    for run, until in ((base, 2), (want, 4)):
        r = program(run, until, objective=objective)
        if r.returncode != 0:
            raise SystemExit("FAIL %s: exit %d: %s" % (objective or "a run", r.returncode, r.stderr))
        if run == base:
            shutil.copytree(base, want)
    return latest(want)


def begun(base="base"):
    """A fresh copy of the run that stands at step 2; a thread has one at a time."""
    run = "%s/run-%d" % (top, threading.get_ident())
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(top + "/" + base, run)
    return run


def ended_before(n, good, objective=None):
    """Whether the save to step 3 has an n-th call; ended right before it, the run has to go on as if nothing had been."""
    run, where = begun(objective or "base"), "%sended before call %d" % (objective + ": " if objective else "", n)
    r = program(run, 3, "any", n, kill=True, objective=objective)
    if r.returncode == 0:
        return False
    if r.returncode != 99:
        fail("%s: exit %d: %s" % (where, r.returncode, r.stderr))
    r = program(run, 4, objective=objective)
    begin = re.search(r"begins at (\d+)", r.stdout)
    if r.returncode != 0 or not begin or int(begin.group(1)) not in (2, 3):
        fail("%s: resuming gave %d: %s%s" % (where, r.returncode, r.stdout, r.stderr))
    elif latest(run) != good:
        fail("%s: the bytes differ" % where)
    elif [f for f in os.listdir(run + "/checkpoints") if "tmp" in f]:
        fail("%s: leftovers" % where)
    return True


def failing(call, error, good):
    """Every such call of that save fails in turn; returns how many did."""
    tried = n = 0
    while True:
        n += 1
        run = begun()
        r = program(run, 3, call, n, error)
        if r.returncode == 0:  # harmless (closing a mapping), or there is no such call
            if n > 60 or n > 12 and program(run, 3, call, 100000, error).returncode == 0:
                return tried
            continue
        tried += 1
        if r.returncode != 3:
            fail("%s %d errno %d: exit %d: %s" % (call, n, error, r.returncode, r.stderr))
        r = program(run, 4)
        if r.returncode != 0 or latest(run) != good:
            fail("%s %d errno %d: going on gave %d: %s" % (call, n, error, r.returncode, r.stderr))


def systematic():
    good, seen = standing(top + "/base"), []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        while all(seen):
            numbers = range(len(seen) + 1, len(seen) + 33)
            seen += pool.map(ended_before, numbers, [good] * len(numbers))
        calls = seen.index(False)
        if calls < 30 or any(seen[calls:]):
            fail("only %d calls were seen" % calls)
        print("systematic: ended before each of %d calls of a save, same bytes afterwards" % calls, flush=True)
        cases = [(c, e, good) for c in ("open", "write", "fsync", "close", "rename", "mkdir", "remove") for e in (5, 28)]  # EIO, ENOSPC
        tried = sum(pool.map(failing, *zip(*cases)))
    print("faults: %d failing calls, an IO error each time, and the run went on" % tried, flush=True)
    return calls


def objectives(calls):
    """What one objective has beside another in its state is not lost: weights of a target, a weighting, counts."""
    names = subprocess.run([o.build + "/tests/train_program"], check=True, capture_output=True, text=True).stdout.split()
    if len(names) < 6:
        fail("objectives: only %s" % names)
    # Some have smaller files, and so a few calls fewer, than the run that was counted.
    trials = [(n, name) for name in names for n in random.sample(range(1, calls * 3 // 4), -(-o.trials // 20))]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        good = dict(zip(names, pool.map(lambda name: standing(top + "/" + name, name), names)))
        ended = list(pool.map(lambda t: ended_before(t[0], good[t[1]], t[1]), trials))
    for (n, name), found in zip(trials, ended):
        if not found:
            fail("%s: the save has no call %d" % (name, n))
    if len(set(map(str, good.values()))) != len(names):
        fail("objectives: two of them made the same weights")
    print("objectives: %d, each ended before %d of its calls, same bytes afterwards" % (len(names), len(trials) // len(names)), flush=True)


def stops():
    """A signal is answered within one network evaluation and the save, whatever is due: here a page of samples after every
    step, or an evaluation of a metric, each of which alone takes longer than a stop may."""
    slowest = 0
    config = {"network": {"type": "songunet", "img_resolution": 32, "img_channels": 1, "label_dim": 10, "model_channels": 32,
                          "channel_mult": [1, 2, 4], "num_blocks": 2, "attn_resolutions": [8], "dropout": 0},
              "precond": {"type": "edm"}, "image": {"channels": 1, "height": 32, "width": 32, "labels": 10}}
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 75), (signal.SIGHUP, 75)):
        for inside in ("page", "step", "evaluation"):
            run = "%s/stop-%d-%s" % (top, number, inside)
            args = [o.build + "/bin/cm-train", "--data", data, "--out", run, "--network", json.dumps(config), "--steps", "1000000",
                    "--batch", "64" if inside == "step" else "2", "--threads", "1", "--log-every", "1", "--no-estimate",
                    "--checkpoint-every", "1000000", "--sample-every", "1" if inside == "page" else "0"]
            if inside == "evaluation":
                args += [*METRIC[:4], "--metric-every", "1", "--metric-samples", "1000000"]
            child = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
            while child.poll() is None and not (os.path.exists(run + "/log.jsonl") and os.path.getsize(run + "/log.jsonl")):
                time.sleep(0.005)
            time.sleep(0.2)
            began = time.monotonic()
            child.send_signal(number)
            err = end_of(child)[1]
            spent = time.monotonic() - began
            slowest = max(slowest, spent)
            if child.returncode != code or "continue with --resume" not in err:
                fail("stops: signal %d gave exit %d: %s" % (number, child.returncode, err))
            whole = int(args[args.index("--batch") + 1]) / json.loads(open(run + "/log.jsonl").readline())["img_per_s"]
            if spent > max(5, whole):  # a step of 64 images on a busy machine is longer than that
                fail("stops: signal %d within a %s took %.1f s" % (number, inside, spent))
            if inside == "page" and len(os.listdir(run + "/samples")) > 1 + steps_of(run):
                fail("stops: a page was drawn after the signal")
            if os.path.exists(run + "/best.safetensors"):
                fail("stops: an evaluation ended after the signal")
    print("stops: SIGINT, SIGTERM and SIGHUP within a page, a step and an evaluation, the slowest in %.2f s" % slowest, flush=True)


def refusals():
    run = top + "/refusals"
    a = subprocess.Popen(command(run, 1000000), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)
    a.stdout.readline()
    cases = [("--resume", "another trainer"), (None, "not empty")]
    for more, words in cases:
        r = subprocess.run(command(run, 1000000, *([more] if more else [])), env=env, capture_output=True, text=True)
        if r.returncode != 1 or words not in r.stderr:
            fail("refusals: exit %d, no '%s' in: %s" % (r.returncode, words, r.stderr))
    a.terminate()
    a.communicate()
    if a.returncode != 75:
        fail("SIGTERM: exit %d, expected 75" % a.returncode)
    r = subprocess.run(command(top + "/nothing", 10, "--resume"), env=env, capture_output=True, text=True)
    if r.returncode != 1 or "no checkpoint" not in r.stderr:
        fail("resume of nothing: %d %s" % (r.returncode, r.stderr))
    r = subprocess.run(command(run, 1000000, "--resume", "--set", "lr=0.5"), env=env, capture_output=True, text=True)
    if r.returncode != 1 or "lr was 0.001, is 0.5" not in r.stderr:
        fail("resume with another lr: %d %s" % (r.returncode, r.stderr))
    print("refusals: as expected", flush=True)


try:
    trials()
    chain()
    objectives(systematic())
    stops()
    refusals()
finally:
    shutil.rmtree(top, ignore_errors=True)
sys.exit(bool(failures))
