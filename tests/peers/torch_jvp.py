#!/usr/bin/env python3
"""The peer of `make bench-jvp`: for each line that it is given it does its work once and prints a JSON object of seconds
by the clock and of the processor and the peak memory of the process.

    torch_jvp.py MODEL.safetensors --work WORK [--way func|dual] [--batch N] [--threads N] [--dropout P]

WORK is value: D(x; sigma); both: D and its derivative in a direction, by torch.func.jvp (func) or by forward AD with dual
numbers (dual); edm, sct, meanflow: a training step of that objective with RAdam (meanflow: Adam), in which the value that
learns and the derivative, which is without gradient, are of one pass (--two: of two passes, the derivative's without
gradient, as the library has it).  The network is that of torch_net.py, channels-last; with derivatives attention is softmax
by products, since PyTorch's own kernel has none in the forward direction."""
import argparse, json, math, resource, sys, time

import torch_net
import torch
import torch.nn.functional as F
import torch.autograd.forward_ad as fwad


def attend(q, k, v):
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1) @ v


def derivative(f, at, along, way):
    """f and its derivative at `at` in the direction `along`."""
    if way == "func":
        return torch.func.jvp(f, at, along)
    with fwad.dual_level():
        return fwad.unpack_dual(f(*(fwad.make_dual(x, t) for x, t in zip(at, along))))


def wide(t):
    return t[:, None, None, None]


class Work:
    def __init__(self, o):
        self.o = o
        config, tensors = torch_net.load(o.model)
        self.net = torch_net.Net(config, tensors)
        self.shape = (o.batch, config["img_channels"], config["img_resolution"], config["img_resolution"])
        if o.work != "value" and o.work != "edm":
            torch_net.attend = attend
        if o.work in ("value", "both"):
            self.net.eval()
            self.x, self.dx = self.random(torch.randn), self.random(torch.randn)
            return
        self.net.dropout = o.dropout
        for w in self.net.parameters():
            w.requires_grad_(True)
        kind = torch.optim.Adam if o.work == "meanflow" else torch.optim.RAdam
        self.optim = kind(self.net.parameters(), lr=1e-4)
        self.x0 = self.random(torch.rand) * 2 - 1

    def random(self, draw):
        return draw(*self.shape).to(memory_format=torch.channels_last)

    def value(self):
        with torch.no_grad():
            return torch_net.denoise(self.net, self.x, torch.full((self.o.batch,), 2.0))

    def both(self):
        b = self.o.batch
        with torch.no_grad():
            return derivative(lambda x, s: torch_net.denoise(self.net, x, s), (self.x, torch.full((b,), 2.0)),
                              (self.dx, torch.full((b,), -1.0)), self.o.way)

    def value_and_slope(self, f, at, along):
        """The value, which learns, and the derivative, which does not."""
        if not self.o.two:
            value, slope = derivative(f, at, along, self.o.way)
            return value, slope.detach()
        state = torch.get_rng_state()
        with torch.no_grad():
            slope = derivative(f, at, along, self.o.way)[1]
        torch.set_rng_state(state)  # the same dropout
        return f(*at), slope

    def edm(self):
        sigma = (1.2 * torch.randn(self.o.batch) - 1.2).exp()
        weight = (sigma ** 2 + 0.25) / (sigma * 0.5) ** 2
        d = torch_net.denoise(self.net, self.x0 + wide(sigma) * self.random(torch.randn), sigma)
        return (((d - self.x0) ** 2).mean((1, 2, 3)) * weight).mean()

    def sct(self):
        """Algorithm 1 of Lu and Song 2024 on EDM's network: its input is x_t / sigma_data, its time ln(sigma) / 4."""
        sd, z = 0.5, self.random(torch.randn)
        t = torch.atan((1.4 * torch.randn(self.o.batch) - 1).exp() / sd)
        c, s = wide(t.cos()), wide(t.sin())
        x, v = c * self.x0 / sd + s * z, c * z - s * self.x0 / sd
        noise = (sd * t.tan()).log() / 4
        value, slope = self.value_and_slope(self.net, (x, noise), (c * s * v, torch.full_like(t, 0.25)))
        with torch.no_grad():
            g = -sd * (c * c * (-value - v) + (c * s * x - slope))  # F is minus EDM's output
            g = g / (g.flatten(1).norm(dim=1)[:, None, None, None] + 0.1)
        return ((-value + value.detach() - g) ** 2).mean((1, 2, 3)).mean()

    def meanflow(self):
        e = self.random(torch.randn)
        a, b = torch.sigmoid(2 * torch.randn(2, self.o.batch) - 2)
        t, r = torch.maximum(a, b), torch.minimum(a, b)
        r = torch.where(torch.rand(self.o.batch) < 0.25, t, r)
        z, v = (1 - wide(t)) * self.x0 + wide(t) * e, e - self.x0
        u, slope = self.value_and_slope(lambda z, t, h: self.net(z, t, h), (z, t, t - r),
                                        (v, torch.ones_like(t), torch.ones_like(t)))
        off = ((u - (v - wide(t - r) * slope)) ** 2).sum((1, 2, 3))
        return (off / (off.detach() + 1e-3) ** 0.75).mean()

    def step(self):
        loss = getattr(self, self.o.work)()
        self.optim.zero_grad(set_to_none=True)
        loss.backward()
        self.optim.step()

    def run(self):
        getattr(self, self.o.work)() if self.o.work in ("value", "both") else self.step()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--work", default="both", choices=["value", "both", "edm", "sct", "meanflow"])
    p.add_argument("--way", default="dual", choices=["func", "dual"])
    p.add_argument("--two", action="store_true")
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--dropout", type=float, default=0)
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    work = Work(o)
    for _ in sys.stdin:
        began, spent = time.perf_counter(), time.process_time()
        work.run()
        print(json.dumps({"seconds": time.perf_counter() - began, "processor": time.process_time() - spent,
                          "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                          "torch": torch.__version__}), flush=True)


if __name__ == "__main__":
    main()
