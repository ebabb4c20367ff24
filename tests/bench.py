#!/usr/bin/env python3
"""make bench: ours and PyTorch for the same files, in one run and in turn.

    bench.py BUILD [--peer PYTHON ...] [--rows WORD] [--rounds N] [--shares]

Ours is cm-sample --bench and tests/bench_train; each peer a Python with torch (tests/peers, eager and, from 2.x on,
compiled).  Ours and theirs alternate; the best of several runs counts on both sides, and the strongest peer is compared
with.  Before and after every measurement a yardstick (multiply-adds on two threads) runs; a measurement beside one slower
than 80 % of the fastest so far is thrown away and made again, three times at most.  Rows of memory compare peaks of the
processes.  BENCH_JSON=FILE writes {"rows": [{"work", "ours", "peer", "ratio", "target", "yardstick"}]}.

--shares prints where an evaluation's time goes, by kind of op."""
import argparse, json, os, re, subprocess, sys, time

p = argparse.ArgumentParser()
p.add_argument("build")
p.add_argument("--peer", nargs="*", default=[])
p.add_argument("--rows", default="")
p.add_argument("--rounds", type=int, default=2)
p.add_argument("--shares", action="store_true")
o = p.parse_args()

CIFAR = {"type": "songunet", "img_resolution": 32, "img_channels": 3, "channel_mult": [2, 2, 2], "dropout": 0.13}
SMALL = {"type": "songunet", "img_resolution": 32, "img_channels": 3, "model_channels": 32, "num_blocks": 2,
         "channel_mult": [1, 2, 2], "attn_resolutions": [16]}
ADM = {"type": "adm", "image_size": 64, "in_channels": 3, "model_channels": 192, "out_channels": 3, "num_res_blocks": 3,
       "attention_resolutions": [2, 4, 8], "channel_mult": [1, 2, 3, 4], "num_classes": 1000, "num_head_channels": 64,
       "use_scale_shift_norm": True, "resblock_updown": True}
NETWORKS = {"cifar": (CIFAR, 32), "small": (SMALL, 32), "adm": (ADM, 64)}
DIGITS = "tests/data/models/digits_teacher.safetensors"
# work, network, batch, threads, reach; each call draws one batch; bf16 rows where the processor has the instructions
INFERENCE = [("CIFAR-10 DDPM++ f32, batch 1", "cifar", 1, 2, 2.2), ("CIFAR-10 DDPM++ f32, batch 8", "cifar", 8, 2, 2.7),
             ("CIFAR-10 DDPM++ f32, batch 64", "cifar", 64, 2, 2.4), ("ImageNet-64 ADM f32, batch 1", "adm", 1, 2, 2.4),
             ("ImageNet-64 ADM f32, batch 8", "adm", 8, 2, 2.2),
             ("small 32-base net f32, batch 8, 1 thread", "small", 8, 1, 3),
             ("CIFAR-10 DDPM++ bf16, batch 1", "cifar", 1, 2, 2.4), ("CIFAR-10 DDPM++ bf16, batch 8", "cifar", 8, 2, 2.3),
             ("CIFAR-10 DDPM++ bf16, batch 64", "cifar", 64, 2, 2.1), ("ImageNet-64 ADM bf16, batch 1", "adm", 1, 2, 2.2),
             ("ImageNet-64 ADM bf16, batch 8", "adm", 8, 2, 1.8)]
# work, network, batch, steps, reach; seconds a step; neither side with dropout unless the row says so
TRAINING = [("training CIFAR-10 DDPM++ f32, batch 32", "cifar", 32, 4, 2.6), ("training CIFAR-10 DDPM++ bf16, batch 32", "cifar", 32, 4, 1.7),
            ("training small 32-base f32, batch 32", "small", 32, 12, 3),
            ("training small 32-base f32, batch 32, dropout 0.1", "small", 32, 12, 3),
            ("training CIFAR-10 DDPM++ f32, batch 16", "cifar", 16, 2, 1), ("training digits net f32, batch 128", DIGITS, 128, 4, 1)]

best_yardstick = 1e9


def yardstick():
    return float(subprocess.check_output([o.build + "/tests/yardstick", "2"], text=True))


