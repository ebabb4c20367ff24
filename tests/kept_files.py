#!/usr/bin/env python3
"""Files of earlier versions stay readable: kept_files.py BUILD [--write VERSION]

tests/data/kept/VERSION has a small file of each kind that the version writes, and hashes.json: of each, the SHA-256 of
what was read from it then.  Tensors, statistics, pictures, options and the state of a run are the same bits on every
processor; of images that a network makes the first values stand there, which rounding may change in the last digits.
--write makes the files of this version, and leaves alone those that are there; it needs mpirun for two processes."""
import argparse, hashlib, json, os, shutil, struct, subprocess, sys, tempfile

p = argparse.ArgumentParser()
p.add_argument("build")
p.add_argument("--write", metavar="VERSION")
o = p.parse_args()
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
o.build = os.path.abspath(o.build)
os.chdir(HERE)  # files name others from here
os.environ["CONSISTENCY_LIBRARY"] = o.build + "/lib/libconsistency.so.0"
sys.path.insert(0, HERE + "/bindings/python")
import consistency as cm  # noqa: E402

KEPT = HERE + "/tests/data/kept"
SONG = {"type": "songunet", "img_resolution": 8, "in_channels": 3, "out_channels": 3, "model_channels": 4, "label_dim": 2,
        "channel_mult": [1], "num_blocks": 1, "attn_resolutions": []}
ADM = {"type": "adm", "image_size": 8, "in_channels": 3, "out_channels": 3, "model_channels": 32, "num_res_blocks": 1,
       "channel_mult": [1], "attention_resolutions": [], "resblock_updown": True}
GRAY = dict(SONG, img_resolution=32, in_channels=1, out_channels=1)  # as the feature network lenet takes it
LENET = "models/features/lenet"
MODELS = ("native.safetensors", "half.safetensors", "torch.pt", "diffusers", "shards", "gray.safetensors")


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


def of_best_run(path):
    """A run with a metric: the best weights, and that the run knows how good they are."""
    with cm.Checkpoint(path + "/best.safetensors") as c:
        notes = json.dumps(sorted(c.notes.items()))
    return dict(of_model(path + "/best.safetensors"), notes=digest(notes), **of_run(path))


def of_rows(path):
    with cm.Features(LENET + ".safetensors") as network:
        rows, labels = network.read(path, ["values", "logits"])
        return {"rows": digest(rows["values"], rows["logits"], struct.pack("<%di" % len(labels), *labels))}


def note_of(path):
    return json.loads(subprocess.run([o.build + "/bin/cm-info", "--json", path], check=True, capture_output=True).stdout)["note"]


def of_page(path):
    """What a PNG says of how it was drawn, and its pixels."""
    return {"note": digest(json.dumps(note_of(path), sort_keys=True)), "pixels": digest(cm.read_image(path))}


def of_times(path):
    """The levels that a model is drawn with."""
    with tempfile.TemporaryDirectory() as top:
        subprocess.run([o.build + "/bin/cm-sample", os.path.dirname(path) + "/gray.safetensors", "--times", path, "--steps", "2", "-q", "-o",
                        top + "/page.png"], check=True)
        return {"sigmas": note_of(top + "/page.png")["sigmas"]}


READERS = {**{name: of_model for name in MODELS}, "run": of_run, "run-parts": of_run, "run-best": of_best_run, "rows.npz": of_rows,
           "statistics.npz": of_statistics, "samples.npz": of_set, "packed.tar": of_set, "page.png": of_page, "times.json": of_times}


def program(folder, name, *words):
    subprocess.run([o.build + "/bin/" + name, *words, "-q"], check=True, cwd=folder, env=dict(os.environ, OMP_NUM_THREADS="1"))


