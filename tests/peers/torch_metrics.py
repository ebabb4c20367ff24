#!/usr/bin/env python3
"""The peer of `make bench-metrics`: Inception features and the gradient of VGG16's LPIPS, of PyTorch's own functions.

    torch_metrics.py inception WEIGHTS BATCH THREADS [--compile]
    torch_metrics.py vgg WEIGHTS LIN BATCH THREADS [--compile]

The protocol and the images are those of tests/bench_metrics.c.  Channels-last; normalisation by batch is folded into the
convolutions, and a compiled network of features has its weights frozen."""
import json, os, resource, struct, sys, time

# Freed blocks stay with the process: PyTorch's temporaries are several times dearer otherwise.
if os.environ.get("MALLOC_TRIM_THRESHOLD_") is None:
    os.environ.update(MALLOC_TRIM_THRESHOLD_="100000000000", MALLOC_MMAP_THRESHOLD_="100000000000", MALLOC_TOP_PAD_="1000000000")
    os.execv(sys.executable, [sys.executable] + sys.argv)

import numpy as np
import torch
import torch.nn.functional as F


def load(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    header.pop("__metadata__", None)
    return {name: torch.from_numpy(np.frombuffer(data, np.float32, (t["data_offsets"][1] - t["data_offsets"][0]) // 4, t["data_offsets"][0])
                                   .reshape(t["shape"]).copy()) for name, t in header.items()}


class Conv(torch.nn.Module):
    """Convolution and ReLU."""

    def __init__(self, weight, bias, stride=1, pad=0):
        super().__init__()
        out, c, *kernel = weight.shape
        self.conv = torch.nn.Conv2d(c, out, kernel, stride, pad)
        self.conv.weight.data, self.conv.bias.data = weight, bias

    def forward(self, x):
        return F.relu(self.conv(x))


class Inception(torch.nn.Module):
    def __init__(self, tensors):
        super().__init__()
        self.t, self.layers = tensors, torch.nn.ModuleDict()
        self.add("Conv2d_1a_3x3", 2), self.add("Conv2d_2a_3x3"), self.add("Conv2d_2b_3x3", 1, 1)
        self.add("Conv2d_3b_1x1"), self.add("Conv2d_4a_3x3")
        for block in {name.split(".")[0] for name in tensors if name.startswith("Mixed")}:
            for branch in {name.split(".")[1] for name in tensors if name.startswith(block + ".")}:
                halves = (block, branch) in (("Mixed_6a", "branch3x3"), ("Mixed_6a", "branch3x3dbl_3"), ("Mixed_7a", "branch3x3_2"),
                                             ("Mixed_7a", "branch7x7x3_4"))
                k = tensors["%s.%s.conv.weight" % (block, branch)].shape[2:]
                self.add("%s.%s" % (block, branch), 2 if halves else 1, (0, 0) if halves else (k[0] // 2, k[1] // 2))
        del self.t

    def add(self, name, stride=1, pad=0):
        w, norm = self.t[name + ".conv.weight"], {m: self.t["%s.bn.%s" % (name, m)].double() for m in ("weight", "bias", "running_mean", "running_var")}
        scale = norm["weight"] / (norm["running_var"] + 1e-3).sqrt()
        self.layers[name.replace(".", "/")] = Conv((w.double() * scale[:, None, None, None]).float(), (norm["bias"] - norm["running_mean"] * scale).float(), stride, pad)

    def run(self, x, block, *names):
        for name in names:
            x = self.layers[block + "/" + name if block else name](x)
        return x

    def a(self, x, b):
        pool = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat([self.run(x, b, "branch1x1"), self.run(x, b, "branch5x5_1", "branch5x5_2"),
                          self.run(x, b, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"), self.run(pool, b, "branch_pool")], 1)

    def c(self, x, b):
        pool = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.cat([self.run(x, b, "branch1x1"), self.run(x, b, "branch7x7_1", "branch7x7_2", "branch7x7_3"),
                          self.run(x, b, *["branch7x7dbl_%d" % i for i in range(1, 6)]), self.run(pool, b, "branch_pool")], 1)

    def e(self, x, b, mean):
        pool = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False) if mean else F.max_pool2d(x, 3, 1, 1)
        three, twice = self.run(x, b, "branch3x3_1"), self.run(x, b, "branch3x3dbl_1", "branch3x3dbl_2")
        return torch.cat([self.run(x, b, "branch1x1"), self.run(three, b, "branch3x3_2a"), self.run(three, b, "branch3x3_2b"),
                          self.run(twice, b, "branch3x3dbl_3a"), self.run(twice, b, "branch3x3dbl_3b"), self.run(pool, b, "branch_pool")], 1)

    def forward(self, x):
        x = F.max_pool2d(self.run(x, "", "Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3"), 3, 2)
        x = F.max_pool2d(self.run(x, "", "Conv2d_3b_1x1", "Conv2d_4a_3x3"), 3, 2)
        for b in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
            x = self.a(x, b)
        x = torch.cat([self.run(x, "Mixed_6a", "branch3x3"), self.run(x, "Mixed_6a", "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
                       F.max_pool2d(x, 3, 2)], 1)
        for b in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
            x = self.c(x, b)
        x = torch.cat([self.run(x, "Mixed_7a", "branch3x3_1", "branch3x3_2"), self.run(x, "Mixed_7a", *["branch7x7x3_%d" % i for i in range(1, 5)]),
                       F.max_pool2d(x, 3, 2)], 1)
        return self.e(self.e(x, "Mixed_7b", True), "Mixed_7c", False).mean((2, 3))


class Lpips(torch.nn.Module):
    def __init__(self, tensors, lin):
        super().__init__()
        layers = [int(name.split(".")[1]) for name in tensors if name.endswith(".weight")]
        self.names = sorted(layers)
        self.convs = torch.nn.ModuleList(Conv(tensors["features.%d.weight" % i], tensors["features.%d.bias" % i], 1, 1) for i in self.names)
        self.lin = torch.nn.ParameterList(lin["vgg.lin%d.model.1.weight" % i] for i in range(5))
        self.register_buffer("shift", torch.tensor([-.030, -.088, -.188])[None, :, None, None])
        self.register_buffer("scale", torch.tensor([.458, .448, .450])[None, :, None, None])

    def features(self, x):
        taps, x = [], (x - self.shift) / self.scale
        for i, conv in zip(self.names, self.convs):
            if i in (5, 10, 17, 24):
                x = F.max_pool2d(x, 2, 2)
            x = conv(x)
            if i in (2, 7, 14, 21, 28):
                taps.append(x)
        return taps

    def forward(self, x, y):
        """The images one after the other: the second needs no gradient."""
        with torch.no_grad():
            other = self.features(y)
        total = 0
        for f, g, w in zip(self.features(x), other, self.lin):
            f = f / (f.square().sum(1, keepdim=True).sqrt() + 1e-10)
            g = g / (g.square().sum(1, keepdim=True).sqrt() + 1e-10)
            total = total + F.conv2d((f - g).square(), w).mean((1, 2, 3))
        return total


def byte_of(i):
    return (((i.astype(np.uint64) * 2654435761) & 0xffffffff) >> 24).astype(np.uint8)


def images(batch, side, first=0, points=False):
    i = np.arange(batch * 3 * side * side, dtype=np.uint64)
    bytes_ = torch.from_numpy(byte_of(i + first))
    if points:
        return bytes_.reshape(batch, side, side, 3).permute(0, 3, 1, 2)
    return bytes_.reshape(batch, 3, side, side).contiguous(memory_format=torch.channels_last)


def main():
    compiled, arguments = "--compile" in sys.argv, [a for a in sys.argv[1:] if a != "--compile"]
    work, batch, threads = arguments[0], int(arguments[-2]), int(arguments[-1])
    torch.set_num_threads(threads)
    if work == "inception":
        net = Inception(load(arguments[1])).eval().to(memory_format=torch.channels_last)
        x = images(batch, 299, points=True)
        if compiled:
            from torch._inductor import config
            config.freezing = True
        run = torch.compile(net) if compiled else net

        def call():
            with torch.no_grad():
                return run(2 * (x.float() / 255) - 1)[0].double().sum().item()
    else:
        net = Lpips(load(arguments[1]), load(arguments[2])).to(memory_format=torch.channels_last).requires_grad_(False)
        a, b = (images(batch, 224, first).float() / 127.5 - 1 for first in (0, 12345))
        run = torch.compile(net) if compiled else net

        def call():
            x = a.detach().clone(memory_format=torch.channels_last).requires_grad_(True)
            run(x, b).sum().backward()
            return x.grad[0].double().abs().sum().item()
    for _ in sys.stdin:
        wall, own = time.perf_counter(), time.process_time()
        value = call()
        print(json.dumps({"seconds": time.perf_counter() - wall, "processor": time.process_time() - own, "torch": torch.__version__,
                          "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "value": value}), flush=True)


main()
