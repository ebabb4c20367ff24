"""The safetensors library's own writer: every type, metadata, views, and our native files read by it."""
import os

import safetensors
import safetensors.torch
import torch

from . import networks
from .checks import File, check, cm, expect, of_torch, same
from .torch_files import FLOATS, NEWER, WHOLE, filled, views


def run(report, folder):
    path = os.path.join(folder, "x.safetensors")
    group = "safetensors"

    def save(tensors, metadata=None):
        safetensors.torch.save_file(tensors, path, metadata=metadata)
        return path
    for dtype in FLOATS + WHOLE + NEWER:
        tensors = {"w": filled((3, 5), dtype), "scalar": filled((), dtype), "none": filled((0, 4), dtype)}
        report.run(group, str(dtype), lambda: expect(save(tensors), tensors))
    plain = {n: t.clone().contiguous() for n, t in views().items()}
    report.run(group, "contiguous copies of views", lambda: expect(save(plain, {"format": "pt"}), plain))
    odd = {"\u00e9 \"x\"\\": torch.ones(2), "a.b.c": torch.zeros(1)}
    report.run(group, "names", lambda: expect(save(odd, {"note": "\u4e00\n"}), odd))
    report.run(group, "no tensors", lambda: expect(save({}), {}))
    for name, network in (("adm", networks.ADM), ("songunet", networks.NCSNPP), ("dhariwal", networks.DHARIWAL)):
        report.run(group, "our native %s read by it" % name, lambda: ours(folder, network))


def ours(folder, network):
    weights = networks.tensors(network, {"type": "edm"})
    model = networks.native(os.path.join(folder, "in.safetensors"), network, {"type": "edm"}, weights)
    out = os.path.join(folder, "out.safetensors")
    model.save(out, overwrite=True)
    read = safetensors.torch.load_file(out)
    same({n: of_torch(read[n]) for n in weights}, {n: of_torch(t) for n, t in weights.items()})
    with safetensors.safe_open(out, "pt") as f:
        check(f.metadata()["consistency.format"] == "1", "its metadata is not there")
    with cm.Model.load(out) as again:
        check((networks.outputs(again) == networks.outputs(model)).all(), "other outputs")
    check(File(out).kind == 1, "it is not told as a model")
    model.close()
