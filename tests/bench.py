#!/usr/bin/env python3
"""make bench: seconds per image of ours and of PyTorch for the same files, in one run and in turn.

    bench.py BUILD [--peer PYTHON ...] [--rows WORD]

Ours is cm-sample --bench; each peer a Python with torch (tests/peers/torch_songunet.py, eager and compiled).  The best
of several runs counts on both sides, ours and theirs alternate, and the strongest peer is compared with.  BENCH_JSON=FILE writes
{"rows": [{"work", "ours", "peer", "ratio", "target", "yardstick"}]}."""
import argparse, json, os, subprocess, sys

p = argparse.ArgumentParser()
p.add_argument("build")
p.add_argument("--peer", nargs="*", default=[])
p.add_argument("--rows", default="")
o = p.parse_args()

CIFAR = {"type": "songunet", "img_resolution": 32, "img_channels": 3, "channel_mult": [2, 2, 2], "dropout": 0.13}
SMALL = {"type": "songunet", "img_resolution": 32, "img_channels": 3, "model_channels": 32, "num_blocks": 2, "channel_mult": [1, 2, 2], "attn_resolutions": [16]}
ADM = {"type": "adm", "image_size": 64, "in_channels": 3, "model_channels": 192, "out_channels": 3, "num_res_blocks": 3, "attention_resolutions": [2, 4, 8],
       "channel_mult": [1, 2, 3, 4], "num_classes": 1000, "num_head_channels": 64, "use_scale_shift_norm": True, "resblock_updown": True}
ROWS = [("CIFAR-10 DDPM++ f32, batch 1", "cifar", CIFAR, 32, 1, 2, 6, 1.0), ("CIFAR-10 DDPM++ f32, batch 8", "cifar", CIFAR, 32, 8, 2, 16, 1.0),
        ("CIFAR-10 DDPM++ f32, batch 64", "cifar", CIFAR, 32, 64, 2, 64, 1.0), ("small 32-base net f32, batch 8, 1 thread", "small", SMALL, 32, 8, 1, 64, 1.0),
        ("ImageNet-64 ADM f32, batch 1", "adm", ADM, 64, 1, 2, 3, None)]


def model(name, network, side):
    path = "%s/bench/%s.safetensors" % (o.build, name)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        subprocess.check_call([o.build + "/tests/make_model", json.dumps(network), '{"type": "edm"}', str(side), str(side), path])
    return path


def ours(path, batch, threads, count):
    text = subprocess.check_output([o.build + "/bin/cm-sample", "--bench", "--batch", str(batch), "--threads", str(threads), "--method", "onestep",
                                    "-n", str(count), path, "--json"], text=True)
    return json.loads(text)


def theirs(python, path, batch, threads, compiled):
    command = [python, "tests/peers/torch_songunet.py", path, "--batch", str(batch), "--threads", str(threads)] + (["--compile"] if compiled else [])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_") and k != "OMP_WAIT_POLICY"}
    run = subprocess.run(command, env=environment, text=True, capture_output=True)
    if run.returncode:
        print("   peer %s failed: %s" % (" ".join(command), run.stderr.strip().splitlines()[-1:]), file=sys.stderr)
        return None
    row = json.loads(run.stdout.strip().splitlines()[-1])
    return row["seconds_per_image"], "torch %s%s" % (row["torch"], " compiled" if compiled else "")


rows = []
print("%-44s %10s %10s %7s %6s   %s" % ("work", "ours s", "peer s", "ratio", "reach", "strongest peer; plan s, peak MiB"))
for work, name, network, side, batch, threads, count, target in ROWS:
    if o.rows not in work:
        continue
    path = model(name, network, side)
    results, peers = [], []
    for compiled in (False, True):
        results.append(ours(path, batch, threads, count))
        for python in o.peer if network["type"] == "songunet" else []:
            if compiled and "1.13" in subprocess.check_output([python, "-c", "import torch; print(torch.__version__)"], text=True):
                continue
            result = theirs(python, path, batch, threads, compiled)
            if result:
                peers.append(result)
        results.append(ours(path, batch, threads, count))
    best = min(results, key=lambda r: r["seconds_per_image"])
    peer = min(peers) if peers else (None, "no peer was run")
    ratio = peer[0] / best["seconds_per_image"] if peer[0] else None
    rows.append({"work": work, "ours": best["seconds_per_image"], "peer": peer[0], "ratio": ratio, "target": target, "yardstick": best["yardstick_seconds"]})
    print("%-44s %10.4f %10s %7s %6s   %s; %.2f, %.0f" % (work, best["seconds_per_image"], "%.4f" % peer[0] if peer[0] else "-", "%.2f" % ratio if ratio else "-",
          target or "-", peer[1], best["plan_seconds"], best["peak_bytes"] / 2**20), flush=True)

# A training step: EDM loss, backward, RAdam.
TRAINING = [("training CIFAR-10 DDPM++ f32, batch 16, s/step", "cifar", CIFAR, 16, 2, 1.0),
            ("training digits net f32, batch 128, s/step", None, "models/digits_teacher.safetensors", 128, 4, 1.0)]


def train_theirs(python, path, batch, steps, compiled):
    command = [python, "tests/peers/torch_train.py", path, "--batch", str(batch), "--threads", "2", "--steps", str(steps)] + (["--compile"] if compiled else [])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_") and k != "OMP_WAIT_POLICY"}
    run = subprocess.run(command, env=environment, text=True, capture_output=True)
    if run.returncode:
        print("   peer %s failed: %s" % (" ".join(command), run.stderr.strip().splitlines()[-1:]), file=sys.stderr)
        return None
    row = json.loads(run.stdout.strip().splitlines()[-1])
    return row["seconds"], "torch %s%s, peak %.0f MiB" % (row["torch"], " compiled" if compiled else "", row["peak_bytes"] / 2**20)


for work, name, network, batch, steps, target in TRAINING:
    if o.rows not in work:
        continue
    path = model(name, network, 32) if name else network
    results, peers = [], []
    for compiled in (False, True):
        results.append(json.loads(subprocess.check_output([o.build + "/tests/bench_train", path, str(batch), "2", str(steps)], text=True)))
        for python in o.peer:
            result = train_theirs(python, path, batch, steps, compiled)
            if result:
                peers.append(result)
        results.append(json.loads(subprocess.check_output([o.build + "/tests/bench_train", path, str(batch), "2", str(steps)], text=True)))
    best = min(results, key=lambda r: r["seconds"])
    peer = min(peers) if peers else (None, "no peer was run")
    ratio = peer[0] / best["seconds"] if peer[0] else None
    rows.append({"work": work, "ours": best["seconds"], "peer": peer[0], "ratio": ratio, "target": target, "yardstick": None})
    print("%-44s %10.4f %10s %7s %6s   %s; ours peak %.0f MiB" % (work, best["seconds"], "%.4f" % peer[0] if peer[0] else "-",
          "%.2f" % ratio if ratio else "-", target, peer[1], best["peak_bytes"] / 2**20), flush=True)
if os.environ.get("BENCH_JSON"):
    with open(os.environ["BENCH_JSON"], "w") as f:
        json.dump({"rows": rows}, f, indent=1)
