"""Images from consistency models: libconsistency through ctypes.

    import consistency as cm
    model = cm.Model.load("models/digits.safetensors")
    images = cm.Sampler(model).sample(10, labels=list(range(10)))
    cm.write_page("digits.png", images, columns=10)

No third-party module is needed.  With numpy installed arrays go in and come
out as numpy arrays; without it `Images` objects come out, which have .shape,
.tolist() and the buffer protocol through memoryview(images.data).

Arguments are taken as they are meant or refused with ValueError or TypeError, which name the
argument and the index.  Arrays may be of any float or integer type, byte order and strides; their
shape has to be the one that is asked for, but for sides of 1, or flat.

What the library has to say besides errors goes to the logger "consistency" of the module `logging`:
warnings are shown unless the program sets it up otherwise; logging.getLogger("consistency")
.setLevel(logging.DEBUG) and a handler show everything.
"""

import contextlib
import ctypes as C
import importlib
import json
import logging
import math
import os
import re
import time
from types import TracebackType
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple, Type, Union

from . import _source, _values
from ._handle import Error, Handle
from ._interrupt import Interrupt, guarded
from ._progress import Bar, Count, counting
from ._lib import (AverageOptions, CM_ERR_CANCELLED, CM_U8, Condition, ContextOptions, DenoiseOptions, LikelihoodOptions, ImageReadOptions,
                   ImageWriteOptions, LOG, LoadOptions, ModelInfo, PROGRESS, STEP,
                   SampleOptions, SamplerInfo, SamplerOptions, SaveOptions, choices, lib)
from ._lib import Images as CImages
from ._values import Array, Images

__all__ = ["Model", "Checkpoint", "convert", "Sampler", "Trainer", "Dataset", "Run", "run_options", "Images", "Error", "presets", "train_options", "version", "build_info", "write_page",
           "read_image", "read_mask", "to_pil", "read_note", "encode_image", "decode_image", "noise_level", "Features", "Lpips", "Statistics", "frechet_distance",
           "frechet_infinity", "frechet_subsets", "inception_score", "kernel_distance", "precision_recall",
           "search_point"]

_METHODS = choices("methods")
_NUMBERS = ("rho", "sigma_min", "sigma_max", "s_churn", "s_tmin", "s_tmax", "s_noise", "temperature")
_CHOICES = {
    "discretization": ("edm_discretization", choices("edm_discretizations")),
    "schedule": ("edm_schedule", choices("edm_schedules")),
    "scaling": ("edm_scaling", choices("edm_scalings")),
    "solver": ("edm_solver", choices("edm_solvers")),
    "form": ("dpmpp_form", choices("dpmpp_forms")),
    "end": ("dpmpp_end", choices("dpmpp_ends")),
}
_FORMATS = choices("model_formats")
_DTYPES: Dict[Optional[str], int] = {None: 0, "float32": 1, "float16": 3, "bfloat16": 2}  # cm_dtype
_PRECISIONS: List[Optional[str]] = [None] + choices("precisions")[1:]  # None: the default
_MEMORIES = choices("memories")
# Arguments of other programs and libraries for what has another name here.
_REMOVED = {"dtype": "precision='f32' or 'bf16'", "lean": "memory='small'", "bf16_tile": "debug='bf16_tile=N'",
            "bf16_emulate": "debug='bf16_emulate=1'"}

# Paths; and progress: True for a line on the terminal, or a function (done, total, seconds left).
Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]
Progress = Union[None, bool, Callable[[int, int, float], Any]]


# The library's words for what has another name here.
_WORDS = [(re.compile(pattern), word) for pattern, word in (
    (r"^cm_\w+: ", ""), (r"\bmax_batch\b", "batch"), (r"\bgiven (?=\d|is \d)", "images "),
    (r"\bedm_(?=(?:discretization|schedule|scaling|solver|alpha)\b)", ""),
    (r"\bdpmpp_(?=(?:order|form|end)\b)", ""), (r"\b(?:rk45|pc)_(?=(?:rtol|atol|max_nfe|snr|corrections)\b)", ""),
    (r"\bconfig_json\b", "config"), (r"\bnoise_steps\b", "step_noise"),
    (r" or 0 for the (context's|default)", " or None"), (r"^option(?=s? \w+ (is|has|are|have)\b)s? ", ""),
    (r"ask for overwriting to replace it", "overwrite=True replaces it"))]


def _message() -> str:
    message: str = lib.cm_last_message().decode("utf-8", "replace")
    for pattern, word in _WORDS:
        message = pattern.sub(word, message)
    return message


def _check(status: int) -> None:
    if status:
        raise Error(lib.cm_status_name(status).decode(), _message())


def _finish(status: int, failure: List[BaseException]) -> None:
    """After a call with callbacks: what one of them raised, or the call's own failure."""
    if failure and status == CM_ERR_CANCELLED:
        raise failure[0]
    _check(status)


def version() -> str:
    return str(lib.cm_version().decode())


def build_info() -> str:
    return str(lib.cm_build_info().decode())


_logger = logging.getLogger("consistency")
_LEVELS = {1: logging.ERROR, 2: logging.WARNING, 3: logging.INFO, 4: logging.DEBUG}


def _on_log(_: Any, level: int, message: bytes) -> None:
    try:
        _logger.log(_LEVELS.get(level, logging.INFO), "%s", message.decode("utf-8", "replace"))
    except BaseException:  # an exception must not pass through C
        pass


_log_callback = LOG(_on_log)


@contextlib.contextmanager
def _context() -> Iterator[Any]:
    """A context that logs; what is made with it keeps it alive."""
    o = ContextOptions()
    lib.cm_context_options_init(C.byref(o), C.sizeof(o))
    o.log = _log_callback
    handle = C.c_void_p()
    _check(lib.cm_context_create(C.byref(o), C.byref(handle)))
    try:
        yield handle
    finally:
        lib.cm_context_free(handle)


