"""Images from consistency models: libconsistency through ctypes.

    import consistency as cm
    model = cm.Model.load("models/digits_consistency.safetensors")
    images = cm.Sampler(model).sample(10, labels=list(range(10)))
    cm.write_page("digits.png", images, columns=10)

No third-party module is needed.  With numpy installed arrays go in and come
out as numpy arrays; without it `Images` objects come out, which have .shape,
.tolist() and the buffer protocol through memoryview(images.data).
"""

import ctypes as C
import json
import math
import os
import signal
import sys
import threading
import time

from ._lib import (CM_ERR_CANCELLED, LoadOptions, ModelInfo, PROGRESS, STEP, SampleOptions, SamplerInfo,
                   SamplerOptions, SaveOptions, lib)

__all__ = ["Model", "Sampler", "Trainer", "Dataset", "Images", "Error", "presets", "version", "build_info", "write_page",
           "read_image", "read_mask"]

_METHODS = ["default", "onestep", "multistep", "heun", "euler", "ancestral", "dpm", "edm", "progdist"]
_NUMBERS = ("rho", "sigma_min", "sigma_max", "s_churn", "s_tmin", "s_tmax", "s_noise")
_CHOICES = {
    "discretization": ("edm_discretization", ["edm", "vp", "ve", "iddpm"]),
    "schedule": ("edm_schedule", ["linear", "vp", "ve"]),
    "scaling": ("edm_scaling", ["none", "vp"]),
    "solver": ("edm_solver", ["heun", "euler"]),
}
_DTYPES = {None: 0, "f32": 1, "float32": 1, "bf16": 2, "f16": 3}


