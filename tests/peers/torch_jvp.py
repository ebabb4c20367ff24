#!/usr/bin/env python3
"""The peer of `make bench-jvp`: D(x; sigma) and its derivative in a direction, by torch.func.jvp and by forward AD.

    torch_jvp.py MODEL.safetensors --batch 1 8 --threads 2

Prints one JSON object a batch size and way: seconds per image of value and tangent together, of the value alone, and the
peak memory of the process so far.  The network is that of torch_net.py, channels-last; attention is softmax by products,
since PyTorch's own kernel has no derivative in the forward direction.
"""
import argparse, json, resource, time

import torch_net
import torch
import torch.autograd.forward_ad as fwad


def attend(q, k, v):
    return torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, -1) @ v


def best(run):
    run()
    calls = []
    while len(calls) < 3 or sum(calls) < 1:
        t = time.perf_counter()
        run()
        calls.append(time.perf_counter() - t)
    return min(calls)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    p.add_argument("--threads", type=int, default=2)
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    config, tensors = torch_net.load(o.model)
    net = torch_net.Net(config, tensors).eval()
    side, channels = config["img_resolution"], config["img_channels"]

    def denoise(x, sigma):
        return torch_net.denoise(net, x, sigma)

    def by_func(x, sigma, dx, ds):
        return torch.func.jvp(denoise, (x, sigma), (dx, ds))

    def by_dual(x, sigma, dx, ds):
        with fwad.dual_level():
            return fwad.unpack_dual(denoise(fwad.make_dual(x, dx), fwad.make_dual(sigma, ds)))

    with torch.no_grad():
        for b in o.batch:
            x, dx = (torch.randn(b, channels, side, side).to(memory_format=torch.channels_last) for _ in range(2))
            sigma, ds = torch.full((b,), 2.0), torch.full((b,), -1.0)
            value = best(lambda: denoise(x, sigma))
            kernel, torch_net.attend = torch_net.attend, attend
            for name, run in (("torch.func.jvp", by_func), ("forward AD", by_dual)):
                both = best(lambda: run(x, sigma, dx, ds))
                print(json.dumps({"torch": torch.__version__, "way": name, "batch": b, "threads": o.threads,
                                  "value": value / b, "both": both / b, "ratio": both / value,
                                  "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}), flush=True)
            torch_net.attend = kernel


if __name__ == "__main__":
    main()
