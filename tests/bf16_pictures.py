#!/usr/bin/env python3
"""How far pictures in bfloat16 are from those in float32, same seeds.

    bf16_pictures.py MODEL [--count 16] [--method heun --steps 18]

Largest and rms deviation of values in [-1, 1], for tiles of 2 x 2 (the default) and of 4 x 4; beside them, those of
`lean`, which is float32 by another algorithm.  Emulated where the processor has no bfloat16.  Needs numpy."""
import argparse, sys

import numpy as np

sys.path.insert(0, "bindings/python")
import consistency as cm

p = argparse.ArgumentParser()
p.add_argument("model")
p.add_argument("--count", type=int, default=16)
p.add_argument("--seed", type=int, default=0)
p.add_argument("--method", default="default")
p.add_argument("--steps", type=int)
o = p.parse_args()
model, options = cm.Model.load(o.model), {"steps": o.steps} if o.steps else {}
exact = cm.Sampler(model, o.method, **options).sample(o.count, seed=o.seed)
print("%d pictures, rms %.3f" % (o.count, np.sqrt((exact.astype(np.float64) ** 2).mean())))
for name, arithmetic in (("lean float32", {"lean": True}), ("bf16, plain sums", {"dtype": "bf16", "bf16_emulate": True, "bf16_tile": 1}),
                         ("bf16, tiles of 2 x 2", {"dtype": "bf16", "bf16_emulate": True, "bf16_tile": 2}),
                         ("bf16, tiles of 2 x 4", {"dtype": "bf16", "bf16_emulate": True, "bf16_tile": 3}),
                         ("bf16, tiles of 4 x 4", {"dtype": "bf16", "bf16_emulate": True, "bf16_tile": 4})):
    d = cm.Sampler(model, o.method, **options, **arithmetic).sample(o.count, seed=o.seed).astype(np.float64) - exact
    print("%-22s largest %.2g, rms %.2g" % (name, np.abs(d).max(), np.sqrt((d ** 2).mean())), flush=True)
