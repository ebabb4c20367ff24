#!/usr/bin/env python3
"""The Python binding: sampling, errors, callbacks, Ctrl-C, threads; with numpy when there, and without."""
import array, builtins, contextlib, copy, ctypes as C, gc, io, json, logging, math, mmap, os, pickle, random, re, shutil, signal, struct, subprocess, sys, tempfile, threading, time, types
import ctypes.util, unittest, unittest.mock
from pathlib import Path

sys.path.insert(0, "bindings/python")
import consistency as cm

MODEL, TEACHER = "tests/data/models/digits_consistency.safetensors", "tests/data/models/digits_teacher.safetensors"


def values(images):
    return images.reshape(-1).tolist() if hasattr(images, "reshape") else images.data[:]


class Binding(unittest.TestCase):
    def setUp(self):
        self.model = cm.Model.load(MODEL)

    def tearDown(self):
        self.model.close()

    def test_model(self):
        m = self.model
        self.assertEqual((m.image_shape, m.num_classes, m.network, m.precond), ((1, 32, 32), 10, "songunet", "ecm"))
        self.assertEqual(m.config["image"]["labels"], 10)
        self.assertEqual(len(m.params()), len({n for n, _ in m.params()}))
        name, shape = m.params()[0]
        self.assertEqual(tuple(m.param(name).shape), shape)
        self.assertRaises(KeyError, m.param, "nothing")
        with cm.Model.load(MODEL) as other:
            pass
        other.close()
        self.assertRaises(ValueError, other.params)

    def test_names_of_files_stay(self):
        with self.assertRaises(cm.Error) as caught:
            cm.Model.load("edm_imagenet64_ema.pt")
        self.assertIn("edm_imagenet64_ema.pt", str(caught.exception))

    def test_convert(self):
        adm = {"network": {"type": "adm", "image_size": 8, "in_channels": 3, "out_channels": 3, "model_channels": 32,
                           "num_res_blocks": 1, "channel_mult": [1, 2], "attention_resolutions": [2], "num_head_channels": 32,
                           "resblock_updown": True}, "precond": {"type": "cm"}}
        with tempfile.TemporaryDirectory() as folder:
            first = os.path.join(folder, "first.safetensors")
            with cm.Model.create(adm) as model:
                model.save(first)
                weight = model.params()[0][0]
                expected = list(values(model.param(weight)))
            for name, kind in (("a.pt", "PyTorch (zip)"), ("folder", "diffusers"), ("b.safetensors", "safetensors")):
                path = os.path.join(folder, name)
                cm.convert(first, os.fsencode(path))
                with cm.Checkpoint(path) as file, cm.Model.load(path) as model:
                    self.assertEqual((file.kind, file.format), ("model", kind))
                    self.assertEqual(list(values(model.param(weight))), expected)
                first = path
            self.assertRaises(cm.Error, cm.convert, first, os.path.join(folder, "a.pt"))
            with self.assertRaises(ValueError) as caught:
                cm.convert(first, os.path.join(folder, "c.onnx"))
            self.assertIn("give format", str(caught.exception))
            self.assertFalse(os.path.exists(os.path.join(folder, "c.onnx")))

    def test_doubles_beyond_float32(self):
        """What loading refuses is not sound: a weight in double that float32 rounds to an infinity."""
        with open(MODEL, "rb") as f:
            size = struct.unpack("<Q", f.read(8))[0]
            header, data = json.loads(f.read(size)), f.read()
        name = next(n for n in header if n.endswith(".bias"))
        at, end = header[name]["data_offsets"]
        count = (end - at) // 4
        for value, sound in ((float.fromhex("0x1.fffffefffffffp127"), True), (float.fromhex("0x1.ffffffp127"), False)):
            changed = {n: dict(e) for n, e in header.items()}
            for n, e in changed.items():
                if n != "__metadata__" and e["data_offsets"][0] >= end:
                    e["data_offsets"] = [x + end - at for x in e["data_offsets"]]
            changed[name].update(dtype="F64", data_offsets=[at, at + 8 * count])
            text = json.dumps(changed).encode()
            text += b" " * (-len(text) % 8)
            content = struct.pack("<Q", len(text)) + text + data[:at] + struct.pack("<d", value) * count + data[end:]
            with cm.Checkpoint(content) as file:
                self.assertEqual((file.kind, file.check()["is_sound"]), ("model", sound))
            if sound:
                cm.Model.load(content).close()
            else:
                self.assertRaises(cm.Error, cm.Model.load, content)

    def test_checkpoint(self):
        odd = "tests/data/golden/checkpoints/odd_views.pt"
        with cm.Checkpoint(odd) as file:
            self.assertEqual((file.kind, file.format, len(file), file.network), ("tensors", "PyTorch (zip)", 17, None))
            self.assertIn("no configuration", file.problem)
            self.assertIn("PyTorch (zip), 17 tensors", repr(file))
            self.assertIn("songunet", repr(self.model))
            self.assertEqual((file.shape("transposed"), file.dtype("bf16")), ((6, 4), "bfloat16"))
            self.assertEqual(file.shapes()["empty"], (0, 5))
            self.assertIn("base", file)
            self.assertEqual(list(file), file.names())
            self.assertEqual([file[name].tolist() for name in ("transposed", "scalar", "empty", "i64", "b", "f16")],
                             [[[6.0 * k + j for k in range(4)] for j in range(6)], 15.0, [], [-1, 2**40], [True, False],
                              [1.5, 65504.0, 2.0**-24]])
            self.assertRaises(KeyError, lambda: file["nothing"])
            report = file.check()
            self.assertEqual((report["is_sound"], report["nan_values"], report["checksums"]), (True, 1, 14))
            self.assertIn("tensor 'special'", report["findings"][0])
            with self.assertRaises(cm.Error) as caught:
                file.check(progress=lambda done, total: True)
            self.assertEqual(caught.exception.status, "CM_ERR_CANCELLED")
        self.assertRaises(ValueError, file.shape, "base")
        with open(MODEL, "rb") as f, cm.Checkpoint(f.read()) as file:
            self.assertEqual((file.kind, file.problem, file.config), ("model", None, self.model.config))
            self.assertEqual(len(file), len(self.model.params()))
            self.assertEqual(json.loads(file.notes["consistency.image"])["labels"], 10)
        with cm.Checkpoint("tests/data/golden/checkpoints/flax_ok_small.msgpack", weights="params") as file:
            self.assertEqual((file.sets, file.weights, file["w"].tolist()), (["params"], "params", [[0, 1, 2], [3, 4, 5]]))
        with self.assertRaises(cm.Error) as caught:
            cm.Checkpoint("tests/data/golden/checkpoints/h_bad_crc.pt")
        self.assertIn("checksum", str(caught.exception))
        self.assertRaises(cm.Error, cm.Checkpoint, MODEL, config={"network": {"type": "adm"}})

    def test_save_and_convert(self):
        kinds, folder = ("native", "torch", "diffusers"), "tests/data/golden/checkpoints/"
        adm = {"network": {"type": "adm", "image_size": 8, "in_channels": 3, "out_channels": 3, "model_channels": 32,
                           "num_res_blocks": 1, "channel_mult": [1, 2], "attention_resolutions": [2],
                           "num_head_channels": 16, "resblock_updown": True},
               "precond": {"type": "cm"}, "image": {"channels": 3, "height": 8, "width": 8}}
        x = [[[[0.25] * 8] * 8] * 3]
        with tempfile.TemporaryDirectory() as d, cm.Model.create(adm, seed=5) as model:
            model.save(d + "/m.safetensors")
            wanted, counts = values(model.denoise(x, 2.0)), []
            names = [n for n, shape in model.params() if 64 < math.prod(shape) < 4096 and any(values(model.param(n)))]
            self.assertGreater(len(names), 5)
            bits = lambda v: struct.unpack("<I", struct.pack("<f", v))[0]
            exact = lambda v: v
            rounded = {None: exact, "float32": exact, "float16": lambda v: struct.unpack("<e", struct.pack("<e", v))[0],
                       "bfloat16": lambda v: struct.unpack("<f", struct.pack("<I", (bits(v) + 0x7fff + (bits(v) >> 16 & 1))
                                                                             & 0xffff0000))[0]}
            for kind in kinds:
                for dtype, size in ((None, 4), ("float32", 4), ("float16", 2), ("bfloat16", 2)):
                    name = "%s/%s-%s" % (d, kind, dtype)
                    model.save(name, format=kind, dtype=dtype, progress=lambda *p: counts.append(p))
                    self.assertEqual((counts[0][0], counts[-1][0], counts[-1][1]), (0, counts[-1][1], counts[-1][1]))
                    with cm.Checkpoint(name) as file:
                        self.assertEqual((file.kind, file.network), ("model", "adm"))
                        self.assertEqual({file.dtype(n) for n in file}, {dtype or "float32"})
                        self.assertEqual(counts.pop()[1], size * file.values)
                        self.assertTrue(file.check()["is_sound"])
                    counts.clear()
                    self.assertEqual(os.path.isdir(name), kind == "diffusers")
                    with cm.Model.load(name) as again:
                        for n in names:
                            self.assertEqual(values(again.param(n)), [rounded[dtype](v) for v in values(model.param(n))])
                        if size == 4:
                            self.assertEqual(values(again.denoise(x, 2.0)), wanted)
            # what a name means, and there and back again
            for end, kind in ((".pt", "torch"), (".pth", "torch"), ("", "diffusers"), (".safetensors", "native")):
                cm.convert(d + "/m.safetensors", d + "/c" + end)
                cm.convert(d + "/c" + end, d + "/back.safetensors", overwrite=True)
                with cm.Checkpoint(d + "/back.safetensors") as a, cm.Checkpoint(d + "/m.safetensors") as b, \
                        cm.Checkpoint(d + "/c" + end) as c, cm.Checkpoint("%s/%s-None" % (d, kind)) as e:
                    self.assertEqual(c.format, e.format)
                    self.assertEqual(sorted(a.names()), sorted(b.names()))
                    for n in a:
                        self.assertEqual(bytes(memoryview(a[n])), bytes(memoryview(b[n])))
            self.assertRaisesRegex(cm.Error, "exists", cm.convert, d + "/m.safetensors", d + "/c.pt")
            self.assertRaisesRegex(cm.Error, "exists", cm.convert, d + "/m.safetensors", d + "/c")
            model.save(d + "/c.pth", overwrite=True)  # by its ending
            with open(d + "/c.pth", "rb") as f:
                self.assertEqual(f.read(2), b"PK")
            cm.convert(d + "/c.pt", d + "/shards", dtype="bfloat16", shard_bytes=100000)
            with cm.Checkpoint(d + "/shards") as file, cm.Checkpoint(d + "/diffusers-bfloat16") as one:
                self.assertEqual(sorted(file.names()), sorted(one.names()))
                for n in one:
                    self.assertEqual(bytes(memoryview(file[n])), bytes(memoryview(one[n])))
            self.assertGreater(len([n for n in os.listdir(d + "/shards/unet") if n.endswith(".safetensors")]), 1)
            # what is refused leaves nothing
            there = sorted(os.listdir(d))
            for save in (lambda **o: model.save(d + "/no", **o), lambda **o: cm.convert(d + "/m.safetensors", d + "/no", **o)):
                self.refuses("did you mean 'torch'", save, format="troch")
                self.refuses("did you mean 'float16'", save, dtype="float61")
                for bad in ({"dtype": "float64"}, {"dtype": "int8"}, {"format": ""}, {"shard_bytes": -1},
                            {"shard_bytes": 1.5}, {"shard_bytes": 2**64}, {"overwrite": 2}, {"format": 1}, {"dtype": 2}):
                    self.assertRaises((ValueError, TypeError), save, **bad)
                self.assertRaisesRegex(cm.Error, "shard_bytes", save, format="torch", shard_bytes=100000)
                with self.assertRaises(cm.Error) as caught:
                    save(format="torch", progress=lambda done, total: done > 0)
                self.assertEqual(caught.exception.status, "CM_ERR_CANCELLED")
                with self.assertRaises(ZeroDivisionError):
                    save(format="diffusers", progress=lambda done, total: 1 // 0)
            with self.assertRaises(cm.Error) as caught:  # diffusers has no such network
                cm.convert(MODEL, d + "/no")
            self.assertEqual(caught.exception.status, "CM_ERR_UNSUPPORTED")
            self.assertRaises(cm.Error, cm.convert, folder + "h_bad_crc.pt", d + "/no.safetensors")
            self.assertRaisesRegex(cm.Error, "nothing.pt", cm.convert, d + "/nothing.pt", d + "/no.safetensors")
            self.assertRaises(TypeError, cm.convert, d + "/m.safetensors")
            self.assertEqual(sorted(os.listdir(d)), there)
        self.assertRaises(ValueError, model.save, "no.safetensors")  # closed
        self.assertFalse(os.path.exists("no.safetensors"))

    def test_denoise(self):
        x = [[[[0.5] * 32] * 32]] * 2
        y = self.model.denoise(x, [1.0, 2.0], labels=[1, -1])
        self.assertEqual(tuple(y.shape), (2, 1, 32, 32))
        self.assertEqual(values(self.model.denoise(x, 0.0)), [0.5] * 2048)  # ecm: the identity
        self.assertRaises(ValueError, self.model.denoise, [[[0.5] * 31] * 32], 1.0)
        with self.assertRaises(cm.Error) as caught:
            self.model.denoise(x, -1.0)
        self.assertEqual(caught.exception.status, "CM_ERR_ARGUMENT")
        self.assertIn("sigma[0]", str(caught.exception))

    def test_bits_per_dim(self):
        teacher = cm.Model.load(TEACHER)
        x = cm.Sampler(teacher, "rk45", rtol=0.02, atol=0.02).sample(2, labels=[3, 7])
        options = {"labels": [3, 7], "rtol": 0.02, "atol": 0.02, "continuous": True}
        bits = teacher.bits_per_dim(x, **options)
        self.assertEqual(len(bits), 2)
        self.assertEqual(bits, teacher.bits_per_dim(x, **options))
        self.assertNotEqual(bits, teacher.bits_per_dim(x, seed=1, **options))
        with self.assertRaisesRegex(cm.Error, "none of the 256"):
            teacher.bits_per_dim(x, labels=[3, 7])
        with self.assertRaisesRegex(cm.Error, "the most are 20"):
            teacher.bits_per_dim(x, max_nfe=20, labels=[3, 7], continuous=True)
        with self.assertRaisesRegex(cm.Error, "consistency function"):
            self.model.bits_per_dim(x, **options)
        counts = [0]
        one = [[[values(x)[1024 + 32 * row:1056 + 32 * row] for row in range(32)]]]
        options["labels"] = [7]
        self.assertEqual(bits[1:], teacher.bits_per_dim(one, first_index=1, evaluations=counts, **options))
        self.assertTrue(len(counts) == 1 and counts[0] % 6 == 2)
        nearer = teacher.bits_per_dim(one, first_index=1, sigma_min=0.5, sigma_max=70, **options)
        self.assertNotEqual(bits[1:], nearer)
        with self.assertRaisesRegex(cm.Error, "sigma_max"):
            teacher.bits_per_dim(one, sigma_max=1e9, **options)
        self.assertRaises(TypeError, teacher.bits_per_dim, one, evaluations=3, **options)
        options["continuous"] = "no"
        self.assertRaises(TypeError, teacher.bits_per_dim, one, **options)
        options["continuous"] = True
        asked = []
        with self.assertRaises(cm.Error) as caught:  # within one evaluation, not after the image
            teacher.bits_per_dim(one, progress=lambda done, total: asked.append(done) or len(asked) == 2, **options)
        self.assertEqual((caught.exception.status, asked), ("CM_ERR_CANCELLED", [0, 0]))

    def test_reconstruct_arguments(self):
        self.assertRaisesRegex(TypeError, "a list of files", cm.Model.reconstruct, TEACHER, 0.1)
        self.assertRaisesRegex(TypeError, "std", cm.Model.reconstruct, [TEACHER], "wide")
        self.assertRaisesRegex(ValueError, r"paths\[0\] is empty", cm.Model.reconstruct, [""], 0.1)
        with self.assertRaisesRegex(cm.Error, "std is 0.5"):
            cm.Model.reconstruct([TEACHER], 0.5)
        with self.assertRaises(cm.Error) as caught:
            cm.Model.reconstruct([TEACHER], 0.1, progress=lambda done, total: True)
        self.assertEqual(caught.exception.status, "CM_ERR_CANCELLED")

    def test_denoise_tangent(self):
        """D has the bits of denoise(), and D' is what differences say."""
        x = [[[[0.1 * math.sin(i + 3 * j) for i in range(32)] for j in range(32)]]] * 2
        moves = [[[[math.cos(2 * i - j) for i in range(32)] for j in range(32)]]] * 2
        d, slope = self.model.denoise_tangent(x, [1.0, 2.0], moves, [0.5, -1.0], labels=[1, -1])
        self.assertEqual(values(d), values(self.model.denoise(x, [1.0, 2.0], labels=[1, -1])))
        h, flat = 2e-3, [v for image in moves for row in image[0] for v in row]
        ends = []
        for sign in (1, -1):
            moved = [[[[x[k][0][j][i] + sign * h * moves[k][0][j][i] for i in range(32)] for j in range(32)]]
                     for k in range(2)]
            ends.append(values(self.model.denoise(moved, [1 + sign * h * 0.5, 2 - sign * h], labels=[1, -1])))
        got, most = values(slope), max(abs(v) for v in values(slope))
        for value, after, before in zip(got, *ends):
            self.assertAlmostEqual(value, (after - before) / (2 * h), delta=2e-3 * most)
        for a, b in zip(values(self.model.denoise_tangent(x, 0.0, moves)[1]), flat):  # ecm: the identity
            self.assertAlmostEqual(a, b, delta=1e-6)
        self.assertRaises(ValueError, self.model.denoise_tangent, x, 1.0)
        self.assertRaises(ValueError, self.model.denoise_tangent, x, 1.0, moves[:1])
        self.assertRaises(ValueError, self.model.denoise_tangent, x, 1.0, None, [1.0])
        with self.assertRaises(cm.Error):
            self.model.denoise_tangent(x, 0.0, moves, 1.0)

    def test_second_time(self):
        """A network of two times takes a second level, and the sampler over levels walks by it."""
        network = {"type": "songunet", "img_resolution": 8, "img_channels": 1, "model_channels": 8, "channel_mult": [1],
                   "num_blocks": 1, "second_time": "concat"}
        model = cm.Model.create({"network": network, "precond": {"type": "average-velocity"}}, seed=2)
        x = [[[[0.1 * (i - j + k) for i in range(8)] for j in range(8)]] for k in range(2)]
        self.assertEqual(values(model.denoise(x, 3.0, second=0.0)), values(model.denoise(x, 3.0)))
        d, slope = model.denoise_tangent(x, [3.0, 2.0], second=[1.0, 0.5], second_tangent=1.0)
        self.assertEqual(values(d), values(model.denoise(x, [3.0, 2.0], second=[1.0, 0.5])))
        self.assertTrue(any(v != 0 for v in values(slope)))
        with self.assertRaisesRegex(cm.Error, "above sigma"):
            model.denoise(x, 1.0, second=2.0)
        with self.assertRaisesRegex(cm.Error, "network has one"):
            self.model.denoise([[[0.5] * 32] * 32], 1.0, second=0.5)
        self.assertRaises(ValueError, model.denoise, x, 1.0, second=[0.5])
        self.assertRaises(ValueError, model.denoise_tangent, x, 1.0, second=0.5)
        walk = cm.Sampler(model, "flowmap", sigmas=[10, 1], clip_output=False)
        self.assertEqual(walk.nfe, 2)
        noise = [[[[math.sin(i + 8 * j + k) for i in range(8)] for j in range(8)]] for k in range(2)]
        at10 = [[[[10 * v for v in row] for row in image[0]]] for image in noise]
        first = values(model.denoise(at10, 10.0, second=1.0))
        state = [0.1 * a + 0.9 * b for a, b in zip([v for image in at10 for row in image[0] for v in row], first)]
        want = values(model.denoise([[[state[64 * k + 8 * j:64 * k + 8 * j + 8] for j in range(8)]] for k in range(2)], 1.0))
        for a, b in zip(values(walk.sample(2, noise=noise)), want):
            self.assertAlmostEqual(a, b, delta=1e-5)
        with self.assertRaisesRegex(cm.Error, "networks of two times"):
            cm.Sampler(self.model, "flowmap").sample(1)

    def test_guidance(self):
        """A network with conditions is told of it by every call; others refuse it."""
        network = {"type": "songunet", "img_resolution": 8, "img_channels": 1, "model_channels": 8, "channel_mult": [1],
                   "num_blocks": 1, "second_time": "concat", "conditions": 3}
        model = cm.Model.create({"network": network, "precond": {"type": "average-velocity"}}, seed=2)
        x = [[[0.1 * (i - j) for i in range(8)] for j in range(8)]]
        self.assertEqual(values(model.denoise(x, 3.0, guidance=1)), values(model.denoise(x, 3.0)))
        d, slope = model.denoise_tangent(x, 3.0, sigma_tangent=1.0, guidance=2)
        self.assertEqual(values(d), values(model.denoise(x, 3.0, guidance=2.0)))
        sampler = cm.Sampler(model)
        self.assertEqual(values(sampler.sample(1, guidance=1)), values(sampler.sample(1)))
        for call in (lambda g: model.denoise(x, 3.0, guidance=g), lambda g: sampler.sample(1, guidance=g),
                     lambda g: model.denoise_tangent(x, 3.0, sigma_tangent=1.0, guidance=g)):
            with self.assertRaisesRegex(cm.Error, "guidance is -1"):
                call(-1)
            self.assertRaises(TypeError, call, "2")
        with self.assertRaisesRegex(cm.Error, "networks that are told of it"):
            self.model.denoise([[[0.5] * 32] * 32], 1.0, guidance=2)
        teacher = cm.Model.load(TEACHER)
        x = [[[0.01 * (i - j) for i in range(32)] for j in range(32)]]
        d = [values(teacher.denoise(x, 3.0, labels=label, guidance=w)) for label, w in ((4, None), (None, None), (4, 3))]
        for with_label, without, guided in zip(*d):
            self.assertAlmostEqual(guided, without + 3 * (with_label - without), delta=1e-5)
        sampler = cm.Sampler(teacher, "euler", steps=2)
        self.assertNotEqual(values(sampler.sample(1, labels=4, guidance=3)), values(sampler.sample(1, labels=4)))
        editor = cm.Sampler(teacher)
        for call in (lambda **o: editor.stroke(x, sigma=5, steps=2, labels=4, **o), lambda **o: editor.interpolate(2, steps=2, labels=4, **o)):
            self.assertNotEqual(values(call(guidance=3)), values(call()))

    def test_editing(self):
        s = cm.Sampler(self.model, threads=2, batch=3)
        y = [[[[0.5 if r < 16 else -1.0] * 32 for r in range(32)]]] * 2
        mask = [[float(c >= 16)] * 32 for c in range(32)]
        seen, steps = [], []
        x = s.inpaint(y, mask, variations=2, labels=[3, 5], steps=2, seed=1, progress=lambda *p: seen.append(p),
                      step=lambda e, sigma, first, d: steps.append((e, first, d.shape[0])))
        self.assertEqual(tuple(x.shape), (4, 1, 32, 32))
        self.assertEqual((seen[-1][:2], steps), ((8, 8), [(0, 0, 3), (1, 0, 3), (0, 3, 1), (1, 3, 1)]))
        v = values(x)
        self.assertTrue(all(v[1024 * i + k] == 0.5 for i in range(4) for k in range(512)))
        again = s.inpaint(y, [[mask]], variations=2, labels=[3, 3, 5, 5], steps=2, seed=1)
        self.assertEqual(v, values(again))
        low = [[[-0.5] * 8 for _ in range(8)]]
        x = values(s.super_resolve(low, labels=7, steps=2))
        self.assertAlmostEqual(sum(x[32 * r + c] for r in range(4) for c in range(4)) / 16, -0.5, places=5)
        self.assertEqual(tuple(s.stroke(y, sigma=3, labels=4).shape), (2, 1, 32, 32))
        noisy = s.denoise(y, 0.5, labels=4)
        self.assertTrue(all(abs(a - max(-1, min(1, b))) < 1e-6
                            for a, b in zip(values(noisy), values(self.model.denoise(y, 0.5, labels=[4, 4])))))
        import random
        random.seed(1)
        cut = [[[max(-1, random.gauss(-1, 0.3)) for _ in range(32)] for _ in range(32)]]
        self.assertAlmostEqual(cm.noise_level(cut), 0.3, delta=0.04)
        both = s.denoise([cut, cut], cut=True, labels=[4, 5], seed=3)
        alone = s.denoise(cut, cm.noise_level(cut), cut=True, labels=5, seed=3, first_index=1)
        self.assertEqual(values(both)[1024:], values(alone))
        self.assertRaises(ValueError, cm.noise_level, [cut, cut])
        with self.assertRaisesRegex(ValueError, "did you mean 'noise'"):
            s.inpaint(y, mask, labels=1, start="noisy")
        frames = s.interpolate(4, to=2, labels=[6] * 4, seed=9)
        ends = values(s.sample(3, labels=[6] * 3, seed=9))
        self.assertEqual(values(frames)[:1024], ends[:1024])
        self.assertEqual(values(frames)[3 * 1024:], ends[2 * 1024:])
        self.assertRaises(cm.Error, s.colorize, y, labels=1)

    def test_general_edit(self):
        s = cm.Sampler(self.model, threads=2)
        y, mask = [[[0.25] * 32] * 32], [[float(c < 8)] * 32 for c in range(32)]
        plain = values(s.inpaint(y, mask, labels=1, steps=2))
        flip = lambda v: list(reversed(values(v)))
        turned = values(s.edit(y, list(reversed(mask)), forward=flip, inverse=flip, labels=1, steps=2))
        self.assertEqual(plain, turned)
        self.assertEqual(plain, values(s.edit(y, mask, matrix=[[1]], labels=1, steps=2)))
        def broken(v):
            raise KeyError("from the map")
        self.assertRaises(KeyError, s.edit, y, mask, forward=broken, inverse=flip, labels=1)
        for bad in ({"matrix": [[1, 0], [0, 1]]}, {"start": "nowhere"}, {"variations": 0}, {"steps": 0}):
            self.assertRaises(ValueError, s.edit, y, mask, labels=1, **bad)
        self.assertRaises(TypeError, s.inpaint, y, mask, labels=1, method="heun")
        for bad, word in (({"matrix": [[2]]}, "not orthogonal"), ({"fill": 0.5}, "fill has no effect"),
                          ({"sigmas": [90.0]}, "80]")):
            with self.assertRaises(cm.Error) as caught:
                s.edit(y, mask, labels=1, **bad)
            self.assertIn(word, str(caught.exception))

    def test_sample(self):
        s = cm.Sampler(self.model, "multistep", sigmas=[80, 0.821], batch=3, threads=2)
        self.assertEqual(s.nfe, 2)
        seen, steps = [], []
        a = s.sample(5, labels=[0, 1, 2, 3, 4], seed=3, progress=lambda *p: seen.append(p),
                     step=lambda e, sigma, first, d: steps.append((e, sigma, first, d.shape[0])))
        self.assertEqual(tuple(a.shape), (5, 1, 32, 32))
        self.assertEqual(seen[-1][:2], (10, 10))
        self.assertEqual(steps, [(0, 80.0, 0, 3), (1, 0.821, 0, 3), (0, 80.0, 3, 2), (1, 0.821, 3, 2)])
        b = cm.Sampler(self.model, "multistep", threads=1).sample(2, labels=[3, 4], seed=3, first_index=3)
        self.assertEqual(values(a)[3 * 1024:], values(b))
        self.assertTrue(all(-1 <= v <= 1 for v in values(a)))
        noise = [0.25] * 1024
        c = s.sample(1, labels=7, noise=noise)
        self.assertEqual(values(c), values(s.sample(1, labels=[7], noise=noise)))
        self.assertEqual(s.info["max_batch"], 3)

    def refuses(self, word, function, *arguments, **keywords):
        with self.assertRaises((ValueError, TypeError)) as caught:
            function(*arguments, **keywords)
        self.assertIn(word, str(caught.exception), "%r %r" % (arguments, keywords))

    def test_numbers_as_meant_or_refused(self):
        s = cm.Sampler(self.model)
        threes = values(s.sample(2, labels=[3, 3]))
        for good in (3, 3.0, [3, 3.0], array.array("i", [3, 3]), (3, 3)):
            self.assertEqual(values(s.sample(2, labels=good)), threes)
        for bad, word in ((3.9, "3.9"), ([3, 3.9], "labels[1]"), (1e10, "labels"), (math.nan, "nan"), 
                          (True, "whole number"), ([3, None], "labels[1]"), ([3], "1 entries"), ([[3], [3]], "labels[0]"),
                          (2**32 + 3, "labels"), ({3: 1, 4: 1}, "labels")):
            self.refuses(word, s.sample, 2, labels=bad)
        for name in ("seed", "first_index"):
            s.sample(1, **{name: 2**64 - 1})
            for bad in (-1, 2**64, 1.5, math.nan, "1", True, None):
                self.refuses(name, s.sample, 1, **{name: bad})
        self.assertEqual(values(s.sample(1, seed=3.0)), values(s.sample(1, seed=3)))
        self.assertNotEqual(values(s.sample(1, seed=2**64 - 1)), values(s.sample(1, seed=2**63 - 1)))
        for bad in (0, -1, 1.5, "2", True, math.inf):
            self.refuses("n is", s.sample, bad)
        y, mask = [[[0.25] * 32] * 32], [[1.0] * 32] * 32
        for name, bad in (("batch", 2**32 + 1), ("batch", 0), ("batch", 1.5), ("threads", -1), ("threads", 2**32 + 1),
                          ("steps", 2**32 + 1), ("steps", 1.5), ("rho", "7"), ("rho", True), ("memory", "lean"), ("memory", 2),
                          ("precision", "f16"), ("precision", 2), ("debug", 3), ("debug", "a\0b"), ("clip_denoised", "no"), ("sigmas", "80"), ("sigmas", [80, "1"]),
                          ("ts", [0, 1.5]), ("grid", 2**32 + 40), ("grid", 0), ("sigmas", 80), ("alpha", "1")):
            self.refuses(name, cm.Sampler, self.model, "multistep", **{name: bad})
        for name, bad in (("variations", 2**32 + 1), ("variations", 1.5), ("fill", "0"), ("first_index", -1), ("seed", 2**64)):
            self.refuses(name, s.inpaint, y, mask, labels=1, **{name: bad})
        self.refuses("frames", s.interpolate, 2.5)
        self.refuses("to is", s.interpolate, 2, to=-1)
        self.refuses("luma", s.colorize, y, luma=[1, 2])
        self.refuses("seed", cm.Model.create, self.model.config, seed=-1)
        self.refuses("allow_nonfinite", cm.Model.load, MODEL, allow_nonfinite="no")
        self.refuses("weights", cm.Model.load, MODEL, weights=3)
        with self.assertRaisesRegex(cm.Error, "holds one set"):
            cm.Model.load(MODEL, weights="ema")

    def test_arrays_as_meant_or_refused(self):
        s = cm.Sampler(self.model)
        noise = [[[[math.sin(y * 32 + x) for x in range(32)] for y in range(32)]]]
        want = values(s.sample(1, labels=3, noise=noise))
        flat = [v for row in noise[0][0] for v in row]
        for good in (flat, noise[0], noise[0][0], array.array("d", flat), array.array("f", flat)):
            self.assertEqual(values(s.sample(1, labels=3, noise=good)), want)
        tall = [flat[i * 16:i * 16 + 16] for i in range(64)]
        for bad, word in ((tall, "shape (64, 16)"), (noise[0][0][:31], "noise has shape"), ([noise[0][0][:31] + [[0.0] * 33]], "differ"),
                          ("noise", "noise"), ([[["x"] * 32] * 32], "noise")):
            self.refuses(word, s.sample, 1, labels=3, noise=bad)
        for wrong, word in ((math.nan, "noise[0, 0, 2, 5] is nan"), (math.inf, "is inf"), (255, "is 255, expected unit normal")):
            bad = [[[row[:] for row in noise[0][0]]]]
            bad[0][0][2][5] = wrong
            self.refuses(word, s.sample, 1, labels=3, noise=bad)
        self.refuses("step_noise", s.sample, 1, step_noise=[[0.0] * 5])
        bad = [[[row[:] for row in noise[0][0]]]]
        bad[0][0][2][5] = math.nan
        self.refuses("images[0, 0, 2, 5]", s.inpaint, bad, [[1.0] * 32] * 32, labels=1)
        self.refuses("x[0, 0, 2, 5]", self.model.denoise, bad, 1.0)
        self.refuses("sigma[0]", self.model.denoise, noise, math.nan)
        self.refuses("sigma has shape (2,)", self.model.denoise, noise, [1.0, 2.0])

    def test_arrays_of_numpy(self):
        try:
            import numpy as np
        except ImportError:
            self.skipTest("there is no numpy")
        s = cm.Sampler(self.model)
        a = np.sin(np.arange(2 * 1024, dtype=np.float32)).reshape(2, 1, 32, 32)
        want = s.sample(2, labels=np.array([3, 5]), noise=a).tolist()
        spread = np.zeros((2, 1, 32, 64), np.float32)
        spread[..., ::2] = a
        for good in (a.astype(np.float64), a.astype(">f4"), a.astype(">f8"), spread[..., ::2], np.asfortranarray(a),
                     a[:, :, ::-1][:, :, ::-1], a.reshape(2, 32, 32), a.reshape(-1)):
            self.assertEqual(s.sample(2, labels=[3, 5], noise=good).tolist(), want)
        for good in (np.array([3, 5], np.uint8), np.array([3, 5], ">i8"), np.array([3.0, 5.0]), np.array([3, 9, 5, 9])[::2],
                     [np.int64(3), np.uint8(5)]):
            self.assertEqual(s.sample(2, labels=good, noise=a).tolist(), want)
        self.assertEqual(s.sample(1, labels=np.int64(3), seed=np.uint64(2**64 - 1)).tolist(), s.sample(1, labels=3, seed=2**64 - 1).tolist())
        self.assertEqual(s.sample(np.int32(1), labels=np.array(3), seed=np.float64(4)).tolist(), s.sample(1, labels=3, seed=4).tolist())
        for bad in (np.array([3, 5.5]), np.array([[3, 5]]), np.array([True, False]), np.array([3, np.nan]),
                    np.bool_(True), np.array([2**40, 1])):
            self.refuses("labels", s.sample, 2, labels=bad)
        self.refuses("seed", s.sample, 1, seed=np.int64(-1))
        for bad in (a.astype(complex), a.astype(str), a > 0, (a > 0).astype(np.uint8), a.reshape(2, 1, 64, 16), a.astype(object)):
            self.refuses("noise", s.sample, 2, noise=bad)
        lower = np.arange(1024).reshape(32, 32) >= 512
        self.assertEqual(s.inpaint(a / 2, lower, labels=1, steps=2).tolist(), s.inpaint(a / 2, lower * 1.0, labels=1, steps=2).tolist())
        self.assertEqual(self.model.denoise(a, np.float32(2), labels=[1, 2]).tolist(),
                         self.model.denoise(a, np.array([2, 2]), labels=[1, 2]).tolist())
        cm.Sampler(self.model, "multistep", sigmas=np.array([80, 0.821]), memory="small", batch=np.int16(2))

    def test_load_sources(self):
        """A name, content in memory of any kind and file objects give the same model; what goes wrong is told."""
        want = values(self.model.param("map_layer0.bias"))
        content = Path(MODEL).read_bytes()
        odd = bytearray(b"x" + content)
        with open(MODEL, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            for source in (MODEL, Path(MODEL), content, bytearray(content), memoryview(content), mapped,
                           memoryview(odd)[1:], io.BytesIO(content), f):
                for copy in (False, True):
                    model = cm.Model.load(source, copy=copy)
                    self.assertEqual(values(model.param("map_layer0.bias")), want)
                    model.close()
            del source
        sampler = cm.Sampler(cm.Model.load(bytearray(content)))  # nobody else holds the content
        gc.collect()
        self.assertEqual(values(sampler.sample(1, labels=1, seed=3)), values(cm.Sampler(self.model).sample(1, labels=1, seed=3)))
        self.assertRaisesRegex(cm.Error, "memory: .*cut|memory: truncated|data_offsets", cm.Model.load, content[:-4])
        self.assertRaisesRegex(cm.Error, "memory", cm.Model.load, b"tests/data/models/digits_consistency.safetensors")

        class Broken(io.BytesIO):
            def __init__(self, answer):
                super().__init__(content)
                self.answer = answer

            def read(self, size=-1):
                return self.answer(size)

        def fail(size):
            raise OSError("the line is dead")

        self.assertRaisesRegex(OSError, "the line is dead", cm.Model.load, Broken(fail))
        self.assertRaisesRegex(TypeError, "binary mode", cm.Model.load, Broken(lambda size: "text"))
        self.assertRaisesRegex(ValueError, "gave", cm.Model.load, Broken(lambda size: bytes(size + 1)))
        self.assertRaisesRegex(cm.Error, "ends at byte 0", cm.Model.load, Broken(lambda size: b""))
        with open(MODEL, encoding="latin-1") as text:
            self.assertRaisesRegex(TypeError, "binary mode", cm.Model.load, text)
        self.assertRaises(TypeError, cm.Model.load, None)

        calls = []
        cm.Model.load(io.BytesIO(content), progress=lambda done, total: calls.append((done, total)))
        self.assertEqual(calls[-1], (2 * len(content), 2 * len(content)))
        self.assertEqual(calls, sorted(calls))
        self.assertRaisesRegex(cm.Error, "cancelled", cm.Model.load, content, progress=lambda done, total: True)
        self.assertRaises(ZeroDivisionError, cm.Model.load, content, progress=lambda done, total: 1 // 0)

    def test_pictures_in_place(self):
        try:
            import numpy as np
        except ImportError:
            self.skipTest("there is no numpy")
        s = cm.Sampler(self.model)
        rng = np.random.default_rng(1)
        bytes_ = rng.integers(0, 256, (2, 32, 32, 1), np.uint8)
        floats = (bytes_.astype(np.float32) / np.float32(127.5) - 1).transpose(0, 3, 1, 2)
        mask = np.zeros((32, 32), bool)
        mask[16:] = True
        want = s.inpaint(np.ascontiguousarray(floats), mask, labels=[3, 5], steps=2)
        wide = rng.integers(0, 256, (2, 40, 50, 4), np.uint8)  # a window's buffer, of which a part is the picture
        wide[:, 4:36, 7:39, 1:2] = bytes_
        part, before = wide[:, 4:36, 7:39, 1:2], wide.copy()
        spread = np.zeros((2, 1, 32, 64), np.float32)
        spread[..., ::2] = floats
        mirrored = np.ascontiguousarray(floats[:, :, ::-1, ::-1])[:, :, ::-1, ::-1]
        whole = mask.astype(np.uint8) * 255
        for given, k in ((floats, mask), (bytes_, mask), (part, whole), (spread[..., ::2], whole[:, :, None]),
                         (mirrored, mask.astype(np.uint8)), (floats.astype(np.float64), mask), (bytes_[..., 0][:, :, :, None], mask)):
            self.assertTrue((s.inpaint(given, k, labels=[3, 5], steps=2) == want).all())
        self.assertTrue((wide == before).all())
        for given in (floats, part, spread[..., ::2], mirrored):
            self.assertEqual(s.inpaint(given, np.zeros((32, 32), bool), labels=[3, 5], steps=2).tobytes(), floats.tobytes())
        # results: float32 in another array, bytes in a window's buffer
        out = np.zeros((2, 1, 32, 64), np.float32)
        self.assertIs(s.inpaint(floats, mask, labels=[3, 5], steps=2, out=out[..., ::2]).base, out)
        self.assertTrue((out[..., ::2] == want).all() and (out[..., 1::2] == 0).all())
        page = np.full((2, 40, 50, 4), 7, np.uint8)
        s.inpaint(floats, mask, labels=[3, 5], steps=2, out=page[:, 4:36, 7:39, 2:3])
        inside = page[:, 4:36, 7:39, 2].copy()
        self.assertTrue((inside == np.clip(want[:, 0] * np.float32(127.5) + 128, 0, 255).astype(np.uint8)).all())
        page[:, 4:36, 7:39, 2] = 7
        self.assertTrue((page == 7).all())
        self.assertTrue((s.sample(2, labels=1, seed=4, out=out[..., ::2]) == s.sample(2, labels=1, seed=4)).all())
        denoised = s.denoise(floats, labels=[3, 5])
        self.assertTrue((s.denoise(part, labels=[3, 5], out=out[..., 1::2]) == denoised).all())
        self.assertTrue((out[..., 1::2] == denoised).all())
        broadcast = np.broadcast_to(np.float32(0.25), (2, 1, 32, 32))
        self.assertTrue((s.inpaint(broadcast, np.zeros((32, 32)), labels=1) == np.float32(0.25)).all())
        for bad in (np.zeros((2, 1, 32, 31), np.float32), np.zeros((2, 1, 32, 32)), np.zeros((1, 1, 32, 32), np.float32), [0.0],
                    broadcast, np.broadcast_to(np.zeros(1, np.float32), (2, 1, 32, 32))):
            self.refuses("out", s.sample, 2, labels=1, out=bad)
        self.assertEqual(cm.noise_level(part[0]), cm.noise_level(np.ascontiguousarray(floats[0])))

    def test_pictures_in_memory(self):
        values = [[[(x * 16 + y) / 127.5 - 1 for x in range(8)] for y in range(6)]]
        data = cm.encode_image(values)
        self.assertEqual(data[:4], b"\x89PNG")
        self.assertEqual(cm.decode_image(data).tolist(), cm.decode_image(bytearray(data), channels=1).tolist())
        with tempfile.TemporaryDirectory() as d:
            name = d + "/memory.png"
            cm.write_page(name, values, margin=0)
            with open(name, "rb") as f:
                self.assertEqual(f.read(), data)
            self.assertEqual(cm.read_image(name).tolist(), cm.decode_image(data).tolist())
            self.assertEqual(cm.decode_image(data, size=(3, 4), fit="resize").tolist(),
                             cm.read_image(name, size=(3, 4), fit="resize").tolist())
        self.assertEqual(cm.encode_image(values, "jpeg", 90)[:2], b"\xff\xd8")
        with self.assertRaises(cm.Error) as caught:
            cm.encode_image(values, quality=90)
        self.assertIn("quality", str(caught.exception))
        self.refuses("format", cm.encode_image, values, "gif")
        with self.assertRaises(cm.Error) as caught:
            cm.decode_image(b"GIF89a")
        self.assertIn("neither a JPEG nor a PNG", str(caught.exception))
        self.assertRaises(TypeError, cm.decode_image, "text")
        for n in range(0, len(data), 7):
            self.assertRaises(cm.Error, cm.decode_image, data[:n])

    def test_names(self):
        with tempfile.TemporaryDirectory() as d:
            for function, arguments in ((cm.Model.load, ()), (self.model.save, ()), (cm.Dataset, ()), (cm.read_image, ()),
                                        (cm.read_mask, ()), (cm.write_page, ([[[0.0] * 4] * 4],))):
                self.refuses("NUL", function, d + "/a\0b.png", *arguments)
                self.refuses("empty", function, "", *arguments)
                self.assertRaises(TypeError, function, 3, *arguments)
            self.assertEqual(os.listdir(d), [])
            t = cm.Trainer(cm.Model.create(cm.presets()["smoke"]["config"]), preset="smoke")
            self.refuses("NUL", t.save, d + "/run\0")
            self.refuses("NUL", t.resume, d + "/run\0")
            self.refuses("NUL", cm.Trainer, self.model, preset="smoke\0er")
            self.refuses("NUL", cm.Trainer, self.model, ema="0.9\0")
            name = os.fsencode(d) + b"/\xff" + b"x" * 250 + b".png"  # 255 bytes, not all of them text
            cm.write_page(name, [[[[0.0] * 4] * 4]])
            self.assertEqual(tuple(cm.read_image(os.fsdecode(name)).shape), (1, 1, 8, 8))

    def test_foreign_models(self):
        with tempfile.TemporaryDirectory() as d:
            for data, word in ((b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"), (b"<!DOCTYPE html><html>", "HTML"),
                               (b"\x80\x02}q\x00.", "pickle"), (b"PK\3\4" + b"\0" * 40, "zip archive"), (b"GGUF\3\0\0\0", "GGUF"),
                               (b'{"a": 1}', "JSON"), (b"", "empty")):
                with open(d + "/m.safetensors", "wb") as f:
                    f.write(data)
                with self.assertRaises(cm.Error) as caught:
                    cm.Model.load(d + "/m.safetensors")
                self.assertIn(word, str(caught.exception))

    def test_words_of_python(self):
        for call, word, without in (
                (lambda: cm.Sampler(self.model, precision="f16"), "precision is 'f16'", "CM_"),
                (lambda: cm.Sampler(self.model, debug="bf16_tile=3"), "no effect without precision bf16", "cm_"),
                (lambda: cm.Sampler(cm.Model.load(TEACHER), "edm", alpha=-1.0), "alpha is -1", "edm_"),
                (lambda: cm.Sampler(self.model).inpaint([[[2.0] * 32] * 32], [[1.0] * 32] * 32, labels=1), "images[0, 0, 0] is 2", "given"),
                (lambda: cm.Sampler(self.model).super_resolve([[[0.5] * 5] * 5], labels=1), "images is 1 x 5 x 5", "given"),
                (lambda: cm.Model.create({"network": 3}), "", "cm_")):
            with self.assertRaises((cm.Error, ValueError)) as caught:
                call()
            self.assertIn(word, str(caught.exception))
            self.assertNotIn(without, str(caught.exception))

    def test_log(self):
        with self.assertLogs("consistency", logging.DEBUG) as seen:
            with cm.Model.load(MODEL):
                pass
        self.assertIn("loaded " + MODEL, seen.output[0])
        with tempfile.TemporaryDirectory() as d:
            for i in range(3):
                cm.write_page("%s/%d_a.png" % (d, i), [[[[0.0] * 8] * 8]], margin=0)
            with open(d + "/9_b.png", "wb") as f:
                f.write(b"\x89PNG\r\n\x1a\n broken")
            with self.assertLogs("consistency", logging.WARNING) as seen, cm.Dataset(d, channels=1) as data:
                try:
                    for i in range(4):
                        data.read(i, 1)
                except cm.Error:
                    pass
            self.assertIn("9_b.png", " ".join(seen.output))
        class Broken(logging.Handler):  # an exception in a handler does not pass through C
            def handle(self, record):
                raise KeyError("from the handler")
        logger, broken, level = logging.getLogger("consistency"), Broken(), logging.getLogger("consistency").level
        logger.addHandler(broken)
        logger.setLevel(logging.DEBUG)
        try:
            cm.Model.load(MODEL).close()
        finally:
            logger.removeHandler(broken)
            logger.setLevel(level)

    def test_options(self):
        ts = cm.Sampler(self.model, "multistep", ts=[0, 22, 39], grid=40)
        self.assertEqual(ts.nfe, 2)
        teacher = cm.Model.load(TEACHER)
        edm = cm.Sampler(teacher, "edm", steps=3, discretization="vp", schedule="vp", scaling="vp", solver="heun")
        self.assertEqual(edm.nfe, 5)
        for method in ("heun", "euler", "ancestral", "dpm", "progdist", "dpmpp", "pc"):
            cm.Sampler(teacher, method, steps=2).sample(1)
        cold, half = cm.Sampler(self.model, temperature=0.5), [[[[0.5 * (i % 3)] * 32] * 32] for i in range(2)]
        whole = [[[[1.0 * (i % 3)] * 32] * 32] for i in range(2)]
        self.assertEqual(values(cold.sample(2, labels=1, noise=whole)), values(cm.Sampler(self.model).sample(2, labels=1, noise=half)))
        self.assertRaises(cm.Error, cm.Sampler, self.model, temperature=3)
        self.assertRaises(ValueError, cm.Sampler, self.model, temperature=0)
        self.assertRaises(ValueError, cm.Sampler, self.model, "oneshot")
        self.assertRaises(TypeError, cm.Sampler, self.model, churn=1)
        self.assertRaises(cm.Error, cm.Sampler, self.model, "onestep", steps=4)
        self.assertRaises(cm.Error, cm.Sampler, self.model, "multistep", sigmas=[1, 2])
        for name, value, word in (("dtype", "bf16", "precision"), ("lean", True, "memory='small'"), ("bf16_tile", 2, "debug"),
                                  ("bf16_emulate", True, "debug")):
            for call in (cm.Sampler, cm.Sampler.estimate):
                self.assertRaisesRegex(TypeError, word, call, self.model, **{name: value})
        self.assertRaises(TypeError, cm.Sampler.estimate, self.model, lion=1)
        self.assertRaises(cm.Error, cm.Sampler, self.model, precision="bf16", debug="bf16_emulate=1,bf16_tile=5")
        small = cm.Sampler.estimate(self.model, memory="small")["packed_bytes"]
        fast = cm.Sampler.estimate(self.model, memory="fast")
        self.assertTrue(0 < 2 * small < fast["packed_bytes"])
        both = cm.Sampler.estimate(self.model, below=self.model, border=1.0)
        self.assertGreater(both["activation_bytes"], 1.5 * fast["activation_bytes"])
        self.assertRaises(cm.Error, cm.Sampler.estimate, self.model, border=1.0)
        self.assertRaises(TypeError, cm.Sampler.estimate, self.model, below=TEACHER, border=1.0)
        near = cm.Sampler(self.model, precision="bf16", debug="bf16_emulate=1").sample(1, seed=3)
        exact = cm.Sampler(self.model).sample(1, seed=3)
        self.assertTrue(0 < max(abs(a - b) for a, b in zip(values(near), values(exact))) < 0.3)
        self.assertRaises(cm.Error, cm.Model.load, "/no/such/file")
        self.assertRaises(cm.Error, ts.sample, 1, labels=[10])
        self.assertRaises(ValueError, ts.sample, 2, labels=[1])
        self.assertRaises(ValueError, ts.sample, 0)

    def test_exceptions_come_through(self):
        s = cm.Sampler(self.model)
        class Mine(Exception):
            pass
        def stop(*_):
            raise Mine("enough")
        self.assertRaises(Mine, s.sample, 4, progress=stop)
        self.assertRaises(Mine, s.sample, 4, step=stop)
        with self.assertRaisesRegex(cm.Error, "cancelled"):  # a true result stops it, as everywhere
            s.sample(4, progress=lambda done, total, left: True)
        s.sample(1)

    def test_ctrl_c(self):
        s = cm.Sampler(cm.Model.load(TEACHER), "heun", steps=500)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell started us behind its back
        self.addCleanup(signal.signal, signal.SIGINT, before)
        threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        began = time.monotonic()
        self.assertRaises(KeyboardInterrupt, s.sample, 16)
        self.assertLess(time.monotonic() - began, 5)

    def test_cancel_and_threads(self):
        s = cm.Sampler(cm.Model.load(TEACHER), "heun", steps=500, threads=1)
        caught = []
        def work():
            try:
                s.sample(16)
            except cm.Error as error:
                caught.append(error.status)
        t = threading.Thread(target=work)
        t.start()
        while t.is_alive():
            time.sleep(0.02)
            s.cancel()
        t.join()
        self.assertEqual(caught, ["CM_ERR_CANCELLED"])

    def test_pictures(self):
        with tempfile.TemporaryDirectory() as d:
            images = cm.Sampler(self.model).sample(4)
            cm.write_page(d + "/p.png", images, columns=2, margin=0)
            back = cm.read_image(d + "/p.png")
            self.assertEqual(tuple(back.shape), (1, 1, 64, 64))
            self.assertRaises(cm.Error, cm.write_page, d + "/p.png", images)
            cm.write_page(d + "/p.png", images, overwrite=True)
            cm.write_page(d + "/p.jpg", images)
            self.assertIsNone(cm.read_note(d + "/p.png"))
            self.assertIsNone(cm.read_note(d + "/p.jpg"))
            cm.write_page(d + "/noted.png", images, note="drawn by a test \u00e9")
            self.assertEqual(cm.read_note(d + "/noted.png"), "drawn by a test \u00e9")
            self.assertRaises(cm.Error, cm.write_page, d + "/noted.jpg", images, note="a JPEG has none")
            self.refuses("note", cm.write_page, d + "/q.png", images, note=7)
            for name, bad in (("background", 300), ("background", -1), ("columns", 2**32 + 2), ("columns", 0), ("margin", 2**32),
                              ("quality", 2**32), ("overwrite", "no"), ("columns", 1.5)):
                self.refuses(name, cm.write_page, d + "/q.png", images, **{name: bad})
            self.refuses("images has shape", cm.write_page, d + "/q.png", [[0.0] * 4] * 4)
            self.assertFalse(os.path.exists(d + "/q.png"))
            self.model.save(d + "/m.safetensors")
            self.assertRaises(cm.Error, self.model.save, d + "/m.safetensors")


class Training(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        for i in range(12):
            cm.write_page("%s/%s_%d.png" % (self.dir.name, "ab"[i % 2], i), [[[[i / 6 - 1] * 32] * 32]], margin=0)
        self.config = cm.presets()["smoke"]["config"]
        self.options = dict(preset="smoke", batch=4, steps=8, ema="0.9")

    def tearDown(self):
        self.dir.cleanup()

    def test_masks_and_sizes(self):
        folder = "tests/data/pictures/"
        self.assertEqual([round(255 * v) for v in values(cm.read_mask(folder + "rgba.png", alpha=True))], [0, 127, 255])
        self.assertEqual([round(255 * v) for v in values(cm.read_mask(folder + "opaque.jpg"))], [100] * 3)
        self.assertRaisesRegex(ValueError, "nothing of .* is transparent", cm.read_mask, folder + "opaque.jpg", alpha=True)
        self.assertEqual(tuple(cm.read_image(folder + "rgba.png", size=(4, 5), fit="pad").shape), (1, 3, 4, 5))
        self.assertRaises(ValueError, cm.read_image, folder + "rgba.png", size=(4, 5))
        self.assertRaises(ValueError, cm.read_image, folder + "rgba.png", channels=4)

    def test_whole_sets(self):
        with tempfile.TemporaryDirectory() as d:
            for i in range(4):
                os.makedirs("%s/set/%s" % (d, "ab"[i % 2]), exist_ok=True)
                cm.write_page("%s/set/%s/%d.png" % (d, "ab"[i % 2], i), [[[[i / 9] * 8] * 8]], margin=0)
            with open(d + "/set/a/9.png", "wb") as f:
                f.write(b"\x89PNG\r\n\x1a\n broken")
            with cm.Dataset(d + "/set", channels=1) as data:
                self.assertEqual(data.class_counts(), [3, 2])
                r = data.check(class_least=2)
                self.assertEqual((r["is_sound"], r["images"], r["damaged"]), (False, 4, 1))
                self.assertEqual([kind for kind, _ in r["findings"]], ["damaged"])
                self.assertIn("a/9.png", r["findings"][0][1])
                self.assertRaises(cm.Error, data.check, progress=lambda done, total: done == 2)
                self.assertRaisesRegex(ValueError, "class_least", data.check, class_least=-1)
                with self.assertLogs("consistency", logging.WARNING):
                    self.assertEqual(data.pack(d + "/set.tar"), 4)
                self.assertRaises(cm.Error, data.pack, d + "/set.tar")
                self.assertEqual(data.pack(d + "/set.tar", overwrite=True), 4)
            with cm.Dataset(d + "/set.tar", channels=1) as data:
                self.assertEqual((data.classes, data.class_counts(), data.bad), (["a", "b"], [2, 2], 0))
            cm.write_page(d + "/page.png", [[[[0.0] * 16] * 16]] * 2, columns=2, names=["a", None])
            self.assertEqual(tuple(cm.read_image(d + "/page.png").shape)[-2:], (20 + 11, 38))
            self.assertRaisesRegex(ValueError, "names has 1 entries, expected 2", cm.write_page, d + "/page2.png",
                                   [[[[0.0] * 16] * 16]] * 2, columns=2, names=["a"])
            self.assertRaisesRegex(cm.Error, "no directory of a run", cm.Run.model_path, d)

    def test_data(self):
        with cm.Dataset(self.dir.name, channels=1, shuffle=False) as d:
            self.assertEqual((len(d), d.image_shape, d.classes, d.kind, d.bad), (12, (1, 32, 32), ["a", "b"], "folder", 0))
            self.assertEqual(d.classes_from, "file names")
            images, labels = d.read(0, 3)
            self.assertEqual(labels, [0, 0, 0])
            self.assertAlmostEqual(values(images)[1024], 10 / 6 - 1, delta=0.01)  # a_0, a_10, ...: byte order
        seen = []
        for part in ("training", "held-out"):
            with cm.Dataset(self.dir.name, channels=1, shuffle=False, part=part, held_out=0.4) as d:
                seen += [round(v, 3) for v in values(d.read(0, len(d))[0])[::32 * 32]]
        self.assertEqual(len(seen), 12)
        self.assertEqual(len(set(seen)), 12)
        self.assertRaisesRegex(cm.Error, "no effect on a whole set", cm.Dataset, self.dir.name, held_out=0.4)
        self.assertRaisesRegex(ValueError, "did you mean", cm.Dataset, self.dir.name, part="held_out", held_out=0.4)
        with self.assertRaises(cm.Error) as e:
            cm.Dataset(self.dir.name + "/none")
        self.assertEqual(e.exception.status, "CM_ERR_IO")

    def test_training(self):
        m = cm.Model.create(self.config, seed=3)
        data = cm.Dataset(self.dir.name, channels=1)
        a, seen = cm.Trainer(m, **self.options), []
        self.assertEqual(a.options["batch"], 4)
        last = a.run(data, 8, progress=lambda r: seen.append(r["step"]))
        self.assertEqual((last["step"], seen, a.steps), (8, list(range(1, 9)), 8))
        b = cm.Trainer(m, **self.options)
        for k in range(3):  # the same batches by hand
            images, labels = data.read(4 * k, 4)
            b.step(images, labels)
        b.save(self.dir.name + "/run")
        c = cm.Trainer(m, **self.options)
        with self.assertRaises(cm.Error) as e:
            c.resume(self.dir.name + "/run", data)
        self.assertEqual(e.exception.status, "CM_ERR_STATE")  # b holds the directory
        b.close()
        c.resume(self.dir.name + "/run", data)
        c.run(data, 8)
        c.close()
        c = cm.Trainer(m, **dict(self.options, steps=100000))
        self.assertRaisesRegex(cm.Error, "steps was", c.resume, self.dir.name + "/run", data)
        self.assertRaises(ValueError, c.resume, self.dir.name + "/run", data, allow_changes=True, more_steps=True)
        c.resume(self.dir.name + "/run", data, more_steps=True)
        c.run(data, 8)
        name, _ = m.params()[0]
        self.assertEqual(values(a.model().param(name)), values(c.model().param(name)))
        self.assertEqual(a.model("online").precond, "edm")
        self.assertRaises(cm.Error, a.model, "target")
        self.assertRaises(cm.Error, cm.Trainer, m, lr=-1)
        self.assertRaises(cm.Error, cm.Trainer, m, preset="smoke", mu=0.5)
        with self.assertRaisesRegex(cm.Error, "model_channels is 8 in the preset and 16 in the model"):
            cm.Trainer(None, teacher=cm.Model.load("tests/data/models/digits_teacher.safetensors"), preset="smoke", objective="cd")
        cm.Trainer(None, teacher=m, preset="smoke", objective="cd").close()
        self.assertEqual(cm.presets()["lsun256-edm"]["config"]["network"]["use_scale_shift_norm"], False)
        with self.assertRaises(ZeroDivisionError):
            c.run(data, 9, progress=lambda r: 1 / 0)

    def test_names_of_classes(self):
        m = cm.Model.create(self.config, seed=3)
        self.assertEqual(m.classes, [])
        self.assertRaisesRegex(cm.Error, "have no names", m.label, "a")
        t = cm.Trainer(m, **self.options)
        t.run(cm.Dataset(self.dir.name, channels=1), 2)
        named = t.model()
        self.assertEqual(named.classes, ["a", "b"] + [None] * 8)
        self.assertEqual(named.label("b"), 1)
        self.assertRaisesRegex(ValueError, "no class is called '7'", named.label, "7")
        self.assertRaisesRegex(cm.Error, "no class 'c'", named.label, "c")
        self.assertRaises(ValueError, named.label, "a\0b")
        s = cm.Sampler(named, "onestep")
        plain = values(s.sample(3, labels=[1, 0, 1]))
        self.assertEqual(values(s.sample(3, labels=["b", 0, "b"])), plain)
        self.assertEqual(values(s.sample(3, labels="b"))[:1024], plain[:1024])
        x = s.sample(2, labels=0)
        self.assertEqual(values(s.stroke(x, sigma=3, labels="b", variations=2, steps=2)),
                         values(s.stroke(x, sigma=3, labels=1, variations=2, steps=2)))
        self.assertEqual(values(s.stroke(x, sigma=3, labels=["a", "b"], variations=2, steps=2)),
                         values(s.stroke(x, sigma=3, labels=[0, 1], variations=2, steps=2)))
        self.assertEqual(values(named.denoise(x, 1.0, labels=["a", "b"])), values(named.denoise(x, 1.0, labels=[0, 1])))
        named.save(self.dir.name + "/named.safetensors")
        again = cm.Model.load(self.dir.name + "/named.safetensors", config={"classes": ["x", None, "10"]})
        self.assertEqual(again.classes[:4], ["x", None, "10", None])
        self.assertEqual(again.label("10"), 2)  # text is a name
        self.assertRaisesRegex(cm.Error, "11 names", cm.Model.load, self.dir.name + "/named.safetensors",
                               config={"classes": list("abcdefghijk")})
        u = cm.Trainer(named, **self.options)
        r = [u.step([[[[0.5] * 32] * 32]] * 4, labels=["a", "b", "b", 0])["loss"] for _ in range(1)]
        v = cm.Trainer(named, **self.options)
        self.assertEqual(r, [v.step([[[[0.5] * 32] * 32]] * 4, labels=[0, 1, 1, 0])["loss"]])

    def test_what_a_trainer_takes(self):
        m = cm.Model.create(self.config, seed=3)
        t = cm.Trainer(m, preset="smoke", batch=2, steps=1e1, lr=1e-3, sum_microbatches=False, ema="none")
        self.assertEqual((t.options["batch"], t.options["steps"], t.options["lr"]), (2, 10, 1e-3))
        good = [[[[0.5] * 32] * 32]] * 2
        for wrong, word in ((math.nan, "images[1, 0, 3, 7] is nan"), (255.0, "images[1, 0, 3, 7] is 255, expected values in [-1, 1]"),
                            (-math.inf, "is -inf")):
            bad = [[[row[:] for row in image[0]]] for image in good]
            bad[1][0][3][7] = wrong
            with self.assertRaises(ValueError) as caught:
                t.step(bad, labels=[0, 1] if m.num_classes else None)
            self.assertIn(word, str(caught.exception))
        self.assertRaisesRegex(ValueError, "images has shape", t.step, [[[[0.5] * 31] * 32]] * 2)
        self.assertEqual(t.steps, 0)
        labels = [0, 1, 1] if m.num_classes else None
        self.assertEqual([t.step((good * 2)[:n], labels=labels and labels[:n])["images"] for n in (3, 1)], [3, 4])
        for seed in (0, 2**63 - 1, 2**63, 2**64 - 1, "18446744073709551615"):
            self.assertEqual(cm.Trainer(m, preset="smoke", seed=seed).options["seed"], int(seed))
        for bad in ({"seed": " -5"}, {"seed": "+5"}, {"seed": " 5"}, {"seed": -1}, {"seed": 2**64}, {"steps": 1.5}, {"lr": math.nan}, {"batch": 2**32 + 2}):
            self.assertRaises((ValueError, cm.Error), cm.Trainer, m, preset="smoke", **bad)
        for bad in ({"lr": None}, {"lr": [1]}):
            self.assertRaisesRegex(TypeError, "lr is", cm.Trainer, m, preset="smoke", **bad)
        self.assertRaisesRegex(ValueError, "weights is 'best'", t.model, "best")
        self.assertRaisesRegex(ValueError, "keep is -1", t.save, self.dir.name + "/r", keep=-1)
        self.assertRaisesRegex(ValueError, "until", t.run, None, -1)
        self.assertRaises(TypeError, cm.Trainer, None)
        with cm.Dataset(self.dir.name, channels=1) as data:
            for bad in ((-1, 1), (0, 0), (0, 1.5), (2**64, 1)):
                self.assertRaises(ValueError, data.read, *bad)
        for name in ("ape", "cow"):
            os.makedirs(self.dir.name + "/named/" + name)
            shutil.copy("tests/data/pictures/digit-2.png", self.dir.name + "/named/" + name)
        for names in (["one", "zw\u00f6lf"], ("b", "a")):
            with cm.Dataset(self.dir.name + "/named", labels="folder", class_names=names) as data:
                self.assertEqual(data.classes, list(names))
        for bad, word in ((["a,b"], "comma"), ("ab", "list of texts"), ([1], "list of texts"), (["a"] * 77, "class_names"), (5, "list of texts"),
                          ({"a", "b"}, "list of texts"), ((k for k in "ab"), "list of texts")):
            self.assertRaisesRegex((ValueError, TypeError, cm.Error), word, cm.Dataset, self.dir.name + "/named", labels="folder", class_names=bad)
        shutil.rmtree(self.dir.name + "/named")
        for name, bad in (("size", 2**32 + 32), ("size", -1), ("seed", -1), ("shuffle", "no"), ("labels", "folders"), ("channels", 2)):
            self.assertRaisesRegex((ValueError, TypeError), name, cm.Dataset, self.dir.name, **{name: bad})

    def test_reports_of_odd_runs(self):
        run = os.path.join(self.dir.name, os.fsdecode(b"r\xff[1]<b>"))
        os.makedirs(run + "/samples")
        row = {"step": 1, "images": 4, "epoch": 0.1, "loss": 0.5, "grad_norm": 2.0, "lr": 0.001, "scales": 0, "mu": 0.0, "stage": 0,
               "img_per_s": 10.0, "data_wait_s": 0.0, "peak_rss": 2**20, "eta_s": 1.0, "wall": 7.0}
        lines = [json.dumps(dict(row, step=k)) for k in range(1, 9)]
        lines += [json.dumps(dict(row, step=9, loss=None, grad_norm=None)), json.dumps(dict(row, step=10, loss=math.nan, lr=math.inf)),
                  '{"step": 11, "loss": 1e400, "note": "text", "img_per_s": 1' + "0" * 400 + '}', "half a li", "3", "[]",
                  '{"step": "x"}', '{"step": -1}', '{"step": true}', '{"step": 12, "loss": 1e200, "wall": null}']
        with open(run + "/log.jsonl", "wb") as f:
            f.write("\n".join(lines).encode() + b"\n\xff\xfe\n")
        with open(run + "/config.json", "wb") as f:
            f.write(b'{"data": {"path": "\xff"}')
        for name in ("notes.png", "step-1.txt", "step-000000002.png"):
            with open("%s/samples/%s" % (run, name), "w") as f:
                f.write("no picture")
        os.mkdir(run + "/samples/step-000000003.png")
        shutil.copy(self.dir.name + "/a_0.png", run + "/samples/step-000000001.png")
        def command(module, *arguments):
            path = dict(os.environ, PYTHONPATH="bindings/python")
            return subprocess.run([sys.executable, "-m", "consistency." + module, *arguments], env=path, capture_output=True)
        made = command("report", run)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertNotIn(b"Traceback", made.stderr)
        with open(run + "/report.html", encoding="utf-8") as f:
            page = f.read()
        self.assertEqual(page.count("<img "), 1)
        for word in ("At step 9 the loss or the gradient was not finite", "config.json is damaged", "<h1>r\ufffd[1]&lt;b&gt;"):
            self.assertIn(word, page)
        self.assertIn("The run has been at work for 0 minutes. Sample from it with <code>cm-sample ", page)
        self.assertIn("the newest checkpoint is taken", page)
        from consistency import report
        clock = [{"step": k, "wall": 7.0 + 36 * k + (5e5 if k > 50 else 0)} for k in range(101)]
        self.assertAlmostEqual(report.hours(clock), 0.99)  # it stood still for 5e5 seconds after the 50th step
        self.assertEqual(report.hours([{"step": 1, "wall": math.nan}, {"step": 2}]), 0)
        self.assertEqual([report.duration(h) for h in (0.75, 1, 250.26)], ["45 minutes", "1.0 hours", "250.3 hours"])
        for name in ("best", "model"):
            open(run + "/%s.safetensors" % name, "w").close()
            self.assertEqual(report.model_of(run), "the model is %s.safetensors" % name)
            os.remove(run + "/%s.safetensors" % name)
        self.assertIn(">0.001<", page.split("learning rate")[1].split("</svg>")[0])
        made = command("tensorboard", run)
        self.assertEqual(made.returncode, 0, made.stderr)
        self.assertGreater(os.path.getsize(run + "/events.out.tfevents.consistency"), 1000)
        for module in ("report", "tensorboard"):
            for path in (self.dir.name, self.dir.name + "/none", MODEL, "/dev/null"):
                made = command(module, path)
                self.assertEqual(made.returncode, 1)
                self.assertNotIn(b"Traceback", made.stderr)
                self.assertIn(b"is no run directory", made.stderr)
        plan = self.dir.name + "/plan"  # of cm-train --preset auto: its own report stays, and each stage is a run
        os.makedirs(plan + "/stages/2-mid")
        shutil.copytree(run, plan + "/stages/1-teacher")
        for name in ("plan.json", "log.jsonl", "report.html"):
            with open(plan + "/" + name, "w") as f:
                f.write("own\n")
        made = command("report", plan)
        self.assertEqual(made.returncode, 1)
        self.assertIn(b"is a plan of several runs", made.stderr)
        self.assertIn(b"stages/1-teacher", made.stderr)
        os.remove(plan + "/stages/1-teacher/events.out.tfevents.consistency")
        self.assertEqual(command("tensorboard", plan).returncode, 0)
        self.assertEqual(sorted(os.listdir(plan)), ["log.jsonl", "plan.json", "report.html", "stages"])
        self.assertGreater(os.path.getsize(plan + "/stages/1-teacher/events.out.tfevents.consistency"), 1000)
        with open(plan + "/report.html") as f:
            self.assertEqual(f.read(), "own\n")

    def test_axes(self):
        from consistency import report
        steps = list(range(1, 11))
        labels = lambda svg: re.findall(r'text-anchor="end">([^<]*)<', svg)
        below = lambda svg: re.findall(r'text-anchor="middle">([^<]*)<', svg)
        self.assertEqual(labels(report.curve("lr", steps, [[1e-3] * 10])), ["0.001"])
        self.assertEqual(labels(report.curve("lr", steps, [[1e-3 / 9 * k for k in range(10)]])), ["0", "0.0002", "0.0004", "0.0006", "0.0008", "0.001"])
        self.assertEqual(labels(report.curve("n", steps, [[18] * 10])), ["18"])
        self.assertEqual(labels(report.curve("zero", steps, [[0.0] * 10])), ["0"])
        for low, high in ((0.21, 0.45), (0.9, 1.1), (1e-3, 0.5), (1e-9, 1e9), (3, 4)):
            found = labels(report.curve("loss", steps, [[low, high] * 5], True))
            self.assertTrue(2 <= len(found) <= 9, found)
            self.assertEqual(len(set(found)), len(found))
            self.assertTrue(all(low * 0.99 <= float(v) <= high * 1.01 for v in found), found)
        self.assertEqual(below(report.curve("n", [1, 2, 3], [[1, 2, 3]])), ["1", "2", "3"])
        self.assertEqual(report.curve("nothing", steps, [[math.nan] * 10]), "")
        self.assertEqual(report.smooth([1, math.nan, 3, math.inf, 5], 2), [1, 1, 3, 3, 5])
        self.assertEqual(report.smooth([1.0, 1e30, 1.0, 1.0, 1.0], 2)[-1], 1.0)

    def test_annotations(self):
        """The examples of README, manuals and modules under mypy --strict."""
        try:
            found = subprocess.run([sys.executable, "-m", "mypy", "--version"], capture_output=True).returncode == 0
        except OSError:
            found = False
        if not found:
            self.skipTest("there is no mypy")
        texts = ["README.md"] + ["docs/" + n for n in sorted(os.listdir("docs")) if n.endswith(".md")]
        blocks = []
        for text in texts:
            with open(text, encoding="utf-8") as f:
                blocks += re.findall(r"```python\n(.*?)```", f.read(), re.S)
        from consistency import run, training
        for doc in (cm.__doc__, training.__doc__, run.__doc__):
            block = re.search(r"\n\n((?:    .*\n)+)", doc).group(1)
            blocks.append(re.sub("(?m)^    ", "", block))
        self.assertGreaterEqual(len(blocks), 3)
        with tempfile.TemporaryDirectory() as d:
            names = []
            os.mkdir(d + "/PIL")  # Pillow brings its types from version 10.1 on
            for name in ("__init__", "Image"):
                with open("%s/PIL/%s.pyi" % (d, name), "w", encoding="utf-8") as f:
                    f.write("from typing import Any\ndef __getattr__(name: str) -> Any: ...\n")
            for i, block in enumerate(blocks):
                names.append("%s/example%d.py" % (d, i))
                with open(names[-1], "w", encoding="utf-8") as f:
                    f.write(block if "import consistency" in block else "import consistency as cm\n" + block)
            checked = subprocess.run([sys.executable, "-m", "mypy", "--strict", "--cache-dir", d + "/cache", *names], capture_output=True,
                                     env=dict(os.environ, MYPYPATH="bindings/python:" + d), text=True)
            self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)

    def test_tensorboard_file(self):
        from consistency import tensorboard as tb
        crc = (tb.masked_crc32c(b"123456789") - 0xA282EAD8) & 0xFFFFFFFF
        self.assertEqual((crc << 15 | crc >> 17) & 0xFFFFFFFF, 0xE3069283)  # the check value of CRC-32C
        rows = [{"step": 300, "loss": 0.5, "wall": 7.0}]
        data, events = b"".join(tb.record(e) for e in tb.events(rows)), []
        while data:
            n, head = struct.unpack("<QI", data[:12])
            self.assertEqual((head, struct.unpack("<I", data[12 + n:16 + n])[0]),
                             (tb.masked_crc32c(data[:8]), tb.masked_crc32c(data[12:12 + n])))
            events.append(data[12:12 + n])
            data = data[16 + n:]
        self.assertEqual(events[0], b"\x09" + struct.pack("<d", 7.0) + b"\x1a\x0dbrain.Event:2")
        value = b"\x0a\x04loss\x15" + struct.pack("<f", 0.5)
        self.assertEqual(events[1], b"\x09" + struct.pack("<d", 7.0) + b"\x10\xac\x02\x2a\x0d\x0a\x0b" + value)


class Memory(unittest.TestCase):
    """Arrays of others and of ours: shared, not copied."""

    def setUp(self):
        self.model = cm.Model.load(MODEL)
        self.sampler = cm.Sampler(self.model, threads=1)
        self.shape = (2,) + self.model.image_shape
        self.images = self.sampler.sample(2, labels=[3, 5], seed=1)

    @staticmethod
    def flat(images):
        values = images.tolist()
        while isinstance(values[0], list):
            values = [v for row in values for v in row]
        return values

    def test_buffers(self):
        numbers = array.array("f", bytes(4 * math.prod(self.shape)))
        view = memoryview(numbers).cast("B").cast("f", list(self.shape))
        self.assertIs(self.sampler.sample(2, labels=[3, 5], seed=1, out=view), view)
        self.assertEqual(list(numbers), self.flat(self.images))
        self.assertEqual(self.flat(self.model.denoise(view, 1.0)), self.flat(self.model.denoise(self.images, 1.0)))
        n, channels, height, width = self.shape
        pixels = bytearray(n * height * width)
        self.sampler.sample(2, labels=[3, 5], seed=1, out=memoryview(pixels).cast("B", [n, height, width, channels]))
        self.assertEqual(pixels, bytes(round((max(-1, min(1, v)) + 1) * 127.5) for v in numbers))
        for wrong in ([0.0] * 4, "text", memoryview(bytes(8)).cast("d")):
            with self.assertRaisesRegex(TypeError, "expected an array of float32 or uint8"):
                self.sampler.sample(2, labels=1, out=wrong)
        with self.assertRaisesRegex(ValueError, "cannot be written to"):
            self.sampler.sample(2, labels=1, out=memoryview(bytes(numbers)).cast("f", list(self.shape)))
        with self.assertRaisesRegex(ValueError, "has shape"):
            self.sampler.sample(1, labels=1, out=view)

    def test_masks_without_numpy_are_masks(self):
        n, channels, height, width = self.shape
        hole = bytes(height * width // 2) + bytes([1] * (height * width // 2))
        results = []
        for mask in (hole, bytes(255 * v for v in hole)):
            given = memoryview(mask).cast("B", [1, height, width, 1])
            results.append(self.flat(self.sampler.inpaint(self.images, given, labels=[3, 5])))
        results.append(self.flat(self.sampler.inpaint(self.images, [[[[float(hole[y * width + x]) for x in range(width)] for y in range(height)]]],
                                                      labels=[3, 5])))
        self.assertEqual(results[0], results[1])
        self.assertEqual(results[0], results[2])

    def test_dlpack(self):
        from consistency import _memory

        class Foreign:
            def __init__(self, of, kind=1):
                self.of, self.shape, self.kind = of, of.shape, kind

            def __dlpack_device__(self):
                return (self.kind, 0)

            def __dlpack__(self, **_):
                return self.of.__dlpack__()
        images = cm.Images(self.shape)
        self.sampler.sample(2, labels=[3, 5], seed=1, out=Foreign(images))
        self.assertEqual(images.data[:], self.flat(self.images))
        self.assertEqual(self.flat(self.model.denoise(Foreign(images), 1.0)), self.flat(self.model.denoise(self.images, 1.0)))
        view = _memory.from_dlpack(images, "images")
        self.assertEqual((view.address, view.shape), (C.addressof(images.data), self.shape))
        with self.assertRaisesRegex(TypeError, "memory of another device"):
            self.model.denoise(Foreign(images, 2), 1.0)
        gc.collect()
        unused = images.__dlpack__()
        self.assertEqual(len(_memory._lent), 2)
        del view, unused
        gc.collect()
        self.assertEqual(len(_memory._lent), 0)  # all was given back

    def test_pillow(self):
        try:
            from PIL import Image
        except ImportError:
            self.skipTest("there is no Pillow")
        pictures = cm.to_pil(self.images)
        self.assertEqual([(p.mode, p.size) for p in pictures], [("L", (32, 32))] * 2)
        whole = Image.new("L", (32, 32))
        kept = cm.to_pil(self.sampler.inpaint(pictures, whole, labels=[3, 5]))
        self.assertEqual([p.tobytes() for p in kept], [p.tobytes() for p in pictures])
        cm.encode_image(pictures[0])
        with self.assertRaisesRegex(ValueError, "mode RGBA, expected L or RGB"):
            self.sampler.inpaint(pictures[0].convert("RGBA"), whole, labels=3)
        with self.assertRaisesRegex(ValueError, r"images\[1\] is L of 16 x 32, the first is L of 32 x 32"):
            self.sampler.inpaint([pictures[0], pictures[1].resize((16, 32))], whole, labels=3)

    def test_notebooks(self):
        one = self.images[:1] if hasattr(self.images, "dtype") else self.images
        for shown in (self.images, one):
            page = shown._repr_png_()
            self.assertEqual(page[:8], b"\x89PNG\r\n\x1a\n")
        self.assertEqual(cm.decode_image(self.images._repr_png_()).shape, (1, 1, 36, 70))
        many = cm.Images((200,) + self.model.image_shape)
        self.assertEqual(cm.decode_image(many._repr_png_()).shape[2], 2 + 10 * 34)  # a hundred of them
        self.assertIsNone(cm.Images((2, 5, 4, 4))._repr_png_())
        if hasattr(self.images, "dtype"):
            import numpy as np
            self.assertIs(type(self.images * 2), np.ndarray)
            self.assertIsInstance(self.images.mean(), np.float32)
            self.assertIsNone(self.images[0, 0]._repr_png_())
            again = pickle.loads(pickle.dumps(self.images))
            self.assertTrue((again == self.images).all())

    def test_progress_by_tqdm(self):
        bars = []

        class Bar:
            def __init__(self, **given):
                self.given, self.n, self.closed = given, 0, 0
                bars.append(self)

            def __eq__(self, other):  # tqdm's bars have an order, and none with what is no bar
                return self.n == other.n

            def update(self, by):
                self.n += by

            def set_postfix_str(self, text, refresh):
                self.text = text

            def close(self):
                self.closed += 1
        module, terminal = types.ModuleType("tqdm.auto"), io.StringIO()
        module.tqdm, terminal.isatty = Bar, lambda: True
        with unittest.mock.patch.dict(sys.modules, {"tqdm": types.ModuleType("tqdm"), "tqdm.auto": module}), contextlib.redirect_stderr(terminal):
            self.sampler.sample(3, labels=1, progress=True)
            cm.Model.load(MODEL, copy=True, progress=True).close()
            with self.assertRaises(ZeroDivisionError):
                self.sampler.sample(3, labels=1, progress=True, step=lambda *_: 1 / 0)
        self.assertTrue(bars and all(b.n <= b.given["total"] for b in bars))
        self.assertTrue(all(b.closed for b in bars))
        self.assertEqual(bars[0].n, bars[0].given["total"])
        self.assertEqual(terminal.getvalue(), "")
        with unittest.mock.patch.dict(sys.modules, {"tqdm": None, "tqdm.auto": None}), contextlib.redirect_stderr(terminal):
            self.sampler.sample(3, labels=1, progress=True)
        self.assertRegex(terminal.getvalue(), "sampling 100%")
        quiet = io.StringIO()
        with contextlib.redirect_stderr(quiet):
            self.sampler.sample(3, labels=1, progress=True)
        self.assertEqual(quiet.getvalue(), "")  # no terminal


def run_apart(code, *arguments):
    """A program of its own: its return code is below 0 when the interpreter crashed."""
    top = "import sys, threading, time, random; sys.path.insert(0, 'bindings/python'); import consistency as cm\n"
    return subprocess.run([sys.executable, "-X", "faulthandler", "-c", top + code, *arguments], capture_output=True, text=True,
                          timeout=1200)


class Finding(unittest.TestCase):
    """The library that CONSISTENCY_LIBRARY names is the one that is used, or none is."""

    def test_named_library(self):
        for name, words in (("/no/libconsistency.so.0", "LibraryNotFound.*\n.*no such file"),
                            (C.util.find_library("z"), "ImportError: .* has no cm_")):
            with unittest.mock.patch.dict(os.environ, CONSISTENCY_LIBRARY=name):
                done = run_apart("")
            self.assertEqual(done.returncode, 1, name)
            self.assertRegex(done.stderr, words)


class Calls(unittest.TestCase):
    """Handles in use: closed, copied, interrupted, collected."""

    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)
        for i in range(12):
            cm.write_page("%s/%s_%d.png" % (self.dir.name, "ab"[i % 2], i), [[[[i / 6 - 1] * 32] * 32]], margin=0)
        self.data = cm.Dataset(self.dir.name, channels=1)
        self.model = cm.Model.create(cm.presets()["smoke"]["config"], seed=3)
        self.trainer = cm.Trainer(self.model, preset="smoke", batch=2, threads=1, ema="warmup:0.9")
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)

    def beside(self, call, ready, look):
        """look() while call() runs in another thread; what call() raised."""
        caught = []
        def work():
            try:
                call()
            except cm.Error as error:
                caught.append(error.status)
        t = threading.Thread(target=work)
        t.start()
        ready.wait(60)
        try:
            look()
        finally:
            while t.is_alive():
                self.stop()
                t.join(0.02)
        return caught

    def refused(self, function, *arguments):
        with self.assertRaises(cm.Error) as e:
            function(*arguments)
        self.assertEqual(e.exception.status, "CM_ERR_STATE")
        return str(e.exception)

    def test_close_beside_a_call(self):
        sampler, ready = cm.Sampler(cm.Model.load(TEACHER), "heun", steps=500, threads=1), threading.Event()
        self.stop = sampler.cancel
        def look():
            for _ in range(50):
                self.assertIn("in use", self.refused(sampler.close))
                self.assertIn("already running", self.refused(sampler.sample, 1))
            sampler.info
        self.assertEqual(self.beside(lambda: sampler.sample(8, progress=lambda *_: ready.set()), ready, look),
                         ["CM_ERR_CANCELLED"])
        sampler.close()
        for call in (lambda: sampler.sample(1), lambda: sampler.nfe, lambda: sampler.info, sampler.cancel):
            self.assertRaisesRegex(ValueError, "the sampler is closed", call)
        sampler.close()

    def test_close_beside_training(self):
        ready, run = threading.Event(), self.dir.name + "/run"
        self.stop = self.trainer.cancel
        def look():
            for _ in range(20):
                for handle in (self.trainer, self.data):
                    self.assertIn("in use", self.refused(handle.close))
                for call in (self.trainer.model, lambda: self.trainer.save(run), lambda: self.trainer.resume(run),
                             lambda: self.trainer.run(self.data, 5), lambda: self.data.read(0, 1)):
                    self.assertIn("already running", self.refused(call))
                self.assertGreater(self.trainer.steps, 0)
            self.model.close()  # the trainer keeps what it needs
        self.assertEqual(self.beside(lambda: self.trainer.run(self.data, 10**6, progress=lambda _: ready.set()), ready, look),
                         ["CM_ERR_CANCELLED"])
        self.trainer.save(run)
        self.trainer.close()
        self.data.close()
        for call in (lambda: self.trainer.steps, self.trainer.cancel, lambda: self.trainer.save(run),
                     lambda: self.trainer.run(self.data, 1)):
            self.assertRaisesRegex(ValueError, "the trainer is closed", call)
        for call in (lambda: self.data.read(0, 1), lambda: len(self.data), self.data.cancel):
            self.assertRaisesRegex(ValueError, "the data set is closed", call)

    def test_close_beside_denoise_and_in_callbacks(self):
        ready, x = threading.Event(), [[[[0.5] * 32] * 32]] * 400
        model, counts, stopping = cm.Model.load(TEACHER), [], []
        self.stop = lambda: stopping.append(1)
        def progress(done, total):
            counts.append((done, total))
            ready.set()
            time.sleep(0.01)
            return bool(stopping)
        self.assertEqual(self.beside(lambda: model.denoise(x, 1.0, progress=progress), ready,
                                     lambda: self.assertIn("in use", self.refused(model.close))), ["CM_ERR_CANCELLED"])
        self.assertTrue(0 < counts[-1][0] < counts[-1][1] == 400)
        with self.assertRaises(ZeroDivisionError):
            model.denoise(x[:1], 1.0, progress=lambda *_: 1 / 0)
        sampler = cm.Sampler(model)
        for call in (lambda: sampler.sample(1, progress=lambda *_: sampler.close()),
                     lambda: model.denoise(x[:1], 1.0, progress=lambda *_: model.close()),
                     lambda: self.trainer.run(self.data, 3, progress=lambda _: self.trainer.close()),
                     lambda: self.trainer.run(self.data, 3, progress=lambda _: self.data.close())):
            self.refused(call)
        seen = []
        def look(report):  # what a callback may do
            with self.trainer.model() as m, self.trainer.model("online") as n:
                seen.append((report["step"], self.trainer.steps, m.config["training"]["steps"], n.precond))
            self.trainer.save(self.dir.name + "/inside")
        self.trainer.run(self.data, 5, progress=look)
        self.assertTrue(seen and all(s[0] == s[1] == s[2] for s in seen))

    def test_handles_are_not_copied(self):
        for handle in (self.model, cm.Sampler(self.model), self.trainer, self.data):
            for copies in (copy.copy, copy.deepcopy, pickle.dumps, lambda h: copy.deepcopy([h])):
                with self.assertRaisesRegex(TypeError, "a %s cannot be copied or pickled" % type(handle).__name__):
                    copies(handle)
        for kind in (cm.Model, cm.Sampler, cm.Trainer, cm.Dataset):  # made without a constructor: closed
            self.assertRaises(ValueError, kind.__new__(kind)._alive)

    def test_ctrl_c_while_training(self):
        images, _ = self.data.read(0, 2)
        heard, rounds = 0, 30
        for i in range(rounds):  # at any moment of many steps, or between them
            timer = threading.Timer(0.001 * (i % 15) + 0.001, lambda: os.kill(os.getpid(), signal.SIGINT))
            with self.assertRaises(KeyboardInterrupt):
                timer.start()
                if i % 2:
                    self.trainer.run(self.data, 10**6)
                else:
                    while True:
                        self.trainer.step(images)
            timer.join()
            heard += 1
            taken = self.trainer.steps
            self.trainer.step(images)  # the next step works
            self.trainer.run(self.data, taken + 3)
            self.assertEqual(self.trainer.steps, taken + 3)
        self.assertEqual(heard, rounds)
        self.trainer.close()

    def runs(self):
        """A folder that is not the data's."""
        if not hasattr(self, "folder"):
            self.folder = tempfile.TemporaryDirectory()
            self.addCleanup(self.folder.cleanup)
        return self.folder.name

    def options(self, **more):
        return dict({"preset": "smoke", "batch": 2, "threads": 1, "sample_every": 0, "checkpoint_every": 1000}, **more)

    def test_a_run(self):
        run, seen = cm.Run(self.runs() + "/run", data=self.dir.name, **self.options(steps=6, sample_every=3, sample_rows=1)), []
        self.assertRaises(cm.Error, run.model)
        self.assertTrue(run.estimate()["fits"])
        self.assertGreater(run.estimate(time=True)["seconds"], 0)
        last = run.execute(4, progress=seen.append)
        self.assertEqual([r["event"] for r in seen], ["step"] * 3 + ["page", "step", "checkpoint"])
        self.assertTrue(all(r["path"] is None or os.path.exists(r["path"]) for r in seen))
        self.assertEqual((last["step"], last["steps"], last["training"]["images"], run.step), (4, 6, 8, 4))
        self.assertEqual(run.info["classes"], 2)
        self.assertEqual(run.options["options"]["batch"], 2)
        self.assertEqual(run.model().image_shape, (1, 32, 32))
        run.close()
        self.refused(lambda: cm.Run(self.runs() + "/none", resume=True, data=self.data, steps=2, batch=2).begin())
        run = cm.Run(self.runs() + "/run", resume=True)
        run.execute()
        self.assertTrue(run.info["is_finished"])
        run.close()
        with cm.Run(self.runs() + "/run", resume=True, steps=7) as run:
            run.execute()
        with open(self.runs() + "/run/log.jsonl") as f:
            self.assertEqual([json.loads(line)["step"] for line in f], list(range(1, 8)))
        self.assertEqual(run_apart("from consistency import report; sys.argv[1:] = sys.argv[1:]; "
                                   "import runpy; runpy.run_module('consistency.report', run_name='__main__')",
                                   self.runs() + "/run").returncode, 0)
        with self.assertRaisesRegex(cm.Error, "did you mean 'lr'"):
            cm.Run(self.runs() + "/x", data=self.dir.name, learning_rate=1)
        self.assertIn("checkpoint_seconds", cm.run_options())

    def test_a_metric_of_a_run(self):
        features, seen = "models/features", []
        metric = dict(metric="fd-lenet", metric_data=os.path.join(features, "lenet-train.npz"), metric_every=2, metric_samples=20,
                      metric_few=True, metric_features=os.path.join(features, "lenet.safetensors"))
        run = cm.Run(self.runs() + "/run", data=self.dir.name, **metric, **self.options(steps=4))
        self.assertEqual((run.info["metric"], run.info["evaluations"], run.info["best_step"]), ("fd-lenet", 0, 0))
        run.execute(progress=seen.append)
        told = [r for r in seen if r["event"] == "metric"]
        self.assertEqual([r["step"] for r in told], [2, 4])
        best = min(told, key=lambda r: r["distance"])
        self.assertEqual((run.info["best_distance"], run.info["best_step"]), (best["distance"], best["step"]))
        self.assertEqual(best["path"], self.runs() + "/run/best.safetensors")
        self.assertEqual(cm.Model.load(best["path"]).image_shape, (1, 32, 32))
        run.close()
        self.assertRaisesRegex(cm.Error, "needs metric_features", cm.Run, self.runs() + "/x", data=self.dir.name, metric="fd-lenet",
                               metric_data=metric["metric_data"])
        self.assertRaisesRegex(ValueError, "NUL", cm.Run, self.runs() + "/x", data=self.dir.name, metric_data="a\0b")
        with open(self.runs() + "/odd", "wb") as f:  # a log of evaluations alone has no curves
            f.write(b'{"step": 2, "fd-lenet": null, "metric_s": 1}\n')
        os.mkdir(self.runs() + "/alone")
        os.rename(self.runs() + "/odd", self.runs() + "/alone/log.jsonl")
        made = run_apart("import runpy; runpy.run_module('consistency.report', run_name='__main__')", self.runs() + "/alone")
        self.assertIn("has no step in its log.jsonl yet", made.stderr)

    def test_a_run_of_handles(self):
        data = cm.Dataset(self.dir.name, channels=1)
        run = cm.Run(self.runs() + "/run", model=self.model, data=data, **self.options(steps=2))
        self.refused(data.close)
        run.execute()
        run.close()
        data.close()
        config = dict(cm.presets()["smoke"]["config"])
        with cm.Run(self.runs() + "/dict", model=config, data=self.data, steps=1, batch=2, threads=1) as run:
            run.execute()
        self.assertRaises(ValueError, run.execute)

    def test_ctrl_c_and_stops_of_a_run(self):
        run = cm.Run(self.runs() + "/run", data=self.data, model=self.model, **self.options(steps=10**6))
        run.begin()
        for i in range(6):
            timer = threading.Timer(0.05 + 0.01 * i, lambda: os.kill(os.getpid(), signal.SIGINT))
            timer.start()
            self.assertRaises(KeyboardInterrupt, run.execute)
            timer.join()
            self.assertTrue(os.path.isdir(self.runs() + "/run/checkpoints/step-%09d" % run.step))
        before = run.step
        with self.assertRaises(cm.Error) as e:
            run.execute(progress=lambda r: r["step"] == before + 3)
        self.assertEqual((e.exception.status, run.step), ("CM_ERR_CANCELLED", before + 3))
        self.assertRaises(ZeroDivisionError, run.execute, progress=lambda r: 1 / 0)
        ready, self.stop = threading.Event(), run.stop
        caught = self.beside(lambda: run.execute(progress=lambda r: ready.set()), ready, lambda: self.refused(run.execute))
        self.assertEqual(caught, ["CM_ERR_CANCELLED"])
        self.assertTrue(os.path.isdir(self.runs() + "/run/checkpoints/step-%09d" % run.step))
        run.close()

    def test_ctrl_c_within_a_step(self):
        """A step that takes seconds is cut, not waited for; so is a long read."""
        images, n = [[[[0.5] * 32] * 32]] * 512, 512
        long = cm.Trainer(self.model, preset="smoke", batch=n, threads=1)
        began = time.monotonic()
        long.step(images)
        whole = time.monotonic() - began
        cut = 0
        for _ in range(5):
            timer = threading.Timer(0.3 * whole, lambda: os.kill(os.getpid(), signal.SIGINT))
            before, ended = long.steps, 0
            timer.start()
            with self.assertRaises(KeyboardInterrupt):
                while True:  # steps are faster when the machine is no longer busy
                    long.step(images)
                    ended += 1
            timer.join()
            cut += long.steps == before + ended
        self.assertGreaterEqual(cut, 4)
        timer = threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        self.assertRaises(KeyboardInterrupt, self.data.read, 0, 30000)
        self.assertEqual(signal.set_wakeup_fd(-1), -1)
        self.assertEqual(len(self.data.read(0, 3)[1]), 3)

    def test_ctrl_c_within_a_callback(self):
        sampler = cm.Sampler(cm.Model.load(TEACHER), "heun", steps=500, threads=1)
        def draw(_):  # a long call inside the callback of another
            threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            sampler.sample(8)
        began = time.monotonic()
        cm.Sampler(sampler.model, "heun", steps=50, threads=1).sample(8)
        whole = 10 * (time.monotonic() - began)
        began = time.monotonic()
        self.assertRaises(KeyboardInterrupt, self.trainer.run, self.data, 10**6, draw)
        self.assertLess(time.monotonic() - began, max(20, whole / 2))
        self.assertIs(signal.getsignal(signal.SIGINT), signal.default_int_handler)
        self.trainer.run(self.data, self.trainer.steps + 1)

    def test_ctrl_c_while_denoising(self):
        model, x = cm.Model.load(TEACHER), [[[[0.5] * 32] * 32]] * 600
        one, began, late = x[:1], time.monotonic(), []
        x = model.denoise(x, 1.0)
        whole = time.monotonic() - began
        def interrupt():
            late.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        for _ in range(5):
            threading.Timer(0.2 * whole, interrupt).start()
            with self.assertRaises(KeyboardInterrupt):
                while True:
                    model.denoise(x, 1.0)
            late[-1] = time.monotonic() - late[-1]
        self.assertLess(sorted(late)[2], whole / 2)  # not at the end of the call
        model.denoise(one, 1.0)

    def test_features(self):
        network = cm.Features("models/features/lenet.safetensors")
        self.assertEqual((network.info["network"], network.info["features"], network.info["height"]), ("lenet", 64, 28))
        pictures = cm.Sampler(cm.Model.load(MODEL)).sample(10, labels=list(range(10)), seed=1)
        rows, logits = network.run(pictures)
        flat, best = values(logits), lambda row: max(range(10), key=lambda k: row[k])
        self.assertGreaterEqual(sum(best(flat[10 * i:10 * i + 10]) == i for i in range(10)), 9)
        self.assertEqual(tuple(rows.shape), (10, 64))
        reference, ours = cm.Statistics.read("models/features/lenet-train.npz"), cm.Statistics(64)
        self.assertEqual((reference.dimension, reference.count, reference.network), (64, 60000, "lenet"))
        self.assertEqual((reference.weights, ours.network, ours.weights), (network.info["weights"], None, None))
        ours.mark(network)
        self.assertEqual((ours.network, ours.weights), ("lenet", network.info["weights"]))
        with self.assertRaisesRegex(cm.Error, "the network lenet and of resnet20"):
            ours.mark(cm.Features("models/features/resnet20.safetensors"))
        self.assertRaises(TypeError, ours.mark, "lenet")
        self.assertRaises(cm.Error, network.run, [[[[0.5] * 30] * 30]])
        self.assertRaises(cm.Error, cm.Features, "models/features/resnet20.safetensors", "resnet56")
        self.assertRaises(cm.Error, cm.Features, MODEL)
        self.assertEqual((network.info["resizes"], network.info["spatial"], network.info["early"]), (0, 0, [0, 0, 0]))
        both = network.run_rows(pictures)
        self.assertEqual(sorted(both), ["logits", "values"])
        self.assertEqual(values(both["logits"]), flat)
        kept = os.path.join(tempfile.mkdtemp(), "kept.npz")
        network.write(kept, both, labels=list(range(10)))
        again, classes = network.read(kept, ("values", "logits"))
        self.assertEqual((values(again["values"]), values(again["logits"]), classes), (values(both["values"]), flat, list(range(10))))
        self.assertRaises(cm.Error, network.write, kept, both)
        network.write(kept, {"values": both["values"]}, overwrite=True)
        self.assertEqual(network.read(kept)[1], [-1] * 10)
        self.assertRaises(cm.Error, network.read, kept, ("logits",))
        self.assertRaises(ValueError, network.read, kept, ("spatial",))
        self.assertRaises(ValueError, network.write, kept, {"logits": both["logits"]})
        self.assertRaises(ValueError, network.write, kept, both, [1, 2])
        self.assertRaises(cm.Error, cm.Features("models/features/resnet20.safetensors").read, kept)
        os.unlink(kept), os.rmdir(os.path.dirname(kept))
        network.close()
        self.assertRaises(ValueError, network.run, pictures)

    def test_lpips(self):
        """A network of random weights: distances that have to hold for any."""
        sides = [("0", 64, 3, 11), ("3", 192, 64, 5), ("6", 384, 192, 3), ("8", 256, 384, 3), ("10", 256, 256, 3)]
        draw, header, blocks, at = random.Random(5), {}, [], 0
        for name, out, channels, k in sides:
            for member, shape in (("weight", [out, channels, k, k]), ("bias", [out])):
                n = math.prod(shape)
                part = [draw.uniform(-1, 1) * (6 / (channels * k * k)) ** 0.5 for _ in range(997)]
                blocks.append(array.array("f", (part * (n // 997 + 1))[:n]).tobytes())
                header["features.%s.%s" % (name, member)] = {"dtype": "F32", "shape": shape,
                                                             "data_offsets": [at, at + 4 * n]}
                at += 4 * n
        text = json.dumps(header).encode()
        a = [[[[draw.uniform(-1, 1) for _ in range(35)] for _ in range(33)] for _ in range(3)] for _ in range(2)]
        b = [[[[v + 0.1 for v in row] for row in plane] for plane in image] for image in a]
        with tempfile.TemporaryDirectory() as d:
            path = Path(d) / "alex.safetensors"
            path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blocks))
            lpips = cm.Lpips(path, "models/features/lpips_lin.safetensors")
            self.assertEqual((lpips.info["network"], lpips.info["layers"], len(lpips.info["weights"])), ("alex", 5, 32))
            apart = [float(v) for v in lpips(a, b)]
            self.assertTrue(all(v > 0 for v in apart))
            self.assertEqual([float(v) for v in lpips(a, a)], [0, 0])
            self.assertEqual([float(v) for v in lpips(b, a)], apart)
            self.assertAlmostEqual(sum(values(lpips.layers(a, b))[:5]), apart[0], 6)
            self.assertEqual(tuple(lpips.map(a, b).shape), (2, 1, 33, 35))
            distances, slope = lpips.gradient(a, b)
            flat, step = values(slope), 1e-2
            self.assertEqual([float(v) for v in distances], apart)
            norm = math.sqrt(sum(v * v for v in flat[:3 * 33 * 35]))
            moved = [[[[a[0][c][i][k] - step * flat[(c * 33 + i) * 35 + k] / norm for k in range(35)] for i in range(33)]
                      for c in range(3)]]
            self.assertLess(float(lpips(moved, b[:1])[0]), apart[0])
            self.assertNotEqual([float(v) for v in cm.Lpips(path, uniform=True)(a, b)], apart)
            self.assertRaises(cm.Error, cm.Lpips, path)
            self.assertRaises(cm.Error, cm.Lpips, path, "models/features/lpips_lin.safetensors", "vgg")
            self.assertRaises(cm.Error, lpips, a, b[:1])
            self.assertRaises(ValueError, cm.Lpips, path, uniform=True, pooling="median")

    def test_metrics(self):
        a = [[float((7 * i * (k + 3) + i * i) % 11) for k in range(4)] for i in range(30)]
        b = [[1.5 * v + 1 for v in row] for row in a]
        s = cm.Statistics(4)
        s.add(a[:10])
        other = cm.Statistics(4)
        other.add(a[10:])
        s.merge(other)
        self.assertEqual((s.count, s.dimension), (30, 4))
        mean, covariance = s.values
        trace = sum(float(covariance[i][i]) for i in range(4))
        expected = sum((0.5 * float(m) + 1) ** 2 for m in mean) + 0.25 * trace
        self.assertAlmostEqual(cm.frechet_distance(s, b), expected, 9)
        self.assertEqual(cm.frechet_distance(a, a), 0)
        with tempfile.TemporaryDirectory() as d:
            path = Path(d) / "stats.npz"
            s.write(path, spatial=other)
            self.assertEqual([list(map(float, v)) for v in cm.Statistics.read(path).values[1]],
                             [list(map(float, v)) for v in covariance])
            self.assertEqual(cm.Statistics.read(path, "_s").dimension, 4)
            self.assertRaises(cm.Error, s.write, path)
            s.write(path, overwrite=True)
            try:
                import numpy as np
            except ImportError:
                pass
            else:
                with np.load(path) as z:
                    self.assertEqual((z["mu"].tolist(), z["sigma"].tolist(), int(z["count"])),
                                     (mean.tolist(), covariance.tolist(), 30))
        self.assertAlmostEqual(cm.inception_score([[1, 0], [0, 1]] * 5), 2, 12)
        self.assertAlmostEqual(cm.inception_score([[5, 5], [2, 2]], logits=True), 1, 12)
        self.assertEqual(cm.precision_recall(a, a), (1, 1))
        self.assertEqual(cm.precision_recall(a, [[v + 1000 for v in row] for row in a]), (0, 0))
        self.assertGreater(cm.kernel_distance(a, b, subsets=3)[0], 0)
        self.assertGreater(cm.frechet_subsets(s, b, subsets=3)[0], 0)
        self.assertGreater(cm.frechet_infinity(s, b, size=10), 0)
        self.assertRaises(ValueError, s.add, [[1, 2, 3]])
        self.assertRaises(ValueError, s.add, [1, 2, 3])
        self.assertRaises(ValueError, cm.precision_recall, a, [[1, 2, 3]] * 9)
        self.assertRaises(ValueError, cm.inception_score, [[math.nan, 1]])
        with self.assertRaises(cm.Error) as caught:
            cm.frechet_distance(a, a[:1])
        self.assertEqual(caught.exception.status, "CM_ERR_STATE")

    def test_search(self):
        seen = []
        self.assertEqual(cm.search_point(lambda i: seen.append(i) or abs(i - 22), 0, 39), 22)
        self.assertEqual(len(seen), len(set(seen)))
        self.assertLess(len(seen), 20)
        self.assertEqual(cm.search_point(lambda i: -abs(i - 7), 1, 300, larger=True), 7)
        self.assertEqual(cm.search_point(lambda i: i, 4, 4), 4)
        steps = []
        cm.search_point(lambda i: i, 0, 100, progress=lambda *a: steps.append(a))
        self.assertEqual(steps[-1][0], steps[-1][1])
        self.assertRaises(ZeroDivisionError, cm.search_point, lambda i: 1 / 0, 0, 9)
        self.assertRaises(ValueError, cm.search_point, lambda i: i, -1, 9)
        self.assertRaises(TypeError, cm.search_point, lambda i: i, 0, "9")
        for call, status in ((lambda: cm.search_point(lambda i: i, 9, 3), "ARGUMENT"),
                             (lambda: cm.search_point(lambda i: math.nan, 0, 9), "NUMERIC"),
                             (lambda: cm.search_point(lambda i: i, 0, 9, progress=lambda *_: True), "CANCELLED")):
            with self.assertRaises(cm.Error) as caught:
                call()
            self.assertEqual(caught.exception.status, "CM_ERR_" + status)

    def test_garbage_and_the_end_of_the_interpreter(self):
        code = """
s = cm.Sampler(cm.Model.load(%r), "heun", steps=50, threads=int(sys.argv[1]))
def work():
    while True:
        s.sample(4, progress=lambda *_: None)
t = threading.Thread(target=work, daemon=True)
t.start()
time.sleep(random.random() * 0.2)
if sys.argv[2] == "1":
    import gc
    del s, t
    gc.collect()
""" % TEACHER
        for i in range(8):
            done = run_apart(code, str(1 + i % 2), str(i // 2 % 2))
            self.assertEqual((done.returncode, done.stderr if "NameError" not in done.stderr else ""), (0, ""))


if __name__ == "__main__":
    hidden = "--no-numpy" in sys.argv
    if hidden:
        sys.argv.remove("--no-numpy")
        real = builtins.__import__
        def without(name, *arguments, **keywords):
            if name == "numpy":
                raise ImportError("numpy is hidden by this test")
            return real(name, *arguments, **keywords)
        builtins.__import__ = without
    result = unittest.main(exit=False).result
    if os.environ.get("CHECK_SKIPS"):
        with open(os.environ["CHECK_SKIPS"], "a") as skips:
            skips.writelines("python_test.py: %s: %s\n" % (test.id().split(".")[-1], why) for test, why in result.skipped
                             if not (hidden and why == "there is no numpy"))
    sys.exit(not result.wasSuccessful())
