#!/usr/bin/env python3
"""metrics_peers.py [--only WORD ...] [--speed] [--keep FOLDER]: the metrics against packages that others wrote.

Values of ours beside those of pytorch-fid, clean-fid, torch-fidelity, scipy, scikit-learn, prdc, lpips, piq and
scikit-image, on the same features and images and with the same weights, which follow from the names of the tensors:

    python3 -m venv venv && venv/bin/pip install torch torchvision scipy scikit-learn scikit-image lpips piq
    venv/bin/pip install --no-deps pytorch-fid clean-fid torch-fidelity prdc
    make check-metric-peers PYTHON=venv/bin/python

--speed times the Frechet distance of 2048 features and precision and recall of 10,000 images beside them; it takes 20
minutes and 8 GB.  CONSISTENCY_BUILD names the folder of the build.  A check whose package is absent is named as not run,
and the program then fails: it has passed only when everything has."""
import argparse
import contextlib
import importlib
import io
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import warnings

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.abspath(os.environ.get("CONSISTENCY_BUILD", os.path.join(ROOT, "build")))
sys.path.insert(0, os.path.join(ROOT, "bindings", "python"))
import consistency as cm
try:
    import numpy as np
except ImportError as error:
    sys.exit("check-metric-peers: NOT RUN: %s" % error)

warnings.filterwarnings("ignore")  # theirs, about arguments that they will drop
LIN = os.path.join(ROOT, "models", "features", "lpips_lin.safetensors")


class Absent(Exception):
    pass


def peer(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Absent("%s: %s" % (name, error))


class Report:
    def __init__(self, only):
        self.only, self.counts = only, {"ok": 0, "FAIL": 0, "NOT RUN": 0}

    def wants(self, group):
        return not self.only or any(word in group for word in self.only)

    def line(self, word, text):
        self.counts[word] += 1
        print("%-8s%s" % (word, text), flush=True)

    def run(self, group, function, *arguments):
        """function yields (what, how far apart, allowed)."""
        if not self.wants(group):
            return
        try:
            for what, apart, allowed in function(*arguments):
                self.line("ok" if apart <= allowed else "FAIL", "%s: %s: %.2g of %.2g" % (group, what, apart, allowed))
        except Absent as error:
            self.line("NOT RUN", "%s: %s" % (group, error))
        except Exception as error:
            self.line("FAIL", "%s: %s: %s" % (group, type(error).__name__, error))

    def finish(self):
        print("check-metric-peers: %(ok)d agree, %(FAIL)d do not, %(NOT RUN)d were not run" % self.counts)
        return self.counts["ok"] > 0 and self.counts["FAIL"] == 0 and self.counts["NOT RUN"] == 0


def relative(ours, theirs):
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    assert a.shape == b.shape, "shape %s, theirs %s" % (a.shape, b.shape)
    assert np.isfinite(b).all() and np.abs(b).max() > 0, "their values say nothing"
    return np.abs(a - b).max() / np.abs(b).max()


def length(ours, theirs):
    """Of the difference, relative to theirs."""
    assert np.shape(ours) == np.shape(theirs)
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


# --- weights that follow from their names ("formula v1") ------------------------------------------------


def uniform(name, n):
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = (seed ^ byte) * 0x01000193 & 0xFFFFFFFF
    h = np.arange(n, dtype=np.uint64) * np.uint64(0x9E3779B1) + np.uint64(seed) & np.uint64(0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        h = (h ^ (h >> np.uint64(shift))) * np.uint64(factor) & np.uint64(0xFFFFFFFF)
    return h.astype(np.uint32).view(np.int32) * 2.0**-31


def weight(name, shape):
    last, n = name.rsplit(".", 1)[-1], int(np.prod(shape))
    u = uniform(name, n)
    if last in ("running_var", "var"):
        v = 1 + 0.5 * u
    elif last in ("running_mean", "mean", "beta"):
        v = 0.1 * u
    elif len(shape) > 1:
        v = u * np.sqrt(6 / (n / shape[0]))
    else:
        v = 0.1 * u if last == "bias" else 1 + 0.2 * u
    return v.astype(np.float32).reshape(shape)


def write_tensors(path, tensors):
    header, at = {}, 0
    for name, v in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(v.shape), "data_offsets": [at, at + v.nbytes]}
        at += v.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for v in tensors.values():
            f.write(v.tobytes())


def read_tensors(path):
    with open(path, "rb") as f:
        blob = f.read()
    n = struct.unpack("<Q", blob[:8])[0]
    return {k: np.frombuffer(blob[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]], np.float32).reshape(v["shape"])
            for k, v in json.loads(blob[8:8 + n]).items() if k != "__metadata__"}


