#!/usr/bin/env python3
"""EDM2-S at 64 x 64 with weights by formula: ours, and the same network from PyTorch's own modules.

    torch_edm2.py make FILE                      writes the model as a native file (1.1 GB)
    torch_edm2.py ours FILE [--batch 1] [--golden FILE]    with the Python binding (CONSISTENCY_BUILD), all threads
    torch_edm2.py torch FILE [--threads 2] [--batch 1] [--golden FILE] [--compile]

The last two print one JSON object: the fastest of --rounds evaluations of D(x; sigma) by the clock and by the
processor's time (for a machine that is not free; then on one processor, as by taskset -c 0, where no thread waits
for another), the peak memory of the process, and with --golden (full_edm2_img64_s.safetensors) how far D is from the reference, relative to its largest
value.  PyTorch has its weights normalised once, as ours has."""
import argparse, json, math, os, resource, struct, sys, time

if os.environ.get("MALLOC_TRIM_THRESHOLD_") is None:  # freed blocks stay: PyTorch's temporaries are dearer otherwise
    os.environ.update(MALLOC_TRIM_THRESHOLD_="100000000000", MALLOC_MMAP_THRESHOLD_="100000000000",
                      MALLOC_TOP_PAD_="1000000000")
    os.execv(sys.executable, [sys.executable] + sys.argv)

import numpy as np

SEED, LABEL = 302, 207
CONFIG = {"type": "edm2", "img_resolution": 64, "img_channels": 3, "label_dim": 1000, "model_channels": 192}
WIDTHS, BLOCKS, ATTEND, SILU = [192, 384, 576, 768], 3, (16, 8), 0.596


def fill(k, n):
    with np.errstate(over="ignore"):
        z = np.uint64(SEED) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(k) * np.uint64(0xD1B54A32D192ED03) \
            + np.arange(n, dtype=np.uint64) * np.uint64(0x8CB92BA72F3D8DD7)
        z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (2 * ((z >> np.uint64(11)).astype(np.float64) * 2.0 ** -53) - 1) * math.sqrt(3)


def blocks():
    """Name, flavour, inputs, outputs, direction and attention of every block, in the order they run."""
    out, skips, c = [], [WIDTHS[0]], WIDTHS[0]
    for level, width in enumerate(WIDTHS):
        r = 64 >> level
        if level:
            out.append(("enc.%dx%d_down" % (r, r), "enc", c, c, "down", False)), skips.append(c)
        for i in range(BLOCKS):
            out.append(("enc.%dx%d_block%d" % (r, r, i), "enc", c, width, None, r in ATTEND))
            c = width
            skips.append(c)
    for level in reversed(range(len(WIDTHS))):
        r = 64 >> level
        if level == len(WIDTHS) - 1:
            out += [("dec.%dx%d_in0" % (r, r), "dec", c, c, None, True), ("dec.%dx%d_in1" % (r, r), "dec", c, c, None, False)]
        else:
            out.append(("dec.%dx%d_up" % (r, r), "dec", c, c, "up", False))
        for i in range(BLOCKS + 1):
            out.append(("dec.%dx%d_block%d" % (r, r, i), "dec", c + skips.pop(), WIDTHS[level], None, r in ATTEND))
            c = WIDTHS[level]
    return out


def shapes():
    w, wide = WIDTHS[0], WIDTHS[-1]
    out = {"out_gain": [], "emb_fourier.freqs": [w], "emb_fourier.phases": [w], "emb_noise.weight": [wide, w],
           "emb_label.weight": [wide, 1000], "enc.64x64_conv.weight": [w, 4, 3, 3], "out_conv.weight": [3, w, 3, 3]}
    for name, flavour, a, b, _, attends in blocks():
        out.update({name + ".emb_gain": [], name + ".emb_linear.weight": [b, wide], name + ".conv_res1.weight": [b, b, 3, 3],
                    name + ".conv_res0.weight": [b, b if flavour == "enc" else a, 3, 3]})
        if a != b:
            out[name + ".conv_skip.weight"] = [b, a, 1, 1]
        if attends:
            out.update({name + ".attn_qkv.weight": [3 * b, b, 1, 1], name + ".attn_proj.weight": [b, b, 1, 1]})
    return out


