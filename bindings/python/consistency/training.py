"""Learning: data sets and trainers.

    data = cm.Dataset("pictures/", size=32)
    model = cm.Model.create(cm.presets()["smoke"]["config"])
    trainer = cm.Trainer(model, preset="smoke", steps=100)
    trainer.run(data, until=100, progress=True)
    trainer.model().save("mine.safetensors")
"""

import ctypes as C
import json
import math
import os
import sys
import time

from ._lib import CM_ERR_CANCELLED, DatasetInfo, DatasetOptions, TRAIN, TrainOptions, TrainReport, lib
from . import Model, _Interrupt, _check, _floats, _ints, _new

_RULES = ["auto", "none", "folder", "prefix"]
_WEIGHTS = ["online", "ema", "target"]


def presets():
    """Name -> {"about": sentence, "source": paper or script, "config": network} of every preset."""
    result, i = {}, 0
    while lib.cm_train_preset_name(i):
        result[lib.cm_train_preset_name(i).decode()] = {"about": lib.cm_train_preset_about(i).decode(),
                                                        "source": lib.cm_train_preset_source(i).decode(),
                                                        "config": json.loads(lib.cm_train_preset_config(i).decode())}
        i += 1
    return result


class Dataset:
    """Pictures and classes: a folder, .tar, .zip, .npz, CIFAR-10 binary or MNIST idx.

    size: pictures are cut to size x size; labels: "auto", "none", "folder", "prefix"."""

    def __init__(self, path, size=0, channels=0, labels="auto", random_crop=False, stop_on_bad=False, shuffle=True, seed=0):
        self._handle = None
        o = DatasetOptions()
        lib.cm_dataset_options_init(C.byref(o), C.sizeof(o))
        if labels not in _RULES:
            raise ValueError("labels is %r, expected one of %s" % (labels, ", ".join(_RULES)))
        o.channels, o.height, o.width, o.labels = channels, size, size, _RULES.index(labels)
        o.random_crop, o.stop_on_bad, o.shuffle, o.seed = int(random_crop), int(stop_on_bad), 1 if shuffle else 2, seed
        handle = C.c_void_p()
        _check(lib.cm_dataset_open(None, os.fsencode(path), C.byref(o), C.byref(handle)))
        self._handle = handle
        i = self._info()
        self.image_shape, self.kind = (i.channels, i.height, i.width), i.kind.decode()
        self.num_classes, self.fingerprint = i.classes, i.fingerprint
        self.classes_from = i.classes_from.decode() if i.classes_from else None
        self.classes = []
        while lib.cm_dataset_class_name(handle, len(self.classes)):
            self.classes.append(lib.cm_dataset_class_name(handle, len(self.classes)).decode("utf-8", "replace"))

    def _alive(self):
        if not self._handle:
            raise ValueError("the data set is closed")
        return self._handle

    def _info(self):
        i = DatasetInfo()
        lib.cm_dataset_info_init(C.byref(i), C.sizeof(i))
        _check(lib.cm_dataset_info_get(self._alive(), C.byref(i)))
        return i

    def __len__(self):
        return self._info().images

    @property
    def bad(self):
        """Pictures found unreadable so far."""
        return self._info().bad

    def read(self, position, n):
        """Images n x C x H x W in [-1, 1] and a list of labels (-1 = none) at positions of the training order."""
        if n < 1 or position < 0:
            raise ValueError("position %d, n %d" % (position, n))
        out, pointer = _new((n,) + self.image_shape)
        labels = (C.c_int32 * n)()
        _check(lib.cm_dataset_read(self._alive(), position, n, pointer, labels))
        return out, list(labels)

    def close(self):
        handle, self._handle = self._handle, None
        if handle:
            lib.cm_dataset_free(handle)

    __enter__ = lambda self: self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_handle", None) and lib is not None:
            self.close()


def _report(r):
    return {name: getattr(r, name) for name, _ in TrainReport._fields_[1:]}


class _Line:
    """progress=True: one line on a terminal."""

    def __init__(self, until):
        self.until, self.began, self.first, self.shown = until, time.monotonic(), None, 0.0

    def __call__(self, r):
        now = time.monotonic()
        if self.first is None:
            self.first = r["step"] - 1
        if sys.stderr.isatty() and (now - self.shown > 0.1 or r["step"] == self.until):
            left = (now - self.began) / (r["step"] - self.first) * (self.until - r["step"])
            sys.stderr.write("\rstep %d of %d  loss %.5g  about %.0f s left\033[K%s"
                             % (r["step"], self.until, r["loss"], left, "\n" if r["step"] == self.until else ""))
            sys.stderr.flush()
            self.shown = now


