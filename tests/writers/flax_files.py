"""flax's own serialization: training states of NCSN++, arrays of every type, arrays in chunks."""
import os

import flax.serialization
import jax.numpy as jnp
import numpy

from . import networks
from .checks import File, check, cm, same

# No tensor tells the size of the pictures: it is that of the published models.
NETWORK = dict({k: v for k, v in networks.NCSNPP.items() if k != "augment_dim"}, img_resolution=32, attn_resolutions=[16])
TYPES = ["float32", "float16", "bfloat16", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
         "uint64", "bool"]


def tree(weights):
    """The names and layouts of the CIFAR-10 code for a SongUNet's tensors: modules are numbered as they run."""
    out, blocks, attentions, downs = {}, 0, 0, 0
    w = {n: t.numpy() for n, t in weights.items()}

    def conv(name):
        return {"kernel": w[name + ".weight"].transpose(2, 3, 1, 0), "bias": w[name + ".bias"]}

    def dense(name):
        return {"kernel": w[name + ".weight"].T, "bias": w[name + ".bias"]}

    def norm(name):
        return {"scale": w[name + ".weight"], "bias": w[name + ".bias"]}
    out["GaussianFourierProjection_0"] = {"W": w["map_noise.freqs"]}
    out["Dense_0"], out["Dense_1"] = dense("map_layer0"), dense("map_layer1")
    for module in dict.fromkeys(".".join(n.split(".")[:2]) for n in w if n.startswith(("enc.", "dec."))):
        last = module.split("_", 1)[1]
        if last == "conv":
            out["Conv_0"] = conv(module)
        elif last == "aux_residual":
            kernel = conv(module)
            out["Downsample_%d" % downs] = {"Conv2d_0": {"weight": kernel["kernel"], "bias": kernel["bias"]}}
            downs += 1
        elif last == "aux_norm":
            out["GroupNorm_0"] = norm(module)
        elif last == "aux_conv":
            out["Conv_1"] = conv(module)
        else:
            block = {"GroupNorm_0": norm(module + ".norm0"), "Conv_0": conv(module + ".conv0"),
                     "Dense_0": dense(module + ".affine"), "GroupNorm_1": norm(module + ".norm1"),
                     "Conv_1": conv(module + ".conv1")}
            if module + ".skip.weight" in w:
                block["Conv_2"] = conv(module + ".skip")
            out["ResnetBlockBigGANpp_%d" % blocks] = block
            blocks += 1
            if module + ".qkv.weight" in w:
                qkv, bias = w[module + ".qkv.weight"][:, :, 0, 0], w[module + ".qkv.bias"]
                attention = {"NIN_%d" % j: {"W": qkv[j::3].T, "b": bias[j::3]} for j in range(3)}
                attention["NIN_3"] = {"W": w[module + ".proj.weight"][:, :, 0, 0].T, "b": w[module + ".proj.bias"]}
                out["AttnBlockpp_%d" % attentions] = dict(attention, GroupNorm_0=norm(module + ".norm2"))
                attentions += 1
    return out


def copied(value, change=lambda a: a):
    return {k: copied(v, change) for k, v in value.items()} if isinstance(value, dict) else \
        numpy.ascontiguousarray(change(value))


def save(folder, name, state):
    path = os.path.join(folder, name)
    with open(path, "wb") as f:
        f.write(flax.serialization.msgpack_serialize(state))
    return path


def state(folder, name, **sets):
    moments = {"mu": copied(sets["params"], numpy.zeros_like), "nu": copied(sets["params"], numpy.zeros_like)}
    content = {"step": numpy.int32(800000), "lr": 4e-4, "ema_rate": 0.9999, "model_state": {},
               "opt_state": {"0": {}, "1": dict(moments, count=numpy.array(800000, numpy.int32))},
               "rng_state": numpy.array([1, 2], numpy.uint32)}
    return save(folder, name, dict(content, **sets))


def network(folder, which, chunk=None):
    weights = networks.tensors(NETWORK, {"type": "cm"})
    others = {n: t * 0.5 for n, t in weights.items()}
    native = networks.native(os.path.join(folder, "native.safetensors"), NETWORK, {"type": "cm"}, weights)
    sets = {"params": others, "params_ema": others, "target_params": others}
    sets[which or "params_ema"] = weights
    before = flax.serialization.MAX_CHUNK_SIZE
    flax.serialization.MAX_CHUNK_SIZE = chunk or before
    try:
        path = state(folder, "checkpoint_80", **{n: copied(tree(t)) for n, t in sets.items()})
    finally:
        flax.serialization.MAX_CHUNK_SIZE = before
    with cm.Model.load(path, weights=which) as model:
        check(model.network == "songunet" and model.precond == "cm", "it is %s, %s", model.network, model.precond)
        params = dict(model.params())
        for name, t in weights.items():
            check(name in params, "%s is missing", name)
            check(numpy.asarray(model.param(name)).tobytes() == t.contiguous().numpy().tobytes(), "%s: other bytes", name)
        check((networks.outputs(model) == networks.outputs(native)).all(), "other outputs")
    native.close()


def arrays(folder, word, chunk=None):
    rng = numpy.random.default_rng(3)
    dtype = jnp.bfloat16 if word == "bfloat16" else numpy.dtype(word)
    make = (lambda shape: rng.integers(0, 2, shape).astype(bool)) if word == "bool" else \
        lambda shape: rng.integers(0, 100, shape).astype(dtype)
    params = {"w": make((3, 5)), "deep": {"er": make((2, 3, 4))}, "one": make((1,)), "none": make((0, 4)), "point": make(())}
    before = flax.serialization.MAX_CHUNK_SIZE
    flax.serialization.MAX_CHUNK_SIZE = chunk or before
    try:
        path = save(folder, "arrays.msgpack", {"params": params})
    finally:
        flax.serialization.MAX_CHUNK_SIZE = before
    wanted = {n: (word, tuple(numpy.shape(a)), numpy.asarray(a).tobytes()) for n, a in
              (("w", params["w"]), ("deep/er", params["deep"]["er"]), ("one", params["one"]), ("none", params["none"]),
               ("point", params["point"]))}
    same(File(path).tensors, wanted)


def run(report, folder):
    for word in TYPES:
        report.run("flax", word, lambda: arrays(folder, word))
    report.run("flax", "arrays in chunks", lambda: arrays(folder, "float32", 16))
    report.run("flax", "the average of a training state", lambda: network(folder, None))
    for which in ("params", "params_ema", "target_params"):
        report.run("flax", "'%s' of a training state" % which, lambda: network(folder, which))
    report.run("flax", "a training state in chunks", lambda: network(folder, None, 4096))
