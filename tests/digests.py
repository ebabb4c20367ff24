#!/usr/bin/env python3
"""Do two builds compute the same bits?  One line a computation, with the SHA-256 of its result.

    digests.py BUILD [--only WORD] > FILE

Samples of every method, of the models of this repository and of networks of each family that BUILD/tests/make_model
writes; the weights, the average and the losses after 20 training steps of every objective; float32 and emulated
bfloat16, which every processor can compute.  Two builds agree where `diff` finds no line that differs.

The library and the Python binding are those beside BUILD, so that one copy of this file runs on an older and on a
newer state; an argument with two spellings here is tried as the newer state has it, then as the older one, and
methods and objectives that a state does not know have no line there.  The results depend on the instruction set:
compare two builds on one machine (ONEDNN_MAX_CPU_ISA caps it)."""
import argparse
import hashlib
import json
import math
import os
import struct
import subprocess
import sys
import tempfile

p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
p.add_argument("build")
p.add_argument("--only", default="", metavar="WORD", help="only the lines that hold WORD")
o = p.parse_args()

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.abspath(o.build)
os.environ["CONSISTENCY_LIBRARY"] = BUILD + "/lib/libconsistency.so.0"
sys.path.insert(0, os.path.join(os.path.dirname(BUILD), "bindings", "python"))
import consistency as cm  # noqa: E402
from consistency._lib import choices  # noqa: E402

CONSISTENCY = HERE + "/tests/data/models/digits_consistency.safetensors"
TEACHER = HERE + "/tests/data/models/digits_teacher.safetensors"
SONG = {"type": "songunet", "img_resolution": 32, "img_channels": 3, "model_channels": 32, "num_blocks": 2,
        "channel_mult": [1, 2, 2], "attn_resolutions": [16]}
EDM = {"type": "edm"}
THIN = dict(SONG, model_channels=16, num_blocks=1)
NETWORKS = {  # what make_model makes, its size and its precond
    "small": (SONG, 32, EDM),
    "ncsnpp": (dict(THIN, augment_dim=9, label_dim=10, embedding_type="fourier", channel_mult_noise=2,
                    encoder_type="residual", decoder_type="standard", resample_filter=[1, 3, 3, 1]), 32, EDM),
    "adm": ({"type": "adm", "image_size": 32, "in_channels": 3, "out_channels": 3, "model_channels": 32,
             "num_res_blocks": 1, "attention_resolutions": [2, 4], "channel_mult": [1, 2, 2], "num_classes": 10,
             "num_head_channels": 32, "use_scale_shift_norm": True, "resblock_updown": True}, 32, EDM),
    "dhariwal": ({"type": "dhariwal", "img_resolution": 32, "in_channels": 3, "out_channels": 3, "label_dim": 10,
                  "model_channels": 32, "channel_mult": [1, 2, 2], "num_blocks": 1, "attn_resolutions": [16, 8]}, 32, EDM),
}
LATER = {  # those that an older state may not know, of its objectives and preconds
    "jump": (dict(THIN, label_dim=10), 32, {"type": "ecm"}),
    "two times": (dict(THIN, label_dim=10, second_time="concat"), 32, {"type": "average-velocity"}),
    "guided": ({**{key: value for key, value in THIN.items() if key != "img_channels"}, "in_channels": 3,
                "out_channels": 6, "label_dim": 10, "second_time": "concat", "conditions": 3}, 32,
               {"type": "average-velocity"}),
}
METHODS = [("onestep", {}), ("multistep", {"ts": [0, 22, 39], "grid": 40}), ("heun", {"steps": 4}),
           ("heun", {"steps": 4, "s_churn": 20, "s_noise": 1.003}), ("euler", {"steps": 4}),
           ("ancestral", {"steps": 4}), ("dpm", {"steps": 3}), ("edm", {"steps": 3}), ("progdist", {"steps": 3}), ("dpmpp", {"steps": 3}),
           ("rk45", {"rtol": 1e-2, "atol": 1e-2}), ("pc", {"steps": 3})]
PRECISIONS = {  # name -> how the newer and the older state spell it, of a sampler and of a trainer
    "f32": ([{}], [{}]),
    "f32 small memory": ([{"memory": "small"}, {"lean": True}], None),
    "bf16 emulated": ([{"precision": "bf16", "debug": "bf16_emulate=1"}, {"dtype": "bf16", "bf16_emulate": True}],
                      [{"precision": "bf16", "debug": "bf16_emulate=1"}, {"dtype": "bf16", "bf16_emulate": 1}]),
    "bf16 emulated tile 3": ([{"precision": "bf16", "debug": "bf16_tile=3,bf16_emulate=1"},
                              {"dtype": "bf16", "bf16_tile": 3, "bf16_emulate": True}], None),
}
CONTINUOUS = ("ccd", "cct", "sct", "scd", "dscd")
TAUGHT = ("cd", "pd", "cmt", "tcm2", "ccd", "scd", "dscd")
OBJECTIVES = [("edm", {}), ("cd", {"start_scales": 18, "end_scales": 18}), ("ct", {"start_scales": 4, "end_scales": 40}),
              ("pd", {"start_scales": 64, "distill_steps": 10}), ("ict", {"start_scales": 10, "end_scales": 160}),
              ("ect", {}), ("cmt", {"cmt_nfe": 4}), ("tcm", {"ect_stages": 4}),
              ("tcm2", {"ect_stages": 4}), ("meanflow", {}), ("soflow", {}), ("imeanflow", {}),
              *((name, {}) for name in CONTINUOUS)]
