#!/usr/bin/env python3
"""What editing is worth: MNIST test digits through three tasks, with a digit model and without one.

    edit_digits.py DATA [--model FILE] [--count 1000] [--steps 1,2,4,8,16] [--low X,...] [--top X,...]
                   [--task NAME,...] [--variations 4] [--page PREFIX]
    edit_digits.py DATA --bytes 0.1,0.2,0.5   root mean squares of denoising 8-bit pictures

inpaint: the lower half is missing; super_resolve: 8 x 8 (block means) to 32 x 32; denoise: noise of sigma 0.5.  For each:
mean squared error in [-1, 1] (inpaint: of the missing half), its minimum over 4 variations where results vary, FD-lenet
against the training set, and how many are still read as the right digit.  --low and --top: last and first noise level
of the steps, to compare schedules.  DATA holds mnist/, mnist_lenet.safetensors, mnist_lenet_train_stats.npz.  Needs numpy."""
import argparse, sys, time

import numpy as np

sys.path.insert(0, "bindings/python")
sys.path.insert(0, "tests")
import consistency as cm
from fd_digits import features, frechet, load


def test_digits(data, count):
    """count test digits, n x 1 x 32 x 32, and the mean of the training digits."""
    import gzip, os
    def idx(name, skip):
        path = data + "/mnist/" + name
        opener = gzip.open if os.path.exists(path + ".gz") else open
        with opener(path + ".gz" if opener is gzip.open else path, "rb") as f:
            return np.frombuffer(f.read(), np.uint8)[skip:]
    def images(name):
        x = idx(name, 16).reshape(-1, 28, 28)
        return np.pad(x, ((0, 0), (2, 2), (2, 2)))
    mean = images("train-images-idx3-ubyte").astype(np.float64).mean(0)
    x = images("t10k-images-idx3-ubyte")[:count]
    return (x[:, None] / np.float32(127.5) - 1).astype(np.float32), idx("t10k-labels-idx1-ubyte", 8)[:count].astype(int), mean / 127.5 - 1


def cubic(low, f):
    """Bicubic enlargement (a = -0.5), edges repeated."""
    n = low.shape[-1]
    m = np.zeros((n * f, n))
    for i in range(n * f):
        x = (i + 0.5) / f - 0.5
        for k in range(int(np.floor(x)) - 1, int(np.floor(x)) + 3):
            d = abs(x - k)
            w = ((1.5 * d - 2.5) * d * d + 1) if d < 1 else ((-0.5 * d + 2.5) * d - 4) * d + 2
            m[i, min(max(k, 0), n - 1)] += w
    return np.einsum("ij,nckj,lk->ncli", m, low, m)


def blur(x, s):
    r = int(3 * s) + 1
    k = np.exp(-np.arange(-r, r + 1) ** 2 / (2 * s * s))
    k /= k.sum()
    x = np.pad(x, ((0, 0), (0, 0), (r, r), (r, r)), mode="edge")
    x = sum(w * x[..., i:x.shape[-1] - 2 * r + i] for i, w in enumerate(k))
    return sum(w * x[..., i:x.shape[-2] - 2 * r + i, :] for i, w in enumerate(k))


class Judge:
    def __init__(self, data, truth, digits):
        self.lenet, self.stats = load(data + "/mnist_lenet.safetensors"), np.load(data + "/mnist_lenet_train_stats.npz")
        self.truth, self.digits = truth, digits

    def __call__(self, name, steps, images, region=slice(None), seconds=None):
        """images: n x V x 1 x 32 x 32; the first variation is judged."""
        images = np.clip(images, -1, 1)
        error = ((images - self.truth[:, None]) ** 2)[..., region, :].mean((2, 3, 4))
        u8 = np.clip(images[:, 0, 0, 2:30, 2:30] * np.float32(127.5) + 128, 0, 255).astype(np.uint8)
        f, read = features(self.lenet, u8)
        fd = frechet(f.mean(0), np.cov(f.T), self.stats["mu"], self.stats["sigma"])
        best = "%7.4f" % error.min(1).mean() if error.shape[1] > 1 else "      -"
        print("%-26s %5s  %7.4f  %s  %7.2f  %5.1f %%%s" % (name, steps, error[:, 0].mean(), best, fd,
              100 * (read == self.digits).mean(), "  %6.1f s" % seconds if seconds else ""), flush=True)