def _format_of(path: Path) -> str:
    return "torch" if os.fsdecode(path).endswith((".pt", ".pth")) else "native"


def _converted_format(path: Path) -> str:
    """The format that the name of the output says, as cm-convert takes it."""
    name = os.path.basename(os.fsdecode(path))
    if os.path.isdir(path) or "." not in name:
        return "diffusers"
    if not name.endswith((".safetensors", ".pt", ".pth")):
        raise ValueError("%r ends neither in .safetensors nor in .pt or .pth, and a folder's name has no dot: give format, "
                         "native, torch or diffusers" % (name,))
    return _format_of(path)


class Model(Handle):
    """A network with its weights; threads may share it.  Close it, use it in a with statement, or leave it to the garbage
    collector."""

    _what, _free = "model", lib.cm_model_free
    _source: Any = None

    def __init__(self, handle: Any) -> None:
        if not isinstance(handle, C.c_void_p):
            raise TypeError("a model is made by Model.load(source), Model.create(...) or Trainer.model()")
        self._handle = handle
        info = ModelInfo()
        lib.cm_model_info_init(C.byref(info), C.sizeof(info))
        _check(lib.cm_model_info_get(handle, C.byref(info)))
        self.config: Dict[str, Any] = json.loads(info.config_json.decode())
        self.image_shape: Tuple[int, int, int] = (info.channels, info.height, info.width)
        self.out_channels: int = info.out_channels
        self.num_classes: int = info.num_classes
        self.network: str = info.network.decode()
        self.precond: str = info.precond.decode()
        self.sigma_min: float = info.sigma_min
        self.sigma_max: float = info.sigma_max
        self.sigma_data: float = info.sigma_data
        self.parameters: int = info.parameters
        self.is_consistency = bool(info.is_consistency)
        # the name of each label, None for a label without one; [] where no class has a name
        self.classes: List[Optional[str]] = self._class_names(handle)

    def __repr__(self) -> str:
        channels, height, width = self.image_shape
        return (f"<consistency.Model: {self.network}, precond {self.precond}, {width} x {height}, {channels} channels, "
                f"{self.num_classes} classes, {self.parameters} parameters>")

    def _class_names(self, handle: Any) -> List[Optional[str]]:
        names = [lib.cm_model_class_name(handle, k) for k in range(self.num_classes)]
        return [name.decode() if name else None for name in names] if any(names) else []

    @classmethod
    def load(cls, source: Union["os.PathLike[str]", str, bytes, Any], config: Optional[Dict[str, Any]] = None,
             allow_nonfinite: bool = False, copy: bool = False,
             progress: Count = None, weights: Optional[str] = None) -> "Model":
        """source: the name of a file or of a folder of diffusers (text or a pathlib.Path), the content of a file (bytes, bytearray, mmap, an array of
        bytes), or a binary file object with read and seek.

        config: a dict with members network, precond, image for files that carry no configuration; classes, a list of
        names, for those that carry none.
        copy: True reads the weights into memory, so that the file or the memory may change or go away while the model is
        in use; without it content is used in place and kept alive.  What a file object reads is always copied.
        progress: True, or a function (bytes done, bytes in total) that may return a true value to stop.
        weights: which set of a file that holds several ("ema", "model"); None: the average where there is one."""
        options = LoadOptions()
        lib.cm_load_options_init(C.byref(options), C.sizeof(options))
        options.allow_nonfinite = _values.flag(allow_nonfinite, "allow_nonfinite")
        options.copy = _values.flag(copy, "copy")
        options.config_json = json.dumps(config).encode() if config is not None else None
        options.weights = _values.text(weights, "weights") if weights is not None else None
        handle, failure = C.c_void_p(), []  # type: Any, List[BaseException]

        show = counting(progress, "reading")

        def on_progress(_: Any, done: int, total: int) -> Any:
            return show(done, total)

        with Interrupt() as interrupt, _context() as context:
            options.progress = PROGRESS(guarded(failure, interrupt, on_progress))
            status, kept = _source.load(source, context, options, handle, failure, interrupt)
        if failure and status:
            raise failure[0]
        _check(status)
        model = cls(handle)
        model._source = kept  # borrowed bytes
        return model

    @classmethod
    def reconstruct(cls, paths: Sequence[Path], std: float, images: float = 0,
                    progress: Count = None) -> "Model":
        """The power-function average of width std that ends after so many images (0: with the latest file), as the sum
        of stored averages that is nearest to it: files ema-power-*.safetensors of a run's checkpoints, or EDM2's
        snapshots NAME-KIMG-STD.pkl.

        progress: True, or a function (done, total) of files opened and weights added that may return a true value to stop."""
        if isinstance(paths, (str, bytes, os.PathLike)):
            raise TypeError("paths is %r, expected a list of files" % (paths,))
        names = [_values.path(p, "paths[%d]" % i) for i, p in enumerate(paths)]
        handle, list_of = C.c_void_p(), (C.c_char_p * max(len(names), 1))(*names)
        failure: List[BaseException] = []
        o = AverageOptions()
        lib.cm_average_options_init(C.byref(o), C.sizeof(o))
        o.std, o.images = _values.number(std, "std"), _values.number(images, "images")

        show = counting(progress, "adding")

        def on_progress(_: Any, done: int, total: int) -> Any:
            return show(done, total)

        with Interrupt() as interrupt, _context() as context:
            o.progress = PROGRESS(guarded(failure, interrupt, on_progress))
            status = lib.cm_average_reconstruct(context, list_of, len(names), C.byref(o), C.byref(handle))
        _finish(status, failure)
        return cls(handle)

    @classmethod
    def create(cls, config: Dict[str, Any], seed: int = 0) -> "Model":
        """Fresh weights; config: a dict with members network, precond and image as in a native file."""
        handle = C.c_void_p()
        with _context() as context:
            _check(lib.cm_model_create(context, json.dumps(config).encode(), _values.seed(seed), C.byref(handle)))
        return cls(handle)

    def save(self, path: Path, overwrite: bool = False, format: Optional[str] = None, dtype: Optional[str] = None,
             shard_bytes: int = 0, progress: Count = None) -> None:
        """format: "native", "torch" or "diffusers" (a folder); None: "torch" where path ends in .pt or .pth, else "native".
        dtype: "float32", "float16" or "bfloat16"; None: each weight as it is.
        shard_bytes: for diffusers the most bytes of weights in one file; 0: one file.
        progress: True, or a function (bytes done, bytes in total) that may return a true value to stop."""
        options = SaveOptions()
        lib.cm_save_options_init(C.byref(options), C.sizeof(options))
        options.overwrite = _values.flag(overwrite, "overwrite")
        options.format = _values.choice(_format_of(path) if format is None else format, "format", _FORMATS)
        options.dtype = list(_DTYPES.values())[_values.choice(dtype, "dtype", list(_DTYPES))]
        options.shard_bytes = _values.integer(shard_bytes, "shard_bytes", 0, 2**63 - 1)
        failure: List[BaseException] = []

        show = counting(progress, "writing")

        def on_progress(_: Any, done: int, total: int) -> Any:
            return show(done, total)

        with Interrupt() as interrupt, self._held() as handle:
            options.progress = PROGRESS(guarded(failure, interrupt, on_progress))
            status = lib.cm_model_save(handle, _values.path(path), C.byref(options))
        _finish(status, failure)

    def label(self, name: str, what: str = "label") -> int:
        """The label of the class that is called so; Error names the nearest class and the known ones.  Text is always a
        name, "10" that of a class called 10: numbers are given as numbers."""
        if name in self.classes:
            return self.classes.index(name)
        if re.fullmatch("-?[0-9]+", name):
            raise ValueError("%s: no class is called %r; a number is given as a number, not as text" % (what, name))
        encoded, found = name.encode("utf-8", "surrogateescape"), C.c_int32()
        if b"\0" in encoded:
            raise ValueError("%s: %r has a NUL in it" % (what, name))
        with self._held() as handle:
            _check(lib.cm_model_find_class(handle, encoded, C.byref(found)))
        return found.value

    def _labels(self, labels: Any) -> Any:
        """Names as numbers, numbers as they are: what every labels= takes."""
        if isinstance(labels, str):
            return self.label(labels, "labels")
        if hasattr(labels, "__len__") and getattr(labels, "ndim", 1) == 1 and any(isinstance(v, str) for v in labels):
            return [self.label(v, "labels[%d]" % i) if isinstance(v, str) else v for i, v in enumerate(labels)]
        return labels

    def denoise(self, x: Array, sigma: Union[float, Sequence[float], Array], labels: Any = None,
                progress: Count = None,
                second: Union[None, float, Sequence[float], Array] = None, guidance: Optional[float] = None) -> Array:
        """D(x; sigma), not clamped: x is n x C x H x W (or one image), sigma a number or n of them; labels: numbers or
        names of classes.  second, of a network of two times: the level of the second time, a number or n of them, at
        most sigma; None is 0.  guidance: its scale, of diffusion models and of networks that are told of it.

        progress: True, or a function (done, total) that may return a true value to stop.  Ctrl-C stops within one evaluation."""
        return self._denoise(x, sigma, None, None, labels, progress, second, None, guidance)[0]

    def denoise_tangent(self, x: Array, sigma: Union[float, Sequence[float], Array], x_tangent: Optional[Array] = None,
                        sigma_tangent: Union[None, float, Sequence[float], Array] = None, labels: Any = None,
                        progress: Count = None,
                        second: Union[None, float, Sequence[float], Array] = None,
                        second_tangent: Union[None, float, Sequence[float], Array] = None,
                        guidance: Optional[float] = None) -> Tuple[Array, Array]:
        """(D, D'): D(x; sigma) and its derivative in the direction (x_tangent, sigma_tangent, second_tangent), by forward
        differentiation in one pass.  A tangent that is None is zero; one is needed.  The rest as denoise(), but guidance
        is of networks that are told of it alone.

            d, slope = model.denoise_tangent(x, 1.0, sigma_tangent=1.0)
            difference = (model.denoise(x, 1.001) - model.denoise(x, 0.999)) / 0.002
            print(abs(slope - difference).max())"""
        if x_tangent is None and sigma_tangent is None and second_tangent is None:
            raise ValueError("x_tangent, sigma_tangent or second_tangent is needed")
        return self._denoise(x, sigma, x_tangent, sigma_tangent, labels, progress, second, second_tangent, guidance)

    def _planes(self, x: Array, what: str) -> Tuple[int, Any, Any]:
        """How many images, a pointer to their floats, and what keeps these."""
        shape = _values.shape_of(x, what)
        if shape[-3:] != self.image_shape or len(shape) not in (3, 4):
            raise ValueError("%s has shape %s, expected n x %d x %d x %d" % ((what, shape) + self.image_shape))
        n = 1 if len(shape) == 3 else shape[0]
        return (n,) + _values.floats(x, (n,) + self.image_shape, what)

    def _denoise(self, x: Array, sigma: Any, x_tangent: Any, sigma_tangent: Any, labels: Any,
                 progress: Count, second: Any = None,
                 second_tangent: Any = None, guidance: Optional[float] = None) -> Tuple[Array, Array]:
        n, data, keep = self._planes(x, "x")
        level, keep2 = _levels(sigma, n, "sigma")
        label = _values.integers(self._labels(labels), n, "labels") if labels is not None else None
        out, pointer = _values.new_images((n, self.out_channels) + self.image_shape[1:])
        slope, moves, speed, into = None, None, None, None
        if x_tangent is not None:
            count, moves, keep3 = self._planes(x_tangent, "x_tangent")
            if count != n:
                raise ValueError("x_tangent has %d images, x has %d" % (count, n))
        if sigma_tangent is not None:
            speed, keep4 = _levels(sigma_tangent, n, "sigma_tangent")
        if x_tangent is not None or sigma_tangent is not None or second_tangent is not None:
            slope, into = _values.new((n, self.out_channels) + self.image_shape[1:])
        failure: List[BaseException] = []
        o = DenoiseOptions()
        lib.cm_denoise_options_init(C.byref(o), C.sizeof(o))
        if second is not None:
            o.second, keep5 = _levels(second, n, "second")
        if second_tangent is not None:
            o.second_tangent, keep6 = _levels(second_tangent, n, "second_tangent")

        show = counting(progress, "evaluating")

        def on_progress(_: Any, done: int, total: int) -> Any:
            return show(done, total)

        with Interrupt() as interrupt, self._held() as handle:
            o.progress = PROGRESS(guarded(failure, interrupt, on_progress))
            o.condition = _condition(label, guidance)
            if slope is None:
                status = lib.cm_model_denoise_with(handle, C.byref(o), n, data, level, pointer)
            else:
                status = lib.cm_model_denoise_tangent(handle, C.byref(o), n, data, level, moves, speed, pointer, into)
        _finish(status, failure)
        return out, slope

    def bits_per_dim(self, x: Array, labels: Any = None, probes: int = 1, seed: int = 0, continuous: bool = False,
                     rtol: float = 1e-5, atol: float = 1e-5, max_nfe: int = 1000,
                     progress: Count = None, first_index: int = 0,
                     sigma_min: Optional[float] = None, sigma_max: Optional[float] = None,
                     evaluations: Optional[List[int]] = None) -> List[float]:
        """How likely the model, a denoiser, finds each image: bits per value, by the probability-flow ODE with
        Hutchinson's trace along `probes` directions drawn by the seed.  x: n x C x H x W of 8-bit pictures as 2 v / 255 - 1,
        which are dequantised; any numbers with continuous=True.

        Image i draws from stream first_index + i of the seed.  sigma_min, sigma_max: the levels to walk between; None:
        those of a sampler.  evaluations: a list, whose content becomes the network evaluations of each image and
        direction.  progress: True, or a function (done, total) that may return a true value to stop; it is asked after each
        evaluation, and Ctrl-C stops within one."""
        n, data, keep = self._planes(x, "x")
        label = _values.integers(self._labels(labels), n, "labels") if labels is not None else None
        bits = (C.c_double * n)()
        failure: List[BaseException] = []
        o = LikelihoodOptions()
        lib.cm_likelihood_options_init(C.byref(o), C.sizeof(o))
        o.probes, o.seed = _values.size(probes, "probes", 1), _values.seed(seed)
        o.first_index, o.continuous = _values.seed(first_index, "first_index"), _values.flag(continuous, "continuous")
        o.rk45_rtol, o.rk45_atol = _values.number(rtol, "rtol"), _values.number(atol, "atol")
        o.rk45_max_nfe = _values.size(max_nfe, "max_nfe", 1)
        for name, level in (("sigma_min", sigma_min), ("sigma_max", sigma_max)):
            if level is not None:
                setattr(o, name, _values.number(level, name))
        if not isinstance(evaluations, (list, type(None))):
            raise TypeError("evaluations is %s, expected a list, which is filled" % type(evaluations).__name__)
        counts = (C.c_int32 * n)()
        o.evaluations = counts

        show = counting(progress, "evaluating")

        def on_progress(_: Any, done: int, total: int) -> Any:
            return show(done, total)

        with Interrupt() as interrupt, self._held() as handle:
            o.progress = PROGRESS(guarded(failure, interrupt, on_progress))
            o.condition = _condition(label)
            status = lib.cm_model_bits_per_dim(handle, C.byref(o), n, data, bits)
        _finish(status, failure)
        if evaluations is not None:
            evaluations[:] = counts
        return list(bits)

    def params(self) -> List[Tuple[str, Tuple[int, ...]]]:
        """(name, shape) of every tensor."""
        result: List[Tuple[str, Tuple[int, ...]]] = []
        with self._held() as handle:
            for i in range(lib.cm_model_param_count(handle)):
                name, rank, shape = C.c_char_p(), C.c_int32(), (C.c_int64 * 8)()
                _check(lib.cm_model_param_info(handle, i, C.byref(name), C.byref(rank), shape, None))
                result.append(((name.value or b"").decode(), tuple(shape[:rank.value])))
        return result

    def param(self, name: str) -> Array:
        """The values of one tensor."""
        for i, (other, shape) in enumerate(self.params()):
            if other == name:
                out, pointer = _values.new(shape)
                with self._held() as handle:
                    _check(lib.cm_model_param_read(handle, i, math.prod(shape), pointer))
                return out
        raise KeyError(name)


