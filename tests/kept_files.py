#!/usr/bin/env python3
"""Files of earlier versions stay readable: kept_files.py BUILD [--write VERSION]

tests/data/kept/VERSION has a small file of each kind that the version writes, and hashes.json: of each, the SHA-256 of
what was read from it then.  Tensors, statistics, pictures, options and the state of a run are the same bits on every
processor; of images that a network makes the first values stand there, which rounding may change in the last digits.
--write makes the files of this version."""
import argparse, hashlib, json, os, shutil, struct, subprocess, sys, tempfile

p = argparse.ArgumentParser()
p.add_argument("build")
p.add_argument("--write", metavar="VERSION")
o = p.parse_args()
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ["CONSISTENCY_LIBRARY"] = os.path.abspath(o.build) + "/lib/libconsistency.so.0"
sys.path.insert(0, HERE + "/bindings/python")
import consistency as cm  # noqa: E402

KEPT = HERE + "/tests/data/kept"
SONG = {"type": "songunet", "img_resolution": 8, "in_channels": 3, "out_channels": 3, "model_channels": 4, "label_dim": 2,
        "channel_mult": [1], "num_blocks": 1, "attn_resolutions": []}
ADM = {"type": "adm", "image_size": 8, "in_channels": 3, "out_channels": 3, "model_channels": 32, "num_res_blocks": 1,
       "channel_mult": [1], "attention_resolutions": [], "resblock_updown": True}
MODELS = ("native.safetensors", "half.safetensors", "torch.pt", "diffusers")


def flat(part):
    """Bytes of what a call gave, the same with numpy and without."""
    if isinstance(part, (bytes, str)):
        return part if isinstance(part, bytes) else part.encode()
    if isinstance(part, list):
        return b"".join(map(flat, part)) if part and isinstance(part[0], list) else struct.pack("<%dd" % len(part), *part)
    if getattr(getattr(part, "dtype", None), "name", "") == "float16":
        part = part.astype("float32")
    return bytes(memoryview(getattr(part, "data", part)).cast("B"))


def digest(*parts):
    return hashlib.sha256(b"".join(map(flat, parts))).hexdigest()[:32]


def of_model(path):
    """Its tensors, and the first values of an image that it makes."""
    found = {}
    with cm.Checkpoint(path) as c:
        found["tensors"] = digest(*(part for name in sorted(c) for part in (name.encode(), c[name])))
    with cm.Model.load(path) as m, cm.Sampler(m, threads=1) as s:
        image = s.sample(1, seed=3, labels=[1] if m.num_classes else None)
        found["image"] = [round(v, 6) for v in struct.unpack("<8f", flat(image)[:32])]
    return found


def of_run(path):
    """A run that goes on where it stood: its options, the step, and the weights there."""
    with tempfile.TemporaryDirectory() as top:
        shutil.copytree(path, top + "/run")
        with cm.Run(top + "/run", resume=True, data=KEPT + "/pictures", allow_changes=True) as run:
            run.begin()
            weights = run.model()
            weights.save(top + "/weights.safetensors")
            with cm.Checkpoint(top + "/weights.safetensors") as c:
                return {"step": run.step, "weights": digest(*(c[name] for name in sorted(c)))}


def of_statistics(path):
    s = cm.Statistics.read(path)
    return {"count": s.count, "values": digest(*s.values)}


def of_set(path):
    with cm.Dataset(path, shuffle=False) as d:
        images, labels = d.read(0, len(d))
        return {"pictures": digest(images, struct.pack("<%di" % len(labels), *labels))}


READERS = {**{name: of_model for name in MODELS}, "run": of_run, "statistics.npz": of_statistics, "samples.npz": of_set}


def write(folder):
    os.makedirs(folder)
    song = cm.Model.create({"network": SONG, "precond": {"type": "ecm"}}, seed=1)
    song.save(folder + "/native.safetensors")
    song.save(folder + "/half.safetensors", dtype="float16")
    song.save(folder + "/torch.pt", format="torch")
    cm.Model.create({"network": ADM, "precond": {"type": "cm"}}, seed=1).save(folder + "/diffusers", format="diffusers", dtype="float16")
    with cm.Run(folder + "/run", data=KEPT + "/pictures", model={"network": SONG, "precond": {"type": "edm"}}, objective="edm", batch=2,
                steps=4, threads=1, checkpoint_every=2, keep=1, log_every=1, sample_every=0, ema="power:0.1,warmup:0.9") as run:
        run.execute(until=2)
    s = cm.Statistics(4)
    s.add([[float((i * j) % 5) for j in range(1, 5)] for i in range(9)])
    s.write(folder + "/statistics.npz")
    subprocess.run([o.build + "/bin/cm-sample", folder + "/native.safetensors", "-n", "2", "--labels", "0,1", "--npz", folder + "/samples.npz"],
                   check=True)
    for at, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".lock") or name == "lock":
                os.remove(os.path.join(at, name))
    os.remove(folder + "/run/log.jsonl")  # it has times
    text = open(folder + "/run/config.json").read().replace(KEPT + "/", "")
    with open(folder + "/run/config.json", "w") as f:
        f.write(text)
    with open(folder + "/hashes.json", "w") as f:
        json.dump({name: reader(folder + "/" + name) for name, reader in READERS.items()}, f, indent=1, sort_keys=True)
        f.write("\n")


def near(a, b):
    if isinstance(a, list):
        return len(a) == len(b) and all(abs(x - y) < 1e-3 for x, y in zip(a, b))
    return a == b


if o.write:
    write(KEPT + "/" + o.write)
    sys.exit(0)
failures = files = 0
versions = sorted(v for v in os.listdir(KEPT) if os.path.exists("%s/%s/hashes.json" % (KEPT, v)))
for version in versions:
    for name, want in json.load(open("%s/%s/hashes.json" % (KEPT, version))).items():
        try:
            got = READERS[name]("%s/%s/%s" % (KEPT, version, name))
            wrong = sorted(k for k in want if not near(want[k], got.get(k)))
        except (cm.Error, OSError, ValueError) as error:
            wrong = [str(error)]
        files += 1
        if wrong:
            failures += 1
            print("FAIL %s of version %s: %s" % (name, version, ", ".join(wrong)))
if not files:
    failures = 1
print("kept files: %d files of %d versions (%s) read as they did; %d failures" % (files, len(versions), ", ".join(versions), failures))
sys.exit(bool(failures))
