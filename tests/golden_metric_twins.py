"""golden_metric_twins.py GOLDEN_PROGRAM: files like those of golden/metrics, with other sizes, parts and neighbours.

Distances, scores and neighbours are computed here by their definitions, apart from the library.  The runner has to agree
with each file, and to disagree once any one number of it is changed: a member whose change passes is one that the runner
passes over."""

import json
import math
import os
import random
import struct
import subprocess
import sys
import tempfile

FORMS = {"F32": "f", "F64": "d", "I64": "q", "U8": "B"}
GIVEN = ("x", "y", "ref", "sample", "logits", "mu1", "mu2", "sigma1", "sigma2", "var1", "var2")


def write(path, tensors):
    header, data = {}, b""
    for name, (form, shape, values) in tensors.items():
        part = struct.pack("<%d%s" % (len(values), FORMS[form]), *values)
        header[name] = {"dtype": form, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def float32(v):
    return struct.unpack("<f", struct.pack("<f", v))[0]


def rows(rng, n, d, scale=1.0):
    """n x d values that float32 holds, with means that are not 0."""
    return [[float32(scale * rng.gauss(0.3 * k, 1 + 0.1 * k)) for k in range(d)] for _ in range(n)]


def flat(matrix):
    return [v for row in matrix for v in row]


# --- the definitions --------------------------------------------------------------------------------


def product(a, b):
    return [[math.fsum(x * y for x, y in zip(row, column)) for column in zip(*b)] for row in a]


def jacobi(matrix):
    """Eigenvalues, and the matrix whose columns are eigenvectors, of a symmetric matrix."""
    a, n = [row[:] for row in matrix], len(matrix)
    v = [[float(i == j) for j in range(n)] for i in range(n)]
    for _ in range(60):
        for p in range(n):
            for q in range(p + 1, n):
                if a[p][q] == 0:
                    continue
                t = 0.5 * math.atan2(2 * a[p][q], a[q][q] - a[p][p])
                c, s = math.cos(t), math.sin(t)
                for m in (a, v):
                    for row in m:
                        row[p], row[q] = c * row[p] - s * row[q], s * row[p] + c * row[q]
                a[p], a[q] = [c * x - s * y for x, y in zip(a[p], a[q])], [s * x + c * y for x, y in zip(a[p], a[q])]
    return [a[i][i] for i in range(n)], v


def moments(x):
    n, mean = len(x), [math.fsum(column) / len(x) for column in zip(*x)]
    off = [[v - m for v, m in zip(row, mean)] for row in x]
    return mean, [[v / (n - 1) for v in row] for row in product([list(c) for c in zip(*off)], off)]


def frechet(mean_a, a, mean_b, b):
    w, v = jacobi(a)
    root = product([[x * math.sqrt(max(l, 0)) for x, l in zip(row, w)] for row in v], [list(c) for c in zip(*v)])
    middle = product(product(root, b), root)
    values, _ = jacobi([[(middle[i][j] + middle[j][i]) / 2 for j in range(len(w))] for i in range(len(w))])
    return (math.fsum((x - y)**2 for x, y in zip(mean_a, mean_b)) + sum(a[i][i] + b[i][i] for i in range(len(w)))
            - 2 * math.fsum(math.sqrt(max(l, 0)) for l in values))


def score(logits):
    p = []
    for row in logits:
        top = max(row)
        e = [math.exp(v - top) for v in row]
        p.append([v / math.fsum(e) for v in e])
    mean = [math.fsum(c) / len(p) for c in zip(*p)]
    return math.exp(math.fsum(math.fsum(v * math.log(v / m) for v, m in zip(row, mean) if v > 0) for row in p) / len(p))


def apart(u, v):
    return math.fsum((x - y)**2 for x, y in zip(u, v))


def neighbours(ref, sample, k):
    radii = [[sorted(apart(u, v) for v in s)[k] for u in s] for s in (ref, sample)]
    inside = [[int(any(apart(u, v) <= r for v, r in zip(s, radius))) for u in points]
              for s, radius, points in ((ref, radii[0], sample), (sample, radii[1], ref))]
    return radii, inside, [sum(i) / len(i) for i in inside]


# --- files ------------------------------------------------------------------------------------------


def distances(rng):
    out = {}
    for name, n, m, d in (("one", 7, 5, 1), ("three", 30, 41, 3), ("nine", 65, 130, 9)):
        x, y = rows(rng, n, d), rows(rng, m, d, 1.5)
        (mx, sx), (my, sy) = moments(x), moments(y)
        out[name + ".x"], out[name + ".y"] = ("F32", [n, d], flat(x)), ("F32", [m, d], flat(y))
        out[name + ".fd"] = ("F64", [1], [frechet(mx, sx, my, sy)])
        for word, mean, sigma in (("x", mx, sx), ("y", my, sy)):
            out["%s.mu_%s" % (name, word)] = ("F64", [d], mean)
            out["%s.sigma_%s" % (name, word)] = ("F64", [d, d], flat(sigma))
            out["%s.trace_sigma_%s" % (name, word)] = ("F64", [1], [sum(sigma[i][i] for i in range(d))])
    (ma, a), (mb, b) = moments(rows(rng, 12, 4)), moments(rows(rng, 15, 4, 0.7))
    for word, mean, sigma in (("1", ma, a), ("2", mb, b)):
        out["given.mu" + word], out["given.sigma" + word] = ("F64", [4], mean), ("F64", [4, 4], flat(sigma))
    out["given.fd"] = ("F64", [1], [frechet(ma, a, mb, b)])
    v, w = [rng.uniform(0, 3) for _ in range(6)], [rng.uniform(0, 3) for _ in range(6)]
    out["straight.var1"], out["straight.var2"] = ("F64", [6], v), ("F64", [6], w)
    out["straight.mu1"], out["straight.mu2"] = ("F64", [6], [0.0] * 6), ("F64", [6], [0.5] * 6)
    out["straight.fd"] = ("F64", [1], [1.5 + math.fsum((math.sqrt(x) - math.sqrt(y))**2 for x, y in zip(v, w))])
    return out


def scores(rng):
    out = {}
    for name, n, classes, split in (("a", 50, 3, 50), ("b", 50, 7, 20), ("c", 33, 101, 1000), ("d", 12, 2, 1)):
        logits = [[float32(3 * v) for v in row] for row in rows(rng, n, classes)]
        parts = [score(logits[i:i + split]) for i in range(0, n, split)]
        out[name + ".logits"], out[name + ".split_size"] = ("F32", [n, classes], flat(logits)), ("I64", [1], [split])
        out[name + ".is"], out[name + ".is_splits"] = ("F64", [1], [sum(parts) / len(parts)]), ("F64", [len(parts)], parts)
    return out


def manifolds(rng):
    out = {}
    for name, n, m, d, k in (("k1", 40, 70, 3, 1), ("k2", 66, 64, 5, 2), ("k3", 65, 20, 2, None), ("k7", 90, 130, 6, 7)):
        ref, sample = rows(rng, n, d), rows(rng, m, d, 0.8)
        sample[0], ref[3], ref[4] = ref[0][:], ref[2][:], ref[2][:]
        radii, inside, both = neighbours(ref, sample, k or 3)
        out[name + ".ref"], out[name + ".sample"] = ("F32", [n, d], flat(ref)), ("F32", [m, d], flat(sample))
        out[name + ".radii2_ref"], out[name + ".radii2_sample"] = ("F64", [n], radii[0]), ("F64", [m], radii[1])
        out[name + ".in_ref"], out[name + ".in_sample"] = ("U8", [m], inside[0]), ("U8", [n], inside[1])
        out[name + ".precision_recall"] = ("F64", [2], both)
        if k:
            out[name + ".k"] = ("I64", [1], [k])
    return out


# --- the runner ------------------------------------------------------------------------------------


def passes(program, folder, tensors):
    path = os.path.join(folder, "metrics", "twin.safetensors")
    write(path, tensors)
    run = subprocess.run([program, folder, "metrics"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return run.returncode == 0 and "0 failed, 0 missing" in run.stdout, run.stdout


def changed(tensors, name, at):
    form, shape, values = tensors[name]
    values = values[:]
    values[at] = 1 - values[at] if form == "U8" else 5 if form == "I64" else values[at] * 1.001 + 1e-3
    return dict(tensors, **{name: (form, shape, values)})


def main():
    program, wrong, tried = os.path.abspath(sys.argv[1]), [], 0
    with tempfile.TemporaryDirectory(prefix="cm-twins-") as folder:
        os.mkdir(os.path.join(folder, "metrics"))
        for make in (distances, scores, manifolds):
            tensors = make(random.Random(7))
            good, text = passes(program, folder, tensors)
            if not good:
                wrong.append("%s: %s" % (make.__name__, text))
                continue
            for name in tensors:
                if name.rsplit(".", 1)[1] in GIVEN:
                    continue
                for at in {0, len(tensors[name][2]) - 1}:
                    tried += 1
                    if passes(program, folder, changed(tensors, name, at))[0]:
                        wrong.append("%s: %s is changed and passes" % (make.__name__, name))
            tried += 1
            if passes(program, folder, dict(tensors, **{"%s.new" % name.split(".")[0]: ("F64", [1], [0.0])}))[0]:
                wrong.append("%s: an unknown member passes" % make.__name__)
    for line in wrong:
        print("FAIL " + line)
    print("golden_metric_twins: 3 files of other sizes agree, %d changes of one number are found" % tried if not wrong
          else "golden_metric_twins: %d faults" % len(wrong))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
