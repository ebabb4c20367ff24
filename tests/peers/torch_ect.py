#!/usr/bin/env python3
"""The peer of tests/race_digits.py: consistency tuning (ECT, Geng et al. 2024) of a native songunet file with PyTorch.

    torch_ect.py TEACHER.safetensors MNIST OUT.safetensors --seconds 1800 [--threads 2] [--compile] [--seed 0]

The loss is that of the published code: t from exp(N(p_mean, p_std)), r = t (1 - n(t) / q^stage) with the sigmoid mapping, the same noise on
both sides, pseudo-Huber of the whole image over t - r; eight stages, RAdam, clipped gradients.  Its numbers are those of the preset
digits-ect-30min.  The time is that of the process at work: one that is stopped (SIGSTOP) does not count, and schedules follow it.
OUT is the average of the weights, with the teacher's configuration as a consistency model.
"""
import argparse, gzip, json, os, struct, threading, time

import torch_net as peer  # sets the allocator's environment first
import numpy as np
import torch


def read_idx(folder, name):
    path = os.path.join(folder, name)
    opened = open(path, "rb") if os.path.exists(path) else gzip.open(path + ".gz", "rb")
    with opened as f:
        zero, kind, n = struct.unpack(">HBB", f.read(4))
        shape = struct.unpack(">" + "I" * n, f.read(4 * n))
        return np.frombuffer(f.read(), dtype=np.uint8).reshape(shape)


def images_of(folder):
    """28 x 28 in the middle of 32 x 32, as this library reads the set; values in [-1, 1]."""
    x = torch.from_numpy(read_idx(folder, "train-images-idx3-ubyte").copy()).float() / 127.5 - 1
    return torch.nn.functional.pad(x[:, None], (2, 2, 2, 2), value=-1), torch.from_numpy(
        read_idx(folder, "train-labels-idx1-ubyte").astype(np.int64))


class Clock:
    """Seconds of the process at work, counted by a thread that wakes twenty times a second.  A gap of more than two seconds is one in
    which the process was stopped (or held its lock in a compilation, which is then a gift to it)."""

    def __init__(self):
        self.spent = 0.0
        threading.Thread(target=self.count, daemon=True).start()

    def count(self):
        last = time.perf_counter()
        while True:
            time.sleep(0.05)
            now = time.perf_counter()
            self.spent += now - last if now - last < 2 else 0
            last = now


def write(path, like, weights):
    with open(like, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    header["__metadata__"]["consistency.precond"] = header["__metadata__"]["consistency.precond"].replace('"edm"', '"ecm"', 1)
    blob = b""
    for name, t in header.items():
        if name == "__metadata__":
            continue
        data = weights[name.replace(".", "/")].contiguous(memory_format=torch.contiguous_format).numpy().astype("<f4").tobytes()
        t["data_offsets"], t["dtype"] = [len(blob), len(blob) + len(data)], "F32"
        blob += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".part", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + blob)
    os.replace(path + ".part", path)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("teacher")
    p.add_argument("data")
    p.add_argument("out")
    p.add_argument("--seconds", type=float, required=True)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--compile", action="store_true")
    p.add_argument("--seed", type=int, default=0)
    o = p.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)
    config, tensors = peer.load(o.teacher)
    net = peer.Net(config, tensors)
    for w in net.parameters():
        w.requires_grad_(True)
    weights = dict(net.w.items())
    average = {n: w.detach().clone() for n, w in weights.items()}
    denoise = torch.compile(peer.denoise) if o.compile else peer.denoise
    images, labels = images_of(o.data)
    onehot = torch.eye(config["label_dim"])
    batch, lr, c, q, k, b = 64, 4e-4, 0.1728, 2.0, 8.0, 1.0
    optim = torch.optim.RAdam(net.parameters(), lr=lr)
    order, clock, step, done = torch.randperm(len(images)), Clock(), 0, 0.0
    while done < 1:
        at = step * batch % (len(images) - batch)
        i = order[at:at + batch]
        y, label = images[i].to(memory_format=torch.channels_last), onehot[labels[i]]
        t = (torch.randn(batch) * 2 - 1.1).exp()
        stage = min(int(done * 8), 7)
        r = (t * (1 - (1 + k * torch.sigmoid(-b * t)) / q ** stage)).clamp(min=0)
        eps = torch.randn_like(y)
        d = denoise(net, y + t[:, None, None, None] * eps, t, label)
        with torch.no_grad():
            target = denoise(net, y + r.clamp(min=1e-6)[:, None, None, None] * eps, r.clamp(min=1e-6), label)
            target = torch.where((r > 0)[:, None, None, None], target, y)
        square = ((d - target) ** 2).sum((1, 2, 3))
        loss = (((square + c * c).sqrt() - c) / (t - r)).mean()
        optim.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        annealed = 1 if done < 0.6 else 1 - (1 - 0.02) * (done - 0.6) / 0.4
        for g in optim.param_groups:
            g["lr"] = lr * min(1, done / 0.04 + 1e-3) * annealed
        optim.step()
        rate = min((1 + step) / (10 + step), 0.999)
        with torch.no_grad():
            for n, w in weights.items():
                average[n].lerp_(w, 1 - rate)
        step += 1
        done = clock.spent / o.seconds
        if step % 50 == 0:
            print(json.dumps({"step": step, "seconds": round(clock.spent, 1), "loss": float(loss.detach())}), flush=True)
    write(o.out, o.teacher, average)
    print(json.dumps({"torch": torch.__version__, "steps": step, "seconds": clock.spent, "compiled": o.compile, "threads": o.threads}))


main()
