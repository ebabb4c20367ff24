#!/usr/bin/env python3
"""bench_mpi.py BUILD [--rounds N] [--only PART]: one rank of one thread beside two of them, in turn, on a machine with
two idle processors: training steps of the CIFAR-10 network and of the digits network with 64 images a rank, and
cm-sample and cm-eval of a fixed number of images.  Prints images a second and their ratio, the median of the rounds;
of training also what a step waits for the other rank, and how long the same sum takes by itself.  With the
sum's own bytes: --sum BYTES, which mpirun runs."""
import argparse
import ctypes
import json
import os
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
p.add_argument("build")
p.add_argument("--rounds", type=int, default=3)
p.add_argument("--only", default="", help="cifar10, digits, sample or eval")
p.add_argument("--sum", type=int, default=0, help=argparse.SUPPRESS)
o = p.parse_args()
BUILD = os.path.abspath(o.build)
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUCKET = 1 << 20  # floats, as in src/train/gradient_sum.c
os.environ["LD_LIBRARY_PATH"] = os.path.join(BUILD, "lib")


def sum_alone(count):
    """In a process of mpirun: the sum of `count` floats in the buckets of a step, all started before the first wait."""
    sys.path.insert(0, os.path.join(HERE, "bindings", "python"))
    os.environ["CONSISTENCY_LIBRARY"] = os.path.join(BUILD, "lib", "libconsistency.so")
    from consistency import mpi
    with mpi.Group() as group:
        values = (ctypes.c_float * count)()
        seconds = []
        for _ in range(7):
            begun, requests = time.perf_counter(), []
            for at in range(0, count, BUCKET):
                request = ctypes.c_uint64()
                n = min(BUCKET, count - at)
                part = ctypes.cast(ctypes.addressof(values) + 4 * at, ctypes.POINTER(ctypes.c_float))
                if group._table.sum(group._table.user, part, n, b"a sum", ctypes.byref(request)):
                    sys.exit("the sum fails")
                requests.append(request)
            for request in requests:
                if group._table.wait(group._table.user, request):
                    sys.exit("the wait fails")
            seconds.append(time.perf_counter() - begun)
        if group.rank == 0:
            print(statistics.median(seconds[1:]))


if o.sum:
    sum_alone(o.sum)
    sys.exit(0)

DIR = tempfile.mkdtemp(prefix="cm-bench-mpi-")
# Each rank has a processor of its own, and one process alone has one too.
MPIRUN = ["mpirun", "--use-hwthread-cpus", "--bind-to", "hwthread"] + (["--allow-run-as-root"] if os.getuid() == 0 else [])


def run(ranks, command):
    """The command as one process of one thread without MPI, or as `ranks` of them; its seconds by the clock."""
    begun = time.perf_counter()
    done = subprocess.run((MPIRUN + ["-n", str(ranks)] if ranks > 1 else ["taskset", "-c", "0"]) + command, capture_output=True, text=True)
    if done.returncode:
        sys.exit("%s\n%s%s" % (" ".join(command), done.stdout, done.stderr))
    return time.perf_counter() - begun, done.stdout


def pictures(side, channels, count=512):
    """A set of `count` pictures of a constant each: their content does not matter for the time."""
    path = os.path.join(DIR, "cifar" if channels == 3 else "mnist")
    os.mkdir(path)
    if channels == 3:
        with open(os.path.join(path, "data_batch_1.bin"), "wb") as f:
            for i in range(count):
                f.write(bytes([i % 10]) + bytes([i % 256]) * (channels * side * side))
        return path
    with open(os.path.join(path, "train-images-idx3-ubyte"), "wb") as f:
        f.write(struct.pack(">IIII", 2051, count, side, side))
        for i in range(count):
            f.write(bytes([i % 256]) * (side * side))
    with open(os.path.join(path, "train-labels-idx1-ubyte"), "wb") as f:
        f.write(struct.pack(">II", 2049, count) + bytes(i % 10 for i in range(count)))
    return path


