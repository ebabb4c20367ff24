#!/usr/bin/env python3
"""Frechet distance of digits drawn by our samplers, in the feature space of the MNIST LeNet (FD-lenet).

    fd_digits.py DATA [--count 10000] [--seed 0] [--teacher N]      the peer's checkpoints in DATA: has our sampling
                                                                   the distances of PyTorch's?
    fd_digits.py DATA --model FILE [FILE ...] [--sigmas 80,0.821]   any digit models: one step, two steps; Heun 18
                                                                   for those that are no consistency models
    ... --precision bf16 [--tile 4]                                     in bfloat16, emulated where it has to be

DATA holds mnist_lenet.safetensors and mnist_lenet_train_stats.npz (and the peer's digits_*.safetensors).  Labels are i mod 10; images are clamped, rounded
to bytes, the middle 28 x 28 taken.  Needs numpy.  Reference (PyTorch's sampling of the same files): one step 29.6 and
29.8, two steps 18.5 and 18.0; the noise of 10,000 images is +-0.6."""
import argparse, json, struct, sys, time

import numpy as np

sys.path.insert(0, "bindings/python")
import consistency as cm


def load(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    header.pop("__metadata__", None)
    return {n: np.frombuffer(data[t["data_offsets"][0]:t["data_offsets"][1]], np.float32).reshape(t["shape"]) for n, t in header.items()}


def conv(x, w, b, pad):
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    v = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], axis=(2, 3))
    n, c, h, ww = v.shape[:4]
    v = v.transpose(0, 2, 3, 1, 4, 5).reshape(n * h * ww, -1)
    return (v @ w.reshape(w.shape[0], -1).T + b).reshape(n, h, ww, -1).transpose(0, 3, 1, 2)


def pool(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))


def features(t, u8):
    x = u8[:, None].astype(np.float32) / np.float32(127.5) - 1
    x = pool(np.maximum(conv(x, t["conv1.weight"], t["conv1.bias"], 2), 0))
    x = pool(np.maximum(conv(x, t["conv2.weight"], t["conv2.bias"], 0), 0)).reshape(len(x), -1)
    f = np.maximum(x @ t["fc1.weight"].T + t["fc1.bias"], 0)
    return f.astype(np.float64), (f @ t["fc2.weight"].T + t["fc2.bias"]).argmax(1)


def frechet(mu1, s1, mu2, s2):
    w, v = np.linalg.eigh(s1)
    root = (v * np.sqrt(np.maximum(w, 0))) @ v.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ s2 @ root), 0)).sum()
    return ((mu1 - mu2) ** 2).sum() + np.trace(s1) + np.trace(s2) - 2 * cross


def measure(lenet, stats, path, method, options, count, seed, arithmetic):
    """FD-lenet and the share classified as asked."""
    sampler = cm.Sampler(cm.Model.load(path), method, batch=64, **options, **arithmetic)
    labels, f, right = np.arange(count) % 10, [], 0
    for first in range(0, count, 1000):
        n = min(1000, count - first)
        x = sampler.sample(n, labels=labels[first:first + n], seed=seed, first_index=first)
        u8 = np.clip(x[:, 0, 2:30, 2:30] * np.float32(127.5) + 128, 0, 255).astype(np.uint8)
        feature, digit = features(lenet, u8)
        f.append(feature)
        right += (digit == labels[first:first + n]).sum()
    f = np.concatenate(f)
    return frechet(f.mean(0), np.cov(f.T), stats["mu"], stats["sigma"]), 100 * right / count


def main():
    p = argparse.ArgumentParser()
    p.add_argument("data")
    p.add_argument("--model", nargs="+", default=[])
    p.add_argument("--sigmas", default="80,0.821")
    p.add_argument("--count", type=int, default=10000)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--teacher", type=int, default=0, help="also that many by the peer's teacher, Heun 18")
    p.add_argument("--precision")
    p.add_argument("--tile", type=int, default=0)
    o = p.parse_args()
    arithmetic = {"precision": o.precision}
    if o.precision == "bf16":
        arithmetic["debug"] = "bf16_emulate=1,bf16_tile=%d" % o.tile
    lenet, stats = load(o.data + "/mnist_lenet.safetensors"), np.load(o.data + "/mnist_lenet_train_stats.npz")
    runs, bad = [], False
    two = {"sigmas": [float(s) for s in o.sigmas.split(",")]}
    for path in o.model:
        if cm.Model.load(path).is_consistency:
            runs += [(path, "onestep", {}, o.count, None), (path, "multistep", two, o.count, None)]
        else:
            runs.append((path, "heun", {"steps": 18, "clip_denoised": False}, o.count, None))
    if not o.model:
        path = o.data + "/digits_consistency.safetensors"
        runs = [(path, "onestep", {}, o.count, (29.6, 29.8)), (path, "multistep", two, o.count, (18.0, 18.5))]
        if o.teacher:
            runs.append((o.data + "/digits_teacher.safetensors", "heun", {"steps": 18, "clip_denoised": False}, o.teacher, (19.2, 19.2)))
    for path, method, options, count, expected in runs:
        began = time.time()
        fd, right = measure(lenet, stats, path, method, options, count, o.seed, arithmetic)
        known = " (reference %.1f to %.1f)" % expected if expected else ""
        bad |= bool(expected) and count == 10000 and not expected[0] - 0.6 <= fd <= expected[1] + 0.6
        print("%s %-9s n %d  FD-lenet %.2f%s  as asked %.1f %%  %.0f s" % (path, method, count, fd, known, right, time.time() - began), flush=True)
    sys.exit(bad)


if __name__ == "__main__":
    main()
