"""Snapshots as EDM's code base writes them: modules that pickle themselves as a call with their source text.

The classes here are our own.  They make the same structure: each module is a call of
torch_utils.persistence._reconstruct_persistent_obj with a dictionary of its class, its source and its attributes, and
storages are legacy files within the pickle.  The source text is a program that raises, so that any run of it shows."""
import os
import pickle
import sys
import types

import numpy
import torch

from . import networks
from .checks import check, cm, refused

SOURCE = "raise RuntimeError('the source text of a snapshot was run')\n" * 200


def reconstruct(meta):
    raise RuntimeError("a snapshot was loaded by pickle")


class Persistent(torch.nn.Module):
    def __init__(self, class_name, **kwargs):
        super().__init__()
        self._orig = (class_name,)
        self._init_args, self._init_kwargs = (), dict(kwargs)

    def __reduce__(self):
        state = {k: v for k, v in self.__dict__.items() if k != "_orig"}
        return (reconstruct, (dict(type="class", version=6, module_src=SOURCE, class_name=self._orig[0], state=state),),
                None)


class Loss:
    def __init__(self):
        self.P_mean, self.P_std, self.sigma_data = -1.2, 1.2, 0.5
        self._init_args, self._init_kwargs = (), {}

    def __reduce__(self):
        return (reconstruct, (dict(type="class", version=6, module_src=SOURCE, class_name="EDMLoss",
                                   state=dict(self.__dict__)),), None)


def install():
    package, module = types.ModuleType("torch_utils"), types.ModuleType("torch_utils.persistence")
    module._reconstruct_persistent_obj = reconstruct
    reconstruct.__module__, reconstruct.__qualname__ = "torch_utils.persistence", "_reconstruct_persistent_obj"
    reconstruct.__name__ = "_reconstruct_persistent_obj"
    sys.modules["torch_utils"], sys.modules["torch_utils.persistence"] = package, module


def class_of(name):
    last = name.split(".")[-1]
    if last in ("enc", "dec"):
        return None
    for ends, word in (("conv", "Conv2d"), ("skip", "Conv2d"), ("qkv", "Conv2d"), ("proj", "Conv2d"), ("residual", "Conv2d"),
                       ("affine", "Linear"), ("layer0", "Linear"), ("layer1", "Linear"), ("label", "Linear"),
                       ("augment", "Linear"), ("noise", "FourierEmbedding")):
        if last.endswith(ends):
            return word
    return "GroupNorm" if "norm" in last else "Conv2d" if last[:-1] == "conv" else "UNetBlock"


def child(parent, name, whole):
    if name not in parent._modules:
        word = class_of(whole)
        parent.add_module(name, torch.nn.ModuleDict() if word is None else Persistent(word))
    return parent._modules[name]


def module_of(class_name, model_type, kwargs, weights, prefix="model"):
    """The wrapper with its network: a tree by the dots of tensors' names."""
    wrapper = Persistent(class_name, model_type=model_type, **kwargs)
    for key in ("img_resolution", "img_channels", "label_dim", "use_fp16"):
        setattr(wrapper, key, kwargs.get(key, 0))
    wrapper.sigma_min, wrapper.sigma_max, wrapper.sigma_data = 0, float("inf"), numpy.float64(0.5)
    network = Persistent(model_type, **{k: v for k, v in kwargs.items() if k != "use_fp16"})
    network.label_dropout = 0
    wrapper.add_module(prefix, network)
    for name, tensor in weights.items():
        *path, leaf = name.split(".")
        node = network
        for i, part in enumerate(path):
            node = child(node, part, ".".join(path[:i + 1]))
        if leaf == "freqs":
            node.register_buffer(leaf, tensor)
        else:
            node.register_parameter(leaf, torch.nn.Parameter(tensor, requires_grad=False))
    return wrapper.eval().requires_grad_(False)