class Error(Exception):
    """A failed call: .status is the status's name ("CM_ERR_SHAPE"), str() the message."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def _check(status):
    if status:
        raise Error(lib.cm_status_name(status).decode(), lib.cm_last_message().decode("utf-8", "replace"))


def version():
    return lib.cm_version().decode()


def build_info():
    return lib.cm_build_info().decode()


def _numpy():
    try:
        import numpy
        return numpy
    except ImportError:
        return None


class Images:
    """n x C x H x W float32 values where numpy is absent."""

    def __init__(self, shape):
        self.shape = tuple(shape)
        self.data = (C.c_float * math.prod(self.shape))()

    def __len__(self):
        return self.shape[0]

    def tolist(self):
        def cut(values, shape):
            if len(shape) == 1:
                return list(values)
            step = len(values) // shape[0] if shape[0] else 0
            return [cut(values[i * step:(i + 1) * step], shape[1:]) for i in range(shape[0])]
        return cut(self.data[:], self.shape)

    @property
    def __array_interface__(self):
        return {"version": 3, "shape": self.shape, "typestr": "<f4", "data": (C.addressof(self.data), False)}


def _new(shape):
    """An empty float32 array and a pointer to its data."""
    np = _numpy()
    if np is None:
        images = Images(shape)
        return images, C.cast(images.data, C.POINTER(C.c_float))
    array = np.empty(shape, np.float32)
    return array, array.ctypes.data_as(C.POINTER(C.c_float))


def _flatten(values, out):
    if isinstance(values, (int, float)):
        out.append(values)
    else:
        for v in values:
            _flatten(v, out)
    return out


def _floats(values, count, what):
    """A C array of exactly `count` float32 values, and what keeps it alive."""
    if isinstance(values, Images):
        flat, n = values.data, len(values.data)
    else:
        np = _numpy()
        if np is not None:
            array = np.ascontiguousarray(values, np.float32)
            flat, n = array, array.size
        else:
            if hasattr(values, "tolist"):
                values = values.tolist()
            numbers = _flatten(values, [])
            flat, n = (C.c_float * len(numbers))(*numbers), len(numbers)
    if n != count:
        raise ValueError("%s has %d values, expected %d" % (what, n, count))
    if hasattr(flat, "ctypes"):
        return flat.ctypes.data_as(C.POINTER(C.c_float)), flat
    return C.cast(flat, C.POINTER(C.c_float)), flat


def _ints(values, count, what):
    if hasattr(values, "tolist"):
        values = values.tolist()
    if isinstance(values, int):
        values = [values] * count
    numbers = [int(v) for v in values]
    if len(numbers) != count:
        raise ValueError("%s has %d entries, expected %d" % (what, len(numbers), count))
    for v in numbers:
        if not -2**31 <= v < 2**31:
            raise ValueError("%s: %d is out of range" % (what, v))
    return (C.c_int32 * max(count, 1))(*numbers)


def _shape_of(values):
    if hasattr(values, "shape"):
        return tuple(values.shape)
    shape = []
    while not isinstance(values, (int, float)):
        shape.append(len(values))
        values = values[0]
    return tuple(shape)


class Model:
    """A network with its weights.  Close it, use it in a with statement, or leave it to the garbage collector."""

    def __init__(self, handle):
        if not isinstance(handle, C.c_void_p):
            raise TypeError("a model is made by Model.load(path), Model.create(...) or Trainer.model()")
        self._handle = handle
        info = ModelInfo()
        lib.cm_model_info_init(C.byref(info), C.sizeof(info))
        _check(lib.cm_model_info_get(handle, C.byref(info)))
        self.config = json.loads(info.config_json.decode())
        self.image_shape = (info.channels, info.height, info.width)
        self.out_channels = info.out_channels
        self.num_classes = info.num_classes
        self.network, self.precond = info.network.decode(), info.precond.decode()
        self.sigma_min, self.sigma_max, self.sigma_data = info.sigma_min, info.sigma_max, info.sigma_data
        self.parameters = info.parameters
        self.is_consistency = bool(info.is_consistency)

    @classmethod
    def load(cls, path, config=None, allow_nonfinite=False):
        """config: a dict with members network, precond, image for files that carry no configuration."""
        options = LoadOptions()
        lib.cm_load_options_init(C.byref(options), C.sizeof(options))
        options.allow_nonfinite = int(allow_nonfinite)
        text = json.dumps(config).encode() if config is not None else None
        options.config_json = text
        handle = C.c_void_p()
        _check(lib.cm_model_load(None, os.fsencode(path), C.byref(options), C.byref(handle)))
        return cls(handle)

    @classmethod
    def create(cls, config, seed=0):
        """Fresh weights; config: a dict with members network, precond and image as in a native file."""
        handle = C.c_void_p()
        _check(lib.cm_model_create(None, json.dumps(config).encode(), seed, C.byref(handle)))
        return cls(handle)

    def _alive(self):
        if not self._handle:
            raise ValueError("the model is closed")
        return self._handle

    def save(self, path, overwrite=False):
        options = SaveOptions()
        lib.cm_save_options_init(C.byref(options), C.sizeof(options))
        options.overwrite = int(overwrite)
        _check(lib.cm_model_save(self._alive(), os.fsencode(path), C.byref(options)))

    def denoise(self, x, sigma, labels=None):
        """D(x; sigma), not clamped: x is n x C x H x W (or one image), sigma a number or n of them."""
        shape = _shape_of(x)
        n = 1 if len(shape) == 3 else shape[0]
        if tuple(shape[-3:]) != self.image_shape or len(shape) not in (3, 4):
            raise ValueError("x has shape %s, expected n x %d x %d x %d" % ((shape,) + self.image_shape))
        data, keep = _floats(x, n * math.prod(self.image_shape), "x")
        sigmas = [float(sigma)] * n if not hasattr(sigma, "__len__") else list(sigma)
        level, keep2 = _floats(sigmas, n, "sigma")
        label = _ints(labels, n, "labels") if labels is not None else None
        out, pointer = _new((n, self.out_channels) + self.image_shape[1:])
        _check(lib.cm_model_denoise(self._alive(), n, data, level, label, pointer))
        return out

    def params(self):
        """(name, shape) of every tensor."""
        result = []
        for i in range(lib.cm_model_param_count(self._alive())):
            name, rank, shape = C.c_char_p(), C.c_int32(), (C.c_int64 * 8)()
            _check(lib.cm_model_param_info(self._handle, i, C.byref(name), C.byref(rank), shape, None))
            result.append((name.value.decode(), tuple(shape[:rank.value])))
        return result

    def param(self, name):
        """The values of one tensor."""
        for i, (other, shape) in enumerate(self.params()):
            if other == name:
                out, pointer = _new(shape)
                _check(lib.cm_model_param_read(self._handle, i, math.prod(shape), pointer))
                return out
        raise KeyError(name)

    def close(self):
        handle, self._handle = self._handle, None
        if handle:
            lib.cm_model_free(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_handle", None) and lib is not None:
            self.close()


from .editing import Editing  # noqa: E402  (it needs what stands above)


class _Interrupt:
    """Ctrl-C during a call: Python would raise KeyboardInterrupt at any place of a callback, and an exception must not
    pass through C.  So the default handler is replaced for the time of the call by one that asks the call to stop."""

    def __init__(self, stop):
        self.stop, self.happened, self.replaced = stop, False, False

    def __enter__(self):
        if (threading.current_thread() is threading.main_thread()
                and signal.getsignal(signal.SIGINT) is signal.default_int_handler):
            signal.signal(signal.SIGINT, self._handle)
            self.replaced = True
        return self

    def _handle(self, *_):
        self.happened = True
        self.stop()

    def __exit__(self, *_):
        if self.replaced:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.happened:
            raise KeyboardInterrupt


class _Line:
    """progress=True: one line on a terminal."""

    def __init__(self):
        self.shown = 0.0

    def __call__(self, done, total, eta):
        now = time.monotonic()
        if sys.stderr.isatty() and (now - self.shown > 0.1 or done == total):
            end = "\n" if done == total else ""
            sys.stderr.write("\rsampling %3.0f%%, about %.0f s left\033[K%s" % (100.0 * done / total, eta, end))
            sys.stderr.flush()
            self.shown = now


def _sample_options(method="default", steps=None, sigmas=None, ts=None, grid=None, clip_denoised=None,
                    clip_output=None, alpha=None, **options):
    """The C struct of what decides the times and the arithmetic of a run."""
    o = SampleOptions()
    lib.cm_sample_options_init(C.byref(o), C.sizeof(o))
    if method not in _METHODS:
        raise ValueError("method is %r, expected one of %s" % (method, ", ".join(_METHODS[1:])))
    o.method = _METHODS.index(method)
    if sigmas is not None:
        numbers = [float(s) for s in sigmas]
        o.sigmas, o.sigma_count = (C.c_double * max(len(numbers), 1))(*numbers), len(numbers)
    if ts is not None:
        o.ts, o.ts_count = _ints(list(ts), len(ts), "ts"), len(ts)
    if steps is not None and int(steps) < 1:
        raise ValueError("steps is %d, expected at least 1" % int(steps))
    o.steps, o.grid = int(steps or 0), int(grid or 0)
    o.clip_denoised = 0 if clip_denoised is None else 1 if clip_denoised else -1
    o.clip_output = 0 if clip_output is None else 1 if clip_output else -1
    o.edm_alpha = float(alpha or 0)
    for name, value in options.items():
        if name in _NUMBERS:
            setattr(o, name, float(value))
        elif name in _CHOICES:
            field, names = _CHOICES[name]
            if value not in names:
                raise ValueError("%s is %r, expected one of %s" % (name, value, ", ".join(names)))
            setattr(o, field, names.index(value))
        else:
            raise TypeError("unknown option %r" % name)
    return o


class Sampler(Editing):
    """Draws images from a model and changes given ones; one thread at a time, many samplers at a time.

    For sample(): method: "onestep" (consistency models' default), "multistep", "heun" (the others' default), "euler",
    "ancestral", "dpm", "edm", "progdist".  Options: steps, sigmas, ts with grid, rho, sigma_min, sigma_max,
    clip_denoised, clip_output, s_churn, s_tmin, s_tmax, s_noise; for "edm" also discretization, schedule, scaling,
    solver, alpha.  For all: batch, threads, dtype ("f32"; "bf16": for processors with AMX or AVX512_BF16, less exact,
    with bf16_tile 1 to 4 and bf16_emulate), lean (direct convolutions only: slower, less memory)."""

    def __init__(self, model, method="default", batch=None, threads=None, dtype=None, lean=False, bf16_tile=0,
                 bf16_emulate=False, **options):
        self.model, self._handle = model, None
        self._options = _sample_options(method, **options)
        s = self._sampler_options(batch, threads, dtype, lean, bf16_tile, bf16_emulate)
        handle = C.c_void_p()
        _check(lib.cm_sampler_create(model._alive(), C.byref(s), C.byref(handle)))
        self._handle = handle
        try:
            self.nfe  # wrong options are told now, not at the first sample
        except Error:
            self.close()
            raise

    @staticmethod
    def _sampler_options(batch=None, threads=None, dtype=None, lean=False, bf16_tile=0, bf16_emulate=False):
        s = SamplerOptions()
        lib.cm_sampler_options_init(C.byref(s), C.sizeof(s))
        s.max_batch, s.threads = int(batch or 0), int(threads or 0)
        if dtype not in _DTYPES:
            raise ValueError("dtype is %r, expected f32 or bf16" % (dtype,))
        s.dtype, s.lean, s.bf16_tile, s.bf16_emulate = _DTYPES[dtype], int(lean), int(bf16_tile), int(bf16_emulate)
        return s

    @classmethod
    def estimate(cls, model, **options):
        """The memory that a sampler of these options (batch, threads, dtype, ...) would take, as .info has it afterwards."""
        i = SamplerInfo()
        lib.cm_sampler_info_init(C.byref(i), C.sizeof(i))
        _check(lib.cm_sampler_estimate(model._alive(), C.byref(cls._sampler_options(**options)), C.byref(i)))
        return {name: getattr(i, name) for name, _ in SamplerInfo._fields_[1:]}

    def _alive(self):
        if not self._handle:
            raise ValueError("the sampler is closed")
        return self._handle

    @property
    def nfe(self):
        """Network evaluations an image."""
        count = C.c_int32()
        _check(lib.cm_sampler_nfe(self._alive(), C.byref(self._options), C.byref(count)))
        return count.value

    def sample(self, n, labels=None, seed=0, noise=None, progress=None, first_index=0, step_noise=None,
               torch_noise=False, step=None):
        """n images, float32 n x C x H x W in [-1, 1].

        noise: unit normal start; step_noise: draws x n x C x H x W; torch_noise: torch's stream of seed + index.
        progress: True, or a function (done, total, eta_seconds); step: a function (evaluation, sigma, first,
        denoised) that sees each estimate.  Ctrl-C stops within one evaluation."""
        return self._run(self._options, n, lambda o, out: lib.cm_sampler_run(self._alive(), C.byref(o), n, out),
                         labels=labels, seed=seed, noise=noise, progress=progress, first_index=first_index,
                         step_noise=step_noise, torch_noise=torch_noise, step=step)

    def _run(self, options, n, call, labels=None, seed=0, noise=None, progress=None, first_index=0, step_noise=None,
             torch_noise=False, step=None, noises=None):
        """n images by call(options, pointer), with randomness and callbacks filled in; noises: how many start noises
        there are, n by default."""
        if n < 1:
            raise ValueError("n is %d, expected at least 1" % n)
        shape = self.model.image_shape
        size = n * math.prod(shape)
        o = SampleOptions.from_buffer_copy(options)
        o.seed, o.first_index, o.noise_source = seed, first_index, 1 if torch_noise else 0
        keep = []
        if noise is not None:
            o.noise, kept = _floats(noise, (noises or n) * math.prod(shape), "noise")
            keep.append(kept)
        if step_noise is not None:
            o.noise_steps = _shape_of(step_noise)[0]
            o.step_noise, kept = _floats(step_noise, size * o.noise_steps, "step_noise")
            keep.append(kept)
        if labels is not None:
            array = _ints(labels, n, "labels")
            keep.append(array)
            o.labels = C.cast(array, C.POINTER(C.c_int32))
        failure = []
        began = time.monotonic()
        report = _Line() if progress is True else progress

        def guarded(function):
            def call(*arguments):
                try:
                    return function(*arguments) or 0
                except BaseException as error:  # an exception must not pass through C
                    failure.append(error)
                    return 1
            return call

        def on_progress(_, done, total):
            if report:
                spent = time.monotonic() - began
                report(done, total, spent * (total / done - 1))

        def on_step(_, evaluation, sigma, first, count, data):
            out, pointer = _new((count,) + shape)
            C.memmove(pointer, data, 4 * count * math.prod(shape))
            step(evaluation, sigma, first, out)

        callback = PROGRESS(guarded(on_progress))
        o.progress = callback
        if step:
            step_callback = STEP(guarded(on_step))
            o.step = step_callback
        out, pointer = _new((n,) + shape)
        with _Interrupt(self.cancel):
            status = call(o, pointer)
        if failure and status == CM_ERR_CANCELLED:
            raise failure[0]
        _check(status)
        return out

    def cancel(self):
        """Stops a running sample() from another thread; it raises Error CM_ERR_CANCELLED."""
        lib.cm_sampler_cancel(self._alive())

    @property
    def info(self):
        i = SamplerInfo()
        lib.cm_sampler_info_init(C.byref(i), C.sizeof(i))
        _check(lib.cm_sampler_info_get(self._alive(), C.byref(i)))
        return {name: getattr(i, name) for name, _ in SamplerInfo._fields_[1:]}

    def close(self):
        handle, self._handle = self._handle, None
        if handle:
            lib.cm_sampler_free(handle)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        if getattr(self, "_handle", None) and lib is not None:
            self.close()


def _pixels(images):
    shape = _shape_of(images)
    n, c, h, w = (1,) + tuple(shape) if len(shape) == 3 else shape
    data, keep = _floats(images, n * c * h * w, "images")
    pixels = (C.c_uint8 * (n * c * h * w))()
    _check(lib.cm_image_to_u8(n, c, h, w, data, pixels))
    return n, c, h, w, pixels


def write_page(path, images, columns=None, margin=2, background=128, quality=0, overwrite=False):
    """Writes images (n x C x H x W in [-1, 1]) as one PNG or JPEG."""
    n, c, h, w, pixels = _pixels(images)
    columns = columns or math.isqrt(n - 1) + 1
    height, width = C.c_int32(), C.c_int32()
    _check(lib.cm_image_grid_size(n, columns, margin, h, w, C.byref(height), C.byref(width)))
    page = (C.c_uint8 * (height.value * width.value * c))()
    _check(lib.cm_image_grid(n, columns, margin, background, c, h, w, pixels, page))
    _check(lib.cm_image_write(None, os.fsencode(path), c, height, width, page, quality, int(overwrite)))


_FITS = ["resize", "crop", "pad"]


def _read(path, channels, size, fit):
    """Bytes of a picture, H x W x C; brought to size (height, width) by fit."""
    c, h, w, pixels = C.c_int32(channels), C.c_int32(), C.c_int32(), C.POINTER(C.c_uint8)()
    _check(lib.cm_image_read(None, os.fsencode(path), C.byref(c), C.byref(h), C.byref(w), C.byref(pixels)))
    try:
        out = (C.c_uint8 * (c.value * h.value * w.value)).from_buffer_copy(C.string_at(pixels, c.value * h.value * w.value))
    finally:
        lib.cm_image_free(None, pixels)
    planes = [out] if c.value in (1, 3) else [(C.c_uint8 * (h.value * w.value))(*out[c.value - 1::c.value])]  # the alpha
    c = c.value if c.value in (1, 3) else 1
    if size is None or tuple(size) == (h.value, w.value):
        return c, h.value, w.value, planes[0]
    if fit not in _FITS:
        raise ValueError("%s is %d x %d, not %d x %d: fit is %r, expected one of %s"
                         % (path, h.value, w.value, size[0], size[1], fit, ", ".join(_FITS)))
    page = (C.c_uint8 * (c * size[0] * size[1]))()
    _check(lib.cm_image_fit(None, _FITS.index(fit), 0, c, h, w, planes[0], size[0], size[1], page))
    return c, size[0], size[1], page


def read_image(path, channels=0, size=None, fit=None):
    """A JPEG or PNG as 1 x C x H x W in [-1, 1]; channels 1 or 3, 0 as in the file.  size: (height, width), reached by
    fit: "resize", "crop" (the middle) or "pad" (black around)."""
    if channels not in (0, 1, 3):
        raise ValueError("channels is %d, expected 0, 1 or 3" % channels)
    c, h, w, pixels = _read(path, channels, size, fit)
    out, pointer = _new((1, c, h, w))
    _check(lib.cm_image_from_u8(1, c, h, w, pixels, pointer))
    return out


def read_mask(path, alpha=False, size=None, fit=None):
    """A mask for inpaint, 1 x 1 x H x W in [0, 1]: the brightness of a gray picture (white = generate) or, with alpha,
    its transparency (transparent = generate)."""
    c, h, w, pixels = _read(path, 4 if alpha else 1, size, fit)
    out, pointer = _new((1, 1, h, w))
    for i in range(h * w):
        pointer[i] = (255 - pixels[i] if alpha else pixels[i]) / 255
    return out


from .training import Dataset, Trainer, presets  # noqa: E402  (they need what stands above)
