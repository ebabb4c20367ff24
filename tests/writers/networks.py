"""Small networks with random weights, the same for every format: a native file of them, and what it gives."""
import json
import os

import numpy
import torch

from .checks import cm

ADM = {"type": "adm", "image_size": 16, "in_channels": 3, "out_channels": 3, "model_channels": 64, "num_res_blocks": 1,
       "channel_mult": [1, 2], "attention_resolutions": [2], "num_head_channels": 64, "resblock_updown": True,
       "use_scale_shift_norm": True, "num_classes": 10}
ADM_PLAIN = dict(ADM, use_scale_shift_norm=False, num_res_blocks=2, channel_mult=[1, 1, 2], attention_resolutions=[2, 4])
del ADM_PLAIN["num_classes"]
DDPMPP = {"type": "songunet", "img_resolution": 16, "img_channels": 3, "model_channels": 32, "channel_mult": [1, 2],
          "num_blocks": 2, "attn_resolutions": [8], "augment_dim": 9}
NCSNPP = dict(DDPMPP, embedding_type="fourier", encoder_type="residual", channel_mult_noise=2,
              resample_filter=[1, 3, 3, 1])
DHARIWAL = {"type": "dhariwal", "img_resolution": 16, "img_channels": 3, "model_channels": 64, "channel_mult": [1, 2],
            "num_blocks": 1, "attn_resolutions": [8], "label_dim": 10}


def tensors(network, precond, seed=1):
    """name -> random float32, of the sizes that keep activations near 1."""
    generator = torch.Generator().manual_seed(seed)
    with cm.Model.create({"network": network, "precond": precond}) as model:
        shapes = model.params()
    out = {}
    for name, shape in shapes:
        fan = max(int(numpy.prod(shape[1:])), 1)
        t = torch.randn(shape, generator=generator) / (fan ** 0.5 if len(shape) > 1 else 5)
        out[name] = t + 1 if len(shape) == 1 and name.endswith("weight") else 4 * t if name.endswith("freqs") else t
    return out


def native(path, network, precond, weights):
    """Written by safetensors itself, read by ours."""
    from safetensors.torch import save_file
    side = network.get("image_size", network.get("img_resolution"))
    labels = network.get("num_classes", network.get("label_dim", 0))
    image = {"channels": 3, "height": side, "width": side, "labels": labels}
    save_file({n: t.contiguous() for n, t in weights.items()}, path, metadata={
        "consistency.format": "1", "consistency.network": json.dumps(network),
        "consistency.precond": json.dumps(precond), "consistency.image": json.dumps(image)})
    return cm.Model.load(path)


def noise(model, sigmas=(0.05, 3.0)):
    rng = numpy.random.default_rng(5)
    x = rng.standard_normal((len(sigmas),) + model.image_shape).astype(numpy.float32)
    return x * (1 + numpy.array(sigmas, numpy.float32).reshape(-1, 1, 1, 1)), list(sigmas)


def outputs(model, sigmas=(0.05, 3.0)):
    x, levels = noise(model, sigmas)
    labels = [i % model.num_classes for i in range(len(x))] if model.num_classes else None
    return numpy.asarray(model.denoise(x, levels, labels=labels)).copy()


def path(folder, name):
    return os.path.join(folder, name)