LEARNERS = {"tcm2": "jump", "meanflow": "two times", "soflow": "two times", "imeanflow": "guided"}  # of others the teacher of digits
STEPS, BATCH = 20, 7  # no multiple of a slice


def spelled(call, variants):
    """call with the first arguments that this state of the library knows."""
    failure = None
    for variant in variants:
        try:
            return call(variant)
        except (TypeError, ValueError, cm.Error) as error:
            failure = failure or error
    raise failure


def line(what, *results):
    digest = hashlib.sha256(b"".join(bytes(memoryview(getattr(r, "data", r)).cast("B")) for r in results))
    print(digest.hexdigest()[:32], what, flush=True)


def tensors(path):
    """The bytes of a file's tensors in order of their names: what else stands in the header may change."""
    with open(path, "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    return [data[slice(*head[name]["data_offsets"])] for name in sorted(head) if name != "__metadata__"]


def made(name):
    """A network with weights by formula, of any size."""
    network, side, precond = NETWORKS.get(name) or LATER[name]
    path = "%s/digests/%s.safetensors" % (BUILD, name)
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        subprocess.check_call([BUILD + "/tests/make_model", json.dumps(network), json.dumps(precond), str(side), str(side), path])
    return path


def samples(path, methods, n=5, batches=(1, 5), threads=(1, 2)):
    model = cm.Model.load(path)
    labels = [i % 10 for i in range(n)] if model.num_classes else None
    for method, options in (m for m in methods if m[0] in choices("methods")):
        for name, (sampling, _) in PRECISIONS.items():
            for thread, batch in ((t, b) for t in threads for b in batches):
                what = "%s %s %s, %s, batch %d, threads %d" % (os.path.basename(path).split(".")[0], method, options, name, batch, thread)
                if o.only not in what:
                    continue
                try:
                    sampler = spelled(lambda more: cm.Sampler(model, method, batch=batch, threads=thread, **more, **options), sampling)
                except cm.Error as error:
                    if name == "f32" and "method" not in str(error) and "consistency" not in str(error):
                        raise
                    line("%s: refused" % what)
                    continue
                line(what, sampler.sample(n, seed=5, labels=labels))
                sampler.close()


def pictures(step, channels, side):
    """BATCH x C x H x W values in [-1, 1] by formula."""
    return [[[[math.sin(0.37 * (i + 1) * x + 0.11 * (step + 1) * y + c) * math.cos(0.05 * x * y) for x in range(side)]
              for y in range(side)] for c in range(channels)] for i in range(BATCH)]


def training(objective, options, name, variants, distance=None, network=None):
    what = "training %s%s, %s, %s" % (objective, " " + distance if distance else "", network or "digits_teacher", name)
    if o.only not in what or objective not in choices("objectives"):
        return
    teacher = cm.Model.load(made(network) if network else TEACHER)
    channels, side = teacher.image_shape[:2]
    fixed = dict(options, objective=objective, batch=BATCH, steps=STEPS, lr=0.001, seed=3, dropout=0.1, flip=0.5,
                 label_dropout=0.1, ema="warmup:0.99", grad_clip=1)
    if objective == "edm":
        fixed["warmup_steps"] = 5
    if distance:
        variants = [dict(v, **{key: distance}) for v in variants for key in ("distance", "metric")]
    trainer = spelled(lambda more: cm.Trainer(teacher, teacher if objective in TAUGHT else None, **more, **fixed), variants)
    losses = [trainer.step(pictures(k, channels, side), [(k + i) % 10 for i in range(BATCH)])["loss"] for k in range(STEPS)]
    line(what + ": losses", struct.pack("<%dd" % STEPS, *losses))
    for weights in ("online", "ema"):
        with tempfile.TemporaryDirectory() as folder:
            trainer.model(weights).save(folder + "/weights.safetensors")
            line("%s: %s weights" % (what, weights), *tensors(folder + "/weights.safetensors"))
    trainer.close()


samples(CONSISTENCY, METHODS)
samples(TEACHER, METHODS)
for network in NETWORKS:
    line("%s: the file" % network, *tensors(made(network)))
    samples(made(network), [("euler", {"steps": 1})], 3, (1, 3))
if "flowmap" in choices("methods"):
    samples(made("two times"), [("flowmap", {"steps": 3}), ("multistep", {"steps": 3})], 3, (1, 3))
for objective, options in OBJECTIVES:
    for name, (_, variants) in PRECISIONS.items():
        if variants:
            training(objective, options, name, variants, network=LEARNERS.get(objective))
for name in ("f32", "bf16 emulated"):
    training("edm", {"augment": 0.12}, name, PRECISIONS[name][1], network="ncsnpp")
for distance in ("l1", "pseudo-huber", "linf"):
    training("cd", {"start_scales": 18, "end_scales": 18}, "f32", [{}], distance)
