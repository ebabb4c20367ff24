#!/usr/bin/env python3
"""FD-resnet56 of a model of 32 x 32 colour pictures, against the 50,000 training pictures.

    fd_cifar.py DATA --model FILE [FILE ...] [--count 10000] [--sigmas 80,0.821] [--seed 0] [--heun N]
    fd_cifar.py DATA --check          does the feature network give the known numbers (every 5th test picture: 0.0555)?

One and two steps of consistency models, Heun 18 of others.  Labels are i mod 10; images are clamped and rounded to
bytes.  As asked: the share that the classifier reads as the class asked for (83.2 % on real test pictures).  DATA holds
cifar10_resnet56.safetensors, its statistics, and for --check cifar10_test.tar.  Needs numpy."""
import argparse, sys, time

import numpy as np

sys.path.insert(0, "bindings/python")
sys.path.insert(0, "tests")
import consistency as cm
from fd_digits import frechet, load


def conv(x, w, stride):
    """3 x 3, padding 1; x is n x H x W x C, w as stored."""
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    h, wd = (x.shape[1] - 3) // stride + 1, (x.shape[2] - 3) // stride + 1
    columns = np.concatenate([x[:, i:i + stride * h:stride, j:j + stride * wd:stride] for i in range(3) for j in range(3)], 3)
    return columns.reshape(-1, columns.shape[3]) @ w.transpose(2, 3, 1, 0).reshape(-1, w.shape[0]), (len(x), h, wd, w.shape[0])


class Resnet:
    def __init__(self, path):
        self.t = load(path)
        self.blocks = 1 + max(int(n.split(".")[1]) for n in self.t if n.startswith("layer1."))

    def conv_bn(self, x, conv_name, bn, stride=1):
        t = self.t
        y, shape = conv(x, t[conv_name + ".weight"], stride)
        k = t[bn + ".weight"] / np.sqrt(t[bn + ".running_var"] + np.float32(1e-5))
        return (y * k + (t[bn + ".bias"] - t[bn + ".running_mean"] * k)).reshape(shape)

    def __call__(self, u8):
        """n x H x W x 3 bytes to features and classes."""
        x = (u8.astype(np.float32) / 255 - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
        x = np.maximum(self.conv_bn(x, "conv1", "bn1"), 0)
        for a in (1, 2, 3):
            for b in range(self.blocks):
                name, stride = "layer%d.%d" % (a, b), 2 if a > 1 and b == 0 else 1
                h = np.maximum(self.conv_bn(x, name + ".conv1", name + ".bn1", stride), 0)
                h = self.conv_bn(h, name + ".conv2", name + ".bn2")
                if stride == 2:
                    x = np.pad(x[:, ::2, ::2], ((0, 0), (0, 0), (0, 0), (h.shape[3] // 4, h.shape[3] // 4)))
                x = np.maximum(h + x, 0)
        f = x.mean((1, 2))
        return f, (f @ self.t["linear.weight"].T + self.t["linear.bias"]).argmax(1)


def distance(net, stats, batches):
    """FD and the share read as labelled; batches of (bytes, labels)."""
    f, right = [], 0
    for u8, labels in batches:
        feature, read = net(u8)
        f.append(feature.astype(np.float64))
        right += (read == labels).sum()
    f = np.concatenate(f)
    return frechet(f.mean(0), np.cov(f.T), stats["mu"], stats["sigma"]), 100 * right / len(f)


def to_bytes(x):
    return np.clip(x * np.float32(127.5) + 128, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def drawn(model, method, options, count, seed):
    sampler = cm.Sampler(model, method, batch=32, **options)
    for first in range(0, count, 250):
        labels = np.arange(first, min(first + 250, count)) % 10
        yield to_bytes(sampler.sample(len(labels), labels=labels if model.num_classes else None, seed=seed, first_index=first)), labels


def main():
    p = argparse.ArgumentParser()
    p.add_argument("data")
    p.add_argument("--model", nargs="+", default=[])
    p.add_argument("--count", type=int, default=10000)
    p.add_argument("--sigmas", default="80,0.821")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--heun", type=int, default=18)
    p.add_argument("--check", action="store_true")
    o = p.parse_args()
    net, stats = Resnet(o.data + "/cifar10_resnet56.safetensors"), np.load(o.data + "/cifar10_resnet56_train_stats.npz")
    if o.check:
        d = cm.Dataset(o.data + "/cifar10_test.tar", shuffle=False)
        x, labels = d.read(0, 10000)
        x, labels = np.asarray(x)[::5], np.asarray(labels)[::5]
        fd, right = distance(net, stats, [(to_bytes(x[i:i + 250]), labels[i:i + 250]) for i in range(0, 2000, 250)])
        print("every 5th test picture: FD-resnet56 %.4f (0.0555), read right %.1f %%" % (fd, right))
        sys.exit(not abs(fd - 0.0555) < 5e-4)
    for path in o.model:
        model = cm.Model.load(path)
        two = {"sigmas": [float(s) for s in o.sigmas.split(",")]}
        runs = [("onestep", {}), ("multistep", two)] if model.is_consistency else [("heun", {"steps": o.heun, "clip_denoised": False})]
        for method, options in runs:
            began = time.time()
            fd, right = distance(net, stats, drawn(model, method, options, o.count, o.seed))
            print("%s %-9s n %d  FD-resnet56 %.2f  as asked %.1f %%  %.0f s" % (path, method, o.count, fd, right, time.time() - began), flush=True)


if __name__ == "__main__":
    main()
