#!/usr/bin/env python3
"""The peer of `make bench`: the network of a native songunet or adm file built from PyTorch's own modules.

    torch_net.py MODEL.safetensors --batch 1 8 64 --threads 2 [--compile] [--bf16]

Prints one JSON object a batch size: seconds per image of D(x; sigma), float32 (--bf16: under
autocast, convolution weights in bfloat16 from the start), channels-last, and the peak memory of the process so far.  --check FILE writes the output of a fixed input (for comparison with ours) instead.
Precond edm; of songunet the DDPM++ form (standard encoder and decoder, box filter), of adm the form of ImageNet 64.
"""
import argparse, json, math, os, resource, struct, sys, time

# Freed blocks stay with the process: PyTorch's temporaries are five times dearer otherwise.
if os.environ.get("MALLOC_TRIM_THRESHOLD_") is None:
    os.environ.update(MALLOC_TRIM_THRESHOLD_="100000000000", MALLOC_MMAP_THRESHOLD_="100000000000", MALLOC_TOP_PAD_="1000000000")
    os.execv(sys.executable, [sys.executable] + sys.argv)

import numpy as np
import torch
import torch.nn.functional as F


def load(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = np.frombuffer(f.read(), dtype=np.float32)
    meta = header.pop("__metadata__")
    tensors = {}
    for name, t in header.items():
        a, b = (o // 4 for o in t["data_offsets"])
        tensors[name] = torch.from_numpy(data[a:b].reshape(t["shape"]).copy())
    return json.loads(meta["consistency.network"]), tensors


def attend(q, k, v):
    """Softmax attention of [n, heads, tokens, size], by PyTorch's own kernel where it has one."""
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v)
    return torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1) @ v


