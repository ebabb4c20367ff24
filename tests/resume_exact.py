#!/usr/bin/env python3
"""Resuming is exact: resume_exact.py BUILD [--short]

Of every objective with every optimizer (--short: with one of them) a run of 12 steps, and the same run stopped after 1, 3,
5 and 8 steps and continued: steps within an epoch and at the end of one (20 pictures in batches of 4), before and after
changes of the schedules.  With dropout, classes, flips, augmentation where the network takes it, gradients accumulated
over two micro-batches, two threads, and two averages.  The files of the last checkpoint, the logged losses and the pages
of samples are the same, byte by byte."""
import argparse, hashlib, json, os, random, shutil, sys, tempfile

import plain_png

p = argparse.ArgumentParser()
p.add_argument("build")
p.add_argument("--short", action="store_true")
p.add_argument("--only", default="")
o = p.parse_args()
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ["CONSISTENCY_LIBRARY"] = os.path.abspath(o.build) + "/lib/libconsistency.so.0"
sys.path.insert(0, HERE + "/bindings/python")
import consistency as cm  # noqa: E402
from consistency._lib import choices  # noqa: E402

STEPS, STOPS = 12, (1, 3, 5, 8)
SONG = {"type": "songunet", "img_resolution": 8, "in_channels": 3, "out_channels": 3, "model_channels": 8, "label_dim": 2,
        "channel_mult": [1, 1], "num_blocks": 1, "attn_resolutions": [4], "dropout": 0.2}
TWO = dict(SONG, second_time="concat")
GUIDED = dict(TWO, out_channels=6, conditions=3)
PAIRS = [(SONG, "edm", None), (SONG, "edm", "edm"), (SONG, "edm", "ecm"), (SONG, "ecm", None), (TWO, "average-velocity", None),
         (GUIDED, "average-velocity", None)]
# What brings changes into twelve steps, of those that have it.
SCHEDULES = {"ct": {"start_scales": 3, "end_scales": 20}, "ict": {"start_scales": 4, "end_scales": 16}, "ect": {"ect_stages": 4},
             "cd": {"start_scales": 6, "end_scales": 6}, "pd": {"start_scales": 16, "distill_steps": 4}, "cmt": {"cmt_nfe": 3},
             "tcm": {"ect_stages": 4}, "tcm2": {"ect_stages": 4}}
failures = []


def fail(text):
    failures.append(text)
    print("FAIL", text, flush=True)


def png(value):
    return plain_png.encode([bytes((value * 12 + x * 9 + y * 5 + c * 40) % 256 for x in range(8) for c in range(3)) for y in range(8)], 3)


def make_pictures(folder):
    for i in range(20):
        os.makedirs("%s/%s" % (folder, "ab"[i % 2]), exist_ok=True)
        with open("%s/%s/%02d.png" % (folder, "ab"[i % 2], i), "wb") as f:
            f.write(png(i))


def model(network, precond, seed):
    return cm.Model.create({"network": network, "precond": {"type": precond}}, seed=seed)


def begin(directory, objective, optimizer):
    """A run of the first pair of networks that the objective accepts, and its teacher, which a resumed run is given again."""
    options = dict(SCHEDULES.get(objective, {}), objective=objective, optimizer=optimizer, batch=4, microbatch=2, flip=0.5,
                   label_dropout=0.1, steps=STEPS, threads=2, lr=1e-3, seed=3, ema="warmup:0.9,0.5", checkpoint_every=1, keep=0,
                   log_every=1, sample_every=4, dropout=0.2)
    if objective == "cmt":
        options.update(batch=12, microbatch=6)
    failure = None
    for network, precond, teacher in PAIRS:
        made = teacher and model(network, teacher, 2)
        run = cm.Run(directory, data=top + "/pictures", model=model(network, precond, 1), teacher=made, **options)
        try:
            run.begin()
            return run, made
        except cm.Error as error:
            failure = failure or error
            run.close()
            shutil.rmtree(directory, ignore_errors=True)
    raise failure


def logged(directory, last=STEPS):
    rows = [json.loads(line) for line in open(directory + "/log.jsonl")]
    return {r["step"]: [r[k] for k in sorted(r) if "loss" in k or k in ("lr", "scales")] for r in rows if "loss" in r and r["step"] <= last}


def files_of(directory):
    found = {}
    for folder in (directory + "/checkpoints/step-%09d" % STEPS, directory + "/samples"):
        for name in os.listdir(folder):
            found[name] = hashlib.sha256(open(folder + "/" + name, "rb").read()).hexdigest()
    return found


def stand_at(whole, k, directory):
    """The directory as it was after step k."""
    shutil.copytree(whole, directory)
    for step in range(k + 1, STEPS + 1):
        shutil.rmtree("%s/checkpoints/step-%09d" % (directory, step))
        for name in os.listdir(directory + "/samples"):
            if "%d." % step in name and int("".join(filter(str.isdigit, name.split(".")[0])) or 0) == step:
                os.remove(directory + "/samples/" + name)
    with open(directory + "/checkpoints/LATEST", "w") as f:
        f.write("step-%09d\n" % k)
    rows = [line for line in open(directory + "/log.jsonl") if json.loads(line).get("step", 0) <= k]
    with open(directory + "/log.jsonl", "w") as f:
        f.writelines(rows)


def compare(objective, optimizer):
    whole = "%s/%s-%s" % (top, objective, optimizer)
    name = "%s with %s" % (objective, optimizer)
    try:
        run, teacher = begin(whole, objective, optimizer)
        with run:
            run.execute()
        want, losses = files_of(whole), logged(whole)
        for k in STOPS:
            parts = whole + "-%d" % k
            stand_at(whole, k, parts)
            with cm.Run(parts, teacher=teacher, resume=True) as run:
                run.begin()
                if run.step != k:
                    fail("%s: resumed at %d instead of %d" % (name, run.step, k))
                run.execute()
            got = files_of(parts)
            if got != want:
                fail("%s: after stopping at %d these differ: %s" % (name, k, sorted(n for n in want if want[n] != got.get(n))))
            if logged(parts) != losses or len(losses) != STEPS:
                fail("%s: after stopping at %d the log differs" % (name, k))
            shutil.rmtree(parts)
    except (cm.Error, KeyError, OSError) as error:
        fail("%s: %s" % (name, error))
        return 0
    finally:
        shutil.rmtree(whole, ignore_errors=True)
    return len(STOPS)


top = tempfile.mkdtemp(prefix="cm-resume-")
try:
    make_pictures(top + "/pictures")
    optimizers, tried = choices("optimizers"), 0
    objectives = [name for name in choices("objectives") if o.only in name]
    for i, objective in enumerate(objectives):
        for optimizer in (optimizers[i % len(optimizers):][:1] if o.short else optimizers):
            tried += compare(objective, optimizer)
    print("resume: %d objectives, %s, %d resumed runs end with the same bytes; %d failures" %
          (len(objectives), "one optimizer each" if o.short else "%d optimizers" % len(optimizers), tried, len(failures)))
finally:
    shutil.rmtree(top, ignore_errors=True)
sys.exit(bool(failures))
