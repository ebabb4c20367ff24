#!/usr/bin/env python3
"""make bench-jvp, bench-train-jvp: value and tangent of the CIFAR-10 network, and training steps that need one, in one run
and in turn.

    bench_jvp.py BUILD [--peer PYTHON] [--steps] [--rounds N] [--batch N ...] [--threads N] [--dropout P]
               [--ways func dual] [--two]

Every row is a process of its own (tests/bench_jvp.c, tests/peers/torch_jvp.py) that stays open; in a round each of them works
once.  Printed are seconds an image (of a step: seconds) by the clock, least and median, the same of the processor, the peak
memory of the process, and two ratios: of the least processor times to that of our row `of`, and of the least times by the
clock.  On a machine that others use too the processor's times are the steadier; a thread of PyTorch's that waits uses the
processor, so they count against it there.  Steps are of 4 images and of torch.func.jvp alone unless said otherwise: of 8
images each of PyTorch's processes takes 8 GB.  --two has PyTorch make the derivative in a pass of its own without
gradient."""
import argparse, json, os, subprocess
from statistics import median

from rounds import Server

CIFAR = {"type": "songunet", "img_resolution": 32, "img_channels": 3, "channel_mult": [2, 2, 2]}
MODELS = {"edm": (CIFAR, {"type": "edm"}), "meanflow": ({**CIFAR, "second_time": "concat"}, {"type": "average-velocity"})}


def model(build, name):
    network, precond = MODELS[name]
    path = "%s/bench/jvp_%s.safetensors" % (build, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.exists(path):
        subprocess.check_call([build + "/tests/make_model", json.dumps(network), json.dumps(precond), "32", "32", path])
    return path


WAYS = {"func": "torch.func.jvp", "dual": "forward AD"}


def ours(o, batch, work):
    path = model(o.build, "meanflow" if work == "meanflow" else "edm")
    return [o.build + "/tests/bench_jvp", path, str(batch), str(o.threads), work, str(o.dropout)]


def peer(o, batch, work, way="dual"):
    path = model(o.build, "meanflow" if work == "meanflow" else "edm")
    return [o.peer, "tests/peers/torch_jvp.py", path, "--work", work, "--way", way, "--batch", str(batch), "--threads", str(o.threads),
            "--dropout", str(o.dropout)] + ["--two"] * o.two


def rows(o, batch):
    """Name, command."""
    if o.steps:
        out = [("ours, " + w, ours(o, batch, w)) for w in ("edm", "sct", "meanflow")]
        if o.peer:
            out.append(("PyTorch, edm", peer(o, batch, "edm")))
            out += [("PyTorch, %s, %s" % (w, way), peer(o, batch, w, way)) for w in ("sct", "meanflow") for way in o.ways]
        return out
    out = [("ours, value", ours(o, batch, "value")), ("ours, value and tangent", ours(o, batch, "both"))]
    if o.peer:
        out.append(("PyTorch, value", peer(o, batch, "value")))
        out += [("PyTorch, " + WAYS[way], peer(o, batch, "both", way)) for way in o.ways]
    return out


def show(o, batch, servers):
    images = 1 if o.steps else batch
    print("batch %d, %d threads, %d rounds, %s, load %.1f" % (batch, o.threads, o.rounds, "seconds a step" if o.steps else "seconds an image",
                                                             os.getloadavg()[0]))
    print("%-28s %8s %8s %10s %8s %9s %8s %8s %9s" % ("", "clock", "median", "processor", "median", "peak MiB", "of", "ratio", "by clock"))
    by_name = {s.name: s for s in servers}
    for s in servers:
        of = by_name["ours, value"] if not o.steps else by_name["ours, edm" if s.name.startswith("ours") else "ours, " + s.name.split(", ")[1]]
        if not o.steps and s.name.startswith("PyTorch") and s.name != "PyTorch, value":
            of = by_name["ours, value and tangent"]
        clock, work = s.all("seconds"), s.all("processor")
        print("%-28s %8.4f %8.4f %10.4f %8.4f %9.0f %8s %8.2f %9.2f" % (
            s.name, min(clock) / images, median(clock) / images, min(work) / images, median(work) / images,
            s.results[-1]["peak_bytes"] / 2**20, of.name.split(", ")[1][:8], min(work) / min(of.all("processor")), min(clock) / min(of.all("seconds"))),
            flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--peer", default="")
    p.add_argument("--steps", action="store_true")
    p.add_argument("--rounds", type=int, default=8)
    p.add_argument("--batch", type=int, nargs="+")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--dropout", type=float, default=0)
    p.add_argument("--ways", nargs="+", choices=["func", "dual"])
    p.add_argument("--two", action="store_true")
    o = p.parse_args()
    o.ways = o.ways or (["func"] if o.steps else ["func", "dual"])
    for batch in o.batch or ([4] if o.steps else [1, 8]):
        servers = [Server(name, command) for name, command in rows(o, batch)]
        for _ in range(1 if o.steps else 2):
            for s in servers:
                s.call(False)
        for _ in range(o.rounds):
            for s in servers:
                s.call()
        show(o, batch, servers)
        for s in servers:
            s.close()


main()