def make(path):
    names, at, entries = sorted(shapes()), 0, {}
    for n in names:
        size = 4 * math.prod(shapes()[n])
        entries[n] = {"dtype": "F32", "shape": shapes()[n], "data_offsets": [at, at + size]}
        at += size
    entries["__metadata__"] = {"consistency.format": "1", "consistency.network": json.dumps(CONFIG),
                               "consistency.precond": json.dumps({"type": "edm"})}
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(header)) + header)
        for k, n in enumerate(names):  # the wrapper's three tensors are numbered before these
            shape, v = shapes()[n], fill(k + 3, math.prod(shapes()[n]))
            v = v / math.sqrt(math.prod(shape[1:])) if len(shape) >= 2 else 1 + 0.25 * v if not shape else \
                16 * v if n.endswith("freqs") else 0.1 * v
            f.write(v.astype("<f4").tobytes())


def read(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        start = f.tell()
    types = {"F32": np.float32, "F64": np.float64}
    out = {}
    for name, t in header.items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            out[name] = np.memmap(path, np.uint8, "r", start + a, (b - a,)).view(types[t["dtype"]]).reshape(t["shape"])
    return out


def inputs(batch, golden):
    sigma = np.full(batch, golden["sigma"][0] if golden else 0.5, np.float32)
    x = fill(1048576, 3 * 64 * 64).astype(np.float32).reshape(1, 3, 64, 64) * sigma[0]
    return np.repeat(x, batch, 0), sigma, np.full(batch, LABEL, np.int32)


def measure(evaluate, o, golden):
    best, work, first = 1e9, 1e9, None
    for _ in range(o.rounds + 1):
        began, spent = time.perf_counter(), time.process_time()
        d = evaluate()
        if first is None:
            first = d
            continue
        best, work = min(best, time.perf_counter() - began), min(work, time.process_time() - spent)
    out = {"kind": o.kind, "batch": o.batch, "threads": o.threads, "seconds_per_image": best / o.batch,
           "processor_seconds_per_image": work / o.batch,
           "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    if golden:
        want = golden["D"].astype(np.float64)
        out["off"] = float(np.abs(np.asarray(first, np.float64)[:1] - want).max() / np.abs(want).max())
    print(json.dumps(out))


def ours(o, golden):
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bindings", "python"))
    import consistency as cm
    model = cm.Model.load(o.model)
    x, sigma, labels = inputs(o.batch, golden)
    measure(lambda: model.denoise(x, sigma, labels=labels), o, golden)


def theirs(o, golden):
    import torch
    import torch.nn.functional as F
    torch.set_num_threads(o.threads)
    gains, w = {}, {}
    for name, v in read(o.model).items():
        t = torch.from_numpy(np.array(v))
        if t.dim() == 0:
            gains[name] = float(t)
        elif t.dim() == 1:
            w[name] = t
        else:
            n = t[0].numel()
            t = t / (1e-4 + t.flatten(1).norm(dim=1).div(math.sqrt(n)).view(-1, *[1] * (t.dim() - 1))) / math.sqrt(n)
            w[name] = t.contiguous(memory_format=torch.channels_last) if t.dim() == 4 else t
    for name in list(w):  # gains too are put in once
        gain = gains.get("out_gain") if name == "out_conv.weight" else gains.get(name.replace("emb_linear.weight", "emb_gain"))
        if gain is not None:
            w[name] = w[name] * gain

    def conv(name, x):
        return F.conv2d(x, w[name + ".weight"], padding=w[name + ".weight"].shape[-1] // 2)

    def norm(x, dim):
        return x / (1e-4 + torch.linalg.vector_norm(x, dim=dim, keepdim=True) / math.sqrt(x.shape[dim]))

    def mp_silu(x):
        return F.silu(x) / SILU

    def mp_sum(a, b, t):
        return a.lerp(b, t) / math.sqrt((1 - t) ** 2 + t ** 2)

    def mp_cat(a, b):
        c = math.sqrt((a.shape[1] + b.shape[1]) / 0.5)
        return torch.cat([a * (0.5 * c / math.sqrt(a.shape[1])), b * (0.5 * c / math.sqrt(b.shape[1]))], 1)

    def attention(name, x):
        n, c, h, width = x.shape
        q, k, v = norm(conv(name + ".attn_qkv", x).reshape(n, c // 64, 64, 3, h * width), 2).unbind(3)
        y = F.scaled_dot_product_attention(q.transpose(-1, -2), k.transpose(-1, -2), v.transpose(-1, -2))
        y = y.transpose(-1, -2).reshape(n, c, h, width).contiguous(memory_format=torch.channels_last)
        return mp_sum(x, conv(name + ".attn_proj", y), 0.3)

    def block(x, emb, name, flavour, direction, attends):
        if direction == "down":
            x = F.avg_pool2d(x, 2)
        elif direction == "up":
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        if flavour == "enc":
            x = norm(conv(name + ".conv_skip", x) if name + ".conv_skip.weight" in w else x, 1)
        y = conv(name + ".conv_res0", mp_silu(x))
        c = F.linear(emb, w[name + ".emb_linear.weight"]) + 1
        y = conv(name + ".conv_res1", mp_silu(y * c[:, :, None, None]))
        if flavour == "dec" and name + ".conv_skip.weight" in w:
            x = conv(name + ".conv_skip", x)
        x = mp_sum(x, y, 0.3)
        return (attention(name, x) if attends else x).clamp(-256, 256)

    def network(x, c_noise, onehot):
        emb = math.sqrt(2) * torch.cos(torch.outer(c_noise, w["emb_fourier.freqs"]) + w["emb_fourier.phases"])
        emb = mp_sum(F.linear(emb, w["emb_noise.weight"]), F.linear(onehot * math.sqrt(1000), w["emb_label.weight"]), 0.5)
        emb = mp_silu(emb)
        x = conv("enc.64x64_conv", torch.cat([x, torch.ones_like(x[:, :1])], 1).contiguous(memory_format=torch.channels_last))
        skips = [x]
        for name, flavour, _, _, direction, attends in blocks():
            if flavour == "dec" and "block" in name:
                x = mp_cat(x, skips.pop())
            x = block(x, emb, name, flavour, direction, attends)
            if flavour == "enc":
                skips.append(x)
        return conv("out_conv", x)

    def denoise(x, sigma, onehot):
        s = sigma.view(-1, 1, 1, 1)
        q = s ** 2 + 0.25
        return 0.25 / q * x + s * 0.5 / q.sqrt() * network(x / q.sqrt(), sigma.log() / 4, onehot)

    x, sigma, labels = inputs(o.batch, golden)
    x, sigma = torch.from_numpy(x).contiguous(memory_format=torch.channels_last), torch.from_numpy(sigma)
    onehot = F.one_hot(torch.from_numpy(labels).long(), 1000).float()
    run = torch.compile(denoise) if o.compile else denoise

    def evaluate():
        with torch.inference_mode():
            return run(x, sigma, onehot).numpy()
    measure(evaluate, o, golden)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("kind", choices=["make", "ours", "torch"])
    p.add_argument("model")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--batch", type=int, default=1)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--golden")
    p.add_argument("--compile", action="store_true")
    o = p.parse_args()
    golden = read(o.golden) if o.golden else None
    if o.kind == "make":
        make(o.model)
    elif o.kind == "ours":
        ours(o, golden)
    else:
        theirs(o, golden)


main()
