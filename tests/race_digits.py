#!/usr/bin/env python3
"""The same time on the same machine: this library beside the published algorithm (ECT) in PyTorch, on digits, from the same teacher.

    race_digits.py BUILD MNIST [--minutes 30] [--turn 20] [--threads 2] [--preset digits-sct-30min] [--set NAME=VALUE ...] [--start MODEL] [--compile] [--peer-python PYTHON] [--out DIR]

Both sides learn on the same network from the same diffusion model, tests/data/models/digits_teacher.safetensors or that of --start, in turns of --turn seconds in which the other one is
stopped, so that what else the machine does meets both alike.  Ours has as many steps of its preset as its pace in the first
turn foretells; the peer's schedule follows its clock.  Then the FD-lenet of 10,000 images of both, with one and with two steps.
"""
import argparse, json, os, signal, subprocess, sys, time

p = argparse.ArgumentParser()
p.add_argument("build")
p.add_argument("data")
p.add_argument("--minutes", type=float, default=30)
p.add_argument("--turn", type=float, default=20, help="seconds of a turn, at least 5")
p.add_argument("--threads", type=int, default=2)
p.add_argument("--preset", default="digits-sct-30min")
p.add_argument("--set", action="append", default=[], help="an option of ours beside those of the preset")
p.add_argument("--start", default="tests/data/models/digits_teacher.safetensors", help="the diffusion model that both begin with")
p.add_argument("--compile", action="store_true", help="the peer by torch.compile")
p.add_argument("--peer-python", default=sys.executable, help="a Python that has torch")
p.add_argument("--samples", type=int, default=10000)
p.add_argument("--out", default="race")
o = p.parse_args()
if o.turn < 5:
    p.error("--turn %g: at least 5 seconds, since the peer takes a gap of 2 for a stop" % o.turn)
os.makedirs(o.out)
seconds = 60 * o.minutes


def train(out, steps):
    begins = "--teacher" if "-scd-" in o.preset else "--init"
    changes = [word for change in o.set for word in ("--set", change)]
    return [o.build + "/bin/cm-train", "--data", o.data, "--preset", o.preset, begins, o.start, *changes, "--threads", str(o.threads), "--seed", "0",
            "--steps", str(steps), "--sample-every", "0", "--no-estimate", "--keep", "1", "--checkpoint-every", str(steps), "--log-every", "1",
            "-q", "--out", out]


def pace(turn):
    """Seconds of a step of ours, from a short run; its beginning is not counted."""
    out = o.out + "/pace"
    run = subprocess.Popen(train(out, 100000))
    time.sleep(turn)
    run.send_signal(signal.SIGTERM)
    run.wait()
    lines = [json.loads(l) for l in open(out + "/log.jsonl")]
    rates = sorted(l["img_per_s"] for l in lines[1:]) or [lines[0]["img_per_s"]]
    return json.load(open(out + "/config.json"))["options"]["batch"] / rates[len(rates) // 2]


def race(sides):
    """Turns until both have ended; the seconds of each at work.  Neither is left stopped where this program ends before them."""
    try:
        return take_turns(sides)
    finally:
        for side in sides.values():
            if side.poll() is None:
                side.kill()


def take_turns(sides):
    spent = {name: 0.0 for name in sides}
    for side in sides.values():
        side.send_signal(signal.SIGSTOP)
    while any(side.poll() is None for side in sides.values()):
        for name, side in sides.items():
            if side.poll() is not None:
                continue
            began = time.time()
            side.send_signal(signal.SIGCONT)
            try:
                side.wait(o.turn)
            except subprocess.TimeoutExpired:
                side.send_signal(signal.SIGSTOP)
            spent[name] += time.time() - began
            print("%s %.0f s of %.0f" % (name, spent[name], seconds), file=sys.stderr, flush=True)
    for name, side in sides.items():
        if side.returncode:
            sys.exit("%s ended with %d" % (name, side.returncode))
    return spent


def distance(model, *sampling):
    text = subprocess.check_output([o.build + "/bin/cm-eval", "--metric", "fd-lenet,right-lenet", "--samples", str(o.samples), "--batch", "64", "--json", "-q",
                                    *(["--few"] if o.samples < 2000 else []), *sampling, model, "models/features/lenet-train.npz"])
    found = json.loads(text)
    found = found.get("metrics", found)
    return found["fd-lenet"], 100 * found["right-lenet"] / o.samples


step = pace(max(o.turn, 10))
steps = int(0.97 * seconds / step)  # so that it does not end later than the peer where steps become a little slower
print("ours: %.3f s a step, %d steps of %s" % (step, steps, " ".join([o.preset, *o.set])), flush=True)
peer = [o.peer_python, os.path.join(os.path.dirname(__file__), "peers", "torch_ect.py"), o.start, o.data, o.out + "/peer.safetensors", "--seconds", str(seconds),
        "--threads", str(o.threads), *(["--compile"] if o.compile else [])]
spent = race({"ours": subprocess.Popen(train(o.out + "/ours", steps)), "peer": subprocess.Popen(peer, stdout=open(o.out + "/peer.log", "w"))})
told = open(o.out + "/peer.log").read().strip().split("\n")[-1]
print("peer: %s" % told)
second = "80,0.982" if "-sc" in o.preset else "80,0.821"
for name, model, sigmas in (("ours", o.out + "/ours/model.safetensors", second), ("peer", o.out + "/peer.safetensors", "80,0.821")):
    one, two = distance(model, "--method", "onestep"), distance(model, "--method", "multistep", "--sigmas", sigmas)
    print("%-5s %5.0f s  one step %.2f (%.1f %% read as asked)  two steps %.2f (%.1f %%)" % (name, spent[name], *one, *two), flush=True)
