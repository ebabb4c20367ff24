"""Learning: data sets and trainers.

    data = cm.Dataset("pictures/", size=32)
    model = cm.Model.create(cm.presets()["smoke"]["config"])
    trainer = cm.Trainer(model, preset="smoke", steps=100)
    trainer.run(data, until=100, progress=True)
    trainer.model().save("mine.safetensors")
"""

import ctypes as C
import json
from collections import abc
from contextlib import nullcontext
from typing import Any, Callable, ContextManager, Dict, List, Optional, Sequence, Tuple, Union

from ._lib import (DATASET_FOUND, PROGRESS, TRAIN, DatasetCheckOptions, DatasetInfo, DatasetOptions, DatasetPackOptions,
                   DatasetReport, OptionInfo, TrainInputs, TrainReport, choices, lib)
from . import Model, Path, _check, _condition, _context, _finish, _values
from ._handle import Handle
from ._interrupt import Interrupt, guarded
from ._progress import Bar, Count, counting
from ._values import Array

_KINDS = ["integer", "real", "choice", "flag", "text"]
_RULES = choices("label_rules")
_PARTS = choices("dataset_parts")
_FINDINGS = choices("dataset_findings")
_WEIGHTS = ["online", "ema", "target"]


def _held(handle: Optional[Handle]) -> ContextManager[Any]:
    return handle._held() if handle is not None else nullcontext()


def presets() -> Dict[str, Dict[str, Any]]:
    """Name -> {"about": sentence, "source": paper or script, "config": network} of every preset; the config is None where
    the pictures decide the network."""
    result: Dict[str, Dict[str, Any]] = {}
    i = 0
    while lib.cm_train_preset_name(i):
        config = lib.cm_train_preset_config(i)
        result[lib.cm_train_preset_name(i).decode()] = {"about": lib.cm_train_preset_about(i).decode(),
                                                        "source": lib.cm_train_preset_source(i).decode(),
                                                        "config": json.loads(config.decode()) if config else None}
        i += 1
    return result


def train_options() -> Dict[str, Dict[str, Any]]:
    """What training options there are: name -> {"kind", "about", "choices" (names, or None), "minimum", "above_minimum"
    (whether the minimum itself is not allowed), "maximum", "auto" (whether "auto" is a value), "defaults": objective -> text, for the objectives that it has an effect on}."""
    result: Dict[str, Dict[str, Any]] = {}
    objectives = choices("objectives")
    for i in range(lib.cm_train_option_count()):
        o = OptionInfo()
        lib.cm_option_info_init(C.byref(o), C.sizeof(o))
        _check(lib.cm_train_option_describe(i, C.byref(o)))
        text = C.create_string_buffer(1024)
        defaults = {}
        for number, objective in enumerate(objectives):
            if o.objectives >> number & 1:
                _check(lib.cm_train_option_default(i, number, text, len(text), None))
                defaults[objective] = text.value.decode()
        result[o.name.decode()] = {"kind": _KINDS[o.kind - 1], "about": o.about.decode(),
                                   "choices": choices(o.choices.decode()) if o.choices else None, "minimum": o.minimum,
                                   "above_minimum": bool(o.above_minimum),
                                   "maximum": o.maximum, "auto": bool(o.takes_auto), "defaults": defaults}
    return result


