"""What callers give: taken as it is meant, or refused in their own words before C sees it.

ctypes cuts numbers that are too wide and text behind a NUL, both in silence, so nothing goes to C unchecked."""

import ctypes as C
import math
import numbers
import os
from typing import Any, Iterator, List, Optional, Sequence, Tuple

from ._lib import CM_F32, CM_U8
from ._lib import Images as CImages

# Arrays and what is taken for them (lists, Images, numpy arrays, torch tensors, ...); what comes out is numpy's
# where there is numpy, else Images.
Array = Any
Shape = Tuple[int, ...]


def numpy() -> Any:
    """The module, or None where it is not installed."""
    try:
        import numpy as module
        return module
    except ImportError:
        return None


class Images:
    """n x C x H x W float32 values where numpy is absent."""

    def __init__(self, shape: Sequence[int]) -> None:
        self.shape: Shape = tuple(shape)
        self.data: Any = (C.c_float * math.prod(self.shape))()

    def __len__(self) -> int:
        return self.shape[0]

    def tolist(self) -> List[Any]:
        def cut(values: List[float], shape: Shape) -> List[Any]:
            if len(shape) == 1:
                return list(values)
            step = len(values) // shape[0] if shape[0] else 0
            return [cut(values[i * step:(i + 1) * step], shape[1:]) for i in range(shape[0])]
        return cut(self.data[:], self.shape)

    @property
    def __array_interface__(self) -> Any:
        return {"version": 3, "shape": self.shape, "typestr": "<f4", "data": (C.addressof(self.data), False)}


def new(shape: Sequence[int]) -> Tuple[Array, Any]:
    """An empty float32 array and a pointer to its data."""
    np = numpy()
    if np is None:
        images = Images(shape)
        return images, C.cast(images.data, C.POINTER(C.c_float))
    array = np.empty(shape, np.float32)
    return array, array.ctypes.data_as(C.POINTER(C.c_float))


# --- single values ------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """A numpy number, or an array of no dimensions, as Python's own."""
    kind = getattr(getattr(value, "dtype", None), "kind", None)
    return value.item() if kind in ("i", "u", "f", "b") and value.ndim == 0 else value


def integer(value: Any, what: str, low: int, high: int) -> int:
    """A whole number: int, numpy's, or a float without a fraction."""
    v = _plain(value)
    if isinstance(v, float) and v.is_integer() and abs(v) <= 2**53:
        v = int(v)
    if isinstance(v, (bool, str, bytes)) or not isinstance(v, numbers.Number):
        raise TypeError("%s is %r, expected a whole number" % (what, value))
    if not isinstance(v, numbers.Integral):
        raise ValueError("%s is %s, expected a whole number" % (what, v))
    whole = int(v)
    if not low <= whole <= high:
        raise ValueError("%s is %d, expected %d..%d" % (what, whole, low, high))
    return whole


def size(value: Any, what: str, low: int = 0) -> int:
    """A whole number that fits an int32_t."""
    return integer(value, what, low, 2**31 - 1)


def seed(value: Any, what: str = "seed") -> int:
    return integer(value, what, 0, 2**64 - 1)


def number(value: Any, what: str) -> float:
    v = _plain(value)
    if isinstance(v, bool) or not isinstance(v, numbers.Real):
        raise TypeError("%s is %r, expected a number" % (what, value))
    try:
        return float(v)
    except OverflowError:
        raise ValueError("%s is out of the range of numbers" % what) from None


def number_list(values: Any, what: str) -> List[float]:
    if isinstance(values, (str, bytes)) or not hasattr(values, "__len__") or getattr(values, "ndim", 1) != 1:
        raise TypeError("%s is %r, expected a list of numbers" % (what, values))
    return [number(v, "%s[%d]" % (what, i)) for i, v in enumerate(values)]


def flag(value: Any, what: str) -> bool:
    v = _plain(value)
    if v is None or isinstance(v, (str, bytes)) or v not in (0, 1):
        raise TypeError("%s is %r, expected True or False" % (what, value))
    return bool(v)


def _hint(value: Any, names: Sequence[Any]) -> str:
    from ._lib import lib
    if not isinstance(value, str) or "\0" in value:
        return ""
    known = [n.encode() for n in names if n]
    text = C.create_string_buffer(256)
    lib.cm_name_hint(value.encode(), (C.c_char_p * (len(known) + 1))(*known, None), None, text, len(text))
    return text.value.decode("utf-8", "replace")


def choice(value: Any, what: str, names: Sequence[Any]) -> int:
    """The index of value among the names; None stands for no name."""
    if not isinstance(value, (str, type(None))) or value not in names:
        raise ValueError("%s is %r, expected one of %s%s" % (what, value, ", ".join(n for n in names if n), _hint(value, names)))
    return list(names).index(value)


