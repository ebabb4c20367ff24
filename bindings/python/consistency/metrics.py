"""How close sets of images are: metrics.h through ctypes.

Features are n x d numbers, one row an image; where they come from is the caller's choice."""

import ctypes as C
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

from . import _values
from ._handle import Handle
from ._interrupt import Interrupt, guarded
from ._progress import Count, counting
from ._lib import FeatureRows, FeaturesInfo, LpipsInfo, LpipsOptions, NeighbourOptions, POINT, PROGRESS, ScoreOptions, SearchOptions, StatisticsInfo, SubsetOptions, lib
from ._values import Array


def _checked(status: int) -> None:
    from . import _check
    _check(status)


class _Rows:
    """n x d float32 values and a pointer to them."""

    def __init__(self, values: Array, what: str, d: Optional[int] = None) -> None:
        shape = _values.shape_of(values, what)
        if len(shape) != 2 or 0 in shape:
            raise ValueError("%s has shape %s, expected n x d features" % (what, shape))
        if d is not None and shape[1] != d:
            raise ValueError("%s has rows of %d features, expected %d" % (what, shape[1], d))
        self.n, self.d = shape
        self.data, self._keep = _values.floats(values, shape, what)


class Features(Handle):
    """A feature network with its weights, from any file of tensors that models are read from.

        network = cm.Features("models/features/resnet56.safetensors")
        values, logits = network.run(images)

    network: "lenet", "resnet20", "resnet56", "inception" (inputs as OpenAI's evaluator has them), "inception-pytorch" (as
    pytorch-fid has them), or None for the one whose tensors the file has.  Distances of the first three (FD-resnet56, ...)
    compare with each other, never with a published FID."""

    _what, _free = "feature network", lib.cm_features_free

    def __init__(self, path: Any, network: Optional[str] = None) -> None:
        handle = C.c_void_p()
        _checked(lib.cm_features_open(None, _values.path(path), None if network is None else _values.text(network, "network"),
                                      C.byref(handle)))
        self._handle = handle

    @property
    def info(self) -> Dict[str, Any]:
        """network, weights (a hash), channels, height, width, padded, resizes, features, classes, spatial, early."""
        i = FeaturesInfo()
        lib.cm_features_info_init(C.byref(i), C.sizeof(i))
        with self._held() as handle:
            _checked(lib.cm_features_info_get(handle, C.byref(i)))
            return {name: v.decode() if isinstance(v, bytes) else list(v) if name == "early" else v
                    for name, v in ((n, getattr(i, n)) for n in FeaturesInfo.names()) if name not in ("struct_size", "reserved")}

    def run(self, images: Array) -> Tuple[Array, Array]:
        """Features and logits, one row each, of images n x C x H x W in [-1, 1] or bytes n x H x W x C."""
        info, b = self.info, _values.images(images, "images")
        values, to_values = _values.new((b.n, info["features"]))
        logits, to_logits = _values.new((b.n, info["classes"]))
        with self._held() as handle:
            _checked(lib.cm_features_run(handle, C.byref(b), to_values, to_logits))
        return values, logits

    def _named(self) -> List[Tuple[str, int]]:
        """What run_rows gives: names and widths."""
        info = self.info
        named = [("values", info["features"]), ("logits", info["classes"]), ("scores", info["classes"] if info["spatial"] else 0),
                 ("spatial", info["spatial"])] + [("early%d" % width, width) for width in info["early"]]
        return [(name, width) for name, width in named if width]

    def _rows(self, pointers: Dict[str, Any]) -> FeatureRows:
        rows, early = FeatureRows(), ["early%d" % width for width in self.info["early"]]
        lib.cm_feature_rows_init(C.byref(rows), C.sizeof(rows))
        for name, pointer in pointers.items():
            if name in early:
                rows.early[early.index(name)] = pointer
            else:
                setattr(rows, name, pointer)
        return rows

    def write(self, path: Any, rows: Dict[str, Array], labels: Optional[Sequence[int]] = None, overwrite: bool = False) -> None:
        """Keeps rows of run_rows ("values" at least), and classes, in an .npz file that read() takes."""
        known, n, given, held = dict(self._named()), None, {}, []
        for name, values in rows.items():
            if name not in known:
                raise ValueError("rows[%r]: this network has %s" % (name, ", ".join(known)))
            r = _Rows(values, "rows[%r]" % name, known[name])
            if n is not None and r.n != n:
                raise ValueError("rows[%r] has %d rows, the others %d" % (name, r.n, n))
            n, given[name] = r.n, r.data
            held.append(r)
        if n is None or "values" not in given:
            raise ValueError("rows has no 'values'")
        if labels is not None and len(labels) != n:
            raise ValueError("there are %d labels and %d images" % (len(labels), n))
        classes = None if labels is None else (C.c_int32 * len(labels))(*[_values.integer(v, "labels", -1, 2**31 - 1) for v in labels])
        b = self._rows(given)
        with self._held() as handle:
            _checked(lib.cm_features_write(handle, _values.path(path), n, C.byref(b), classes, _values.flag(overwrite, "overwrite")))

    def read(self, path: Any, names: Sequence[str] = ("values",)) -> Tuple[Dict[str, Array], List[int]]:
        """The rows that are asked for, of a file of write() or cm-eval --keep, and the classes (-1 where it has none).
        Features of another network or of other weights are refused."""
        known, n, out, pointers = dict(self._named()), C.c_size_t(), {}, {}
        with self._held() as handle:
            _checked(lib.cm_features_read(handle, _values.path(path), C.byref(n), None, None))
        for name in names:
            if name not in known:
                raise ValueError("names has %r: this network has %s" % (name, ", ".join(known)))
            out[name], pointers[name] = _values.new((n.value, known[name]))
        labels, b = (C.c_int32 * n.value)(), self._rows(pointers)
        with self._held() as handle:
            _checked(lib.cm_features_read(handle, _values.path(path), C.byref(n), C.byref(b), labels))
        return out, list(labels)

    def run_rows(self, images: Array) -> Dict[str, Array]:
        """All that an Inception network says: "values" (of FID), "logits", "scores" (logits without bias, of the
        Inception Score), "spatial" (of sFID), and "early64", "early192", "early768" (means of earlier blocks)."""
        b, out, pointers = _values.images(images, "images"), {}, {}
        for name, width in self._named():
            out[name], pointers[name] = _values.new((b.n, width))
        rows = self._rows(pointers)
        with self._held() as handle:
            _checked(lib.cm_features_run_rows(handle, C.byref(b), C.byref(rows)))
        return out