def bytes_table(truth, digits, sampler, levels):
    """Denoising pictures of bytes, whose noise was cut at 0 and 255: root mean squared errors in [-1, 1]."""
    rms = lambda x: float(np.sqrt(((np.asarray(x).reshape(truth.shape) - truth) ** 2).mean()))
    print("%-7s %7s %7s %7s %7s %7s   %s" % ("sigma", "before", "cut=0", "cut=1", "est.", "floats", "estimated: median, 10 to 90 %"))
    for sigma in levels:
        floats = truth + np.float32(sigma) * np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
        noisy = (np.rint((floats.clip(-1, 1) + 1) * 127.5) / 127.5 - 1).astype(np.float32)
        found = [cm.noise_level(x) for x in noisy]
        run = lambda x, s, cut: rms(sampler.denoise(x, s, cut=cut, labels=digits))
        print("%-7g %7.4f %7.4f %7.4f %7.4f %7.4f   %.3f, %.3f to %.3f" % (
              (sigma, rms(noisy), run(noisy, sigma, False), run(noisy, sigma, True), run(noisy, None, True), run(floats, sigma, False),
               np.median(found)) + tuple(np.quantile(found, (0.1, 0.9)))), flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("data")
    p.add_argument("--model", default="tests/data/models/digits_consistency.safetensors")
    p.add_argument("--count", type=int, default=1000)
    p.add_argument("--variations", type=int, default=4)
    p.add_argument("--steps", default="1,2,4,8,16")
    p.add_argument("--low", default="")
    p.add_argument("--top", default="")
    p.add_argument("--task", default="inpaint,super_resolve,denoise")
    p.add_argument("--page", help="a page of the first 12 digits of each task, PREFIX-task.png")
    p.add_argument("--bytes", default="", help="levels of noise on pictures of bytes; nothing else is done")
    o = p.parse_args()
    truth, digits, mean = test_digits(o.data, o.count)
    sampler = cm.Sampler(cm.Model.load(o.model), batch=64)
    if o.bytes:
        return bytes_table(truth, digits, sampler, [float(s) for s in o.bytes.split(",")])
    judge = Judge(o.data, truth, digits)
    mask = np.zeros((32, 32), np.float32)
    mask[16:] = 1
    low = truth.reshape(-1, 1, 8, 4, 8, 4).mean((3, 5))
    noisy = truth + np.float32(0.5) * np.random.default_rng(0).standard_normal(truth.shape).astype(np.float32)
    half = slice(16, 32)
    print("%-26s %5s  %7s  %7s  %7s  %s" % ("%d test digits" % o.count, "steps", "MSE", "best/%d" % o.variations, "FD", "read right"))
    judge("the digits themselves", "", truth[:, None])
    runs = {
        "inpaint": (half, [("mean of training digits", np.where(mask > 0, mean, truth)), ("black", np.where(mask > 0, -1, truth))],
                    lambda v, **k: sampler.inpaint(truth, mask, labels=digits, variations=v, **k)),
        "super_resolve": (slice(None), [("bicubic", cubic(low, 4)), ("pixels", low.repeat(4, 2).repeat(4, 3))],
                          lambda v, **k: sampler.super_resolve(low, labels=digits, variations=v, **k)),
        "denoise": (slice(None), [("as it is", noisy)] + [("gaussian blur %g" % s, blur(noisy, s)) for s in (0.6, 0.8, 1.0)],
                    lambda v, **k: sampler.denoise(noisy, 0.5, labels=digits, variations=v, **k)),
    }
    for task in o.task.split(","):
        region, baselines, run = runs[task]
        for name, images in baselines:
            judge("%s: %s" % (task, name), "", images[:, None].astype(np.float32), region)
        shown = [truth[:12], {"inpaint": np.where(mask > 0, 0, truth), "super_resolve": baselines[1][1], "denoise": noisy}[task][:12],
                 baselines[0][1][:12]]
        for last in o.low.split(","):
            for top in o.top.split(","):
                for steps in [int(s) for s in o.steps.split(",")]:
                    variations = 1 if task == "denoise" and steps == 1 else o.variations
                    times = dict([("sigma_min", float(last))] if last and steps > 1 else [])
                    times.update([("sigma_max", float(top))] if top and task != "denoise" else [])
                    began = time.time()
                    images = run(variations, steps=steps, **times).reshape(o.count, variations, 1, 32, 32)
                    name = task + (" to " + last if last else "") + (" from " + top if top else "")
                    judge(name, steps, images, region, time.time() - began)
                    shown.append(images[:12, 0])
        if o.page:
            cm.write_page("%s-%s.png" % (o.page, task), np.concatenate(shown).astype(np.float32).clip(-1, 1), columns=12, overwrite=True)


if __name__ == "__main__":
    main()
