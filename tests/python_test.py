#!/usr/bin/env python3
"""The Python binding: sampling, errors, callbacks, Ctrl-C, threads; with numpy when there, and without."""
import builtins, os, signal, struct, sys, tempfile, threading, time, unittest

sys.path.insert(0, "bindings/python")
import consistency as cm

MODEL, TEACHER = "models/digits_consistency.safetensors", "models/digits_teacher.safetensors"


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

    def test_options(self):
        ts = cm.Sampler(self.model, "multistep", ts=[0, 22, 39], grid=40)
        self.assertEqual(ts.nfe, 2)
        teacher = cm.Model.load(TEACHER)
        edm = cm.Sampler(teacher, "edm", steps=3, discretization="vp", schedule="vp", scaling="vp", solver="heun")
        self.assertEqual(edm.nfe, 5)
        for method in ("heun", "euler", "ancestral", "dpm", "progdist"):
            cm.Sampler(teacher, method, steps=2).sample(1)
        self.assertRaises(ValueError, cm.Sampler, self.model, "oneshot")
        self.assertRaises(TypeError, cm.Sampler, self.model, churn=1)
        self.assertRaises(cm.Error, cm.Sampler, self.model, "onestep", steps=4)
        self.assertRaises(cm.Error, cm.Sampler, self.model, "multistep", sigmas=[1, 2])
        self.assertRaises(cm.Error, cm.Sampler, self.model, dtype="f16")
        self.assertRaises(cm.Error, cm.Sampler, self.model, dtype="bf16", bf16_emulate=True, bf16_tile=5)
        near = cm.Sampler(self.model, dtype="bf16", bf16_emulate=True).sample(1, seed=3)
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
        self.assertEqual(tuple(cm.read_image(folder + "rgba.png", size=(4, 5), fit="pad").shape), (1, 3, 4, 5))
        self.assertRaises(ValueError, cm.read_image, folder + "rgba.png", size=(4, 5))
        self.assertRaises(ValueError, cm.read_image, folder + "rgba.png", channels=4)

    def test_data(self):
        with cm.Dataset(self.dir.name, channels=1, shuffle=False) as d:
            self.assertEqual((len(d), d.image_shape, d.classes, d.kind, d.bad), (12, (1, 32, 32), ["a", "b"], "folder", 0))
            images, labels = d.read(0, 3)
            self.assertEqual(labels, [0, 0, 0])
            self.assertAlmostEqual(values(images)[1024], 10 / 6 - 1, delta=0.01)  # a_0, a_10, ...: byte order
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
        c.resume(self.dir.name + "/run", data)
        c.run(data, 8)
        name, _ = m.params()[0]
        self.assertEqual(values(a.model().param(name)), values(c.model().param(name)))
        self.assertEqual(a.model("online").precond, "edm")
        self.assertRaises(cm.Error, a.model, "target")
        self.assertRaises(cm.Error, cm.Trainer, m, lr=-1)
        self.assertRaises(cm.Error, cm.Trainer, m, preset="smoke", mu=0.5)
        with self.assertRaises(ZeroDivisionError):
            c.run(data, 9, progress=lambda r: 1 / 0)

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


if __name__ == "__main__":
    if "--no-numpy" in sys.argv:
        sys.argv.remove("--no-numpy")
        real = builtins.__import__
        def without(name, *arguments, **keywords):
            if name == "numpy":
                raise ImportError("numpy is hidden by this test")
            return real(name, *arguments, **keywords)
        builtins.__import__ = without
    unittest.main()