class Lpips(Handle):
    """LPIPS: how far two images are apart to the features of a network; 0 for the same image, lower is nearer.

        lpips = cm.Lpips("vgg16.pth", "models/features/lpips_lin.safetensors")
        distances = lpips(a, b)

    weights: torchvision's file of vgg16, alexnet or squeezenet1_1, or a checkpoint of the whole module, which needs no
    lin; network: "vgg", "alex", "squeeze", or None for the one that the file holds.  pooling "mean" and resize "small"
    are what OpenAI's consistency models were trained with, resize "always" the code for CIFAR-10.  uniform: every channel
    counts the same, without lin."""

    _what, _free = "LPIPS network", lib.cm_lpips_free
    _poolings, _resizes = ("max", "mean"), ("none", "small", "always")

    def __init__(self, weights: Any, lin: Any = None, network: Optional[str] = None, pooling: str = "max",
                 resize: str = "none", uniform: bool = False) -> None:
        handle, o = C.c_void_p(), LpipsOptions()
        lib.cm_lpips_options_init(C.byref(o), C.sizeof(o))
        for name, given, known in (("pooling", pooling, self._poolings), ("resize", resize, self._resizes)):
            if given not in known:
                raise ValueError("%s is %r, expected one of %s" % (name, given, ", ".join(known)))
            setattr(o, name, known.index(given))
        o.uniform = _values.flag(uniform, "uniform")
        _checked(lib.cm_lpips_open(None, None if network is None else _values.text(network, "network"),
                                   _values.path(weights), None if lin is None else _values.path(lin), C.byref(o),
                                   C.byref(handle)))
        self._handle = handle

    @property
    def info(self) -> Dict[str, Any]:
        """network, layers, weights (a hash)."""
        i = LpipsInfo()
        lib.cm_lpips_info_init(C.byref(i), C.sizeof(i))
        with self._held() as handle:
            _checked(lib.cm_lpips_info_get(handle, C.byref(i)))
            return {name: v.decode() if isinstance(v, bytes) else v
                    for name, v in ((n, getattr(i, n)) for n in LpipsInfo.names()) if name != "struct_size"}

    def __call__(self, a: Array, b: Array) -> Array:
        """The distance of each pair of images n x C x H x W in [-1, 1] or bytes n x H x W x C."""
        return self._run(a, b)[0]

    def layers(self, a: Array, b: Array) -> Array:
        """The distances of each layer, a row a pair, whose sum the distance is."""
        return self._run(a, b)[1]

    def _run(self, a: Array, b: Array) -> Tuple[Array, Array]:
        x, y = _values.images(a, "a"), _values.images(b, "b")
        distances = (C.c_double * x.n)()
        layers, to_layers = _values.new((x.n, self.info["layers"]))
        with self._held() as handle:
            _checked(lib.cm_lpips_run(handle, C.byref(x), C.byref(y), distances, to_layers, None))
        return self._doubles(distances), layers

    def map(self, a: Array, b: Array) -> Array:
        """n x 1 x H x W: where the images differ."""
        x, y = _values.images(a, "a"), _values.images(b, "b")
        maps, to_maps = _values.new((x.n, 1, x.height, x.width))
        with self._held() as handle:
            _checked(lib.cm_lpips_run(handle, C.byref(x), C.byref(y), None, None, to_maps))
        return maps

    def gradient(self, a: Array, b: Array) -> Tuple[Array, Array]:
        """Distances, and the gradient of their sum with respect to `a`, n x C x H x W."""
        x, y = _values.images(a, "a"), _values.images(b, "b")
        distances = (C.c_double * x.n)()
        slope, to_slope = _values.new((x.n, x.channels, x.height, x.width))
        with self._held() as handle:
            _checked(lib.cm_lpips_gradient(handle, C.byref(x), C.byref(y), distances, to_slope))
        return self._doubles(distances), slope

    @staticmethod
    def _doubles(values: Any) -> Array:
        np = _values.numpy()
        return list(values) if np is None else np.array(values)


