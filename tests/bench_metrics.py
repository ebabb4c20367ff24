#!/usr/bin/env python3
"""make bench-metrics: feature networks, ours and PyTorch's, in one run and in turn.

    bench_metrics.py BUILD [--peer PYTHON] [--rounds N] [--batch N] [--threads N] [--work WORD] [--ours BUILD ...]

Weights by formula (tests/support/formula_weights.h), of which only the time is of interest, and that both sides find the
same.  Ours (tests/bench_metrics.c) and the peer (tests/peers/torch_metrics.py, eager and compiled) stay open and are
called in turn; the least of all rounds counts, of seconds and of processor time, and the faster of the peers.  With
--ours other builds are called in turn too.  BENCH_JSON=FILE writes the rows."""
import argparse, json, os, subprocess

from rounds import Server

VGG = [(0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256), (17, 256, 512), (19, 512, 512),
       (21, 512, 512), (24, 512, 512), (26, 512, 512), (28, 512, 512)]
LIN = "models/features/lpips_lin.safetensors"


def weights(build, work):
    folder = build + "/bench"
    path, keys = "%s/%s.safetensors" % (folder, work), "tests/data/golden/metrics/keys_inception_pytorch_fid.tsv"
    os.makedirs(folder, exist_ok=True)
    if work == "vgg":
        keys = folder + "/vgg.tsv"
        with open(keys, "w") as f:
            for i, c, out in VGG:
                f.write("features.%d.weight\t%dx%dx3x3\nfeatures.%d.bias\t%d\n" % (i, out, c, i, out))
    if not os.path.exists(path):
        subprocess.check_call([build + "/tests/make_weights", keys, path])
    return [path] + [LIN] * (work == "vgg")


def measure(o, work, title):
    files = weights(o.build, work)
    tail = [str(o.batch), str(o.threads)]
    servers = [Server("ours", [b + "/tests/bench_metrics", work] + files + tail) for b in [o.build]]
    servers += [Server("ours of " + b, [b + "/tests/bench_metrics", work] + files + tail) for b in o.ours]
    if o.peer:
        for more in ([], ["--compile"]):
            servers.append(Server("PyTorch" + " compiled" * bool(more), [o.peer, "tests/peers/torch_metrics.py", work] + files + tail + more))
    values = [s.call(False)["value"] for s in servers]
    for s in servers:
        s.call(False)
    for _ in range(o.rounds):
        for s in servers:
            s.call()
    for s in servers:
        s.close()
    ours, rows = servers[0], []
    for s, value in zip(servers, values):
        row = {"work": title, "who": s.name, "seconds": s.least("seconds") / o.batch, "processor": s.least("processor") / o.batch,
               "peak": s.results[-1]["peak"] / 2**20, "off": abs(value / values[0] - 1)}
        row["ratio"] = row["seconds"] / (ours.least("seconds") / o.batch)
        row["processor_ratio"] = row["processor"] / (ours.least("processor") / o.batch)
        rows.append(row)
        print("%-40s %-18s %9.4f %9.4f %7.2f %7.2f %9.0f %10.1e" % (title, s.name, row["seconds"], row["processor"], row["ratio"],
                                                                   row["processor_ratio"], row["peak"], row["off"]), flush=True)
    if o.peer:
        peers = [r for r in rows if r["who"].startswith("PyTorch")]
        print("%-40s %.2f times as fast as PyTorch %s" % (title, min(r["ratio"] for r in peers), "(1.8 is the aim)"), flush=True)
    return rows


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--peer")
    p.add_argument("--rounds", type=int, default=10)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--work", default="")
    p.add_argument("--ours", nargs="*", default=[])
    o = p.parse_args()
    rows = []
    print("%-40s %-18s %9s %9s %7s %7s %9s %10s" % ("work, seconds an image", "who", "wall", "processor", "ratio", "ratio", "peak MiB", "values off"))
    for work, title in (("inception", "Inception features of 299 x 299"), ("vgg", "LPIPS of VGG16, 224 x 224, and gradient")):
        if o.work in work:
            rows += measure(o, work, title)
    if os.environ.get("BENCH_JSON"):
        with open(os.environ["BENCH_JSON"], "w") as f:
            json.dump({"batch": o.batch, "threads": o.threads, "rows": rows}, f, indent=1)


if __name__ == "__main__":
    main()