def steady(measure):
    """The result of measure() and the yardstick beside it, when the machine was as fast as it can be."""
    global best_yardstick
    for _ in range(3):
        before = yardstick()
        result = measure()
        around = max(before, yardstick())
        best_yardstick = min(best_yardstick, before, around)
        if around * 0.8 <= best_yardstick:
            return result, around
        print("   thrown away: the yardstick took %.3f s, at best %.3f" % (around, best_yardstick), file=sys.stderr)
        time.sleep(5)
    return None, around


def model(name):
    if name not in NETWORKS:
        return name
    path = "%s/bench/%s.safetensors" % (o.build, name)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        network, side = NETWORKS[name]
        subprocess.check_call([o.build + "/tests/make_model", json.dumps(network), '{"type": "edm"}', str(side), str(side), path])
    return path


def run_json(command, environment=None):
    run = subprocess.run(command, env=environment, text=True, capture_output=True)
    if run.returncode:
        print("   %s failed: %s" % (" ".join(command), run.stderr.strip().splitlines()[-1:]), file=sys.stderr)
        return None
    return json.loads(run.stdout.strip().splitlines()[-1])


def ours_infers(path, batch, threads, *more):
    return run_json([o.build + "/bin/cm-sample", "--bench", "--batch", str(batch), "--threads", str(threads), "--method", "onestep",
                     "-n", str(batch), path, "--json", *more])


def ours_trains(path, batch, steps, *more):
    return run_json([o.build + "/tests/bench_train", path, str(batch), "2", str(steps), *more])


HAS_BF16 = "with bfloat16" in subprocess.check_output([o.build + "/bin/cm-sample", "--version"], text=True)


def wanted(work):
    if o.rows not in work:
        return False
    if "bf16" in work and not HAS_BF16:
        print("%-46s not run: this processor has no bfloat16 instructions" % work, flush=True)
        return False
    return True


VERSIONS = {}


def peer_forms():
    """(python, extra arguments): every peer eager, and compiled where it can."""
    for python in o.peer:
        if python not in VERSIONS:
            VERSIONS[python] = subprocess.check_output([python, "-c", "import torch; print(torch.__version__)"], text=True).strip()
        yield python, []
        if not VERSIONS[python].startswith("1."):
            yield python, ["--compile"]


def theirs(script, python, path, arguments):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OPENBLAS_") and k != "OMP_WAIT_POLICY"}
    return run_json([python, "tests/peers/" + script, path] + [str(a) for a in arguments], environment)


rows = []


def table(work, ours, peer, target, beside, note, better="less"):
    ratio = peer / ours if peer and ours else None
    rows.append({"work": work, "ours": ours, "peer": peer, "ratio": ratio, "target": target, "yardstick": beside})
    show = lambda v: "%.4g" % v if v else "-"
    print("%-46s %10s %10s %7s %6s   %s" % (work, show(ours), show(peer), "%.2f" % ratio if ratio else "-", show(target), note), flush=True)


def compare(work, ours, script, path, arguments, key, target):
    """Rounds of ours, then each peer; the best of each.  Returns the best result of ours and of the strongest peer."""
    mine, peers, beside = [], [], 0
    for _ in range(o.rounds):
        result, y = steady(ours)
        beside = max(beside, y)
        mine += [result] if result else []
        for python, more in peer_forms():
            result, y = steady(lambda: theirs(script, python, path, arguments + more))
            if result:
                peers.append(dict(result, who="torch %s%s" % (result["torch"], " compiled" if more else "")))
    if not mine:
        print("%-46s no steady run" % work)
        return None, None
    ours_key = "seconds_per_image" if key == "seconds_per_image" else "seconds"
    best = min(mine, key=lambda r: r[ours_key])
    peer = min(peers, key=lambda r: r[key]) if peers else None
    note = peer["who"] if peer else "no peer was run"
    if "plan_seconds" in best:
        note += "; plan %.2f s" % best["plan_seconds"]
    note += "; peak MiB %.0f / %s" % (best["peak_bytes"] / 2**20, "%.0f" % (peer["peak_bytes"] / 2**20) if peer else "-")
    table(work, best[ours_key], peer and peer[key], target, beside, note)
    return best, peer