class Statistics(Handle):
    """Mean and covariance of features, gathered by add() and merge(), or read from an .npz file with mu and sigma.

        ours = cm.Statistics(64)
        ours.add(features)
        distance = cm.frechet_distance(ours, cm.Statistics.read("reference.npz"))"""

    _what, _free = "statistics", lib.cm_statistics_free

    def __init__(self, dimension: int) -> None:
        handle = C.c_void_p()
        _checked(lib.cm_statistics_create(None, _values.size(dimension, "dimension"), C.byref(handle)))
        self._handle = handle

    @classmethod
    def read(cls, path: Any, suffix: str = "") -> "Statistics":
        """suffix: what follows mu and sigma in the file, "_s" for OpenAI's spatial features."""
        self: Statistics = cls.__new__(cls)
        handle = C.c_void_p()
        _checked(lib.cm_statistics_read(None, _values.path(path), _values.text(suffix, "suffix"), C.byref(handle)))
        self._handle = handle
        return self

    def write(self, path: Any, spatial: Optional["Statistics"] = None, overwrite: bool = False) -> None:
        """mu, sigma and count; of `spatial` mu_s and sigma_s; network and weights after mark()."""
        if spatial is not None and not isinstance(spatial, Statistics):
            raise TypeError("spatial is %r, expected Statistics" % (spatial,))
        with self._held() as handle:
            _checked(lib.cm_statistics_write(handle, spatial._alive() if spatial else None, _values.path(path),
                                             _values.flag(overwrite, "overwrite")))

    def add(self, features: Array) -> None:
        rows = _Rows(features, "features", self.dimension)
        with self._held() as handle:
            _checked(lib.cm_statistics_add(handle, rows.n, rows.data))

    def merge(self, other: "Statistics") -> None:
        with self._held() as handle, other._held() as theirs:
            _checked(lib.cm_statistics_merge(handle, theirs))

    def mark(self, network: Features) -> None:
        """Says that the features are those of a network: write() keeps its name and the hash of its weights, and
        statistics of two networks are refused."""
        if not isinstance(network, Features):
            raise TypeError("network is %r, expected Features" % (network,))
        with self._held() as handle, network._held() as theirs:
            _checked(lib.cm_statistics_mark(handle, theirs))

    @property
    def network(self) -> Optional[str]:
        """The name of the network, where it is known."""
        return self._text("network")

    @property
    def weights(self) -> Optional[str]:
        """The hash of its weights, where it is known."""
        return self._text("weights")

    def _text(self, member: str) -> Optional[str]:
        info = StatisticsInfo()
        lib.cm_statistics_info_init(C.byref(info), C.sizeof(info))
        with self._held() as handle:  # the texts are the statistics'
            _checked(lib.cm_statistics_info_get(handle, C.byref(info)))
            text = getattr(info, member)
            return None if text is None else text.decode()

    def _info(self) -> StatisticsInfo:
        info = StatisticsInfo()
        lib.cm_statistics_info_init(C.byref(info), C.sizeof(info))
        with self._held() as handle:
            _checked(lib.cm_statistics_info_get(handle, C.byref(info)))
        return info

    @property
    def dimension(self) -> int:
        return int(self._info().dimension)

    @property
    def count(self) -> int:
        """Images; 0 where a file does not tell."""
        return int(self._info().count)

    @property
    def values(self) -> Tuple[Array, Array]:
        """The mean, d doubles, and the covariance, d x d (nested lists where numpy is absent)."""
        d = self.dimension
        mean, covariance = (C.c_double * d)(), (C.c_double * (d * d))()
        with self._held() as handle:
            _checked(lib.cm_statistics_values(handle, mean, covariance))
        np = _values.numpy()
        if np is None:
            return list(mean), [list(covariance[i * d:(i + 1) * d]) for i in range(d)]
        return np.array(mean), np.array(covariance).reshape(d, d)


