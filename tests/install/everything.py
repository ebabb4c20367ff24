"""everything.py MODEL FOLDER: what everything.c does, in Python."""
import os
import sys

import consistency as cm

model_path, folder = sys.argv[1:]
N, SIDE = 6, 32

with open(model_path, "rb") as f:
    model = cm.Model.load(f.read())
with cm.Checkpoint(model_path) as file:
    assert file.kind == "model" and file.check()["is_sound"]
sampler = cm.Sampler(model, threads=2)
images = sampler.sample(N, labels=[0, 1] * 3, seed=1).tolist()

pictures = os.path.join(folder, "pictures")
os.mkdir(pictures)
for i in range(N):
    png = cm.encode_image(images[i], "png")
    assert cm.decode_image(png).shape[-2:] == (SIDE, SIDE)
    with open(os.path.join(pictures, "%d_%d.png" % (i % 2, i)), "wb") as f:
        f.write(png)

mask = [[[[1.0 if row >= SIDE // 2 else 0.0] * SIDE for row in range(SIDE)]]]
result = sampler.inpaint(images[:1], mask, labels=[0], seed=1).tolist()
assert result[0][0][:SIDE // 2] == images[0][0][:SIDE // 2]

dataset = cm.Dataset(pictures, channels=1)
values, labels = dataset.read(0, 4)
with cm.Trainer(model, objective="edm", batch=4) as trainer:
    report = trainer.step(values, labels)
    assert report["step"] == 1 and report["loss"] > 0
with cm.Run(os.path.join(folder, "run"), model, dataset, steps=2, batch=4, sample_every=0) as run:
    run.execute()
    assert run.step == 2
print("everything: libconsistency", cm.version())