print("%-46s %10s %10s %7s %6s   %s" % ("work", "ours", "peer", "ratio", "reach", "strongest peer"))
for work, name, batch, threads, target in INFERENCE:
    if not wanted(work):
        continue
    path, bf16 = model(name), "bf16" in work
    best, peer = compare(work + ", s/image", lambda: ours_infers(path, batch, threads, *["--dtype", "bf16"][:2 * bf16]),
                         "torch_net.py", path, ["--batch", batch, "--threads", threads, *["--bf16"][:bf16]], "seconds_per_image", target)
    if best and name == "cifar" and batch == 64 and not bf16:
        lean = ours_infers(path, batch, threads, "--memory", "small")
        table("  the same, peak MiB, fast", best["peak_bytes"] / 2**20, peer and peer["peak_bytes"] / 2**20, 2, None, "of the strongest peer")
        table("  the same, peak MiB, --memory small", lean["peak_bytes"] / 2**20, peer and peer["peak_bytes"] / 2**20, 3, None,
              "%.4f s/image" % lean["seconds_per_image"])
for work, name, batch, steps, target in TRAINING:
    if not wanted(work):
        continue
    path, bf16, dropout = model(name), "bf16" in work, work.partition("dropout ")[2] or "0"
    best, peer = compare(work + ", s/step", lambda: ours_trains(path, batch, steps, "0", ["f32", "bf16"][bf16], dropout), "torch_train.py",
                         path, ["--batch", batch, "--threads", 2, "--steps", steps, "--dropout", dropout, *["--bf16"][:bf16]], "seconds", target)
    if best and name == "cifar" and batch == 32 and not bf16:
        table("  the same, peak MiB", best["peak_bytes"] / 2**20, peer and peer["peak_bytes"] / 2**20, 2, None, "of the strongest peer")


def start_up():
    before = time.perf_counter()
    subprocess.check_call([o.build + "/bin/cm-sample", model("cifar"), "-n", "1", "--batch", "1", "--method", "onestep", "--quiet", "--force",
                           "-o", o.build + "/bench/first.png"], stdout=subprocess.DEVNULL)
    return time.perf_counter() - before


if o.rows in "program start to first image":
    times = [t for t in (steady(start_up)[0] for _ in range(5)) if t]
    if times:
        table("program start to first image, CIFAR-10, s", min(times), None, 0.5, None, "reach: at most; no peer")
if o.rows in "two samplers":
    for name in ("small", "cifar"):
        results = [r for r in (steady(lambda: run_json([o.build + "/tests/two_samplers", model(name)]))[0] for _ in range(3)) if r]
        if results:
            best = max(results, key=lambda r: r["ratio"])
            table("two samplers in two threads, %s, over one" % name, best["ratio"], None, 1.9, None, "reach: at least; no peer")
if o.shares:
    KINDS = [("conv 3x3", "winograd|brgconv:|amx 3x3|few outputs"), ("conv 1x1", "1x1"), ("norm", "^groupnorm"), ("attention", "^attention"),
             ("copies", "^(concat|add|fir|scale|mix)"), ("rest", "")]
    print("\nshares of the time of one thread, %: " + ", ".join(k for k, _ in KINDS))
    for name, slice_, mode in (("cifar", 8, ""), ("cifar", 1, ""), ("small", 8, ""), ("adm", 4, ""), ("cifar", 4, "train"), ("small", 4, "train"),
                               *(("cifar", 4, "bf16"), ("adm", 4, "bf16"), ("cifar", 4, "bf16 train"))[:3 * HAS_BF16]):
        text = subprocess.check_output([o.build + "/tests/op_times", model(name), str(slice_)] + mode.split(), text=True)
        shares = dict.fromkeys((k for k, _ in KINDS), 0.0)
        for op, share in re.findall(r"^(.*?) +[\d.]+ s +([\d.]+) %$", text, re.M):
            shares[next(k for k, pattern in KINDS if re.search(pattern, op))] += float(share)
        print("%-24s %s" % ("%s, slice %d %s" % (name, slice_, mode), "  ".join("%5.1f" % v for v in shares.values())))
if os.environ.get("BENCH_JSON"):
    with open(os.environ["BENCH_JSON"], "w") as f:
        json.dump({"rows": rows}, f, indent=1)