def snapshot(path, network, protocol=None):
    data = dict(ema=network, loss_fn=Loss(), augment_pipe=None,
                dataset_kwargs=dict(class_name="training.dataset.ImageFolderDataset", path="/data/x.zip", use_labels=False,
                                    xflip=False, max_size=numpy.int64(50000), resolution=16))
    with open(path, "wb") as f:
        pickle.dump(data, f, protocol=protocol)


CASES = [
    ("EDMPrecond of ddpmpp", "EDMPrecond", "SongUNet", networks.DDPMPP, "edm"),
    ("EDMPrecond of ncsnpp with labels", "EDMPrecond", "SongUNet", dict(networks.NCSNPP, label_dim=10), "edm"),
    ("EDMPrecond of DhariwalUNet", "EDMPrecond", "DhariwalUNet", networks.DHARIWAL, "edm"),
    ("VPPrecond", "VPPrecond", "SongUNet", networks.DDPMPP, "vp"),
    ("VEPrecond", "VEPrecond", "SongUNet", networks.NCSNPP, "ve"),
    ("iDDPMPrecond", "iDDPMPrecond", "DhariwalUNet", dict(networks.DHARIWAL, out_channels=6), "iddpm"),
    ("ECMPrecond", "ECMPrecond", "SongUNet", networks.DDPMPP, "ecm"),
]


def one(folder, class_name, model_type, network, precond, protocol=None, half=False):
    named = dict(network)
    if "out_channels" in named:
        named["in_channels"] = named.pop("img_channels")
    weights = networks.tensors(named, {"type": precond})
    if half:
        weights = {n: t.half() for n, t in weights.items()}
    model = networks.native(os.path.join(folder, "native.safetensors"), named, {"type": precond}, weights)
    kwargs = {k: v for k, v in network.items() if k not in ("type", "out_channels")}
    kwargs.setdefault("label_dim", 0)
    path = os.path.join(folder, "network-snapshot.pkl")
    snapshot(path, module_of(class_name, model_type, dict(kwargs, use_fp16=half), weights), protocol)
    with cm.Model.load(path) as read:
        check(read.precond == model.precond, "it is %s", read.precond)
        for name, t in weights.items():
            ours = numpy.asarray(read.param(name if name in dict(read.params()) else "model." + name))
            check(ours.tobytes() == t.float().contiguous().numpy().tobytes(), "%s: other bytes", name)
        levels = (0.05, 3.0)
        check((networks.outputs(read, levels) == networks.outputs(model, levels)).all(), "other outputs")
    model.close()


def unknown(folder):
    weights = networks.tensors(networks.DDPMPP, {"type": "edm"})
    path = os.path.join(folder, "unknown.pkl")
    snapshot(path, module_of("EDMPrecond", "UViT", {"img_resolution": 16, "img_channels": 3, "label_dim": 0}, weights))
    try:
        cm.Model.load(path)
    except cm.Error as error:
        check("UViT" in str(error) and error.status == "CM_ERR_UNSUPPORTED", "%s: %s", error.status, error)
        return
    raise AssertionError("it was read")


def old(folder):
    path = os.path.join(folder, "old.pkl")
    weights = networks.tensors(networks.DDPMPP, {"type": "edm"})
    snapshot(path, module_of("EDMPrecond", "SongUNet", {"img_resolution": 16, "img_channels": 3}, weights), 2)
    refused(path, "_load_from_bytes")


def run(report, folder):
    install()
    for name, class_name, model_type, network, precond in CASES:
        report.run("EDM snapshots", name, lambda: one(folder, class_name, model_type, network, precond))
    for protocol in (3, 4, 5):  # in protocol 2 storages would be text: refused
        report.run("EDM snapshots", "pickle protocol %d" % protocol, lambda: one(folder, *CASES[0][1:], protocol=protocol))
    report.run("EDM snapshots", "refused: pickle protocol 2", lambda: old(folder))
    report.run("EDM snapshots", "half-precision weights", lambda: one(folder, *CASES[2][1:], half=True))
    report.run("EDM snapshots", "an unknown network", lambda: unknown(folder))
