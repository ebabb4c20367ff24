#!/usr/bin/env python3
"""The rows of make bench by two builds of ours, in turn: what another oneDNN changes.

    bench_onednn.py BUILD OTHER_BUILD [--rounds N] [--adm]

Both builds need bin/cm-sample and tests/bench_train; the models are those that `make bench` leaves in BUILD/bench.  Prints
seconds an image or step, the best of N rounds, and OTHER over BUILD; peaks in MiB."""
import argparse, json, os, subprocess

p = argparse.ArgumentParser()
p.add_argument("builds", nargs=2)
p.add_argument("--rounds", type=int, default=3)
p.add_argument("--adm", action="store_true")
o = p.parse_args()
models = o.builds[0] + "/bench/%s.safetensors"
ROWS = [("CIFAR-10, batch %d" % b, "cifar", b, 2, n) for b, n in ((1, 6), (8, 16), (64, 64))]
ROWS += [("ImageNet-64, batch %d" % b, "adm", b, 2, n) for b, n in ((1, 3), (8, 8))] if o.adm else []
ROWS += [("small, batch 8, 1 thread", "small", 8, 1, 64)]


def run(command):
    return json.loads(subprocess.run(command, check=True, text=True, capture_output=True).stdout.strip().splitlines()[-1])


def row(work, command, key):
    best, peak = [1e9, 1e9], [0, 0]
    for _ in range(o.rounds):
        for i, build in enumerate(o.builds):
            r = run([build + command[0]] + command[1:])
            best[i], peak[i] = min(best[i], r[key]), max(peak[i], r["peak_bytes"] / 2**20)
    print("%-32s %9.4g %9.4g  %5.2f   %.0f / %.0f MiB" % (work, best[0], best[1], best[1] / best[0], *peak), flush=True)


for build in o.builds:
    print(subprocess.run([build + "/bin/cm-sample", "--version"], text=True, capture_output=True).stdout.strip().splitlines()[-1])
for work, name, batch, threads, count in ROWS:
    row(work, ["/bin/cm-sample", "--bench", "--json", "--method", "onestep", "--batch", str(batch), "--threads", str(threads), "-n", str(count),
               models % name], "seconds_per_image")
row("training CIFAR-10, batch 32", ["/tests/bench_train", models % "cifar", "32", "2", "1"], "seconds")
row("training small, batch 32", ["/tests/bench_train", models % "small", "32", "2", "12"], "seconds")
