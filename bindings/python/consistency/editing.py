"""Images changed by a model that was never trained for it: the editing half of Sampler (Algorithm 4)."""

import ctypes as C
import math
from typing import TYPE_CHECKING, Any, Callable, List, Optional, Sequence, Tuple

from . import _values
from ._lib import MAP, EditMap, EditOptions, Images, SampleOptions, lib
from ._values import Array

if TYPE_CHECKING:
    from . import Model

Map = Callable[[Array], Array]

_STARTS = ["given", "noise"]


def noise_level(image: Array) -> float:
    """The standard deviation of the Gaussian noise that an image C x H x W in [-1, 1], or of bytes H x W x C, seems to
    carry; cut noise, as of pictures of bytes, is accounted for."""
    b, sigma = _values.images(image, "image"), C.c_double()
    if b.n != 1:
        raise ValueError("noise_level takes one image, not %d" % b.n)
    from . import _check
    _check(lib.cm_image_noise_level(None, C.byref(b), C.byref(sigma)))
    return float(sigma.value)


class Editing:
    """Methods of Sampler.  Common arguments:

    images       n x C x H x W numbers in [-1, 1] or n x H x W x C bytes (numpy's uint8), n = 1 may be left out; arrays of
                 float32 and of bytes, slices of larger ones too, are read where they are
    out          an array of float32 or uint8, of one of these forms, for the results instead of a new one
    variations   results for each given image; result j of image i is number i * variations + j
    labels       a class number or name for all, one for each given image, or one for each result; conditional models need it
    steps, sigmas, ts with grid, rho, sigma_min, sigma_max   times; without them the task's own
    clip_denoised, clip_output, seed, noise, step_noise, torch_noise, first_index, progress, step   as in sample()
    start        "given": what is kept plus noise (the paper); "noise": noise alone (the official code)"""

    if TYPE_CHECKING:  # what Sampler has
        model: Model
        _alive: Callable[[], Any]
        _run: Callable[..., Array]

    def inpaint(self, images: Array, mask: Array, fill: float = 0.0, **options: Any) -> Array:
        """mask: 1 = generate, 0 = keep, n or 1 of it, 1 or C channels (H x W will do), or bytes, 255 = generate; fill: what stands in missing
        pixels at the start."""
        return self._edit(lib.cm_sampler_inpaint, images, mask=_values.images(mask, "mask", True), fill=fill, **options)

    def colorize(self, images: Array, luma: Optional[Sequence[float]] = None, **options: Any) -> Array:
        """Only the luminance of the images counts; 1 or 3 channels."""
        return self._edit(lib.cm_sampler_colorize, images, luma=luma, **options)

    def super_resolve(self, images: Array, **options: Any) -> Array:
        """images: C x H/f x W/f; the mean of every f x f block of a result is the given pixel."""
        return self._edit(lib.cm_sampler_super_resolve, images, **options)

    def stroke(self, images: Array, sigma: float = 0.0, **options: Any) -> Array:
        """SDEdit: the images plus noise of level sigma, then multistep."""
        return self._edit(lib.cm_sampler_stroke, images, sigma=sigma, **options)

    def denoise(self, images: Array, sigma: Optional[float] = None, cut: bool = False, **options: Any) -> Array:
        """Images that carry noise of standard deviation sigma (None: of each what noise_level() finds).  cut: noise
        beyond [-1, 1] was cut off, as in any picture of bytes, and is put back before the first step."""
        options.update(limit=1 if cut else None, cut=cut)
        if sigma is not None:
            return self._edit(lib.cm_sampler_denoise, images, sigma=sigma, **options)
        shape = _values.shape_of(images, "images")
        one, variations = len(shape) < 4, _values.integer(options.get("variations", 1), "variations", 1, 65536)
        n, first = 1 if one else shape[0], options.pop("first_index", 0)
        labels = self.model._labels(options.pop("labels", None))
        if labels is not None and not hasattr(labels, "__len__"):
            labels = [labels] * n
        if labels is not None and len(labels) not in (n, n * variations):
            raise ValueError("labels has %d entries for %d images" % (len(labels), n))
        per = len(labels) // n if labels is not None and n else 0
        whole, results = (n * variations,) + tuple(self.model.image_shape), options.pop("out", None)
        if results is not None:
            _values.target(results, "out", whole)
        else:
            results, pointer = _values.new_images(whole)
        size = math.prod(whole[1:]) * variations
        in_parts = getattr(results, "ndim", 0) == 4  # numpy's can be written into part by part
        for i in range(n):
            image = images if one else images[i]
            if in_parts:
                options["out"] = results[i * variations:(i + 1) * variations]
            elif hasattr(results, "ndim"):
                options["out"] = results
            result = self._edit(lib.cm_sampler_denoise, image, sigma=noise_level(image), first_index=first + i * variations,
                                labels=list(labels[i * per:(i + 1) * per]) if labels is not None else None, **options)
            if not hasattr(results, "ndim"):
                C.memmove(C.addressof(pointer.contents) + 4 * i * size, result.data, 4 * size)
        return results

    def edit(self, images: Array, mask: Array, matrix: Optional[Array] = None, patch: int = 0,
             forward: Optional[Map] = None, inverse: Optional[Map] = None, **options: Any) -> Array:
        """The general form: an orthogonal map and a mask over its coordinates (1 = generate).

        matrix: C x C on channels, or with patch p p^2 x p^2 on blocks; or forward and inverse, functions from C x H x W
        values to as many (lists of numbers where numpy is absent); or neither, the identity."""
        failure: List[BaseException] = []
        m, keep = self._map(matrix, patch, forward, inverse, failure)

        def call(handle: Any, o: Any, given: Any, mask: Any, out: Any) -> int:
            return int(lib.cm_sampler_edit(handle, o, C.byref(m), given, mask, out))
        try:
            return self._edit(call, images, mask=_values.images(mask, "mask", True), **options)
        except Exception:
            if failure:
                raise failure[0]
            raise

    def interpolate(self, frames: int, to: int = 0, method: str = "default", labels: Any = None,
                    noise: Optional[Array] = None, **options: Any) -> Array:
        """frames images along the great circle from the noise of image first_index to that of first_index + to
        (1), or between the two of noise."""
        from . import _sample_options
        frames = _values.integer(frames, "frames", 2, 2**31 - 1)
        o, run = self._edit_options(to=to), {}
        for name in ("seed", "progress", "first_index", "step_noise", "torch_noise", "step", "out", "guidance"):
            if name in options:
                run[name] = options.pop(name)
        times = _sample_options(method, **options)

        def call(sampling: SampleOptions, out: Any) -> int:
            o.sampling = C.pointer(sampling)
            return int(lib.cm_sampler_interpolate(self._alive(), C.byref(o), out))
        return self._run(times, frames, call, labels=labels, noise=noise, noises=2, **run)

    @staticmethod
    def _edit_options(variations: int = 1, start: str = "given", sigma: float = 0.0, fill: float = 0.0,
                      luma: Optional[Sequence[float]] = None, to: int = 0, cut: bool = False) -> EditOptions:
        o = EditOptions()
        lib.cm_edit_options_init(C.byref(o), C.sizeof(o))
        o.start = _values.choice(start, "start", _STARTS)
        o.variations = _values.integer(variations, "variations", 1, 65536)
        o.sigma, o.fill = _values.number(sigma, "sigma"), _values.number(fill, "fill")
        o.to = _values.seed(to, "to")
        o.cut = int(_values.flag(cut, "cut"))
        if luma is not None:
            weights = _values.number_list(luma, "luma")
            if len(weights) != 3:
                raise ValueError("luma has %d entries, expected 3" % len(weights))
            o.luma[:] = weights
        return o

    def _edit(self, function: Callable[..., int], images: Array, mask: Optional[Images] = None, variations: int = 1,
              labels: Any = None, seed: int = 0, noise: Optional[Array] = None, progress: Any = None,
              first_index: int = 0, step_noise: Optional[Array] = None, torch_noise: bool = False,
              step: Optional[Callable[..., Any]] = None, start: str = "given", sigma: float = 0.0, fill: float = 0.0,
              luma: Optional[Sequence[float]] = None, limit: Optional[float] = 1, cut: bool = False,
              out: Optional[Array] = None, guidance: Optional[float] = None, **times: Any) -> Array:
        from . import _sample_options
        o = self._edit_options(variations, start, sigma, fill, luma, cut=cut)
        given = _values.images(images, "images", limit=limit)
        n = given.n * o.variations
        labels = self.model._labels(labels)
        if hasattr(labels, "__len__") and getattr(labels, "ndim", 1) == 1 and len(labels) == given.n != n:
            labels = [label for label in labels for _ in range(o.variations)]
        if "method" in times:
            raise TypeError("unknown option 'method': editing runs by multistep")

        def call(sampling: SampleOptions, results: Any) -> int:
            o.sampling = C.pointer(sampling)
            arguments: List[Any] = [self._alive(), C.byref(o), C.byref(given)] + ([C.byref(mask)] if mask is not None else [])
            return function(*arguments, results)
        return self._run(_sample_options(**times), n, call, labels=labels, seed=seed, noise=noise, progress=progress,
                         first_index=first_index, step_noise=step_noise, torch_noise=torch_noise, step=step, out=out, guidance=guidance)

    def _map(self, matrix: Optional[Array], patch: int, forward: Optional[Map], inverse: Optional[Map],
             failure: List[BaseException]) -> Tuple[EditMap, List[Any]]:
        m, shape = EditMap(), self.model.image_shape
        lib.cm_edit_map_init(C.byref(m), C.sizeof(m))
        m.patch, size = _values.size(patch, "patch"), math.prod(shape)
        keep: List[Any] = []
        if matrix is not None:
            side = m.patch ** 2 or shape[0]
            given = _values.shape_of(matrix, "matrix")
            if given != (side, side):
                raise ValueError("matrix has shape %s, expected %d x %d" % (given, side, side))
            numbers = [_values.number(v, "matrix[%d, %d]" % (i, k)) for i, row in enumerate(matrix) for k, v in enumerate(row)]
            m.matrix = (C.c_double * len(numbers))(*numbers)

        def wrap(function: Map) -> Any:
            def call(_: Any, into: Any, out: Any) -> int:
                try:
                    values, pointer = _values.new(shape)
                    for i in range(size):
                        pointer[i] = into[i]
                    result, kept = _values.floats(function(values), shape, "the map's result", finite=False)
                    for i in range(size):
                        out[i] = result[i]
                    return 0
                except BaseException as error:  # an exception must not pass through C
                    failure.append(error)
                    return 1
            return MAP(call)
        if forward is not None:
            m.forward = wrap(forward)
        if inverse is not None:
            m.inverse = wrap(inverse)
        keep += [m.forward, m.inverse]
        return m, keep
