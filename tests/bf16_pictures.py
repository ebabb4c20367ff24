#!/usr/bin/env python3
"""How far pictures in bfloat16 are from those in float32, same seeds.

    bf16_pictures.py MODEL [--count 16] [--method heun --steps 18] [--peer PYTHON]

Largest and rms deviation of values in [-1, 1], for plain sums and Winograd's tiles (2 x 4 is the default without AMX);
beside them, those of memory "small", which is float32 by another algorithm.  Emulated where the processor has no bfloat16.
With --peer, a Python that has torch: one evaluation at sigma 2 of an EDM model, PyTorch's bfloat16 (tests/peers) against
its float32 beside ours against ours, all clipped to [-1, 1].  Needs numpy."""
import argparse, subprocess, sys, tempfile

import numpy as np

sys.path.insert(0, "bindings/python")
import consistency as cm

p = argparse.ArgumentParser()
p.add_argument("model")
p.add_argument("--count", type=int, default=16)
p.add_argument("--seed", type=int, default=0)
p.add_argument("--method", default="default")
p.add_argument("--steps", type=int)
p.add_argument("--peer", help="a Python with torch")
o = p.parse_args()
model, options = cm.Model.load(o.model), {"steps": o.steps} if o.steps else {}
ARITHMETIC = [("small float32", {"memory": "small"})] + [
    ("bf16, " + name, {"precision": "bf16", "debug": "bf16_emulate=1,bf16_tile=%d" % tile})
    for tile, name in ((1, "plain sums"), (2, "tiles of 2 x 2"), (3, "tiles of 2 x 4"), (4, "tiles of 4 x 4"))]


def show(name, values, exact):
    d = values.astype(np.float64) - exact
    print("%-22s largest %.2g, rms %.2g" % (name, np.abs(d).max(), np.sqrt((d ** 2).mean())), flush=True)


def compare(title, draw):
    exact = draw({})
    print("%s, rms %.3f" % (title, np.sqrt((exact.astype(np.float64) ** 2).mean())))
    for name, arithmetic in ARITHMETIC:
        show(name, draw(arithmetic), exact)


def theirs(*more):
    with tempfile.TemporaryDirectory() as d:
        subprocess.run([o.peer, "tests/peers/torch_net.py", o.model, "--check", d + "/x", *more], check=True, stderr=subprocess.DEVNULL)
        return np.clip(np.fromfile(d + "/x", np.float32), -1, 1)


compare("%d pictures" % o.count,
        lambda arithmetic: cm.Sampler(model, o.method, **options, **arithmetic).sample(o.count, seed=o.seed))
if o.peer:
    shape = (1, *model.image_shape)
    noise = np.sin(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)  # as --check makes it
    compare("one evaluation", lambda arithmetic: cm.Sampler(model, "multistep", sigmas=[2.0], **arithmetic).sample(1, noise=noise))
    exact = theirs()
    show("PyTorch's bf16, eager", theirs("--bf16"), exact)
    show("compiled", theirs("--bf16", "--compile"), exact)