def _statistics(given: Union[Statistics, Array], what: str) -> Statistics:
    if isinstance(given, Statistics):
        return given
    rows = _Rows(given, what)
    s = Statistics(rows.d)
    s.add(given)
    return s


def frechet_distance(a: Union[Statistics, Array], b: Union[Statistics, Array]) -> float:
    """Between two sets, each n x d features or Statistics."""
    x, y, distance = _statistics(a, "a"), _statistics(b, "b"), C.c_double()
    with x._held() as first, y._held() as second:
        _checked(lib.cm_frechet_distance(first, second, C.byref(distance)))
    return float(distance.value)


def _subset_options(subsets: int, size: int, seed: int) -> SubsetOptions:
    o = SubsetOptions()
    lib.cm_subset_options_init(C.byref(o), C.sizeof(o))
    o.subsets, o.size = _values.size(subsets, "subsets"), _values.size(size, "size")
    o.seed = _values.seed(seed)
    return o


def frechet_subsets(reference: Union[Statistics, Array], features: Array, subsets: int = 0, size: int = 0,
                    seed: int = 0) -> Tuple[float, float]:
    """Mean and standard deviation of the distances of random subsets of the features to the reference."""
    s, mean, deviation = _statistics(reference, "reference"), C.c_double(), C.c_double()
    rows = _Rows(features, "features", s.dimension)
    with s._held() as handle:
        _checked(lib.cm_frechet_subsets(handle, rows.n, rows.data, C.byref(_subset_options(subsets, size, seed)),
                                        C.byref(mean), C.byref(deviation)))
    return float(mean.value), float(deviation.value)