from .editing import Editing, noise_level  # noqa: E402  (it needs what stands above)


def convert(source: Any, path: Path, format: Optional[str] = None, dtype: Optional[str] = None, overwrite: bool = False,
            config: Optional[Dict[str, Any]] = None, weights: Optional[str] = None, shard_bytes: int = 0,
            progress: Count = None) -> None:
    """Reads a model as Model.load does and writes it as Model.save does, without keeping it.

    format: None: that of path's ending, .safetensors, .pt or .pth; a folder of diffusers where there is no ending; another
    ending is a ValueError.
    progress: as that of Model.load and then that of Model.save."""
    format = _converted_format(path) if format is None else format
    with Model.load(source, config=config, weights=weights, progress=progress) as model:
        model.save(path, overwrite=overwrite, format=format, dtype=dtype, shard_bytes=shard_bytes, progress=progress)


def _levels(values: Any, n: int, what: str) -> Tuple[Any, Any]:
    """A pointer to n floats, of n values or of one for all, and what keeps them."""
    single = not getattr(values, "shape", ()) and not isinstance(values, (list, tuple))
    return _values.floats([values] * n if single else values, (n,), what)


def _condition(labels: Any, guidance: Optional[float] = None) -> Any:
    """A pointer to the C struct; labels: an array of int32, or None."""
    c = Condition()
    lib.cm_condition_init(C.byref(c), C.sizeof(c))
    if labels is not None:
        c.labels = C.cast(labels, C.POINTER(C.c_int32))
    if guidance is not None:
        c.guidance = _values.number(guidance, "guidance")
    return C.pointer(c)


