"""golden_members.py GOLDEN_PROGRAM FOLDER: changes one member of a golden file's metadata at a time; the runner has to fail.

A member whose change passes is one that the runner reads and passes over, so files with other values would be
reported as fine although they were not tried.  An unknown member has to fail as well, by its name."""

import copy
import glob
import json
import os
import struct
import subprocess
import sys
import tempfile

# Words for people, and what has no effect by what it is: members that the file's own method ignores.
PROSE = {"note", "note2", "provenance", "torch", "source", "max_abs_f32_f64", "loss_max_abs_f32_f64",
         "f32_vs_f64_worst_relative", "fp32_vs_fp64", "measured"}
CHURN = {"s_churn", "s_tmin", "s_tmax", "s_noise"}


def ignored(name, metadata, path):
    """Why a change of this member cannot show: None when it has to."""
    key = path[0]
    if path[-1] in PROSE or key in PROSE:
        return "prose"
    if name.startswith("sampler_"):
        sampler = metadata["sampler"]
        churned = json.loads(metadata["s_churn"]) > 0 and sampler in ("heun", "dpm")
        if key in CHURN and not (churned or (key == "s_churn" and sampler in ("heun", "dpm"))):
            return "the method draws no such noise"
        if sampler == "onestep" and key in ("steps", "rho", "sigma_min"):
            return "one evaluation at sigma_max" if key != "sigma_min" or metadata["distillation"] != "true" else None
        if key == "distillation" or key == "s_tmin" and churned and json.loads(metadata["s_tmin"]) == 0:
            return "another toy"
        if key == "clip_denoised" and sampler in ("onestep", "multistep", "progdist"):
            return "the estimates lie within, or the result is clamped all the same"
        if key == "rho" and json.loads(metadata["steps"]) == 1:
            return "one step"
    if name.startswith("ect") and path[-1] in ("k", "b") and json.loads(metadata["cases"])[path[1]]["adj"] == "const":
        return "no sigmoid"
    if name.startswith("tcm") and key == "stage1" and len(path) == 2:
        stage, q, limit = json.loads(metadata[key])[path[1]][:3]
        if q ** -(stage + 1) <= 1 - limit:
            return "the ratio's limit holds at this stage and the later ones"
    if name.startswith("optim") and path[-1] == "eps" and json.loads(metadata["cases"])[path[1]]["eps"] < 1e-6:
        return "below the rounding of float32"
    if name.startswith("schedules") and path[-1] == "rho" and json.loads(metadata["karras_cases"])[path[1]]["n"] == 2:
        return "two points"
    if name.startswith("scale_ema"):
        mode = json.loads(metadata["configs"])[path[1]]["scale_mode"]
        if path[-1] in {"fixed": ("target_ema_mode", "end_scales", "total_steps", "distill_steps_per_iter"),
                        "progressive": ("distill_steps_per_iter",),
                        "progdist": ("start_ema", "end_scales", "total_steps")}[mode]:
            return "not of this schedule"
    if name.startswith("train_") and key == "ema_scale_args" and len(path) > 1:
        mode = json.loads(metadata[key])[2]
        if path[1] in {"fixed": (0, 4, 5, 6), "progressive": (6,)}.get(mode, ()):
            return "not of this schedule"
    if name.startswith("loss_") and key in ("solver",) and metadata.get("mode") != "cd":
        return "no ODE step"
    if name.startswith("loss_") and key == "rho" and json.loads(metadata["num_scales"]) <= 2:
        return "two points"
    if name.startswith("train_") and key in ("solver",) and metadata.get("mode") != "cd":
        return "no ODE step"
    if name.startswith("train_edm") and key in ("sigma_min", "sigma_max", "rho", "loss_norm"):
        return "no time points"
    if name.startswith("ternary_search") and path[-1] == "before":
        return "the points before the last one are fixed" if len(json.loads(metadata["cases"])[path[1]]["before"]) > 1 else None
    return None


def leaves(value, path):
    if isinstance(value, dict):
        for k in value:
            yield from leaves(value[k], path + [k])
    elif isinstance(value, list) and value and not isinstance(value[0], (int, float)):
        for i, v in enumerate(value):
            yield from leaves(v, path + [i])
    else:
        yield path, value


NAMES = {"heun": "euler", "euler": "heun", "l2": "l1", "l1": "l2", "uniform": "snr", "karras": "uniform", "fixed": "progressive",
         "sigmoid": "const", "const": "sigmoid", "inf": "1.5"}


def changes(value):
    """Other values of the same kind, the nearest first: one of them has to show."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [2 if value == -1 else value + 1, 16 * value + 3]
    if isinstance(value, float):
        return [value * f + (0.25 if value == 0 else 0) for f in (1.25, 0.5, 0.01, 16, 1000)]
    if isinstance(value, list):
        return [[c] + value[1:] for c in changes(value[0])] if value else [[1]]
    return [NAMES.get(value, str(value) + "x")]


def parse(text):
    try:
        return json.loads(text)
    except ValueError:
        return text


def read(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        return header, f.read()


def write(path, header, data):
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def put(value, path, new):
    if not path:
        return new
    value = copy.deepcopy(value)
    at = value
    for k in path[:-1]:
        at = at[k]
    at[path[-1]] = new
    return value


def run(program, root, name):
    done = subprocess.run([program, root, "algorithms", name], stdout=subprocess.PIPE, universal_newlines=True)
    return done.returncode, done.stdout


def main():
    program, folder = sys.argv[1:]
    tried = passed_over = 0
    with tempfile.TemporaryDirectory() as root:
        os.mkdir(os.path.join(root, "algorithms"))
        for source in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
            name = os.path.basename(source)
            target = os.path.join(root, "algorithms", name)
            header, data = read(source)
            metadata = header.get("__metadata__", {})
            write(target, header, data)
            code, out = run(program, root, name)
            if code != 0 or out.startswith("missing") or name.startswith("edit_matrices"):
                continue
            strange = dict(header, __metadata__=dict(metadata, unheard_of="7"))
            write(target, strange, data)
            code, out = run(program, root, name)
            tried += 1
            if code == 0 or "unheard_of" not in out:
                passed_over += 1
                print("FAIL %s: a member that nobody knows passes" % name)
            for key in metadata:
                for path, value in leaves(parse(metadata[key]), []):
                    if ignored(name, metadata, [key] + path):
                        continue
                    shown = False
                    for other in changes(value):
                        new = put(parse(metadata[key]), path, other)
                        text = new if isinstance(new, str) else json.dumps(new)
                        write(target, dict(header, __metadata__=dict(metadata, **{key: text})), data)
                        code, out = run(program, root, name)
                        shown = shown or code != 0
                        if shown:
                            break
                    tried += 1
                    if not shown:
                        passed_over += 1
                        print("FAIL %s: %s%s of %r may be anything" % (name, key, path or "", value))
            os.unlink(target)
    print("golden members: %d changes, %d passed over" % (tried, passed_over))
    return passed_over != 0 or tried < 100


if __name__ == "__main__":
    sys.exit(main())
