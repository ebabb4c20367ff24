#!/usr/bin/env python3
"""The peer of `make bench-train`: a training step (EDM loss, backward, RAdam) of a native songunet file with PyTorch.

    torch_train.py MODEL.safetensors --batch 16 --threads 2 [--steps 3] [--dropout P] [--compile] [--bf16]

Prints one JSON object: seconds of the fastest step, peak memory of the process, float32, channels-last.
"""
import argparse, json, resource, time

import torch_net as peer  # sets the allocator's environment first
import torch


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--batch", type=int, default=16)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--steps", type=int, default=3)
    p.add_argument("--dropout", type=float, default=0)
    p.add_argument("--compile", action="store_true")
    p.add_argument("--bf16", action="store_true")
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    config, tensors = peer.load(o.model)
    net = peer.Net(config, tensors)
    net.dropout = o.dropout
    for w in net.parameters():
        w.requires_grad_(True)
    optim = torch.optim.RAdam(net.parameters(), lr=1e-4)
    denoise = torch.compile(peer.denoise) if o.compile else peer.denoise
    side, channels = config["img_resolution"], config.get("img_channels") or config["in_channels"]
    best = 1e9
    for step in range(o.steps + 1):
        t = time.perf_counter()
        x0 = torch.rand(o.batch, channels, side, side).to(memory_format=torch.channels_last) * 2 - 1
        sigma = (1.2 * torch.randn(o.batch) - 1.2).exp()
        weight = (sigma ** 2 + 0.25) / (sigma * 0.5) ** 2
        x = x0 + sigma[:, None, None, None] * torch.randn_like(x0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=o.bf16):
            d = denoise(net, x, sigma)
        loss = (((d.float() - x0) ** 2).mean((1, 2, 3)) * weight).mean()
        optim.zero_grad(set_to_none=True)
        loss.backward()
        optim.step()
        if step:
            best = min(best, time.perf_counter() - t)
    print(json.dumps({"torch": torch.__version__, "batch": o.batch, "threads": o.threads, "compiled": o.compile,
                      "seconds": best, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


main()
