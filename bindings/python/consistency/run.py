"""A training run: a directory that explains itself and survives being killed.

    run = cm.Run("my-run", data="pictures/", preset="smoke", steps=100)
    run.execute(progress=True)                 # Ctrl-C: a checkpoint, then KeyboardInterrupt
    run.model().save("mine.safetensors")

    cm.Run("my-run", resume=True).execute()    # goes on from the newest checkpoint
    cm.Run("my-run", resume=True, steps=200).execute()

python3 -m consistency.report my-run makes a page of its curves and samples, and
python3 -m consistency.tensorboard my-run a file for TensorBoard."""

import contextlib
import ctypes as C
import json
import os
from typing import Any, Callable, Dict, List, Optional, Union

from ._lib import RUN, RunInfo, RunNeeds, RunReport, lib
from . import Error, Model, Path, _check, _context, _finish, _values
from ._handle import Handle
from ._interrupt import Interrupt, guarded
from .training import Dataset, _held, _Line, _option_text, _report

_EVENTS = ["step", "checkpoint", "page", "metric"]
_PATHS = ("data", "init", "teacher", "metric_data", "metric_features")
_WEIGHTS = ["online", "ema", "target"]
_MEMORY, _TIME = 1, 2
Progress = Union[None, bool, Callable[[Dict[str, Any]], Any]]


class _RunOptions(Handle):
    _what, _free = "options of a run", lib.cm_run_options_free

    def __init__(self) -> None:
        handle = C.c_void_p()
        with _context() as context:
            _check(lib.cm_run_options_create(context, C.byref(handle)))
        self._handle = handle

    def set(self, name: str, value: Any) -> None:
        if name == "network" and isinstance(value, dict):
            value = json.dumps(value)
        text = _values.path(value, name) if name in _PATHS else _option_text(value, name)
        _check(lib.cm_run_options_set(self._handle, name.encode(), text))

    def values(self) -> Dict[str, Any]:
        length = C.c_size_t()
        _check(lib.cm_run_options_json(self._handle, None, 0, C.byref(length)))
        text = C.create_string_buffer(length.value + 1)
        _check(lib.cm_run_options_json(self._handle, text, len(text), None))
        found: Dict[str, Any] = json.loads(text.value.decode("utf-8", "replace"))
        return found


def run_options() -> Dict[str, str]:
    """Name -> meaning of every option of a run; the options of training come on top of them."""
    result: Dict[str, str] = {}
    while lib.cm_choice_name(b"run_options", len(result)):
        i = len(result)
        result[lib.cm_choice_name(b"run_options", i).decode()] = lib.cm_choice_about(b"run_options", i).decode()
    return result


def _text(value: Optional[bytes]) -> Optional[str]:
    return os.fsdecode(value) if value is not None else None