def steps(data, preset, ranks, count, split="0"):
    """Steps of 64 images a rank: images a second, and the seconds a step waits, without the first step."""
    out = os.path.join(DIR, "run")
    shutil.rmtree(out, ignore_errors=True)
    run(ranks, [os.path.join(BUILD, "bin", "cm-train"), "--data", data, "--preset", preset, "--out", out, "--threads", "1",
                "--batch", str(64 * ranks), "--steps", str(count), "--sample-every", "0", "--no-estimate", "--log-every", "1",
                "--checkpoint-every", str(10 * count), "--set", "compare_every=0", "--set", "split_state=" + split, "-q"])
    with open(os.path.join(out, "log.jsonl")) as f:
        lines = [json.loads(line) for line in f]
    lines = [line for line in lines if line.get("step", 0) > 1]
    return (statistics.median(line["img_per_s"] for line in lines),
            statistics.median(line.get("group_wait_s", 0.0) for line in lines))


def training(name, preset, side, channels, parameters, count):
    data = pictures(side, channels)
    one, two, split = [], [], []
    for _ in range(o.rounds):
        one.append(steps(data, preset, 1, count))
        two.append(steps(data, preset, 2, count))
        split.append(steps(data, preset, 2, count, "1"))
    alone = float(run(2, [sys.executable, os.path.abspath(__file__), BUILD, "--sum", str(parameters)])[1])
    rate = statistics.median(a[0] for a in one)
    print("%s, 64 images a rank: one rank %.2f images/s" % (name, rate))
    for what, rounds in (("two", two), ("two with split_state", split)):
        ratios = [b[0] / a[0] for a, b in zip(one, rounds)]
        print("    %s %.2f: %.2f times (%s); of a step of %.0f ms it waits %.1f ms for the others"
              % (what, statistics.median(b[0] for b in rounds), statistics.median(ratios), ", ".join("%.2f" % r for r in ratios),
                 1e3 * 128 / statistics.median(b[0] for b in rounds), 1e3 * statistics.median(b[1] for b in rounds)))
    print("    the sum of %d gradients takes %.1f ms by itself: %.0f %% of it are hidden behind backward"
          % (parameters, 1e3 * alone, 100 * max(0.0, 1 - statistics.median(b[1] for b in two) / alone)), flush=True)


def whole(name, command, small, large):
    """The seconds that large - small images take more, by one process and by two: start and end fall out."""
    def more(ranks):
        return run(ranks, [str(large) if c is None else c for c in command])[0] - \
            run(ranks, [str(small) if c is None else c for c in command])[0]
    rounds = [(more(1), more(2)) for _ in range(o.rounds)]
    n = large - small
    print("%s: one rank %.1f images/s, two %.1f: %.2f times (%s)"
          % (name, n / statistics.median(a for a, _ in rounds), n / statistics.median(b for _, b in rounds),
             statistics.median(a / b for a, b in rounds), ", ".join("%.2f" % (a / b) for a, b in rounds)), flush=True)


try:
    model = os.path.join(HERE, "tests", "data", "models", "digits_consistency.safetensors")
    if o.only in ("", "cifar10"):
        training("CIFAR-10 network (cifar10-edm)", "cifar10-edm", 32, 3, 55733891, 4)
    if o.only in ("", "digits"):
        training("digits network (digits-teacher-30min)", "digits-teacher-30min", 28, 1, 744401, 60)
    if o.only in ("", "sample"):
        whole("cm-sample, digits", [os.path.join(BUILD, "bin", "cm-sample"), model, "-n", None, "--threads", "1", "--force", "-q",
                                    "--npz", os.path.join(DIR, "pictures.npz")], 1024, 17408)
    if o.only in ("", "eval"):
        whole("cm-eval, digits, fd-lenet", [os.path.join(BUILD, "bin", "cm-eval"), "--metric", "fd-lenet", "--samples", None, "-q", model,
                                            os.path.join(HERE, "models", "features", "lenet-train.npz")], 3000, 19384)
finally:
    shutil.rmtree(DIR)
