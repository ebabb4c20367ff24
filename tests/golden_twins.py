"""golden_twins.py GOLDEN_PROGRAM FILE...: training runs of the toy network with other numbers than the files'.

A consistency distillation of golden/algorithms (train_cd_*) is replayed here, in Python and apart from the library: first
as it is, which has to give the file's own numbers, then with another solver, range of noise levels, rho, number of
scales, weighting, distance, optimizer numbers and averages.  The runner has to agree with each twin by itself."""

import json
import math
import os
import struct
import subprocess
import sys
import tempfile

FORMS = {"F32": "f", "F64": "d", "I64": "q", "I32": "i", "U8": "B", "BOOL": "?"}
PARTS = ("M", "u", "v", "a", "b", "E")


class File:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
            self.data = f.read()
        self.metadata = self.header.pop("__metadata__")
        self.changed = {}

    def shape(self, name):
        return self.header[name]["shape"]

    def read(self, name):
        if name not in self.header:
            return None
        begin, end = self.header[name]["data_offsets"]
        form = FORMS[self.header[name]["dtype"]]
        return list(struct.unpack("<%d%s" % ((end - begin) // struct.calcsize("<" + form), form), self.data[begin:end]))

    def number(self, key):
        return json.loads(self.metadata[key])

    def write(self, path, metadata):
        """Changed tensors keep the distance between their float32 and their float64 run: it is the tolerance."""
        header, data = {"__metadata__": metadata}, b""
        for name, entry in sorted(self.header.items(), key=lambda e: e[1]["data_offsets"]):
            values = self.read(name)
            exact = self.changed.get(name[:-4] if name.endswith(".f64") else name)
            if exact is not None and name.endswith(".f64"):
                values = exact
            elif exact is not None and name + ".f64" in self.header:
                values = [e + v - w for e, v, w in zip(exact, values, self.read(name + ".f64"))]
            elif exact is not None:
                values = exact
            raw = struct.pack("<%d%s" % (len(values), FORMS[entry["dtype"]]), *values)
            header[name] = dict(entry, data_offsets=[len(data), len(data) + len(raw)])
            data += raw
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        with open(path, "wb") as f:
            f.write(struct.pack("<Q", len(text)) + text + data)


def karras(i, n, o):
    top, bottom = o["sigma_max"] ** (1 / o["rho"]), o["sigma_min"] ** (1 / o["rho"])
    return (top + i / (n - 1) * (bottom - top)) ** o["rho"]


def scalings(sigma, o, consistency):
    d, root = o["sigma_data"], math.sqrt(sigma ** 2 + o["sigma_data"] ** 2)
    above = sigma - o["sigma_min"] if consistency else sigma
    return 1 / root, d * d / (above ** 2 + d * d), above * d / root, 250 * math.log(sigma)


def denoise(w, x, sigma, o, label, mask, consistency):
    """D of one pixel's three values, and what its gradient needs."""
    c_in, c_skip, c_out, c = scalings(sigma, o, consistency)
    inner = [c_in * v for v in x]
    th = [math.tanh(sum(w["M"][3 * d + k] * inner[k] for k in range(3)) + o["tscale"] * c * w["u"][d] + w["v"][d] +
                    (w["E"][3 * label + d] if label is not None else 0)) for d in range(3)]
    out = [c_skip * x[d] + c_out * (w["a"][d] * inner[d] + w["b"][d] * th[d] * mask[d]) for d in range(3)]
    return out, inner, th, c_out, c


def ode_step(teacher, x, t, t2, o, label):
    one = (1, 1, 1)
    slope = [(v - w) / t for v, w in zip(x, denoise(teacher, x, t, o, label, one, False)[0])]
    there = [v + s * (t2 - t) for v, s in zip(x, slope)]
    if o["solver"] == "euler":
        return there
    second = [(v - w) / t2 for v, w in zip(there, denoise(teacher, there, t2, o, label, one, False)[0])]
    return [v + (s + r) / 2 * (t2 - t) for v, s, r in zip(x, slope, second)]


def weight(name, t, o):
    return {"uniform": 1, "snr": t ** -2, "snr+1": t ** -2 + 1, "karras": t ** -2 + o["sigma_data"] ** -2}[name]


def radam(p, g, m, v, k, o):
    b1, b2, eps = o["betas"][0], o["betas"][1], o["eps"]
    last, fade = 2 / (1 - b2) - 1, 1 - b2 ** k
    rho = last - 2 * k * b2 ** k / fade
    for i in range(len(p)):
        slope = g[i] + o["weight_decay"] * p[i]
        m[i] = b1 * m[i] + (1 - b1) * slope
        v[i] = b2 * v[i] + (1 - b2) * slope * slope
        step = m[i] / (1 - b1 ** k)
        if rho > 5:
            step *= math.sqrt((rho - 4) * (rho - 2) * last / ((last - 4) * (last - 2) * rho) * fade) / (math.sqrt(v[i]) + eps)
        p[i] -= o["lr"] * step


def split(flat, classes):
    at, w = 0, {}
    for name, n in zip(PARTS, (9, 3, 3, 3, 3, 3 * classes)):
        w[name] = flat[at:at + n]
        at += n
    return w


def replay(f, o):
    """losses, parameters after each step, final sets; all float64."""
    steps, batch = f.shape("batch_index")
    data, rows, flip, noise = f.read("data"), f.read("batch_index"), f.read("flip"), f.read("noise")
    u, masks, labels = f.read("u_index"), f.read("dropout_masks"), f.read("labels")
    classes = f.shape("init.E")[0] if labels else 0
    p = sum((f.read("init." + n) or [] for n in PARTS), [])
    teacher = split(sum((f.read("teacher." + n) or [] for n in PARTS), []), classes)
    target, averages = list(p), [list(p) for _ in o["ema_rates"]]
    m, v, losses, flat = [0.0] * len(p), [0.0] * len(p), [], []
    for k in range(steps):
        w, aim, g = split(p, classes), split(target, classes), [0.0] * len(p)
        for i in range(batch):
            at = k * batch + i
            row, n = rows[at], o["scales"]
            index = min(int(u[at] * (n - 1)), n - 2)
            t, t2 = karras(index, n, o), karras(index + 1, n, o)
            label = labels[row] if labels else None
            scale, loss = weight(o["weight_schedule"], t, o), 0.0
            for q in range(64):
                y, x = divmod(q, 8)
                source = y * 8 + (7 - x if flip and flip[at] else x)
                noisy = [data[row * 192 + d * 64 + source] + t * noise[at * 192 + d * 64 + q] for d in range(3)]
                mask = [masks[at * 192 + d * 64 + q] / (1 - o["dropout"]) if masks else 1 for d in range(3)]
                there = ode_step(teacher, noisy, t, t2, o, label)
                want = denoise(aim, there, t2, o, label, mask, True)[0]
                got, inner, th, c_out, c = denoise(w, noisy, t, o, label, mask, True)
                for d in range(3):
                    off = got[d] - want[d]
                    loss += scale * (abs(off) if o["loss_norm"] == "l1" else off * off) / 192
                    slope = math.copysign(1, off) if o["loss_norm"] == "l1" else 2 * off
                    s = slope * scale / 192 / batch * c_out
                    dh = s * w["b"][d] * mask[d] * (1 - th[d] ** 2)
                    g[15 + d] += s * inner[d]
                    g[18 + d] += s * th[d] * mask[d]
                    g[9 + d] += dh * o["tscale"] * c
                    g[12 + d] += dh
                    for j in range(3):
                        g[3 * d + j] += dh * inner[j]
                    if label is not None:
                        g[21 + 3 * label + d] += dh
            losses.append(loss)
        radam(p, g, m, v, k + 1, o)
        for rate, e in zip(o["ema_rates"], averages):
            e[:] = [rate * b + (1 - rate) * a for a, b in zip(p, e)]
        target = [o["mu"] * b + (1 - o["mu"]) * a for a, b in zip(p, target)]
        flat += p
    sets = [("net", p), ("target", target)] + [("ema_%g" % r, e) for r, e in zip(o["ema_rates"], averages)]
    out = {"losses": losses, "params_flat_per_step": flat, "lr": [o["lr"]] * steps, "N": [o["scales"]] * steps,
           "mu": [o["mu"]] * steps}
    for name, values in sets:
        for part, numbers in split(values, classes).items():
            out["final.%s.%s" % (name, part)] = numbers
    return {name: values for name, values in out.items() if name in f.header}


def options(f):
    o = {k: f.number(k) for k in ("sigma_min", "sigma_max", "rho", "sigma_data", "tscale", "lr", "weight_decay", "dropout")}
    o.update({k: f.metadata[k] for k in ("solver", "weight_schedule", "loss_norm")})
    arguments = f.number("ema_scale_args")
    o.update(scales=arguments[3], mu=arguments[1], betas=(0.9, 0.999), eps=1e-8,
             ema_rates=[float(r) for r in f.metadata["ema_rates"].split(",")])
    return o


def metadata_of(f, o):
    m = dict(f.metadata)
    for k in ("sigma_min", "sigma_max", "rho", "sigma_data", "tscale", "lr", "weight_decay"):
        m[k] = json.dumps(o[k])
    m.update(solver=o["solver"], weight_schedule=o["weight_schedule"], loss_norm=o["loss_norm"],
             optimizer="RAdam betas (%g,%g) eps %g" % (o["betas"] + (o["eps"],)),
             ema_scale_args=json.dumps(["fixed", o["mu"], "fixed", o["scales"], o["scales"], 50, 10]))
    return m


TWINS = [{}, {"solver": "euler"}, {"solver": "euler", "sigma_min": 0.01, "sigma_max": 40.0}, {"rho": 3.0, "sigma_data": 0.7},
         {"scales": 9, "weight_schedule": "karras", "lr": 0.002}, {"loss_norm": "l1", "solver": "euler"},
         {"betas": (0.8, 0.99), "eps": 1e-4, "weight_decay": 0.05}, {"mu": 0.8, "solver": "euler", "tscale": 0.002}]


def main():
    program, files = sys.argv[1], sys.argv[2:]
    bad = 0
    with tempfile.TemporaryDirectory() as root:
        os.mkdir(os.path.join(root, "algorithms"))
        for path in files:
            f = File(path)
            for change in TWINS:
                o = dict(options(f), **change)
                f.changed = replay(f, o)
                if not change:
                    for name, values in f.changed.items():
                        want = f.read(name + ".f64") or f.read(name)
                        off = max(abs(a - b) for a, b in zip(values, want))
                        if off > 1e-9 * max(map(abs, want)) + 1e-12:
                            bad += 1
                            print("FAIL %s: the replay's %s is off by %g" % (path, name, off))
                name = "train_cd_twin.safetensors"
                f.write(os.path.join(root, "algorithms", name), metadata_of(f, o))
                done = subprocess.run([program, root, "algorithms", name], stdout=subprocess.PIPE, universal_newlines=True)
                if done.returncode != 0 or not done.stdout.startswith("ok"):
                    bad += 1
                    print("FAIL %s with %s: %s" % (os.path.basename(path), change, done.stdout.split("\n")[0]))
    print("golden twins: %d of %d files, %d bad" % (len(TWINS) * len(files), len(files), bad))
    return bad != 0 or not files


if __name__ == "__main__":
    sys.exit(main())