def _clip(value: Optional[bool], what: str) -> int:
    """A cm_clip."""
    return 0 if value is None else 1 if _values.flag(value, what) else 2


def _refuse_removed(options: Dict[str, Any]) -> None:
    for name in options:
        if name in _REMOVED:
            raise TypeError("%s is not an option: give %s" % (name, _REMOVED[name]))


def _sample_options(method: str = "default", steps: Optional[int] = None, sigmas: Optional[Sequence[float]] = None,
                    ts: Optional[Sequence[int]] = None, grid: Optional[int] = None,
                    clip_denoised: Optional[bool] = None, clip_output: Optional[bool] = None,
                    alpha: Optional[float] = None, order: Optional[int] = None, rtol: Optional[float] = None,
                    atol: Optional[float] = None, max_nfe: Optional[int] = None, snr: Optional[float] = None,
                    corrections: Optional[int] = None, **options: Any) -> SampleOptions:
    """The C struct of what decides the times and the arithmetic of a run."""
    o = SampleOptions()
    lib.cm_sample_options_init(C.byref(o), C.sizeof(o))
    o.method = _values.choice(method, "method", _METHODS)
    if sigmas is not None:
        levels = _values.number_list(sigmas, "sigmas")
        o.sigmas, o.sigma_count = (C.c_double * max(len(levels), 1))(*levels), len(levels)
    if ts is not None:
        o.ts, o.ts_count = _values.integers(ts, len(ts), "ts", 0), len(ts)
    if steps is not None:
        o.steps = _values.size(steps, "steps", 1)
    if grid is not None:
        o.grid = _values.size(grid, "grid", 2)
    o.clip_denoised, o.clip_output = _clip(clip_denoised, "clip_denoised"), _clip(clip_output, "clip_output")
    if alpha is not None:
        o.edm_alpha = _values.number(alpha, "alpha")
    if order is not None:
        o.dpmpp_order = _values.size(order, "order", 1)
    for name, value, field in (("rtol", rtol, "rk45_rtol"), ("atol", atol, "rk45_atol"), ("snr", snr, "pc_snr")):
        if value is not None:
            setattr(o, field, _values.number(value, name))
    if max_nfe is not None:
        o.rk45_max_nfe = _values.size(max_nfe, "max_nfe", 1)
    if corrections is not None:
        o.pc_corrections = _values.size(corrections, "corrections", 1)
    for name, value in options.items():
        if name in _NUMBERS:
            setattr(o, name, _values.number(value, name))
            if name == "temperature" and value == 0:
                raise ValueError("temperature is 0, expected 0.1 to 2")  # C's 0 is the default
        elif name in _CHOICES:
            field, names = _CHOICES[name]
            setattr(o, field, _values.choice(value, name, names))
        else:
            raise TypeError("unknown option %r" % name)
    return o