def pictures(n, h, w, seed):
    """Bytes n x H x W x 3: colours that change slowly, edges, and some noise."""
    rng, out = np.random.default_rng(seed), []
    y, x = np.mgrid[0:h, 0:w] / 16.0
    for _ in range(n):
        a = rng.normal(size=(4, 3))
        image = np.sin(y[..., None] * a[0] + a[1]) * np.cos(x[..., None] * a[2] + a[3]) * 90 + 128
        image[h // 3:, : w // 2] += rng.normal(size=3) * 30
        out.append(image + rng.normal(size=(h, w, 3)) * 8)
    return np.clip(np.round(out), 0, 255).astype(np.uint8)


# --- scores of features -----------------------------------------------------------------------------------


def features(n, d, seed, of=None):
    """n rows of d features as networks have them: none below 0, correlated, some always 0."""
    common, rng, k = np.random.default_rng(77), np.random.default_rng(seed), of or d
    mean, mix = 0.3 * common.normal(size=d), common.normal(size=(k, d)) / np.sqrt(k)
    rows = (rng.normal(size=(n, k)) @ mix + mean).astype(np.float32)
    rows[:, :: 17] = 0
    return np.maximum(rows, 0)


def frechet():
    fid, clean, linalg = peer("pytorch_fid.fid_score"), peer("cleanfid.fid"), peer("scipy.linalg")
    for what, n, m, d, of, allowed in (("500 and 600 of 64", 500, 600, 64, None, 1e-9), ("40 and 50 of 64", 40, 50, 64, None, 1e-5),
                                       ("900 and 700 of 256, rank 100", 900, 700, 256, 100, 1e-5), ("8 and 9 of 3", 8, 9, 3, None, 1e-9)):
        x, y = features(n, d, 1, of), features(m, d, 2, of) * np.float32(1.2)
        given = [v for rows in (x, y) for v in (rows.astype(np.float64).mean(0), np.cov(rows.astype(np.float64), rowvar=False))]
        ours = cm.frechet_distance(x, y)
        yield what + ", pytorch-fid", relative(ours, fid.calculate_frechet_distance(*given)), allowed
        yield what + ", clean-fid", relative(ours, clean.frechet_distance(*given)), allowed
        root = linalg.sqrtm(given[1] @ given[3])
        theirs = ((given[0] - given[2])**2).sum() + np.trace(given[1] + given[3]) - 2 * np.trace(root).real
        yield what + ", scipy", relative(ours, theirs), allowed
        s = cm.Statistics(d)
        s.add(x)
        yield what + ", mean and covariance", max(relative(s.values[0], given[0]), relative(s.values[1], given[1])), 1e-13


def kernel():
    clean = peer("cleanfid.fid")
    for n, d in ((200, 64), (300, 2048)):
        x, y = features(n, d, 3), features(n, d, 4) * np.float32(1.1)
        theirs = clean.kernel_distance(x.astype(np.float64), y.astype(np.float64), num_subsets=1, max_subset_size=n)
        yield "%d of %d, clean-fid" % (n, d), relative(cm.kernel_distance(x, y, subsets=1, size=n)[0], theirs), 1e-10


def inception_score():
    score, torch = peer("torch_fidelity.metric_isc"), peer("torch")
    for n, classes, parts in ((1000, 10, 10), (250, 1008, 1), (300, 1008, 3)):
        logits = np.random.default_rng(5).normal(size=(n, classes)).astype(np.float32) * 4
        theirs = score.isc_features_to_metric(torch.from_numpy(logits), parts, shuffle=False)["inception_score_mean"]
        ours = cm.inception_score(logits, split=n // parts, logits=True)
        yield "%d of %d in %d, torch-fidelity" % (n, classes, parts), relative(ours, theirs), 1e-12


def by_neighbours(x, y, k):
    """The definition, over scikit-learn's neighbours."""
    neighbours = peer("sklearn.neighbors").NearestNeighbors

    def within(points, of):
        index = neighbours(n_neighbors=k + 1, algorithm="brute", metric="euclidean").fit(of)
        radii = index.kneighbors(of)[0][:, k]
        inside, all_of = np.zeros(len(points), bool), neighbours(n_neighbors=len(of), algorithm="brute").fit(of)
        for at in range(0, len(points), 500):
            distances, which = all_of.kneighbors(points[at:at + 500])
            inside[at:at + 500] = (distances <= radii[which]).any(1)
        return inside.mean()
    x, y = x.astype(np.float64), y.astype(np.float64)
    return within(y, x), within(x, y)


def precision_recall():
    prc, torch, prdc = peer("torch_fidelity.metric_prc"), peer("torch"), peer("prdc")
    for n, m, d, of, k in ((500, 700, 8, None, 3), (1500, 1200, 64, None, 3), (800, 900, 64, None, 5), (600, 500, 2048, 20, 3)):
        x, y = features(n, d, 6, of), features(m, d, 7, of) * np.float32(0.8)
        ours, what = cm.precision_recall(x, y, k), "%d and %d of %d, k %d" % (n, m, d, k)
        assert 0.02 < min(ours) and max(ours) < 1, "precision and recall %s say nothing" % (ours,)
        yield what + ", scikit-learn", np.abs(np.subtract(ours, by_neighbours(x, y, k))).max(), 0
        theirs = prc.calculate_precision_recall_full(torch.from_numpy(y).double(), torch.from_numpy(x).double(), k)
        yield what + ", torch-fidelity", np.abs(np.subtract(ours, theirs)).max(), 1e-7  # theirs is a float32 mean
        if len(np.unique(x, axis=0)) < n or len(np.unique(y, axis=0)) < m:
            continue  # prdc asks for less than the radius, so that points which are the same lie outside of each other
        with contextlib.redirect_stdout(io.StringIO()):
            theirs = prdc.compute_prdc(x.astype(np.float64), y.astype(np.float64), k)
        yield what + ", prdc", np.abs(np.subtract(ours, (theirs["precision"], theirs["recall"]))).max(), 0


# --- LPIPS --------------------------------------------------------------------------------------------------

BACKBONES = {"vgg": "vgg16", "alex": "alexnet", "squeeze": "squeezenet1_1"}


def backbone(net):
    """torchvision's network with weights by their names."""
    torch, models = peer("torch"), peer("torchvision.models")
    made = getattr(models, BACKBONES[net])(weights=None)
    made.load_state_dict({n: torch.from_numpy(weight(n, tuple(v.shape))) for n, v in made.state_dict().items()})
    return made.eval()


def gradients(distance, x, y):
    torch = peer("torch")
    a = torch.from_numpy(x).double().requires_grad_()
    d = distance(a, torch.from_numpy(y).double()).reshape(-1)
    d.sum().backward()
    return d.detach().numpy(), a.grad.numpy()


def pairs(n, h, w):
    rng = np.random.default_rng(8)
    x = pictures(n, h, w, 9).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(127.5) - 1
    return x, np.clip(x + 0.2 * rng.normal(size=x.shape).astype(np.float32), -1, 1)


def lpips_package(net, folder):
    package, torch = peer("lpips"), peer("torch")
    trunk = backbone(net).state_dict()
    path = os.path.join(folder, net + ".safetensors")
    write_tensors(path, {n: v.numpy() for n, v in trunk.items() if n.startswith("features.")})
    for uniform_too in (False, True):
        theirs = package.LPIPS(net=net, pnet_rand=True, lpips=not uniform_too, verbose=False)
        with torch.no_grad():
            for name, v in theirs.net.named_parameters():  # slice2.5.weight is features.5.weight
                v.copy_(trunk["features." + name.split(".", 1)[1]])
        theirs = theirs.double().eval()
        for p in theirs.parameters():
            p.requires_grad_(False)
        ours = cm.Lpips(path, None if uniform_too else LIN, uniform=uniform_too)
        word = ", every channel the same" if uniform_too else ""
        for n, h, w in ((2, 64, 64), (1, 45, 37), (1, 33, 96)):
            x, y = pairs(n, h, w)
            d, slope = gradients(theirs, x, y)
            distances, gradient = ours.gradient(x, y)
            what = "%d x %d%s" % (h, w, word)
            yield what, relative(distances, d), 1e-5
            yield what + ", layers", relative(ours.layers(x, y), np.stack([
                v.numpy().reshape(-1) for v in theirs(torch.from_numpy(x).double(), torch.from_numpy(y).double(), retPerLayer=True)[1]], 1)), 1e-5
            yield what + ", gradient", length(gradient, slope), 1e-4
            theirs.spatial = True
            yield what + ", map", relative(ours.map(x, y), theirs(torch.from_numpy(x).double(), torch.from_numpy(y).double()).numpy()), 1e-4
            theirs.spatial = False


def piq_package(folder):
    """As openai/consistency_models has it: its resize, means instead of maxima."""
    perceptual, torch = peer("piq.perceptual"), peer("torch")
    path, lin = os.path.join(folder, "vgg-for-piq.safetensors"), read_tensors(LIN)
    made = backbone("vgg")
    write_tensors(path, {n: v.numpy() for n, v in made.state_dict().items() if n.startswith("features.")})
    perceptual.vgg16 = lambda **_: backbone("vgg")
    torch.hub.load_state_dict_from_url = lambda *_, **__: [
        torch.from_numpy(lin["vgg.lin%d.model.1.weight" % i].copy()) for i in range(5)]
    resized = lambda v: torch.nn.functional.interpolate(v, (224, 224), mode="bilinear")
    for pooling, replaced in (("mean", True), ("max", False)):
        theirs = perceptual.LPIPS(replace_pooling=replaced, reduction="none").double()
        for resize, before in (("none", lambda v: v), ("small", resized)):
            x, y = pairs(2, 48, 40)
            d, slope = gradients(lambda a, b: theirs((before(a) + 1) / 2, (before(b) + 1) / 2), x, y)
            distances, gradient = cm.Lpips(path, LIN, pooling=pooling, resize=resize).gradient(x, y)
            yield "pooling %s, resize %s" % (pooling, resize), relative(distances, d), 1e-5
            yield "pooling %s, resize %s, gradient" % (pooling, resize), length(gradient, slope), 1e-4 if resize == "none" else 5e-3


# --- pairs of pictures -----------------------------------------------------------------------------------


def evaluate(*arguments):
    done = subprocess.run([os.path.join(BUILD, "bin", "cm-eval"), "--json", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write_pictures(folder, images):
    image = peer("PIL.Image")
    os.makedirs(folder, exist_ok=True)
    for i, picture in enumerate(images):
        image.fromarray(picture).save(os.path.join(folder, "%04d.png" % i))
    return folder


def paired(folder):
    metrics, piq, torch = peer("skimage.metrics"), peer("piq"), peer("torch")
    x = pictures(12, 40, 56, 10)
    rng = np.random.default_rng(11)
    y = np.clip(x + np.round(rng.normal(size=x.shape) * np.linspace(3, 40, 12).reshape(-1, 1, 1, 1)), 0, 255).astype(np.uint8)
    found = evaluate("--pairs", write_pictures(os.path.join(folder, "x"), x), write_pictures(os.path.join(folder, "y"), y))
    psnr = [metrics.peak_signal_noise_ratio(a, b, data_range=255) for a, b in zip(x, y)]
    ssim = [metrics.structural_similarity(a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                                          channel_axis=2) for a, b in zip(x, y)]
    yield "PSNR, scikit-image", relative(found["psnr"], np.mean(psnr)), 5e-6  # six digits are printed, of deviations four
    yield "PSNR's deviation, scikit-image", relative(found["psnr-deviation"], np.std(psnr)), 5e-4
    yield "SSIM, scikit-image", relative(found["ssim"], np.mean(ssim)), 5e-6
    yield "SSIM's deviation, scikit-image", relative(found["ssim-deviation"], np.std(ssim)), 5e-4
    a, b = (torch.from_numpy(v.transpose(0, 3, 1, 2).copy()).double() for v in (x, y))
    yield "PSNR, piq", relative(found["psnr"], piq.psnr(a, b, data_range=255.0).item()), 5e-6
    yield "SSIM, piq", relative(found["ssim"], piq.ssim(a, b, data_range=255.0, downsample=False).item()), 5e-6


# --- the Inception network --------------------------------------------------------------------------------


def inception_weights(folder):
    """A file that all of them read, and its tensors."""
    torch, tensors = peer("torch"), {}
    with open(os.path.join(ROOT, "tests", "data", "golden", "metrics", "keys_inception_pytorch_fid.tsv")) as keys:
        for line in keys:
            name, _, shape = line.rstrip("\n").partition("\t")
            sizes = tuple(int(v) for v in shape.split("x")) if shape[:1].isdigit() else ()
            tensors[name] = torch.from_numpy(weight(name, sizes)) if sizes else torch.tensor(0)
    path = os.path.join(folder, "inception.pth")
    torch.save(tensors, path)
    return path, tensors


SIZES = ((6, 32, 32), (2, 48, 64), (2, 299, 299), (2, 320, 400))


def inception_pytorch(folder):
    network = peer("pytorch_fid.inception")
    torch = peer("torch")
    path, tensors = inception_weights(folder)
    network.load_state_dict_from_url = lambda *_, **__: tensors
    theirs, ours = network.InceptionV3([0, 1, 2, 3]).eval(), cm.Features(path, "inception-pytorch")
    for n, h, w in SIZES:
        images = pictures(n, h, w, 12)
        rows = ours.run_rows(images)
        with torch.no_grad():
            outputs = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float() / 255)
        for name, value in zip(("early64", "early192", "early768", "values"), outputs):
            yield "%d x %d, %s, pytorch-fid" % (h, w, name), length(rows[name], value.mean((2, 3)).numpy()), 1e-5


def inception_openai(folder):
    extractor, torch = peer("torch_fidelity.feature_extractor_inceptionv3"), peer("torch")
    path, _ = inception_weights(folder)
    names = {"early64": "64", "early192": "192", "early768": "768", "values": "2048", "scores": "logits_unbiased", "logits": "logits"}
    theirs = extractor.FeatureExtractorInceptionV3("peer", list(names.values()), feature_extractor_weights_path=path)
    seen = []
    theirs.Mixed_6d.branch1x1.register_forward_hook(lambda module, given, output: seen.append(output))
    ours = cm.Features(path, "inception")
    for n, h, w in SIZES:
        images = pictures(n, h, w, 12)
        rows = ours.run_rows(images)
        with torch.no_grad():
            outputs = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
        for name, value in zip(names, outputs):
            yield "%d x %d, %s, torch-fidelity" % (h, w, name), length(rows[name], value.numpy()), 1e-5
        spatial = seen.pop()[:, :7].permute(0, 2, 3, 1).reshape(n, -1).numpy()
        yield "%d x %d, spatial, torch-fidelity" % (h, w), length(rows["spatial"], spatial), 1e-5


def whole_fid(folder):
    """Folders of pictures to a distance, by both programs."""
    network, score = peer("pytorch_fid.inception"), peer("pytorch_fid.fid_score")
    path, tensors = inception_weights(folder)
    network.load_state_dict_from_url = lambda *_, **__: tensors
    sets = [write_pictures(os.path.join(folder, "fid%d" % i), pictures(24, 40, 40, 20 + i)) for i in range(2)]
    with contextlib.redirect_stderr(io.StringIO()):
        theirs = score.calculate_fid_given_paths(sets, 8, "cpu", 2048, num_workers=0)
    found = evaluate("--metric", "fid", "--few", "--inputs", "pytorch-fid", "--features", path, *sets)["fid"]
    yield "of 24 and 24 pictures, pytorch-fid", relative(found, theirs), 5e-4  # four digits are printed


# --- speed ------------------------------------------------------------------------------------------------


def timed(work):
    begin, processor = time.time(), time.process_time()
    value = work()
    return value, time.time() - begin, time.process_time() - processor


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def speed_frechet():
    fid = peer("pytorch_fid.fid_score")
    x, y = features(10000, 2048, 1), features(10000, 2048, 2) * np.float32(1.1)
    a, b = cm.Statistics(2048), cm.Statistics(2048)
    _, seconds, used = timed(lambda: (a.add(x), b.add(y)))
    print("statistics of 2 x 10,000 x 2048: %.1f s (%.1f s of processors), %.0f MiB at the peak" % (seconds, used, peak()), flush=True)
    given, seconds, used = timed(lambda: [v for rows in (x, y) for v in (np.mean(rows.astype(np.float64), 0), np.cov(rows, rowvar=False))])
    print("  numpy's mean and cov: %.1f s (%.1f s)" % (seconds, used), flush=True)
    before = peak()
    ours, seconds, used = timed(lambda: cm.frechet_distance(a, b))
    print("Frechet distance of 2048: %.1f s (%.1f s of processors), peak %.0f MiB more" % (seconds, used, peak() - before), flush=True)
    theirs, seconds, used = timed(lambda: fid.calculate_frechet_distance(*given))
    print("  pytorch-fid's over scipy's sqrtm: %.1f s (%.1f s)" % (seconds, used), flush=True)
    yield "Frechet distance", relative(ours, theirs), 1e-5


def speed_neighbours():
    prc, torch = peer("torch_fidelity.metric_prc"), peer("torch")
    x, y = features(10000, 2048, 1), features(10000, 2048, 2) * np.float32(0.9)
    before = peak()
    ours, seconds, used = timed(lambda: cm.precision_recall(x, y))
    print("precision and recall of 10,000 x 10,000 x 2048: %.1f s (%.1f s of processors), peak %.0f MiB more: %s"
          % (seconds, used, peak() - before, ours), flush=True)
    before = peak()
    theirs, seconds, used = timed(lambda: prc.calculate_precision_recall_full(torch.from_numpy(y), torch.from_numpy(x)))
    print("  torch-fidelity's, float32: %.1f s (%.1f s), peak %.0f MiB more: %s" % (seconds, used, peak() - before, theirs), flush=True)
    yield "precision and recall", np.abs(np.subtract(ours, theirs)).max(), 1e-3


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=[], help="run groups whose name has one of these words")
    parser.add_argument("--speed", action="store_true", help="time ours and theirs too")
    parser.add_argument("--keep", help="a folder for the files that are made; they stay there")
    o = parser.parse_args()
    report = Report(o.only)
    with tempfile.TemporaryDirectory(prefix="cm-peers-") as scratch:
        folder = o.keep or scratch
        os.makedirs(folder, exist_ok=True)
        report.run("frechet", frechet)
        report.run("kernel", kernel)
        report.run("inception-score", inception_score)
        report.run("precision-recall", precision_recall)
        for net in BACKBONES:
            report.run("lpips-" + net, lpips_package, net, folder)
        report.run("piq", piq_package, folder)
        report.run("pairs", paired, folder)
        report.run("inception-pytorch", inception_pytorch, folder)
        report.run("inception-openai", inception_openai, folder)
        report.run("fid", whole_fid, folder)
        if o.speed:
            report.run("speed-neighbours", speed_neighbours)
            report.run("speed-frechet", speed_frechet)
    sys.exit(not report.finish())


if __name__ == "__main__":
    main()