class Run(Handle):
    """A run in `directory`: a new one, or with resume=True the one that stands there.

    model: a Model or a file whose weights are the beginning, or a dict {"network", "precond", "image"} of a new network;
    None: the preset's, or one for the pictures at hand.  data: a Dataset or a path.  teacher: a Model or a file.
    options: those of a run (run_options()) and of training by name.  A run that is resumed takes from its config.json what
    is not said; options that decide the course of training have to be the same, except that steps may be more, unless
    allow_changes=True.  group: a consistency.mpi.Group of several processes, which make the same run; its first one writes
    the directory.

    One call at a time; stop(), cancel(), .step and .info are for any thread."""

    _what, _free = "run", lib.cm_run_free

    def __init__(self, directory: Path, model: Union[None, Model, Path, Dict[str, Any]] = None,
                 data: Union[None, Dataset, Path] = None, teacher: Union[None, Model, Path] = None, resume: bool = False,
                 group: Any = None, **options: Any) -> None:
        where = _values.path(directory, "directory")
        o = _RunOptions()
        if _values.flag(resume, "resume"):
            _check(lib.cm_run_options_load(o._handle, where))
        named = dict(options)
        for name, value, kind in (("data", data, Dataset), ("init", model, Model), ("teacher", teacher, Model)):
            if value is not None and not isinstance(value, kind):
                named["network" if isinstance(value, dict) else name] = value
        first = ["preset", "objective"]  # they bring values for others
        for name in sorted(named, key=lambda n: first.index(n) if n in first else len(first)):
            o.set(name, named[name])
        models = [m if isinstance(m, Model) else None for m in (model, teacher)]
        pictures = data if isinstance(data, Dataset) else None
        handle = C.c_void_p()
        with _held(models[0]) as m, _held(models[1]) as t, _held(pictures) as d:
            _check(lib.cm_run_options_inputs(o._handle, m, t, d))
            if group is not None:
                _check(lib.cm_run_options_group(o._handle, group._pointer(self)))
            _check(lib.cm_run_create(o._handle, where, C.byref(handle)))
        self._handle, self._options = handle, o
        self._pictures = contextlib.ExitStack()  # the run reads the Dataset's, which stays open as long as the run
        if pictures is not None:
            self._pictures.enter_context(pictures._held())
        self.directory = os.fsdecode(where)

    def close(self) -> None:
        """Frees the memory and gives the directory back."""
        super().close()
        self._pictures.close()

    @property
    def options(self) -> Dict[str, Any]:
        """All that the run is made with, as in its config.json."""
        with self._held():
            return self._options.values()

    @property
    def info(self) -> Dict[str, Any]:
        """step, steps, batch, parameters, images, classes, is_finished, ..."""
        i = RunInfo()
        lib.cm_run_info_init(C.byref(i), C.sizeof(i))
        with self._held() as handle:
            _check(lib.cm_run_info_get(handle, C.byref(i)))
            found = {name: getattr(i, name) for name in RunInfo.names()[1:] if name != "reserved"}
        found["is_finished"] = bool(found["is_finished"])
        for name in ("kind", "classes_from", "data", "metric"):
            found[name] = _text(found[name])
        return found

    @property
    def step(self) -> int:
        """Steps taken so far."""
        return int(self.info["step"])

    @property
    def steps(self) -> int:
        """Steps in all."""
        return int(self.info["steps"])

    def estimate(self, time: bool = False) -> Dict[str, Any]:
        """What the run will take, before it has begun: bytes, free_bytes, free_of; with time=True two steps are timed for
        step_seconds, seconds, sample_share and metric_share.  Error CM_ERR_MEMORY says what would fit where it does not."""
        n = RunNeeds()
        lib.cm_run_needs_init(C.byref(n), C.sizeof(n))
        parts = _MEMORY | (_TIME if _values.flag(time, "time") else 0)
        with Interrupt(), self._held() as handle:
            status = lib.cm_run_estimate(handle, parts, C.byref(n))
        _check(status)
        found = {name: getattr(n, name) for name in RunNeeds.names()[1:]}
        found["fits"], found["free_of"] = bool(found["fits"]), _text(found["free_of"])
        return found

    def begin(self) -> None:
        """Makes the directory and the trainer, or reads the newest checkpoint.  execute() does it where it was not called."""
        with Interrupt(), self._held() as handle:
            status = lib.cm_run_begin(handle)
        _check(status)

    def execute(self, until: Optional[int] = None, progress: Progress = None) -> Optional[Dict[str, Any]]:
        """Steps until `until` (all of them by default) have been taken, then a checkpoint; returns the last report.

        progress: True for a line on a terminal, or a function that gets a dict after every step, file and evaluation: event
        ("step", "checkpoint", "page" or "metric"), path of the file (of a metric that is the best so far best.safetensors),
        step, steps, images, loss, grad_norm, lr, images_per_second, seconds_left, metric, distance, best_distance, best_step,
        and training, the report of Trainer.run.  A true result stops the run with a checkpoint, and Error CM_ERR_CANCELLED
        is raised.  Ctrl-C does the same, and KeyboardInterrupt is raised.  The function may call stop(), cancel(), model(),
        .step and .info of this run."""
        failure: List[BaseException] = []
        last: List[Dict[str, Any]] = []
        goal = self.steps if until is None else _values.integer(until, "until", 1, 2**63 - 1)
        line = _Line(goal) if progress is True else None
        told = progress if callable(progress) else None

        def on_report(_: Any, report: Any) -> Any:
            last[:] = [_run_report(report.contents)]
            if line and last[0]["event"] == "step":
                line(last[0])
            return told and told(last[0])

        with Interrupt(self.stop) as interrupt, self._held() as handle:
            callback = RUN(guarded(failure, interrupt, on_report))
            status = lib.cm_run_execute(handle, goal, callback, None)
        _finish(status, failure)
        return last[0] if last else None

    def stop(self) -> None:
        """Stops a running execute() from another thread, with a checkpoint of the last whole step."""
        with self._held() as handle:
            lib.cm_run_stop(handle)

    def cancel(self) -> None:
        """The same without a checkpoint."""
        with self._held() as handle:
            lib.cm_run_cancel(handle)

    @staticmethod
    def model_path(directory: Path) -> str:
        """The file of a run's directory to use: model.safetensors where it has ended, else the best so far, else the newest
        checkpoint's."""
        name = _values.path(directory)
        path = C.create_string_buffer(4096 + len(name))
        _check(lib.cm_run_model_path(None, name, path, len(path)))
        return os.fsdecode(path.value)

    def model(self, weights: Optional[str] = None, index: int = 0) -> Model:
        """A snapshot of the run's trainer: "ema" (average number index; the default where there is one), "online" or
        "target".  Error CM_ERR_STATE before the run has begun."""
        if weights is None:
            weights = "ema" if self.options["options"]["ema"] != "none" else "online"
        which, number = _values.choice(weights, "weights", _WEIGHTS), _values.size(index, "index")
        handle = C.c_void_p()
        with self._held() as of:
            trainer = lib.cm_run_trainer(of)
            if not trainer:
                raise Error("CM_ERR_STATE", "the run has not begun: it has no weights yet")
            _check(lib.cm_trainer_model(trainer, which, number, C.byref(handle)))
        return Model(handle)


def _run_report(r: RunReport) -> Dict[str, Any]:
    found = {name: getattr(r, name) for name in RunReport.names()[1:]}
    found["event"], found["path"], found["metric"] = _EVENTS[r.event], _text(r.path), _text(r.metric)
    found["training"] = _report(r.training.contents)
    return found