class Sampler(Editing, Handle):
    """Draws images from a model and changes given ones; one thread at a time, many samplers at a time.

    For sample(): method: "onestep" (consistency models' default), "multistep", "heun" (the others' default), "euler",
    "ancestral", "dpm", "edm", "progdist", "dpmpp", "rk45", "pc", "flowmap" (networks of two times).  Options: steps, sigmas, ts with grid, rho, sigma_min, sigma_max,
    clip_denoised, clip_output, s_churn, s_tmin, s_tmax, s_noise; for "edm" also discretization, schedule, scaling,
    solver, alpha; for "dpmpp" also order, form ("dpmsolver", "taylor") and end ("lower", "full");
    for "rk45" rtol, atol, max_nfe (nfe is the most then); for "pc" snr and corrections.  For all: temperature (0.1 to 2, of the noise that images begin with; 1), batch, threads, precision ("f32"; "bf16": for processors with AMX or AVX512_BF16, less
    exact), memory ("fast"; "small": slower, with less memory), debug (entries "key=number", unstable); below, another
    Model, which is evaluated in place of this one below noise level border (TCM: the first stage's)."""

    _what, _free = "sampler", lib.cm_sampler_free

    def __init__(self, model: Model, method: str = "default", batch: Optional[int] = None,
                 threads: Optional[int] = None, precision: Optional[str] = None, memory: Optional[str] = None,
                 debug: Optional[str] = None, below: Optional[Model] = None, border: Optional[float] = None,
                 **options: Any) -> None:
        self.model = model
        _refuse_removed(options)
        self._options = _sample_options(method, **options)
        handle = C.c_void_p()
        with self._sampler_options(model, batch, threads, precision, memory, debug, below, border) as (of, s):
            _check(lib.cm_sampler_create(of, C.byref(s), C.byref(handle)))
        self._handle = handle
        try:
            self.nfe  # wrong options are told now, not at the first sample
        except Error:
            self.close()
            raise

    @staticmethod
    @contextlib.contextmanager
    def _sampler_options(model: Model, batch: Optional[int] = None, threads: Optional[int] = None,
                         precision: Optional[str] = None, memory: Optional[str] = None, debug: Optional[str] = None,
                         below: Optional[Model] = None, border: Optional[float] = None,
                         **removed: Any) -> Iterator[Tuple[Any, SamplerOptions]]:
        """The model's handle and the options, both models held."""
        _refuse_removed(removed)
        for name in removed:
            raise TypeError("unknown option %r" % name)
        s = SamplerOptions()
        lib.cm_sampler_options_init(C.byref(s), C.sizeof(s))
        if batch is not None:
            s.max_batch = _values.integer(batch, "batch", 1, 65536)
        if threads is not None:
            s.threads = _values.integer(threads, "threads", 0, 256)
        s.precision = _values.choice("f32" if precision == "float32" else precision, "precision", _PRECISIONS)
        s.memory = _values.choice("fast" if memory is None else memory, "memory", _MEMORIES)
        if debug is not None:
            s.debug = _values.text(debug, "debug")
        if border is not None:
            s.border = _values.number(border, "border")
        for name, value in (("model", model), ("below", model if below is None else below)):
            if not isinstance(value, Model):
                raise TypeError("%s is %s, expected a Model" % (name, type(value).__name__))
        with model._held() as of, (model if below is None else below)._held() as other:
            s.below = other if below is not None else None
            yield of, s

    @classmethod
    def estimate(cls, model: Model, **options: Any) -> Dict[str, Any]:
        """The memory that a sampler of these options (batch, threads, precision, memory, debug, below, border) would take,
        as .info has it afterwards."""
        i = SamplerInfo()
        lib.cm_sampler_info_init(C.byref(i), C.sizeof(i))
        with cls._sampler_options(model, **options) as (of, s):
            _check(lib.cm_sampler_estimate(of, C.byref(s), C.byref(i)))
        return {name: getattr(i, name) for name in SamplerInfo.names()[1:] if name != "reserved"}

    @property
    def nfe(self) -> int:
        """Network evaluations an image."""
        count = C.c_int32()
        with self._held() as handle:
            _check(lib.cm_sampler_nfe(handle, C.byref(self._options), C.byref(count)))
        return count.value

    def sample(self, n: int, labels: Any = None, seed: int = 0, noise: Optional[Array] = None,
               progress: Progress = None, first_index: int = 0, step_noise: Optional[Array] = None,
               torch_noise: bool = False, step: Optional[Callable[[int, float, int, Array], Any]] = None,
               out: Optional[Array] = None, guidance: Optional[float] = None) -> Array:
        """n images, float32 n x C x H x W in [-1, 1]; or written into `out`, a numpy array of that shape or of bytes
        n x H x W x C, a slice of a larger one if need be.

        labels: a class number for all or n of them; -1 = none.  guidance: its scale, of diffusion models, which are evaluated twice then, and of networks that are told of it.  seed: 0 to 2^64 - 1.  noise: unit normal start, n x C x
        H x W, not multiplied by sigma; step_noise: draws x n x C x H x W; torch_noise: torch's stream of seed + index.
        progress: True, or a function (done, total, eta_seconds) that may return a true value to stop; step: a function
        (evaluation, sigma, first, denoised) that sees each estimate.  Ctrl-C stops within one evaluation."""
        n = _values.integer(n, "n", 1, 2**48)
        return self._run(self._options, n, lambda o, out: int(lib.cm_sampler_run_images(self._alive(), C.byref(o), out)),
                         labels=labels, seed=seed, noise=noise, progress=progress, first_index=first_index,
                         step_noise=step_noise, torch_noise=torch_noise, step=step, out=out, guidance=guidance)

    def _run(self, options: SampleOptions, n: int, call: Callable[[SampleOptions, Any], int], labels: Any = None,
             seed: int = 0, noise: Optional[Array] = None, progress: Progress = None, first_index: int = 0,
             step_noise: Optional[Array] = None, torch_noise: bool = False,
             step: Optional[Callable[[int, float, int, Array], Any]] = None, noises: Optional[int] = None,
             out: Optional[Array] = None, guidance: Optional[float] = None) -> Array:
        """n images by call(options, pointer), with randomness and callbacks filled in; noises: how many start noises
        there are, n by default."""
        shape = self.model.image_shape
        o = SampleOptions.from_buffer_copy(options)
        o.seed, o.first_index = _values.seed(seed), _values.seed(first_index, "first_index")
        o.noise_source = 1 if _values.flag(torch_noise, "torch_noise") else 0
        keep: List[Any] = []
        if noise is not None:
            o.noise, kept = _values.floats(noise, (noises or n,) + shape, "noise", 16, "unit normal values")
            keep.append(kept)
        if step_noise is not None:
            o.noise_steps = _values.shape_of(step_noise, "step_noise")[0]
            o.step_noise, kept = _values.floats(step_noise, (o.noise_steps, n) + shape, "step_noise", 16, "unit normal values")
            keep.append(kept)
        array = None
        if labels is not None:
            array = _values.integers(self.model._labels(labels), n, "labels")
            keep.append(array)
        if labels is not None or guidance is not None:
            o.condition = _condition(array, guidance)
        failure: List[BaseException] = []
        began, bar = time.monotonic(), Bar("sampling")

        def on_progress(_: Any, done: int, total: int) -> Any:
            if progress is True:
                return bar.show(done, total)
            return callable(progress) and progress(done, total, (time.monotonic() - began) * (total / done - 1))

        def on_step(_: Any, evaluation: int, sigma: float, first: int, images: Any) -> Any:
            seen, pointer = _values.new_images((images.contents.n,) + shape)
            C.memmove(pointer, images.contents.data, 4 * images.contents.n * math.prod(shape))
            if step:
                step(evaluation, sigma, first, seen)

        images = _values.target(out, "out", (n,) + shape) if out is not None else None
        if images is None:
            out, pointer = _values.new_images((n,) + shape)
            images = _values.planes((n,) + shape, pointer)
        with Interrupt(self.cancel) as interrupt, self._held():
            o.progress = PROGRESS(guarded(failure, interrupt, on_progress))
            if step:
                o.step = STEP(guarded(failure, interrupt, on_step))
            status = call(o, C.byref(images))
        bar.close()
        _finish(status, failure)
        return out

    def cancel(self) -> None:
        """Stops a running sample() or editing call from another thread; it raises Error CM_ERR_CANCELLED."""
        with self._held() as handle:
            lib.cm_sampler_cancel(handle)

    @property
    def info(self) -> Dict[str, Any]:
        i = SamplerInfo()
        lib.cm_sampler_info_init(C.byref(i), C.sizeof(i))
        with self._held() as handle:
            _check(lib.cm_sampler_info_get(handle, C.byref(i)))
        return {name: getattr(i, name) for name in SamplerInfo.names()[1:] if name != "reserved"}


