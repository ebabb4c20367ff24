"""What this library writes, read by torch and diffusers.  Frequencies of a time embedding keep their type."""
import os
import shutil

import diffusers
import torch

from . import networks
from .checks import check, close, cm, of_torch, same, save_as
from .diffusers_files import theirs

TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def make(folder, network, precond):
    weights = networks.tensors(network, {"type": precond})
    return weights, networks.native(os.path.join(folder, "in.safetensors"), network, {"type": precond}, weights)


def to_torch(folder, network, dtype, precond="cm"):
    weights, model = make(folder, network, precond)
    path = os.path.join(folder, "out.pt")
    save_as(model, path, "torch", dtype)
    read = torch.load(path, weights_only=True)
    found = {n: of_torch(t) for n, t in read.items()}
    typed = {n: t if n.endswith("freqs") else t.to(TYPES[dtype]) for n, t in weights.items()}
    wanted = {n: of_torch(t) for n, t in typed.items()}
    same({n[6:] if n.startswith("model.") else n: t for n, t in found.items() if not n.endswith("resample_filter")}, wanted)
    with cm.Model.load(path) as again:
        direct = networks.native(os.path.join(folder, "typed.safetensors"), network, {"type": precond}, typed)
        check((networks.outputs(again) == networks.outputs(direct)).all(), "other outputs after the round trip")
        direct.close()
    model.close()


def to_diffusers(folder, network, dtype, shard=0):
    weights, model = make(folder, network, "cm")
    path = os.path.join(folder, "out_diffusers")
    shutil.rmtree(path, ignore_errors=True)
    save_as(model, path, "diffusers", dtype, shard)
    if shard:
        parts = [f for f in os.listdir(os.path.join(path, "unet")) if f.endswith(".safetensors")]
        check(len(parts) > 1, "it wrote one file")
    pipeline = diffusers.ConsistencyModelPipeline.from_pretrained(path)
    unet = pipeline.unet
    check(type(pipeline.scheduler).__name__ == "CMStochasticIterativeScheduler", "its scheduler is another one")
    typed = networks.native(os.path.join(folder, "typed.safetensors"), network, {"type": "cm"},
                            {n: t.to(TYPES[dtype]) for n, t in weights.items()})
    x, sigmas = networks.noise(typed)
    close(networks.outputs(typed), theirs(unet, x, sigmas, typed.num_classes))
    with cm.Model.load(path) as again:
        check((networks.outputs(again) == networks.outputs(typed)).all(), "other outputs after the round trip")
    own = diffusers.UNet2DModel.from_config(diffusers.UNet2DModel.load_config(os.path.join(path, "unet")))
    check(set(own.state_dict()) == set(unet.state_dict()), "other names")
    typed.close()
    model.close()


def run(report, folder):
    for dtype in TYPES:
        for name, network, precond in (("adm", networks.ADM, "cm"), ("songunet", networks.NCSNPP, "edm"),
                                       ("dhariwal", networks.DHARIWAL, "edm")):
            report.run("ours, read by torch", "%s, %s" % (name, dtype), lambda: to_torch(folder, network, dtype, precond))
        for name, network in (("conditional", networks.ADM), ("three levels", networks.ADM_PLAIN)):
            report.run("ours, read by diffusers", "%s, %s" % (name, dtype), lambda: to_diffusers(folder, network, dtype))
    report.run("ours, read by diffusers", "sharded", lambda: to_diffusers(folder, networks.ADM, "float32", 2000000))