def path(value: Any, what: str = "path") -> bytes:
    name = os.fsencode(value)
    if b"\0" in name:
        raise ValueError("%s is %r: a name cannot hold a NUL" % (what, value))
    if not name:
        raise ValueError("%s is empty" % what)
    return name


def text(value: Any, what: str) -> bytes:
    if not isinstance(value, str):
        raise TypeError("%s is %r, expected text" % (what, value))
    if "\0" in value:
        raise ValueError("%s is %r: it cannot hold a NUL" % (what, value))
    return value.encode("utf-8", "surrogateescape")


# --- arrays ----------------------------------------------------------------------------------------


def shape_of(values: Any, what: str = "the array") -> Shape:
    if hasattr(values, "shape"):
        return tuple(values.shape)
    shape: List[int] = []
    while hasattr(values, "__len__") and not isinstance(values, (str, bytes)):
        if hasattr(values, "shape"):
            return tuple(shape) + tuple(values.shape)
        shape.append(len(values))
        if len(values) == 0:
            break
        values = values[0]
    if not shape:
        raise TypeError("%s is %r, expected an array of numbers" % (what, values))
    return tuple(shape)


def _same(given: Shape, wanted: Shape) -> bool:
    """Sides of 1 may be left out or added; a flat list holds all values in order."""
    sides = [[side for side in shape if side != 1] for shape in (given, wanted)]
    return sides[0] == sides[1] or given == (math.prod(wanted),)


def _leaves(values: Any, shape: Shape, what: str) -> Iterator[float]:
    """The numbers of nested lists, each of the length that the first of its kind has."""
    if not shape:
        yield number(values, what)
        return
    if not hasattr(values, "__len__") or isinstance(values, (str, bytes)) or len(values) != shape[0]:
        raise ValueError("%s is no array: its rows differ in length" % what)
    for v in values:
        yield from _leaves(v, shape[1:], what)


def _refuse(what: str, shape: Shape, at: int, value: float, limit: Optional[float], meaning: str) -> None:
    index = []
    for side in reversed(shape):
        index.append(at % side)
        at //= side
    place = "%s[%s]" % (what, ", ".join(map(str, reversed(index))))
    if not math.isfinite(value):
        raise ValueError("%s is %g, expected a finite number" % (place, value))
    raise ValueError("%s is %g, expected %s" % (place, value, meaning))


def _numpy_floats(np: Any, values: Any, what: str, allow_bool: bool) -> Any:
    try:
        array = np.asarray(values)
    except ValueError:  # lists whose rows differ in length
        raise ValueError("%s is no array: its rows differ in length" % what) from None
    if array.dtype == np.uint8 and not allow_bool:
        raise ValueError("%s holds bytes (uint8), expected numbers in [-1, 1]: x / 127.5 - 1 makes them of a picture's"
                         % what)
    if array.dtype.kind not in ("fiub" if allow_bool else "fiu"):
        raise TypeError("%s holds values of type %s, expected numbers" % (what, array.dtype))
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def floats(values: Any, shape: Sequence[int], what: str, limit: Optional[float] = None, meaning: str = "",
           finite: bool = True, allow_bool: bool = False) -> Tuple[Any, Any]:
    """A pointer to the float32 values of an array of that shape, and what keeps them alive.  Every value has to be
    finite, and within -limit..limit where a limit is given."""
    wanted = tuple(shape)
    np = numpy()
    if isinstance(values, Images):
        given, flat = values.shape, values.data
    elif np is not None:
        flat = _numpy_floats(np, values, what, allow_bool)
        given = tuple(flat.shape) or (1,)
    else:
        if hasattr(values, "tolist"):
            values = values.tolist()
        if not hasattr(values, "__len__"):
            values = [values]
        given = shape_of(values, what)
        flat = list(_leaves(values, given, what))
        try:
            flat = (C.c_float * len(flat))(*flat)
        except OverflowError:
            raise ValueError("%s holds a number that is no float32" % what) from None
    if not _same(given, wanted):
        raise ValueError("%s has shape %s, expected %s" % (what, given, wanted))
    if np is not None and not isinstance(values, Images):
        wrong = ~np.isfinite(flat) if finite else np.zeros((), bool)
        if limit is not None:
            wrong = wrong | (np.abs(flat) > limit)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            _refuse(what, given, at, float(flat.reshape(-1)[at]), limit, meaning)
        return flat.ctypes.data_as(C.POINTER(C.c_float)), flat
    for at, v in enumerate(flat):
        if finite and not math.isfinite(v) or limit is not None and abs(v) > limit:
            _refuse(what, given, at, v, limit, meaning)
    return C.cast(flat, C.POINTER(C.c_float)), flat