def _class_text(name: bytes) -> str:
    """As a trainer writes it into its models: UTF-8, else Latin-1."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _joined(names: Sequence[str]) -> bytes:
    """As cm_dataset_options takes them."""
    if isinstance(names, (str, bytes)) or not isinstance(names, abc.Sequence) or not all(isinstance(name, str) for name in names):
        raise TypeError("class_names is a list of texts, one for each class")
    for name in names:
        if "," in name or "\0" in name:
            raise ValueError("class_names: %r has a comma or NUL" % name)
    return ",".join(names).encode()


class Dataset(Handle):
    """Pictures and classes: a folder, .tar, .zip, .npz, CIFAR-10 binary or MNIST idx.

    size: pictures are cut to size x size; labels: "auto", "none", "folder", "prefix".
    part: "training" or "held-out" opens that part of the set, of which the share held_out is held out.
    class_names: a name for each class, in place of those that the set has (idx and npz have none).
    classes_from says where classes come from ("folder names", "file names", "dataset.json", ...), None without.
    One read, or one trainer's run, at a time."""

    _what, _free = "data set", lib.cm_dataset_free

    def __init__(self, path: Path, size: int = 0, channels: int = 0, labels: str = "auto", random_crop: bool = False,
                 stop_on_bad: bool = False, shuffle: bool = True, seed: int = 0, part: str = "all", held_out: float = 0,
                 class_names: Optional[Sequence[str]] = None) -> None:
        o = DatasetOptions()
        lib.cm_dataset_options_init(C.byref(o), C.sizeof(o))
        if channels not in (0, 1, 3):
            raise ValueError("channels is %s, expected 0, 1 or 3" % (channels,))
        o.channels, o.labels = channels, _values.choice(labels, "labels", _RULES)
        o.height = o.width = _values.integer(size, "size", 0, 65535)
        o.random_crop, o.stop_on_bad = _values.flag(random_crop, "random_crop"), _values.flag(stop_on_bad, "stop_on_bad")
        o.shuffle, o.seed = 1 if _values.flag(shuffle, "shuffle") else 2, _values.seed(seed)
        o.part, o.held_out = _values.choice(part, "part", _PARTS), _values.number(held_out, "held_out")
        if class_names is not None:
            o.class_names = _joined(class_names)
        handle = C.c_void_p()
        with _context() as context:
            _check(lib.cm_dataset_open(context, _values.path(path), C.byref(o), C.byref(handle)))
        self._handle = handle
        i = self._info()
        self.image_shape: Tuple[int, int, int] = (i.channels, i.height, i.width)
        self.kind: str = i.kind.decode()
        self.num_classes: int = i.classes
        self.fingerprint: int = i.fingerprint
        self.classes_from: Optional[str] = i.classes_from.decode() if i.classes_from else None
        self.classes: List[str] = []
        while lib.cm_dataset_class_name(handle, len(self.classes)):
            self.classes.append(_class_text(lib.cm_dataset_class_name(handle, len(self.classes))))

    def _info(self) -> DatasetInfo:
        i = DatasetInfo()
        lib.cm_dataset_info_init(C.byref(i), C.sizeof(i))
        with self._held() as handle:
            _check(lib.cm_dataset_info_get(handle, C.byref(i)))
        return i

    def __len__(self) -> int:
        return int(self._info().images)

    @property
    def bad(self) -> int:
        """Pictures found unreadable so far."""
        return int(self._info().bad)

    def read(self, position: int, n: int, out: Optional[Array] = None) -> Tuple[Array, List[int]]:
        """Images n x C x H x W in [-1, 1] and a list of labels (-1 = none) at positions of the training order; into `out`
        where it is given, a numpy array of float32 or of bytes n x H x W x C."""
        position, n = _values.integer(position, "position", 0, 2**63 - 1), _values.integer(n, "n", 1, 2**40)
        shape = (n,) + self.image_shape
        if out is not None:
            images = _values.target(out, "out", shape)
        else:
            out, pointer = _values.new(shape)
            images = _values.planes(shape, pointer)
        labels = (C.c_int32 * n)()
        with Interrupt(self.cancel), self._held() as handle:
            status = lib.cm_dataset_read(handle, position, C.byref(images), labels)
        _check(status)
        return out, list(labels)

    def class_counts(self) -> List[int]:
        """The number of pictures of each class, damaged ones too; an empty list without classes."""
        counts = (C.c_uint64 * self.num_classes)()
        if self.num_classes:
            with self._held() as handle:
                _check(lib.cm_dataset_class_counts(handle, self.num_classes, counts))
        return list(counts)

    def check(self, class_least: int = 0, progress: Count = None) -> Dict[str, Any]:
        """Reads every picture: a dict with is_sound, what was counted (damaged, duplicates, ...) and findings, a list of
        (kind, sentence).  class_least: pictures that a class needs (0: 20).  progress: True, or a function (pictures done, total)
        that may return a true value to stop."""
        options, report = DatasetCheckOptions(), DatasetReport()
        findings: List[Tuple[str, str]] = []
        failure: List[BaseException] = []
        lib.cm_dataset_check_options_init(C.byref(options), C.sizeof(options))
        lib.cm_dataset_report_init(C.byref(report), C.sizeof(report))
        options.class_least = _values.integer(class_least, "class_least", 0, 2**31 - 1)

        show = counting(progress, "checking")

        def on_progress(_: Any, done: int, total: int) -> Any:
            return show(done, total)

        def on_found(_: Any, kind: int, text: bytes) -> None:
            findings.append((_FINDINGS[kind], text.decode("utf-8", "replace")))

        with Interrupt() as interrupt, self._held() as handle:
            options.progress = PROGRESS(guarded(failure, interrupt, on_progress))
            options.found = DATASET_FOUND(on_found)
            status = lib.cm_dataset_check(handle, C.byref(options), C.byref(report))
        _finish(status, failure)
        result: Dict[str, Any] = {name: getattr(report, name) for name in report.names() if name != "struct_size"}
        result.update(is_sound=bool(report.is_sound), findings=findings)
        return result

    def pack(self, path: Path, images: bool = False, overwrite: bool = False,
             progress: Count = None) -> int:
        """Writes the set as one .tar archive, which is read fast; returns the number of pictures in it.  images: cut and
        scaled as this set is, as PNG, instead of the files as they are.  progress: as of check()."""
        options, packed = DatasetPackOptions(), C.c_uint64()
        failure: List[BaseException] = []
        lib.cm_dataset_pack_options_init(C.byref(options), C.sizeof(options))
        options.form, options.overwrite = _values.flag(images, "images"), _values.flag(overwrite, "overwrite")
        name = _values.path(path)

        show = counting(progress, "packing")

        def on_progress(_: Any, done: int, total: int) -> Any:
            return show(done, total)

        with Interrupt() as interrupt, self._held() as handle:
            options.progress = PROGRESS(guarded(failure, interrupt, on_progress))
            status = lib.cm_dataset_pack(handle, name, C.byref(options), C.byref(packed))
        _finish(status, failure)
        return packed.value

    def cancel(self) -> None:
        """Stops a running read(), check() or pack(), or a trainer's run() over this set, from another thread."""
        with self._held() as handle:
            lib.cm_dataset_cancel(handle)