def _write_options(quality: int = 0, overwrite: bool = False, image_format: str = "by name",
                   note: Optional[str] = None) -> ImageWriteOptions:
    o = ImageWriteOptions()
    lib.cm_image_write_options_init(C.byref(o), C.sizeof(o))
    o.quality = _values.integer(quality, "quality", 0, 100)
    o.overwrite = _values.flag(overwrite, "overwrite")
    o.format = _values.choice(image_format, "format", ["by name", "png", "jpeg"])
    if note is not None:
        o.note = _values.text(note, "note")
    return o


def _bytes(n: int, channels: int, height: int, width: int) -> Tuple[CImages, Any]:
    """Room for pictures of bytes, interleaved, and the array behind it."""
    room = (C.c_uint8 * (n * channels * height * width))()
    return CImages(C.sizeof(CImages), CM_U8, n, channels, height, width, 1, data=C.addressof(room)), room


def write_page(path: Path, images: Array, columns: Optional[int] = None, margin: int = 2, background: int = 128,
               quality: int = 0, overwrite: bool = False, names: Optional[Sequence[Optional[str]]] = None,
               note: Optional[str] = None) -> None:
    """Writes images (n x C x H x W in [-1, 1], or n x H x W x C bytes) as one PNG or JPEG.  names: what stands over each
    of the columns, None or "" over one without a name.  note is a text that a PNG keeps and read_note reads."""
    name, options = _values.path(path), _write_options(quality, overwrite, note=note)
    page, room = _page(images, columns, margin, background, names)
    _check(lib.cm_image_write(None, name, C.byref(page), C.byref(options)))