def planes(shape: Sequence[int], pointer: Any) -> CImages:
    """Dense float32 images n x C x H x W as the C struct."""
    return CImages(C.sizeof(CImages), CM_F32, shape[0], shape[1], shape[2], shape[3], data=C.cast(pointer, C.c_void_p))


def _four(shape: Shape, what: str) -> Shape:
    if not 2 <= len(shape) <= 4:
        raise ValueError("%s has shape %s, expected n x C x H x W, or n x H x W x C bytes" % (what, shape))
    return (1,) * (4 - len(shape)) + shape


def _in_place(array: Any, what: str) -> CImages:
    """A numpy array of float32 or uint8 as the C struct, wherever its values stand."""
    is_u8 = array.dtype.itemsize == 1
    if is_u8 and array.ndim in (3, 4) and array.shape[-1] <= 4:  # H x W x C
        order = list(range(array.ndim))
        array = array.transpose(order[:-3] + [array.ndim - 1, array.ndim - 3, array.ndim - 2])
    n, c, h, w = _four(array.shape, what)
    strides = (1,) * (4 - array.ndim) + array.strides
    if not any(strides[n == 1:]):  # one value as many, which C would take for dense images
        return _in_place(array.copy(), what)
    b = CImages(C.sizeof(CImages), CM_U8 if is_u8 else CM_F32, n, c, h, w, 0, *strides, array.ctypes.data)
    b._keep = array
    return b


def images(values: Any, what: str, mask: bool = False, limit: Optional[float] = None, finite: bool = True) -> CImages:
    """Pictures as the C struct, in place where they are numpy arrays of float32 or uint8.

    Numbers are n x C x H x W.  Bytes (uint8) are n x H x W x C, or n x C x H x W where the last axis is longer than 4.
    The axes in front may be left out, and that of the channel of a gray picture.  Numbers have to be finite, and within
    -limit..limit where there is a limit.  In a mask, truth values and bytes that are all 0 or 1 mean the numbers 0 and 1,
    other bytes 255ths."""
    np = numpy()
    if np is None or isinstance(values, Images):
        shape = _four(shape_of(values, what), what)
        data, keep = floats(values, shape, what, limit, "values in [-1, 1]", finite)
        b = planes(shape, data)
        b._keep = keep
        return b
    try:
        array = np.asarray(values)
    except ValueError:  # lists whose rows differ in length
        raise ValueError("%s is no array: its rows differ in length" % what) from None
    if array.size == 0:
        raise ValueError("%s has shape %s: it is empty" % (what, array.shape))
    if array.dtype == np.uint8:
        return _in_place(array * np.uint8(255) if mask and array.max() <= 1 else array, what)
    if array.dtype.kind not in ("fiub" if mask else "fiu"):
        raise TypeError("%s holds values of type %s, expected numbers" % (what, array.dtype))
    with np.errstate(over="ignore"):
        array = np.asarray(array, np.float32)
    wrong = ~np.isfinite(array) if finite else np.zeros(array.shape, bool)
    if limit is not None:
        wrong |= np.abs(array) > limit
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        _refuse(what, array.shape, at, float(array[np.unravel_index(at, array.shape)]), limit, "values in [-1, 1]")
    return _in_place(array, what)


def target(array: Any, what: str, shape: Sequence[int]) -> CImages:
    """An array of the caller's that images of this shape n x C x H x W are written into."""
    np = numpy()
    if np is None or not isinstance(array, np.ndarray) or array.dtype not in (np.float32, np.uint8):
        raise TypeError("%s is %s, expected a numpy array of float32 or uint8" % (what, type(array).__name__))
    if not array.flags.writeable:
        raise ValueError("%s cannot be written to" % what)
    b = _in_place(array, what)
    if (b.n, b.channels, b.height, b.width) != tuple(shape):
        raise ValueError("%s has shape %s, expected %s" % (what, array.shape, tuple(shape)))
    return b


def integers(values: Any, count: int, what: str, low: int = -2**31) -> Any:
    """count int32 values; a single number stands for all."""
    values = _plain(values)
    if hasattr(values, "tolist"):
        if len(getattr(values, "shape", (0,))) != 1:
            raise ValueError("%s has shape %s, expected (%d,)" % (what, tuple(values.shape), count))
        values = values.tolist()
    if isinstance(values, (str, bytes, dict)):
        raise TypeError("%s is %r, expected whole numbers" % (what, values))
    if not hasattr(values, "__iter__"):
        values = [integer(values, what, low, 2**31 - 1)] * count
    result = [integer(v, "%s[%d]" % (what, i), low, 2**31 - 1) for i, v in enumerate(values)]
    if len(result) != count:
        raise ValueError("%s has %d entries, expected %d" % (what, len(result), count))
    return (C.c_int32 * max(count, 1))(*result)