def write(folder):
    """All the files, into a new folder."""
    song = cm.Model.create({"network": SONG, "precond": {"type": "ecm"}}, seed=1)
    song.save(folder + "/native.safetensors")
    song.save(folder + "/half.safetensors", dtype="float16")
    song.save(folder + "/torch.pt", format="torch")
    adm = cm.Model.create({"network": ADM, "precond": {"type": "cm"}}, seed=1)
    adm.save(folder + "/diffusers", format="diffusers", dtype="float16")
    adm.save(folder + "/shards", format="diffusers", dtype="float16", shard_bytes=150000)
    gray = folder + "/gray.safetensors"
    cm.Model.create({"network": GRAY, "precond": {"type": "ecm"}}, seed=1).save(gray)
    with cm.Run(folder + "/run", data=KEPT + "/pictures", model={"network": SONG, "precond": {"type": "edm"}}, objective="edm", batch=2,
                steps=4, threads=1, checkpoint_every=2, keep=1, log_every=1, sample_every=0, ema="power:0.1,warmup:0.9") as run:
        run.execute(until=2)
    s = cm.Statistics(4)
    s.add([[float((i * j) % 5) for j in range(1, 5)] for i in range(9)])
    s.write(folder + "/statistics.npz")
    os.symlink(HERE + "/models", folder + "/models")
    program(folder, "cm-sample", "native.safetensors", "-n", "2", "--labels", "0,1", "--npz", "samples.npz")
    program(folder, "cm-sample", "native.safetensors", "-n", "2", "--labels", "0,1", "-o", "page.png")
    program(folder, "cm-data", "pack", KEPT + "/pictures", "-o", "packed.tar")
    metric, statistics = ["--metric", "fd-lenet", "--few"], LENET + "-train.npz"
    program(folder, "cm-eval", "--search-times", "2", *metric, "--samples", "32", "--grid", "5", "-o", "times.json", "gray.safetensors", statistics)
    program(folder, "cm-eval", *metric, "--samples", "4", "--keep", "rows.npz", "gray.safetensors", statistics)
    train = ["--data", KEPT + "/pictures", "--batch", "2", "--threads", "1", "--steps", "4", "--keep", "1", "--checkpoint-every", "2", "--sample-every", "0"]
    program(folder, "cm-train", *train, "--network", json.dumps({"network": GRAY, "precond": {"type": "edm"}}), "--out", "run-best", "--metric", "fd-lenet",
            "--metric-data", statistics, "--metric-every", "2", "--metric-samples", "16", "--metric-few", "--no-estimate")
    subprocess.run(["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2", o.build + "/bin/cm-train", *train, "--network",
                    json.dumps({"network": SONG, "precond": {"type": "edm"}}), "--set", "split_state=1", "--out", "run-parts", "-q"], check=True, cwd=folder)
    os.remove(folder + "/models")
    for run in ("run-best", "run-parts"):
        shutil.rmtree(folder + "/" + run + "/checkpoints/step-000000002")
        os.remove(folder + "/" + run + "/model.safetensors")
    for at, _, names in os.walk(folder):
        for name in names:
            if name.endswith(".lock") or name == "lock":
                os.remove(os.path.join(at, name))
    for run in ("run", "run-best", "run-parts"):
        os.remove(folder + "/" + run + "/log.jsonl")  # it has times
        text = open(folder + "/" + run + "/config.json").read().replace(KEPT + "/", "").replace(folder + "/", "").replace(HERE + "/", "")
        with open(folder + "/" + run + "/config.json", "w") as f:
            f.write(text)


def add(folder):
    """Those that are not there, with their hashes."""
    hashes = json.load(open(folder + "/hashes.json")) if os.path.exists(folder + "/hashes.json") else {}
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory() as top:
        write(top)
        for name in [name for name in READERS if name not in hashes]:
            shutil.move(top + "/" + name, folder + "/" + name)
    hashes.update({name: READERS[name](folder + "/" + name) for name in READERS if name not in hashes})
    with open(folder + "/hashes.json", "w") as f:
        json.dump(hashes, f, indent=1, sort_keys=True)
        f.write("\n")


def near(a, b):
    if isinstance(a, list):
        return len(a) == len(b) and all(abs(x - y) < 1e-3 for x, y in zip(a, b))
    return a == b


if o.write:
    add(KEPT + "/" + o.write)
    sys.exit(0)
failures = files = 0
versions = sorted(v for v in os.listdir(KEPT) if v != "pictures")
kinds = set()
for version in versions:
    hashes = json.load(open("%s/%s/hashes.json" % (KEPT, version)))
    kinds |= set(hashes)
    for name in sorted(set(os.listdir(KEPT + "/" + version)) - set(hashes) - {"hashes.json"}):
        failures += 1
        print("FAIL %s of version %s has no row in hashes.json" % (name, version))
    for name, want in hashes.items():
        if name not in READERS:
            failures += 1
            print("FAIL %s of version %s: nothing here reads it" % (name, version))
            continue
        try:
            got = READERS[name]("%s/%s/%s" % (KEPT, version, name))
            wrong = sorted(k for k in want if not near(want[k], got.get(k)))
        except (cm.Error, OSError, ValueError, subprocess.CalledProcessError) as error:
            wrong = [str(error)]
        files += 1
        if wrong:
            failures += 1
            print("FAIL %s of version %s: %s" % (name, version, ", ".join(wrong)))
for name in sorted(set(READERS) - kinds):
    failures += 1
    print("FAIL no version has a %s (--write adds it)" % name)
print("kept files: %d files of %d versions (%s) read as they did; %d failures" % (files, len(versions), ", ".join(versions), failures))
sys.exit(bool(failures))