def _report(r: TrainReport) -> Dict[str, Any]:
    return {name: getattr(r, name) for name in TrainReport.names()[1:]}


class _Line(Bar):
    """progress=True of training."""

    def __init__(self, until: int) -> None:
        super().__init__("step")
        self.until = until

    def __call__(self, r: Dict[str, Any]) -> None:
        if self.bar is None:
            self.first = r["step"] - 1
        self.show(r["step"], self.until, "loss %.5g" % r["loss"])


def _option_text(value: Any, name: str) -> bytes:
    """A training option as the text that cm_train_options_set takes."""
    if isinstance(value, str):
        return _values.text(value, name)
    if value is True or value is False or getattr(getattr(value, "dtype", None), "kind", "") == "b":
        return b"1" if _values.flag(value, name) else b"0"
    v = _values.number(value, name)
    try:
        return str(_values.integer(value, name, -2**63, 2**64 - 1)).encode()
    except ValueError:
        return repr(v).encode()


class _Options(Handle):
    _what, _free = "options", lib.cm_train_options_free

    def __init__(self) -> None:
        handle = C.c_void_p()
        with _context() as context:
            _check(lib.cm_train_options_create(context, C.byref(handle)))
        self._handle = handle

    def text(self, name: str) -> str:
        text = C.create_string_buffer(1024)
        _check(lib.cm_train_options_get(self._handle, name.encode(), text, len(text), None))
        return text.value.decode()

    def values(self) -> Dict[str, Any]:
        length = C.c_size_t()
        _check(lib.cm_train_options_json(self._handle, None, 0, C.byref(length)))
        text = C.create_string_buffer(length.value + 1)
        _check(lib.cm_train_options_json(self._handle, text, len(text), None))
        found: Dict[str, Any] = json.loads(text.value.decode())
        found["seed"] = int(found["seed"])  # text from 2^63 on
        return found


