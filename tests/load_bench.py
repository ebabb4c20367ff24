#!/usr/bin/env python3
"""load_bench.py BUILD [--peer PYTHON] [--scratch FOLDER] [--rounds N] [--small]: the ImageNet-64 network of ADM in each
format that such networks are published in: 295.9 million parameters, weights by formula, made by tests/make_model.

For every format: the time of loading, the time from the call to the first image (one evaluation, one image), the peaks
of the process's memory after both, and a digest of the image: those of the same precision have to be equal.  Loading
looks at every value for one that is not finite, and at checksums where there are some; the second time is without
the former (allow_nonfinite).  Beside it PEER, a Python with torch, safetensors and diffusers, loads the same file in
the same run, in turn with ours; each measurement is a process of its own, the file is in the page cache, the best of
the rounds counts, and the time of imports does not.

It fails where digests differ, where ours is slower than torch.load of the same file, or where ours takes more than
half of the peer's peak.  (safetensors' own reader maps the file and reads nothing before its first use.)  It takes
7 GB of FOLDER (a temporary one), which are deleted, and some minutes.  --small does the same with a network of 6 million
parameters and compares digests alone."""
import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ADM = {"type": "adm", "image_size": 64, "in_channels": 3, "model_channels": 192, "out_channels": 3, "num_res_blocks": 3,
       "attention_resolutions": [2, 4, 8], "channel_mult": [1, 2, 3, 4], "num_classes": 1000, "num_head_channels": 64,
       "use_scale_shift_norm": True, "resblock_updown": True}
SMALL = dict(ADM, model_channels=64, num_res_blocks=1, num_classes=10, channel_mult=[1, 1, 1, 2])

OURS = """
import sys, time, json, hashlib
sys.path.insert(0, %r)
import consistency as cm
def peak():
    return [int(l.split()[1]) // 1024 for l in open("/proc/self/status") if l.startswith("VmHWM")][0]
at = time.perf_counter()
model = cm.Model.load(sys.argv[1], allow_nonfinite=True)
unseen = time.perf_counter() - at
model.close()
at = time.perf_counter()
model = cm.Model.load(sys.argv[1])
loaded, first_peak = time.perf_counter() - at, peak()
out = {"unseen": unseen, "load": loaded, "peak": first_peak}
if len(sys.argv) > 2:
    image = cm.Sampler(model, "onestep", batch=1).sample(1, labels=[3], seed=1)
    out.update(image=time.perf_counter() - at, image_peak=peak(),
               digest=hashlib.sha256(image.tobytes() if hasattr(image, "tobytes") else bytes(image.data))
               .hexdigest()[:16])
print(json.dumps(out))
"""

THEIRS = """
import sys, time, json
import torch
kind = sys.argv[2]
if kind == "diffusers":
    from diffusers import UNet2DModel
    load = lambda p: UNet2DModel.from_pretrained(p + "/unet", torch_dtype="auto")
elif kind == "safetensors":
    from safetensors.torch import load_file as load
else:
    load = lambda p: torch.load(p, map_location="cpu", weights_only=True)
def peak():
    return [int(l.split()[1]) // 1024 for l in open("/proc/self/status") if l.startswith("VmHWM")][0]
before = peak()
at = time.perf_counter()
kept = load(sys.argv[1])
print(json.dumps({"load": time.perf_counter() - at, "peak": peak(), "imports": before}))
"""


def header(path):
    """The tensors of a safetensors file: (name, type, shape, offset in the file, bytes)."""
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        entries = json.loads(f.read(n))
    entries.pop("__metadata__", None)
    return [(name, e["dtype"], e["shape"], 8 + n + e["data_offsets"][0], e["data_offsets"][1] - e["data_offsets"][0])
            for name, e in entries.items()]


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


def whole(n):
    return b"J" + struct.pack("<i", n)


def legacy_tensor(key, shape):
    """A plain tensor with a storage of its own, as PyTorch before 1.6 names it."""
    n = 1
    strides = []
    for size in reversed(shape):
        strides.insert(0, n)
        n *= size
    sizes = b"(" + b"".join(whole(s) for s in shape) + b"t(" + b"".join(whole(s) for s in strides) + b"t"
    return (b"ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") + b"ctorch\nFloatStorage\n" + text(str(key))
            + text("cpu") + whole(n) + b"NtQK\0" + sizes + b"\x89ccollections\nOrderedDict\n)RtR"), n


