#!/usr/bin/env python3
"""Trains the classifier of 28 x 28 gray pictures in ten classes whose features FD-lenet compares, on a set in the format of MNIST.

    torch_lenet.py DATA OUT.safetensors [--epochs 12] [--threads 1] [--flip]

DATA is a folder with the four idx files (.gz).  Prints how many of the test pictures are read as what they are.  --flip mirrors half of
the pictures, for sets in which a mirrored picture is still one of its class."""
import argparse
import gzip
import json
import os
import struct

import numpy
import torch
from torch import nn

p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
p.add_argument("data")
p.add_argument("out")
p.add_argument("--epochs", type=int, default=12)
p.add_argument("--threads", type=int, default=1)
p.add_argument("--flip", action="store_true")
o = p.parse_args()
torch.set_num_threads(o.threads)
torch.manual_seed(0)


def idx(name):
    with gzip.open(os.path.join(o.data, name)) as file:
        head = file.read(4)
        shape = struct.unpack(">%dI" % head[3], file.read(4 * head[3]))
        return torch.from_numpy(numpy.frombuffer(file.read(), numpy.uint8).reshape(shape).copy())


def pictures(part):
    x = idx(part + "-images-idx3-ubyte.gz").float().unsqueeze(1) / 127.5 - 1
    return x, idx(part + "-labels-idx1-ubyte.gz").long()


class Lenet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 16, 5, padding=2), nn.Conv2d(16, 32, 5)
        self.fc1, self.fc2 = nn.Linear(800, 64), nn.Linear(64, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.conv1(x).relu(), 2)
        x = nn.functional.max_pool2d(self.conv2(x).relu(), 2)
        return self.fc2(self.fc1(x.flatten(1)).relu())


def write(path, tensors):
    """A safetensors file: the length of a header of JSON, the header, the bytes."""
    head, data = {}, b""
    for name, tensor in tensors.items():
        raw = tensor.detach().contiguous().numpy().astype("<f4").tobytes()
        head[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


x, y = pictures("train")
steps = o.epochs * (len(x) // 128)
net = Lenet()
optimiser = torch.optim.Adam(net.parameters(), 2e-3)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
for epoch in range(o.epochs):
    order = torch.randperm(len(x))
    for i in range(len(x) // 128):
        at = order[128 * i:128 * (i + 1)]
        batch = x[at]
        if o.flip:
            batch = torch.where(torch.rand(len(at), 1, 1, 1) < 0.5, batch.flip(3), batch)
        loss = nn.functional.cross_entropy(net(batch), y[at])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
x, y = pictures("t10k")
with torch.no_grad():
    right = float((net(x).argmax(1) == y).float().mean())
write(o.out, dict(net.named_parameters()))
print("%s: %.2f %% of %d test pictures are read as what they are" % (o.out, 100 * right, len(x)))