class Trainer(Handle):
    """Trains a copy of `model`'s weights.  Options are those of cm_train_options by name (objective="ect", lr=1e-4,
    ema="0.999", ...), after those of `preset`; .options shows them all.  model None: begin with the
    teacher's weights, whose network has to be the preset's.  group: a consistency.mpi.Group of several processes, which
    make the same trainer and call it alike.

    One call at a time: another thread's gets Error CM_ERR_STATE; .steps, .bytes and cancel() are for any thread."""

    _what, _free = "trainer", lib.cm_trainer_free

    def __init__(self, model: Optional[Model], teacher: Optional[Model] = None, preset: Optional[str] = None,
                 group: Any = None, **options: Any) -> None:
        known = model if model is not None else teacher
        if known is None:
            raise TypeError("model is None: give a model, or a teacher whose weights are the beginning")
        self._options = _Options()
        if preset is not None:
            _check(lib.cm_train_options_preset(self._options._handle, _values.text(preset, "preset")))
        for name in sorted(options, key=lambda n: n != "objective"):  # the objective's defaults come first
            value = _option_text(options[name], name)
            _check(lib.cm_train_options_set(self._options._handle, name.encode(), value))
        handle = C.c_void_p()
        with _held(model) as m, _held(teacher) as t:
            if preset is not None and model is None:  # the preset's network, or nobody says that it is another
                _check(lib.cm_train_preset_check(_values.text(preset, "preset"), t))
            table = group._pointer(self) if group is not None else None
            inputs = TrainInputs(C.sizeof(TrainInputs), 0, m, t, table)
            _check(lib.cm_trainer_create(C.byref(inputs), self._options._handle, C.byref(handle)))
        self._handle = handle
        self._shape, self._known = known.image_shape, known

    @property
    def options(self) -> Dict[str, Any]:
        return self._options.values()

    @property
    def steps(self) -> int:
        """Steps taken so far."""
        count = C.c_uint64()
        with self._held() as handle:
            _check(lib.cm_trainer_steps(handle, C.byref(count)))
        return count.value

    @property
    def bytes(self) -> int:
        """Memory that weights, averages, moments, gradients and activations take."""
        count = C.c_uint64()
        with self._held() as handle:
            _check(lib.cm_trainer_bytes(handle, C.byref(count)))
        return count.value

    def step(self, images: Array, labels: Any = None) -> Dict[str, Any]:
        """One step on n x C x H x W images in [-1, 1]; n may be another number than the option batch.  Values up to 2 pass,
        for what resampling overshoots; more is taken for the bytes of pictures and refused.  Returns the report as a dict."""
        n = images.shape[0] if getattr(images, "shape", ()) else len(images)
        data, keep = _values.floats(images, (n,) + self._shape, "images", limit=2,
                                    meaning="values in [-1, 1] (x / 127.5 - 1 makes them of a picture's bytes)")
        label = _values.integers(self._known._labels(labels), n, "labels", -1) if labels is not None else None
        view = _values.planes((n,) + self._shape, data)
        r = TrainReport()
        lib.cm_train_report_init(C.byref(r), C.sizeof(r))
        with Interrupt(self.cancel), self._held() as handle:
            status = lib.cm_trainer_step(handle, C.byref(view), _condition(label), C.byref(r))
        _check(status)
        return _report(r)

    def run(self, dataset: Dataset, until: int,
            progress: Union[None, bool, Callable[[Dict[str, Any]], Any]] = None) -> Optional[Dict[str, Any]]:
        """Steps until `until` have been taken in all.  progress: True, or a function (report dict) that may return a true
        value to stop; it may call model(), save() and .steps of this trainer, not step(), run(), resume() or close(), and
        not read() of this dataset.  Returns the last report."""
        failure: List[BaseException] = []
        last: List[Dict[str, Any]] = []
        until = _values.integer(until, "until", 1, 2**63 - 1)
        show = _Line(until) if progress is True else progress or None

        def on_step(_: Any, report: Any) -> Any:
            last[:] = [_report(report.contents)]
            return show and show(last[0])

        with Interrupt(self.cancel) as interrupt, self._held() as handle, dataset._held() as data:
            callback = TRAIN(guarded(failure, interrupt, on_step))
            status = lib.cm_trainer_run(handle, data, until, callback, None)
        _finish(status, failure)
        return last[0] if last else None

    def cancel(self) -> None:
        """Stops a running step() or run() from another thread."""
        with self._held() as handle:
            lib.cm_trainer_cancel(handle)

    def model(self, weights: Optional[str] = None, index: int = 0) -> Model:
        """A snapshot: "ema" (average number index; the default where there is one), "online" or "target"."""
        if weights is None:
            weights = "online" if self._options.text("ema") == "none" else "ema"
        handle = C.c_void_p()
        which, number = _values.choice(weights, "weights", _WEIGHTS), _values.size(index, "index")
        with self._held() as of:
            _check(lib.cm_trainer_model(of, which, number, C.byref(handle)))
        return Model(handle)

    def save(self, run: Path, keep: int = 0) -> None:
        """A checkpoint under run/checkpoints, whole or not there at all; the last `keep` stay (0 = all)."""
        name, number = _values.path(run, "run"), _values.size(keep, "keep")
        with Interrupt(), self._held() as handle:  # a save is not cut short: Ctrl-C is raised after it
            status = lib.cm_trainer_save(handle, name, number)
        _check(status)

    def resume(self, run: Path, dataset: Optional[Dataset] = None, allow_changes: bool = False,
               more_steps: bool = False) -> None:
        """Continues from the newest good checkpoint of run.  allow_changes: other options and data than the checkpoint's
        are taken, with a warning; more_steps: `steps` alone may be more."""
        name, changes = _values.path(run, "run"), int(_values.flag(allow_changes, "allow_changes"))
        if _values.flag(more_steps, "more_steps"):
            if changes:
                raise ValueError("more_steps has no effect with allow_changes, which takes any change")
            changes = 2
        with self._held() as handle, _held(dataset) as data:
            _check(lib.cm_trainer_resume(handle, name, data, changes))
