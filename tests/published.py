#!/usr/bin/env python3
"""published.py [--memory] [--list]: docs/checkpoints.md beside the code.

Its table of networks names every network of its table of files; the parameters that the page states are those that
cm_model_count counts for the configuration given here.
There are at least 45 files, each once, and each has a command.  With --memory every network is made and the memory of
a sampler (cm_sampler_estimate: one image at a time, two threads, float32) is compared with the page too; the largest
takes 2.2 GB.  --list prints the lines of the table of networks as they are here.  CONSISTENCY_BUILD names the folder
of the build."""
import argparse
import ctypes as C
import json
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "bindings", "python"))
import consistency as cm
from consistency._lib import lib

PAGE = os.path.join(ROOT, "docs", "checkpoints.md")
ADM = {"type": "adm", "in_channels": 3, "out_channels": 3, "num_head_channels": 64, "resblock_updown": True}
SONG = {"type": "songunet", "img_channels": 3, "model_channels": 128, "num_blocks": 4, "attn_resolutions": [16]}
FOURIER = {"embedding_type": "fourier", "encoder_type": "residual", "channel_mult_noise": 2,
           "resample_filter": [1, 3, 3, 1]}
CIFAR = dict(SONG, img_resolution=32, channel_mult=[2, 2, 2])
FACES = dict(SONG, img_resolution=64, channel_mult=[1, 2, 2, 2], augment_dim=9)
DHARIWAL = {"type": "dhariwal", "img_resolution": 64, "img_channels": 3, "label_dim": 1000}

# The networks of the page: name -> (configuration, preconditioning).
NETWORKS = {
    "adm-64": (dict(ADM, image_size=64, model_channels=192, num_res_blocks=3, channel_mult=[1, 2, 3, 4],
                    attention_resolutions=[2, 4, 8], use_scale_shift_norm=True, num_classes=1000), "cm"),
    "adm-256": (dict(ADM, image_size=256, model_channels=256, num_res_blocks=2, channel_mult=[1, 1, 2, 2, 4, 4],
                     attention_resolutions=[8, 16, 32]), "cm"),
    "ncsnpp": (dict(CIFAR, **FOURIER), "cm"),
    "ddpmpp-32": (dict(CIFAR, augment_dim=9), "edm"),
    "ddpmpp-32-cond": (dict(CIFAR, augment_dim=9, label_dim=10), "edm"),
    "ncsnpp-32": (dict(CIFAR, augment_dim=9, **FOURIER), "edm"),
    "ncsnpp-32-cond": (dict(CIFAR, augment_dim=9, label_dim=10, **FOURIER), "edm"),
    "ddpmpp-64": (FACES, "edm"),
    "ncsnpp-64": (dict(FACES, **FOURIER), "edm"),
    "dhariwal-64": (DHARIWAL, "edm"),
    "dhariwal-64-iddpm": (dict({k: v for k, v in DHARIWAL.items() if k != "img_channels"}, in_channels=3,
                               out_channels=6), "iddpm"),
}
for _size, _width in (("xs", 128), ("s", 192), ("m", 256), ("l", 320), ("xl", 384), ("xxl", 448)):
    EDM2 = {"type": "edm2", "img_resolution": 64, "label_dim": 1000, "model_channels": _width}
    NETWORKS["edm2-img512-" + _size] = dict(EDM2, img_channels=4), "edm"
    if _size not in ("xs", "xxl"):
        NETWORKS["edm2-img64-" + _size] = dict(EDM2, img_channels=3), "edm"
TWO_TIMES = dict(CIFAR, augment_dim=6)
NETWORKS["twotime"] = dict(TWO_TIMES, second_time="concat", channel_mult_noise=2, attention_layout="qkv",
                           resample_filter=[1, 3, 3, 1]), "average-velocity"
NETWORKS["twotime-imm"] = dict(CIFAR, second_time="tower", second_input="time", time_factor=1000), "imm"
MIB = 1 << 20


def config(name):
    network, precond = NETWORKS[name]
    return {"network": network, "precond": {"type": precond}}


def count(name):
    n = C.c_uint64()
    if lib.cm_model_count(None, json.dumps(config(name)).encode(), C.byref(n)):
        raise SystemExit("FAIL published: %s: %s" % (name, lib.cm_last_message().decode()))
    return n.value


def memory(name):
    """MiB: the weights as float32, in the layout of kernels, and the rest of a sampler."""
    with cm.Model.create(config(name)) as model:
        need = cm.Sampler.estimate(model, batch=1, threads=2)
        return [round(v / MIB) for v in (4 * model.parameters, need["packed_bytes"], need["activation_bytes"])]


def table(text, first):
    """The cells of the table whose head begins with that word."""
    found = re.search(r"^\| %s \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)" % re.escape(first), text, re.M)
    if not found:
        raise SystemExit("FAIL published: docs/checkpoints.md has no table that begins with '%s'" % first)
    return [[c.strip() for c in line.strip().strip("|").split(" | ")] for line in found.group(1).strip().split("\n")]


def number(text):
    return int(text.replace(",", ""))


def check_networks(rows, with_memory):
    faults = []
    for name, _, parameters, *need in rows:
        name = name.strip("`")
        if name in NETWORKS:
            if number(parameters) != count(name):
                faults.append("%s: the page says %s parameters, counted are %d" % (name, parameters, count(name)))
            if with_memory and "" not in need:
                for word, said, is_now in zip(("weights", "packed weights", "activations"), need, memory(name)):
                    if abs(number(said) - is_now) > 1 + 0.02 * is_now:
                        faults.append("%s: the page says %s MiB of %s, estimated are %d" % (name, said, word, is_now))
        else:
            faults.append("%s: this script knows no such network" % name)
    return faults


def check_files(rows, networks):
    faults, seen = [], set()
    for row in rows:
        file, where, licence, form, network, here, command = row
        network = network.strip("`")
        if (file, where) in seen:
            faults.append("%s stands there twice" % file)
        seen.add((file, where))
        if network not in networks:
            faults.append("%s: its network %s is not in the table of networks" % (file, network))
        loads = here.startswith("loads")
        if loads != (network in NETWORKS):
            faults.append("%s: '%s', but its network is %s" % (file, here, "ours" if network in NETWORKS else "not ours"))
        if loads != command.startswith("`cm-sample ") or not (licence and form and where):
            faults.append("%s: a cell is empty or its command is none" % file)
    if len(rows) < 45:
        faults.append("%d files are fewer than 45" % len(rows))
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--memory", action="store_true", help="compare the memory too")
    parser.add_argument("--list", action="store_true", help="print the table of networks")
    arguments = parser.parse_args()
    if arguments.list:
        for name in NETWORKS:
            print("| `%s` | | %s | %s |" % (name, format(count(name), ","), " | ".join(format(m, ",") for m in memory(name))))
        return
    with open(PAGE, encoding="utf-8") as f:
        text = f.read()
    networks, files = table(text, "network"), table(text, "file")
    faults = check_networks(networks, arguments.memory)
    faults += check_files(files, {row[0].strip("`") for row in networks})
    for fault in faults:
        print("FAIL published: " + fault)
    print("published: %d files, %d networks, of which %d are counted" % (len(files), len(networks), len(NETWORKS)))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