def write_legacy(source, out):
    """The stream of pickles that PyTorch wrote before 1.6: magic, version, machine, object, keys, storages."""
    entries = header(source)
    with open(source, "rb") as f, open(out, "wb") as to:
        to.write(b"\x80\2\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + b"\x80\2M\xe9\3.")
        to.write(b"\x80\2}(" + text("protocol_version") + b"M\xe9\3" + text("little_endian") + b"\x88" + text("type_sizes")
                 + b"}(" + text("short") + b"K\2" + text("int") + b"K\4" + text("long") + b"K\4uu.")
        to.write(b"\x80\2ccollections\nOrderedDict\n)R(")
        counts = []
        for key, (name, dtype, shape, _, _) in enumerate(entries):
            if dtype != "F32":
                raise SystemExit("load_bench: %s is %s" % (name, dtype))
            tensor, n = legacy_tensor(key, shape)
            counts.append(n)
            to.write(text(name) + tensor)
        to.write(b"u.\x80\2](" + b"".join(text(str(k)) for k in range(len(entries))) + b"e.")
        for n, (_, _, _, at, size) in zip(counts, entries):
            f.seek(at)
            to.write(struct.pack("<q", n))
            while size:
                part = f.read(min(size, 1 << 24))
                to.write(part)
                size -= len(part)


CONVERT = """
import ctypes as C, sys
sys.path.insert(0, %r)
import consistency as cm
from consistency import _lib
options = _lib.SaveOptions()
_lib.lib.cm_save_options_init(C.byref(options), C.sizeof(options))
options.overwrite, options.format, options.dtype = 1, int(sys.argv[3]), int(sys.argv[4])
with cm.Model.load(sys.argv[1]) as model, model._held() as handle:
    if _lib.lib.cm_model_save(handle, sys.argv[2].encode(), C.byref(options)):
        sys.exit(_lib.lib.cm_last_message().decode())
"""
NATIVE, TORCH, DIFFUSERS, F32, F16 = 0, 1, 2, 1, 3


def run(python, code, *arguments):
    done = subprocess.run([python, "-W", "ignore", "-c", code, *arguments], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit("load_bench: %s failed for %s:\n%s" % (os.path.basename(python), arguments[0], done.stderr))
    return done.stdout.strip().split("\n")[-1]


def make(build, folder, network):
    """name -> (path, kind for the peer, precision)."""
    native = os.path.join(folder, "native.safetensors")
    subprocess.run([os.path.join(build, "tests", "make_model"), json.dumps(network), json.dumps({"type": "cm"}), "64", "64",
                    native], check=True)
    code = CONVERT % os.path.join(ROOT, "bindings", "python")
    files = {"safetensors, float32": (native, "safetensors", 32)}
    for name, file, form, dtype, kind, bits in (
            (".pt (zip), float32", "a.pt", TORCH, F32, "torch", 32), (".pt (zip), float16", "b.pt", TORCH, F16, "torch", 16),
            ("safetensors, float16", "half.safetensors", NATIVE, F16, "safetensors", 16),
            ("diffusers, float32", "folder", DIFFUSERS, F32, "diffusers", 32),
            ("diffusers, float16", "folder16", DIFFUSERS, F16, "diffusers", 16)):
        path = os.path.join(folder, file)
        run(sys.executable, code, native, path, str(form), str(dtype))
        files[name] = (path, kind, bits)
    legacy = os.path.join(folder, "legacy.pt")
    write_legacy(native, legacy)
    files[".pt (legacy), float32"] = (legacy, "torch", 32)
    return files


def warm(path):
    for name in [path] if os.path.isfile(path) else [os.path.join(d, f) for d, _, names in os.walk(path) for f in names]:
        with open(name, "rb") as f:
            while f.read(1 << 24):
                pass


def measure(files, peer, rounds):
    ours_code = OURS % os.path.join(ROOT, "bindings", "python")
    rows = {}
    for name, (path, kind, bits) in files.items():
        warm(path)
        ours, theirs = [json.loads(run(sys.executable, ours_code, path, "image"))], []
        for _ in range(rounds):
            ours.append(json.loads(run(sys.executable, ours_code, path)))
            if peer:
                theirs.append(json.loads(run(peer, THEIRS, path, kind)))
        row = dict(ours[0], load=min(r["load"] for r in ours), unseen=min(r["unseen"] for r in ours), kind=kind, peak=max(r["peak"] for r in ours), bits=bits)
        if theirs:
            row["their_load"] = min(r["load"] for r in theirs)
            row["their_peak"] = min(r["peak"] for r in theirs)
            row["imports"] = min(r["imports"] for r in theirs)
        rows[name] = row
    return rows


def report(rows, timed):
    faults = []
    print("| format | load, s | values not looked at, s | PyTorch's, s | ratio | peak, MiB | PyTorch's, MiB | ratio | first image, s | peak, MiB | image |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, r in rows.items():
        theirs = "their_load" in r
        print("| %s | %.3f | %.3f | %s | %s | %d | %s | %s | %.1f | %d | %s |" % (
            name, r["load"], r["unseen"], "%.3f" % r["their_load"] if theirs else "-",
            "%.2f" % (r["load"] / r["their_load"]) if theirs else "-", r["peak"],
            "%d (%d of imports)" % (r["their_peak"], r["imports"]) if theirs else "-",
            "%.2f" % (r["peak"] / r["their_peak"]) if theirs else "-", r["image"], r["image_peak"], r["digest"]))
        if theirs and timed:
            if r["kind"] == "torch" and r["load"] > r["their_load"]:
                faults.append("%s: loading takes %.3f s, PyTorch's %.3f" % (name, r["load"], r["their_load"]))
            if 2 * r["peak"] > r["their_peak"]:
                faults.append("%s: the peak is %d MiB, PyTorch's %d" % (name, r["peak"], r["their_peak"]))
    for bits in (16, 32):
        digests = {r["digest"] for r in rows.values() if r["bits"] == bits}
        if len(digests) != 1:
            faults.append("the images of float%d weights differ: %s" % (bits, ", ".join(sorted(digests))))
    return faults


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--peer", help="a Python with torch, safetensors and diffusers")
    parser.add_argument("--scratch", help="where the files go; a folder of its own is made in it and deleted")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="a network of 6 million parameters, digests alone")
    o = parser.parse_args()
    os.environ["CONSISTENCY_BUILD"] = o.build
    folder = tempfile.mkdtemp(prefix="cm-load-", dir=o.scratch)
    try:
        faults = report(measure(make(o.build, folder, SMALL if o.small else ADM), o.peer, o.rounds), not o.small)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for fault in faults:
        print("FAIL load_bench: " + fault)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
