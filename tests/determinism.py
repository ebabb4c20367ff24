#!/usr/bin/env python3
"""The same bits: determinism.py BUILD [--short].  The levels of docs/numerics.md that hold on one machine.

  D1  every method repeated, with two busy processes beside
  D2  every method by 1, 2, 3, 5 and 8 threads
  D3  image i the same in batches of 1, 2, 3, 7 and 16, at any position
  D4  20 training steps of every objective by 1 to 8 threads (--short: 6 steps, 1 and 3 threads)
  D6  other CPU levels: how far apart
"""
import argparse, hashlib, json, math, os, struct, subprocess, sys, tempfile

p = argparse.ArgumentParser()
p.add_argument("build")
p.add_argument("--short", action="store_true")
p.add_argument("--values", action="store_true", help=argparse.SUPPRESS)  # for D6: prints images as JSON
o = p.parse_args()
HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ["CONSISTENCY_LIBRARY"] = os.path.abspath(o.build) + "/lib/libconsistency.so.0"
sys.path.insert(0, HERE + "/bindings/python")
import consistency as cm  # noqa: E402
from consistency._lib import choices  # noqa: E402

SONG = {"type": "songunet", "img_resolution": 16, "in_channels": 3, "out_channels": 3, "model_channels": 16, "label_dim": 2,
        "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [8], "dropout": 0.1}
TWO = dict(SONG, second_time="concat")
GUIDED = dict(TWO, out_channels=6, conditions=3)
PAIRS = [(SONG, "edm", None), (SONG, "edm", "edm"), (SONG, "edm", "ecm"), (SONG, "ecm", None), (TWO, "average-velocity", None),
         (GUIDED, "average-velocity", None)]
OPTIONS = {"onestep": {}, "multistep": {"sigmas": [80, 0.8]}, "rk45": {"rtol": 0.1, "atol": 0.1}}
failures = []


def fail(text):
    failures.append(text)
    print("FAIL", text, flush=True)


def model(network, precond, seed=1):
    return cm.Model.create({"network": network, "precond": {"type": precond}}, seed=seed)


def of_method(method):
    return two if method == "flowmap" else jump if method in ("onestep", "multistep") else denoiser


def draw(method, n=5, first=0, batch=4, threads=1):
    options = OPTIONS.get(method, {"steps": 3})
    with cm.Sampler(of_method(method), method, batch=batch, threads=threads, **options) as s:
        images = s.sample(n, seed=7, first_index=first, labels=[(first + i) % 2 for i in range(n)])
    data = bytes(memoryview(getattr(images, "data", images)).cast("B"))
    size = len(data) // n
    return [data[i * size:(i + 1) * size] for i in range(n)]


def repetitions():
    times = 3 if o.short else 20
    busy = [] if o.short else [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        for method in methods:
            if len({b"".join(draw(method, threads=2)) for _ in range(times)}) != 1:
                fail("D1: %s is not the same every time" % method)
    finally:
        for b in busy:
            b.kill()
            b.wait()
    return "D1 %d repetitions of %d methods" % (times, len(methods))


def threads():
    for method in methods:
        want = draw(method)
        for n in (2, 3, 5, 8):
            if draw(method, threads=n) != want:
                fail("D2: %s by %d threads" % (method, n))
    return "D2 5 numbers of threads"


def batches():
    for method in methods:
        want = draw(method, 16, batch=16)
        for n in (1, 2, 3, 7):
            if draw(method, 16, batch=n) != want:
                fail("D3: %s in batches of %d" % (method, n))
        if draw(method, 5, first=9, batch=3) != want[9:14]:
            fail("D3: %s from image 9 on" % method)
    return "D3 5 sizes of a batch"


def pictures(step):
    return [[[[math.sin(0.37 * (i + 1) * x + 0.11 * (step + 1) * y + c) for x in range(16)] for y in range(16)] for c in range(3)]
            for i in range(4)]


def trained(objective, n):
    failure = None
    for network, precond, teacher in PAIRS:
        try:
            more = {"cmt_nfe": 3} if objective == "cmt" else {}
            with cm.Trainer(model(network, precond), teacher and model(network, teacher, 2), objective=objective, threads=n,
                            batch=12 if more else 4, microbatch=6 if more else 2, steps=20, lr=1e-3, seed=3, **more) as t:
                losses = [t.step(pictures(k), [0, 1, 0, 1])["loss"] for k in range(6 if o.short else 20)]
                with tempfile.TemporaryDirectory() as folder:
                    t.model("ema").save(folder + "/a.safetensors")
                    return losses, hashlib.sha256(open(folder + "/a.safetensors", "rb").read()).hexdigest()
        except cm.Error as error:
            failure = failure or error
    raise failure


def training():
    for objective in choices("objectives"):
        want = trained(objective, 1)
        for n in ((3,) if o.short else (2, 3, 4, 5, 6, 7, 8)):
            if trained(objective, n) != want:
                fail("D4: %s by %d threads" % (objective, n))
    return "D4 %d objectives" % len(choices("objectives"))


def images_of(level):
    env = dict(os.environ, ONEDNN_MAX_CPU_ISA=level)
    return json.loads(subprocess.run([sys.executable, __file__, o.build, "--values"], env=env, check=True, capture_output=True, text=True).stdout)


def levels():
    """Float32 of other instructions differs by rounding alone."""
    want, far = images_of("AVX2"), 0.0
    ran = {want.pop("kernels")}
    for level in ("SSE41", "AVX512_CORE"):
        got = images_of(level)
        ran.add(got.pop("kernels"))
        for method in want:
            apart = max(abs(a - b) for a, b in zip(want[method], got[method]))
            far = max(far, apart)
            if apart > 2e-4:
                fail("D6: %s on %s is %g from AVX2" % (method, level, apart))
    return "D6 %s at most %.1g apart" % (", ".join(sorted(ran)) if len(ran) > 1 else "one CPU level alone", far)


methods = choices("methods")
denoiser, jump, two = model(SONG, "edm"), model(SONG, "ecm"), model(TWO, "average-velocity")
if o.values:
    images = {m: struct.unpack("<%df" % (5 * 768), b"".join(draw(m))) for m in ("onestep", "multistep", "heun", "euler", "dpmpp")}
    print(json.dumps(dict(images, kernels=cm.build_info().split("kernels ")[1].split(";")[0])))
    sys.exit(0)
parts = [repetitions(), threads(), batches(), training(), levels()]
print("same bits: %s; %d failures" % (", ".join(parts), len(failures)))
sys.exit(bool(failures))
