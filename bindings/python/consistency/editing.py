"""Images changed by a model that was never trained for it: the editing half of Sampler (Algorithm 4)."""

import ctypes as C
import math

from . import _check, _floats, _new, _shape_of
from ._lib import MAP, EditMap, EditOptions, ImageBatch, lib

_STARTS = ["given", "noise"]


def _batch(values, what, channels=None):
    """Images or masks as the C struct; one image stands for a batch of one, H x W for one channel."""
    shape = tuple(_shape_of(values))
    while len(shape) < 4:
        shape = (1,) + shape
    if len(shape) > 4:
        raise ValueError("%s has shape %s, expected n x C x H x W" % (what, shape))
    data, keep = _floats(values, math.prod(shape), what)
    b = ImageBatch(shape[0], shape[1], shape[2], shape[3], data)
    b._keep = keep
    return b


class Editing:
    """Methods of Sampler.  Common arguments:

    variations   results for each given image; result j of image i is number i * variations + j
    labels       a class number for all, one for each given image, or one for each result; conditional models need it
    steps, sigmas, ts with grid, rho, sigma_min, sigma_max   times; without them the task's own
    clip_denoised, clip_output, seed, noise, step_noise, torch_noise, first_index, progress, step   as in sample()
    start        "given": what is kept plus noise (the paper); "noise": noise alone (the official code)"""

    def inpaint(self, images, mask, fill=0.0, **options):
        """mask: 1 = generate, 0 = keep, n or 1 of it, 1 or C channels (H x W will do); fill: what stands in missing
        pixels at the start."""
        return self._edit(lib.cm_sampler_inpaint, images, mask=_batch(mask, "mask"), fill=fill, **options)

    def colorize(self, images, luma=None, **options):
        """Only the luminance of the images counts; 1 or 3 channels."""
        return self._edit(lib.cm_sampler_colorize, images, luma=luma, **options)

    def super_resolve(self, images, **options):
        """images: C x H/f x W/f; the mean of every f x f block of a result is the given pixel."""
        return self._edit(lib.cm_sampler_super_resolve, images, **options)

    def stroke(self, images, sigma=0.0, **options):
        """SDEdit: the images plus noise of level sigma, then multistep."""
        return self._edit(lib.cm_sampler_stroke, images, sigma=sigma, **options)

    def denoise(self, images, sigma, **options):
        """Images that carry noise of standard deviation sigma."""
        return self._edit(lib.cm_sampler_denoise, images, sigma=sigma, **options)

    def edit(self, images, mask, matrix=None, patch=0, forward=None, inverse=None, **options):
        """The general form: an orthogonal map and a mask over its coordinates (1 = generate).

        matrix: C x C on channels, or with patch p p^2 x p^2 on blocks; or forward and inverse, functions from C x H x W
        values to as many (lists of numbers where numpy is absent); or neither, the identity."""
        failure = []
        m, keep = self._map(matrix, patch, forward, inverse, failure)
        call = lambda handle, o, given, mask, out: lib.cm_sampler_edit(handle, o, C.byref(m), given, mask, out)
        try:
            return self._edit(call, images, mask=_batch(mask, "mask"), **options)
        except Exception:
            if failure:
                raise failure[0]
            raise

    def interpolate(self, frames, to=0, method="default", labels=None, noise=None, **options):
        """frames images along the great circle from the noise of image first_index to that of first_index + to
        (1), or between the two of noise."""
        from . import _sample_options
        o, run = self._edit_options(to=to), {}
        for name in ("seed", "progress", "first_index", "step_noise", "torch_noise", "step"):
            if name in options:
                run[name] = options.pop(name)
        times = _sample_options(method, **options)
        def call(sampling, out):
            o.sampling = C.pointer(sampling)
            return lib.cm_sampler_interpolate(self._alive(), C.byref(o), frames, out)
        return self._run(times, frames, call, labels=labels, noise=noise, noises=2, **run)

    @staticmethod
    def _edit_options(variations=1, start="given", sigma=0.0, fill=0.0, luma=None, to=0):
        o = EditOptions()
        lib.cm_edit_options_init(C.byref(o), C.sizeof(o))
        if start not in _STARTS:
            raise ValueError("start is %r, expected one of %s" % (start, ", ".join(_STARTS)))
        if int(variations) < 1:
            raise ValueError("variations is %d, expected at least 1" % int(variations))
        o.variations, o.start, o.sigma, o.fill, o.to = int(variations), _STARTS.index(start), sigma, fill, to
        if luma is not None:
            o.luma[:] = [float(w) for w in luma]
        return o

    def _edit(self, function, images, mask=None, variations=1, labels=None, seed=0, noise=None, progress=None,
              first_index=0, step_noise=None, torch_noise=False, step=None, start="given", sigma=0.0, fill=0.0,
              luma=None, **times):
        from . import _sample_options
        o = self._edit_options(variations, start, sigma, fill, luma)
        given = _batch(images, "images")
        n = given.n * int(variations)
        if labels is not None and hasattr(labels, "__len__") and len(labels) == given.n != n:
            labels = [label for label in labels for _ in range(int(variations))]
        if "method" in times:
            raise TypeError("unknown option 'method': editing runs by multistep")

        def call(sampling, out):
            o.sampling = C.pointer(sampling)
            arguments = [self._alive(), C.byref(o), C.byref(given)] + ([C.byref(mask)] if mask is not None else [])
            return function(*arguments, out)
        return self._run(_sample_options(**times), n, call, labels=labels, seed=seed, noise=noise, progress=progress,
                         first_index=first_index, step_noise=step_noise, torch_noise=torch_noise, step=step)

    def _map(self, matrix, patch, forward, inverse, failure):
        m, shape = EditMap(), self.model.image_shape
        lib.cm_edit_map_init(C.byref(m), C.sizeof(m))
        m.patch, size, keep = int(patch), math.prod(shape), []
        if matrix is not None:
            rows, columns = _shape_of(matrix)
            side = m.patch ** 2 or shape[0]
            if (rows, columns) != (side, side):
                raise ValueError("matrix has shape %d x %d, expected %d x %d" % (rows, columns, side, side))
            numbers = [float(v) for row in matrix for v in row]
            m.matrix = (C.c_double * len(numbers))(*numbers)

        def wrap(function):
            def call(_, into, out):
                try:
                    values, pointer = _new(shape)
                    for i in range(size):
                        pointer[i] = into[i]
                    result, kept = _floats(function(values), size, "the map's result")
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