def _page(images: Array, columns: Optional[int], margin: int, background: int,
          names: Optional[Sequence[Optional[str]]] = None) -> Tuple[CImages, Any]:
    margin, background = _values.size(margin, "margin"), _values.integer(background, "background", 0, 255)
    if len(_values.shape_of(images, "images")) < 3:
        raise ValueError("images has shape %s, expected n x C x H x W" % (_values.shape_of(images),))
    given = _values.images(images, "images", finite=False)
    across = math.isqrt(given.n - 1) + 1 if columns is None else _values.size(columns, "columns", 1)
    height, width = C.c_int32(), C.c_int32()
    if names is not None and len(names) != across:
        raise ValueError("names has %d entries, expected %d, one for each column" % (len(names), across))
    heads = None if names is None else (C.c_char_p * across)(*[_values.text(n, "names") if n else None for n in names])
    _check(lib.cm_image_named_grid_size(C.byref(given), across, margin, heads, C.byref(height), C.byref(width)))
    page, room = _bytes(1, given.channels, height.value, width.value)
    _check(lib.cm_image_named_grid(C.byref(given), across, margin, background, heads, C.byref(page)))
    return page, room


def _page_png(images: Array) -> bytes:
    """What a notebook shows of images."""
    page, room = _page(images, None, 2, 128)
    return _encoded(page, _write_options(image_format="png"))


def to_pil(images: Array) -> List[Any]:
    """Images (n x C x H x W in [-1, 1], or n x H x W x C bytes; n may be left out) as a list of Pillow's, of mode L or RGB.  Pictures of
    Pillow go into every call that takes images, as they are."""
    pillow = importlib.import_module("PIL.Image")
    given = _values.images(images, "images", finite=False)
    if given.channels not in (1, 3):
        raise ValueError("images has %d channels, expected 1 or 3" % given.channels)
    to, room = _bytes(given.n, given.channels, given.height, given.width)
    _check(lib.cm_images_convert(C.byref(given), C.byref(to)))
    pixels, size = memoryview(room).cast("B"), given.channels * given.height * given.width
    return [pillow.frombytes("L" if given.channels == 1 else "RGB", (given.width, given.height), bytes(pixels[i * size:(i + 1) * size]))
            for i in range(given.n)]


def read_note(path: Path) -> Optional[str]:
    """The text that a PNG was written with (write_page's note; what cm-sample writes is JSON that says how the picture was
    drawn), None where there is none."""
    data, size = C.POINTER(C.c_uint8)(), C.c_size_t()
    _check(lib.cm_image_note(None, _values.path(path), C.byref(data), C.byref(size)))
    try:
        return C.string_at(data, size.value).decode() if data else None
    finally:
        lib.cm_bytes_free(None, data)