class Base(torch.nn.Module):
    def __init__(self, config, tensors):
        super().__init__()
        self.c, self.names = config, set(tensors)
        self.dropout = 0  # of training, torch_train.py
        self.w = torch.nn.ParameterDict({n.replace(".", "/"): torch.nn.Parameter(
            t.to(memory_format=torch.channels_last) if t.dim() == 4 else t, requires_grad=False) for n, t in tensors.items()})
        self.set_up(config)

    def p(self, name):
        return self.w[name.replace(".", "/")]

    def conv(self, name, x):
        w = self.p(name + ".weight")
        return F.conv2d(x, w, self.p(name + ".bias"), padding=w.shape[-1] // 2)

    def norm_parameters(self, name, x):
        w, b = self.p(name + ".weight"), self.p(name + ".bias")
        return (w.to(x.dtype), b.to(x.dtype)) if torch.__version__.startswith("1.") else (w, b)  # 1.x wants one type

    def linear(self, name, x):
        return F.linear(x, self.p(name + ".weight"), self.p(name + ".bias"))


class SongUNet(Base):
    time = 0.25

    def set_up(self, config):
        self.mult = config.get("channel_mult", [1, 2, 2, 2])
        self.blocks = config.get("num_blocks", 4)
        self.attn = config.get("attn_resolutions", [16])
        self.res = config["img_resolution"]

    def norm(self, name, x):
        return F.group_norm(x, min(32, x.shape[1] // 4), *self.norm_parameters(name, x), 1e-6)

    def block(self, name, x, emb, how=None, attention=False):
        skip = x
        h = F.silu(self.norm(name + ".norm0", x))
        if how == "down":
            h, skip = F.avg_pool2d(h, 2), F.avg_pool2d(skip, 2)
        if how == "up":
            h, skip = F.interpolate(h, scale_factor=2.0), F.interpolate(skip, scale_factor=2.0)
        h = self.conv(name + ".conv0", h)
        s = F.linear(emb, self.p(name + ".affine.weight"), self.p(name + ".affine.bias"))
        h = F.silu(self.norm(name + ".norm1", h + s[:, :, None, None]))
        if self.dropout:
            h = F.dropout(h, self.dropout)
        h = self.conv(name + ".conv1", h)
        if name + ".skip.weight" in self.names:
            skip = self.conv(name + ".skip", skip)
        x = (h + skip) * math.sqrt(0.5)
        if attention:
            n, c, hh, ww = x.shape
            qkv = self.conv(name + ".qkv", self.norm(name + ".norm2", x))
            q, k, v = qkv.permute(0, 2, 3, 1).reshape(n, 1, hh * ww, c, 3).unbind(4)
            a = attend(q, k, v).reshape(n, hh, ww, c).permute(0, 3, 1, 2)
            x = (self.conv(name + ".proj", a) + x) * math.sqrt(0.5)
        return x

    def embed(self, noise):
        nc = self.c.get("model_channels", 128) * self.c.get("channel_mult_noise", 1)
        freqs = (1 / 10000) ** (torch.arange(nc // 2, dtype=torch.float32) / (nc // 2 - 1))
        a = noise[:, None] * freqs[None]
        return torch.cat([a.sin(), a.cos()], 1)

    def forward(self, x, noise, second=None, labels=None):
        """second: what a network with second_time concat is told of its second time; labels: one-hot rows, or none."""
        emb = self.embed(noise) if second is None else torch.cat([self.embed(noise), self.embed(second)], 1)
        if labels is not None:
            emb = emb + self.linear("map_label", labels * math.sqrt(labels.shape[1]))
        emb = F.silu(F.linear(emb, self.p("map_layer0.weight"), self.p("map_layer0.bias")))
        emb = F.silu(F.linear(emb, self.p("map_layer1.weight"), self.p("map_layer1.bias")))
        skips, levels = [], len(self.mult)
        for l in range(levels):
            r = self.res >> l
            x = self.conv(f"enc.{r}x{r}_conv", x) if l == 0 else self.block(f"enc.{r}x{r}_down", x, emb, "down")
            skips.append(x)
            for i in range(self.blocks):
                x = self.block(f"enc.{r}x{r}_block{i}", x, emb, None, r in self.attn)
                skips.append(x)
        for l in reversed(range(levels)):
            r = self.res >> l
            if l == levels - 1:
                x = self.block(f"dec.{r}x{r}_in0", x, emb, None, True)
                x = self.block(f"dec.{r}x{r}_in1", x, emb)
            else:
                x = self.block(f"dec.{r}x{r}_up", x, emb, "up")
            for i in range(self.blocks + 1):
                x = self.block(f"dec.{r}x{r}_block{i}", torch.cat([x, skips.pop()], 1), emb, None,
                               i == self.blocks and r in self.attn)
        return self.conv(f"dec.{r}x{r}_aux_conv", F.silu(self.norm(f"dec.{r}x{r}_aux_norm", x)))


class ADM(Base):
    """resblock_updown, scale-shift norm, heads of num_head_channels, classes (none drawn: label 0)."""

    time = 250

    def set_up(self, config):
        self.mult, self.blocks = config["channel_mult"], config["num_res_blocks"]
        self.attn = config["attention_resolutions"]

    def norm(self, name, x):
        return F.group_norm(x, 32, *self.norm_parameters(name, x), 1e-5)

    def block(self, name, x, emb, how=None):
        h = F.silu(self.norm(name + ".in_layers.0", x))
        if how == "down":
            h, x = F.avg_pool2d(h, 2), F.avg_pool2d(x, 2)
        if how == "up":
            h, x = F.interpolate(h, scale_factor=2.0), F.interpolate(x, scale_factor=2.0)
        h = self.conv(name + ".in_layers.2", h)
        scale, shift = self.linear(name + ".emb_layers.1", emb)[:, :, None, None].chunk(2, 1)
        h = F.silu(self.norm(name + ".out_layers.0", h) * (1 + scale) + shift)
        if self.dropout:
            h = F.dropout(h, self.dropout)
        h = self.conv(name + ".out_layers.3", h)
        if name + ".skip_connection.weight" in self.names:
            x = self.conv(name + ".skip_connection", x)
        return x + h

    def attention(self, name, x):
        n, c, hh, ww = x.shape
        d = self.c["num_head_channels"]
        qkv = self.conv(name + ".qkv", self.norm(name + ".norm", x)).permute(0, 2, 3, 1).reshape(n, hh * ww, 3, c // d, d)
        q, k, v = (qkv[:, :, i].transpose(1, 2) for i in range(3))
        a = attend(q, k, v).transpose(1, 2).reshape(n, hh, ww, c).permute(0, 3, 1, 2)
        return x + self.conv(name + ".proj_out", a)

    def forward(self, x, noise):
        half = self.c["model_channels"] // 2
        a = noise[:, None] * torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / half)[None]
        emb = self.linear("time_embed.2", F.silu(self.linear("time_embed.0", torch.cat([a.cos(), a.sin()], 1))))
        if "label_emb.weight" in self.names:
            emb = emb + self.p("label_emb.weight")[:1]
        emb, rate, k, levels = F.silu(emb), 1, 1, len(self.mult)
        x = self.conv("input_blocks.0.0", x)
        skips = [x]
        for l in range(levels):
            for i in range(self.blocks):
                x = self.block(f"input_blocks.{k}.0", x, emb)
                if rate in self.attn:
                    x = self.attention(f"input_blocks.{k}.1", x)
                skips.append(x)
                k += 1
            if l < levels - 1:
                x = self.block(f"input_blocks.{k}.0", x, emb, "down")
                skips.append(x)
                k, rate = k + 1, rate * 2
        x = self.block("middle_block.0", x, emb)
        x = self.block("middle_block.2", self.attention("middle_block.1", x), emb)
        k = 0
        for l in reversed(range(levels)):
            for i in range(self.blocks + 1):
                x, j = self.block(f"output_blocks.{k}.0", torch.cat([x, skips.pop()], 1), emb), 1
                if rate in self.attn:
                    x, j = self.attention(f"output_blocks.{k}.1", x), 2
                if l > 0 and i == self.blocks:
                    x = self.block(f"output_blocks.{k}.{j}", x, emb, "up")
                k += 1
            rate //= 2
        return self.conv("out.2", F.silu(self.norm("out.0", x)))


def Net(config, tensors):
    return {"songunet": SongUNet, "adm": ADM}[config["type"]](config, tensors)


def denoise(net, x, sigma, labels=None):
    more = {} if labels is None else {"labels": labels}
    s = sigma[:, None, None, None]
    return 0.25 / (s * s + 0.25) * x + s * 0.5 / (s * s + 0.25).sqrt() * net(x / (s * s + 0.25).sqrt(), sigma.log() * net.time, **more)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("--batch", type=int, nargs="+", default=[1, 8, 64])
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--compile", action="store_true")
    p.add_argument("--bf16", action="store_true")
    p.add_argument("--check")
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    config, tensors = load(o.model)
    net = Net(config, tensors).eval()
    for w in net.parameters():
        if o.bf16 and w.dim() == 4:  # or autocast would round them at every call
            w.data = w.data.to(torch.bfloat16).to(memory_format=torch.channels_last)
    run = torch.compile(denoise) if o.compile else denoise
    side = config.get("img_resolution") or config["image_size"]
    channels = config.get("img_channels") or config["in_channels"]
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=o.bf16):
        if o.check:
            x = torch.sin(torch.arange(channels * side * side, dtype=torch.float32)).reshape(1, channels, side, side) * 2
            run(net, x, torch.tensor([2.0])).numpy().tofile(o.check)
            return
        for b in o.batch:
            x = torch.randn(b, channels, side, side).to(memory_format=torch.channels_last) * 80
            sigma = torch.full((b,), 80.0)
            run(net, x, sigma)
            calls = []
            while len(calls) < 3 or sum(calls) < 1:  # as cm-sample --bench
                t = time.perf_counter()
                run(net, x, sigma)
                calls.append(time.perf_counter() - t)
            print(json.dumps({"torch": torch.__version__, "batch": b, "threads": o.threads, "compiled": o.compile,
                              "seconds_per_image": min(calls) / b,
                              "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}), flush=True)


if __name__ == "__main__":
    main()