class Trainer:
    """Trains a copy of `model`'s weights.  Options are those of cm_train_options by name (objective="ect", lr=1e-4,
    ema="0.999", ...), after those of `preset`; .options shows them all.  model None: begin with the teacher's weights."""

    def __init__(self, model, teacher=None, preset=None, **options):
        self._handle = None
        o = TrainOptions()
        lib.cm_train_options_init(C.byref(o), C.sizeof(o))
        if preset is not None:
            _check(lib.cm_train_options_preset(C.byref(o), preset.encode()))
        for name in sorted(options, key=lambda n: n != "objective"):  # the objective's defaults come first
            value = options[name]
            text = value if isinstance(value, str) else str(int(value)) if isinstance(value, (bool, int)) else repr(float(value))
            _check(lib.cm_train_options_set(C.byref(o), name.encode(), text.encode()))
        self._options = o
        handle = C.c_void_p()
        _check(lib.cm_trainer_create(model._alive() if model else None, teacher._alive() if teacher else None, C.byref(o),
                                     C.byref(handle)))
        self._handle = handle
        self._shape = (model or teacher).image_shape

    def _alive(self):
        if not self._handle:
            raise ValueError("the trainer is closed")
        return self._handle

    @property
    def options(self):
        length = C.c_size_t()
        _check(lib.cm_train_options_json(C.byref(self._options), None, 0, C.byref(length)))
        text = C.create_string_buffer(length.value + 1)
        _check(lib.cm_train_options_json(C.byref(self._options), text, len(text), None))
        return json.loads(text.value.decode())

    @property
    def steps(self):
        """Steps taken so far."""
        count = C.c_uint64()
        _check(lib.cm_trainer_steps(self._alive(), C.byref(count)))
        return count.value

    @property
    def bytes(self):
        """Memory that weights, averages, moments, gradients and activations take."""
        count = C.c_uint64()
        _check(lib.cm_trainer_bytes(self._alive(), C.byref(count)))
        return count.value

    def step(self, images, labels=None):
        """One step on batch x C x H x W images in [-1, 1]; returns the report as a dict."""
        n = self._options.batch
        data, keep = _floats(images, n * math.prod(self._shape), "images")
        label = _ints(labels, n, "labels") if labels is not None else None
        r = TrainReport()
        lib.cm_train_report_init(C.byref(r), C.sizeof(r))
        with _Interrupt(self.cancel):
            status = lib.cm_trainer_step(self._alive(), data, label, C.byref(r))
        _check(status)
        return _report(r)

    def run(self, dataset, until, progress=None):
        """Steps until `until` have been taken in all.  progress: True, or a function (report dict) that may return a true
        value to stop.  Returns the last report."""
        failure, last = [], [None]
        show = _Line(until) if progress is True else progress

        def on_step(_, report):
            try:
                last[0] = _report(report.contents)
                return 1 if show and show(last[0]) else 0
            except BaseException as error:  # an exception must not pass through C
                failure.append(error)
                return 1

        callback = TRAIN(on_step)
        with _Interrupt(self.cancel):
            status = lib.cm_trainer_run(self._alive(), dataset._alive(), until, callback, None)
        if failure and status == CM_ERR_CANCELLED:
            raise failure[0]
        _check(status)
        return last[0]

    def cancel(self):
        """Stops a running step() or run() from another thread."""
        lib.cm_trainer_cancel(self._alive())

    def model(self, weights=None, index=0):
        """A snapshot: "ema" (average number index; the default where there is one), "online" or "target"."""
        if weights is None:
            weights = "ema" if self._options.ema_count else "online"
        handle = C.c_void_p()
        _check(lib.cm_trainer_model(self._alive(), _WEIGHTS.index(weights), index, C.byref(handle)))
        return Model(handle)

    def save(self, run, keep=0):
        """A checkpoint under run/checkpoints, whole or not there at all; the last `keep` stay (0 = all)."""
        _check(lib.cm_trainer_save(self._alive(), os.fsencode(run), keep))

    def resume(self, run, dataset=None, allow_changes=False):
        """Continues from the newest good checkpoint of run."""
        _check(lib.cm_trainer_resume(self._alive(), os.fsencode(run), dataset._alive() if dataset else None,
                                     int(allow_changes)))

    def close(self):
        handle, self._handle = self._handle, None
        if handle:
            lib.cm_trainer_free(handle)

    __enter__ = lambda self: self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_handle", None) and lib is not None:
            self.close()