def frechet_infinity(reference: Union[Statistics, Array], features: Array, subsets: int = 0, size: int = 0,
                     seed: int = 0) -> float:
    """What the distance would be with infinitely many images, by a line through subsets of several sizes."""
    s, distance = _statistics(reference, "reference"), C.c_double()
    rows = _Rows(features, "features", s.dimension)
    with s._held() as handle:
        _checked(lib.cm_frechet_infinity(handle, rows.n, rows.data, C.byref(_subset_options(subsets, size, seed)),
                                         C.byref(distance)))
    return float(distance.value)


def kernel_distance(a: Array, b: Array, subsets: int = 0, size: int = 0, seed: int = 0) -> Tuple[float, float]:
    """Mean and standard deviation over subsets of the kernel distance (KID) of two sets of n x d features."""
    x, mean, deviation = _Rows(a, "a"), C.c_double(), C.c_double()
    y = _Rows(b, "b", x.d)
    _checked(lib.cm_kernel_distance(None, x.d, x.n, x.data, y.n, y.data, C.byref(_subset_options(subsets, size, seed)),
                                    C.byref(mean), C.byref(deviation)))
    return float(mean.value), float(deviation.value)


def inception_score(p: Array, split: int = 0, logits: bool = False) -> float:
    """Of n x classes probabilities (or logits), in consecutive parts of `split` images (0: 5000)."""
    rows, score, o = _Rows(p, "p"), C.c_double(), ScoreOptions()
    lib.cm_score_options_init(C.byref(o), C.sizeof(o))
    o.split, o.probabilities = _values.size(split, "split"), not _values.flag(logits, "logits")
    _checked(lib.cm_inception_score(None, rows.d, rows.n, rows.data, C.byref(o), C.byref(score), None))
    return float(score.value)


def precision_recall(reference: Array, samples: Array, neighbours: int = 3) -> Tuple[float, float]:
    """Precision and recall of samples against a reference, both n x d features."""
    r, precision, recall, o = _Rows(reference, "reference"), C.c_double(), C.c_double(), NeighbourOptions()
    s = _Rows(samples, "samples", r.d)
    lib.cm_neighbour_options_init(C.byref(o), C.sizeof(o))
    o.neighbours = _values.integer(neighbours, "neighbours", 1, 64)
    _checked(lib.cm_precision_recall(None, r.d, r.n, r.data, s.n, s.data, C.byref(o), C.byref(precision), C.byref(recall)))
    return float(precision.value), float(recall.value)


def search_point(score: Callable[[int], float], left: int, right: int, larger: bool = False,
                 progress: Count = None) -> int:
    """The best of the points left..right by the ternary search of Song et al. (2023): where score falls up to the best
    point and rises after it, by about 3.4 log2(right - left) calls of score, one a point.  larger: a larger score is
    better.  progress: True, or a function (points done, points at most) that may return a true value to stop.

        best = cm.search_point(lambda i: distance_of_samples(sigmas=[80, grid[i]]), 1, len(grid) - 1)"""
    o, best, failure = SearchOptions(), C.c_int32(), []  # type: SearchOptions, Any, List[BaseException]
    lib.cm_search_options_init(C.byref(o), C.sizeof(o))
    o.left = _values.integer(left, "left", 0, 2**31 - 1)
    o.right = _values.integer(right, "right", 0, 2**31 - 1)
    o.larger = _values.flag(larger, "larger")

    def on_point(_: Any, point: int, value: Any) -> None:
        value[0] = float(score(point))
    show = counting(progress, "searching")

    def on_progress(_: Any, done: int, total: int) -> Any:
        return show(done, total)

    with Interrupt() as interrupt:
        o.progress = PROGRESS(guarded(failure, interrupt, on_progress))
        status = lib.cm_search_point(C.byref(o), POINT(guarded(failure, interrupt, on_point)), None, C.byref(best))
    if failure and status:
        raise failure[0]
    _checked(status)
    return int(best.value)