def encode_image(image: Array, format: str = "png", quality: int = 0) -> bytes:
    """The bytes of a file, "png" or "jpeg", of one image C x H x W in [-1, 1], or of bytes H x W x C; quality 1 to 100
    is a JPEG's (95).  Two and four channels are gray and colours with alpha, which a PNG holds."""
    return _encoded(_values.images(image, "image", finite=False), _write_options(quality, False, format))


def _encoded(given: CImages, options: ImageWriteOptions) -> bytes:
    data, size = C.POINTER(C.c_uint8)(), C.c_size_t()
    _check(lib.cm_image_encode(None, C.byref(given), C.byref(options), C.byref(data), C.byref(size)))
    try:
        return C.string_at(data, size.value)
    finally:
        lib.cm_bytes_free(None, data)


_FITS = choices("fits")


def _picture(read: Callable[[Any, Any], int], what: str, channels: int, size: Optional[Sequence[int]],
             fit: Optional[str]) -> Tuple[CImages, Any]:
    """A picture of bytes as read(options, picture) gives it; of one with alpha that alone; brought to size (height,
    width) by fit."""
    wanted = None
    if size is not None:
        if len(size) != 2:
            raise ValueError("size is %r, expected (height, width)" % (size,))
        wanted = tuple(_values.integer(v, "size[%d]" % i, 1, 65535) for i, v in enumerate(size))
    options, picture = ImageReadOptions(), CImages()
    lib.cm_image_read_options_init(C.byref(options), C.sizeof(options))
    lib.cm_images_init(C.byref(picture), C.sizeof(picture))
    options.channels = channels
    _check(read(C.byref(options), C.byref(picture)))
    try:
        view = CImages.from_buffer_copy(picture)
        if view.channels in (2, 4):  # the alpha
            view.pixel_stride, view.row_stride = view.channels, view.channels * view.width
            view.data += view.channels - 1
            view.channels = 1
        to, room = _bytes(1, view.channels, *(wanted or (view.height, view.width)))
        if wanted in (None, (view.height, view.width)):
            _check(lib.cm_images_convert(C.byref(view), C.byref(to)))
        elif fit not in _FITS:
            raise ValueError("%s is %d x %d, not %d x %d: fit is %r, expected one of %s"
                             % (what, view.height, view.width, to.height, to.width, fit, ", ".join(_FITS)))
        else:
            _check(lib.cm_image_fit(None, _FITS.index(fit), 0, C.byref(view), C.byref(to)))
    finally:
        lib.cm_image_free(None, C.byref(picture))
    return to, room


def _file(path: Path) -> Tuple[Callable[[Any, Any], int], str]:
    name = _values.path(path)
    return lambda options, picture: int(lib.cm_image_read(None, name, options, picture)), os.fsdecode(name)


def _floats(picture: CImages) -> Array:
    shape = (1, picture.channels, picture.height, picture.width)
    out, pointer = _values.new_images(shape)
    _check(lib.cm_images_convert(C.byref(picture), C.byref(_values.planes(shape, pointer))))
    return out


def read_image(path: Path, channels: int = 0, size: Optional[Sequence[int]] = None, fit: Optional[str] = None) -> Array:
    """A JPEG or PNG as 1 x C x H x W in [-1, 1]; channels 1 or 3, 0 as in the file.  size: (height, width), reached by
    fit: "resize", "crop" (the middle) or "pad" (black around)."""
    if channels not in (0, 1, 3):
        raise ValueError("channels is %s, expected 0, 1 or 3" % (channels,))
    picture, room = _picture(*_file(path), channels, size, fit)
    return _floats(picture)


def decode_image(data: Any, channels: int = 0, size: Optional[Sequence[int]] = None, fit: Optional[str] = None) -> Array:
    """The same as read_image from the bytes of such a file (bytes, bytearray, memoryview)."""
    if channels not in (0, 1, 3):
        raise ValueError("channels is %s, expected 0, 1 or 3" % (channels,))
    if isinstance(data, (bytearray, memoryview)):
        data = bytes(data)
    if not isinstance(data, bytes):
        raise TypeError("data is %s, expected bytes" % type(data).__name__)
    picture, room = _picture(lambda o, p: int(lib.cm_image_decode(None, data, len(data), o, p)), "the picture", channels,
                             size, fit)
    return _floats(picture)


def read_mask(path: Path, alpha: bool = False, size: Optional[Sequence[int]] = None, fit: Optional[str] = None) -> Array:
    """A mask for inpaint, 1 x 1 x H x W in [0, 1]: the brightness of a gray picture (white = generate) or, with alpha,
    its transparency (transparent = generate; ValueError where nothing is)."""
    transparent = _values.flag(alpha, "alpha")
    picture, pixels = _picture(*_file(path), 4 if transparent else 1, size, fit)
    if transparent and all(v == 255 for v in pixels):
        raise ValueError("nothing of %s is transparent, so nothing would be generated" % os.fsdecode(path))
    out, pointer = _values.new((1, 1, picture.height, picture.width))
    for i, v in enumerate(pixels):
        pointer[i] = (255 - v if transparent else v) / 255
    return out


from .training import Dataset, Trainer, presets, train_options  # noqa: E402  (they need what stands above)
from .run import Run, run_options  # noqa: E402
from .checkpoint import Checkpoint  # noqa: E402
from .metrics import (Features, Lpips, Statistics, frechet_distance, frechet_infinity, frechet_subsets, inception_score,  # noqa: E402
                      kernel_distance, precision_recall, search_point)
