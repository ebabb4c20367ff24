"""What callers give: taken as it is meant, or refused in their own words before C sees it.

ctypes cuts numbers that are too wide and text behind a NUL, both in silence, so nothing goes to C unchecked."""

import ctypes as C
import math
import numbers
import os
from typing import Any, Iterator, List, Optional, Sequence, Tuple

from . import _memory
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
    """n x C x H x W float32 values where numpy is absent: .data is a buffer of all of them, memoryview(images) one of its shape from
    Python 3.12 on, and DLPack hands them to torch and others (torch.from_dlpack(images)); none of these copies."""

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

    def __buffer__(self, flags: int) -> memoryview:
        return memoryview(self.data).cast("B").cast("f", list(self.shape))

    def __dlpack_device__(self) -> Tuple[int, int]:
        return (1, 0)

    def __dlpack__(self, **_: Any) -> Any:
        return _memory.to_dlpack(C.addressof(self.data), self.shape, self.data)

    def _repr_png_(self) -> Optional[bytes]:
        return shown(self)


def shown(values: Any) -> Optional[bytes]:
    """What a notebook shows of images: a page of them as a PNG, at most SHOWN; None where it is no images."""
    from . import _page_png
    shape = tuple(values.shape)
    if not 3 <= len(shape) <= 4 or shape[-3] not in (1, 3) or not all(shape):
        return None
    return _page_png(values if len(shape) == 3 or shape[0] <= SHOWN else images_part(values, SHOWN))


SHOWN = 100


def images_part(values: Any, n: int) -> Any:
    """The first n images."""
    if not isinstance(values, Images):
        return values[:n]
    part = Images((n,) + values.shape[1:])
    C.memmove(part.data, values.data, C.sizeof(part.data))
    return part


def new(shape: Sequence[int]) -> Tuple[Array, Any]:
    """An empty float32 array and a pointer to its data."""
    np = numpy()
    if np is None:
        images = Images(shape)
        return images, C.cast(images.data, C.POINTER(C.c_float))
    array = np.empty(shape, np.float32)
    return array, array.ctypes.data_as(C.POINTER(C.c_float))


def new_images(shape: Sequence[int]) -> Tuple[Array, Any]:
    """The same for images, which notebooks show."""
    array, pointer = new(shape)
    if numpy() is not None:
        from ._pictures import Pictures
        array = array.view(Pictures)
    return array, pointer


def _pillows(pictures: Sequence[Any], what: str) -> _memory.View:
    """Pictures of Pillow, of one mode and size, as n x H x W x C bytes."""
    for i, picture in enumerate(pictures):
        if picture.mode not in ("L", "RGB"):
            raise ValueError("%s is a picture of mode %s, expected L or RGB: convert('RGB') makes one" % (what, picture.mode))
        if (picture.mode, picture.size) != (pictures[0].mode, pictures[0].size):
            raise ValueError("%s[%d] is %s of %d x %d, the first is %s of %d x %d" % (
                (what, i, picture.mode) + tuple(picture.size) + (pictures[0].mode,) + tuple(pictures[0].size)))
    width, height = pictures[0].size
    if not width * height:
        raise ValueError("%s is empty" % what)
    pixels = memoryview(b"".join(picture.tobytes() for picture in pictures))
    view = _memory.from_buffer(pixels.cast("B", [len(pictures), height, width, len(pictures[0].getbands())]))
    assert view is not None
    return view


def given(values: Any, what: str) -> Any:
    """Arrays of others in a form that numpy, or what stands for it here, takes without a copy; anything else as it is."""
    several = isinstance(values, (list, tuple)) and len(values) > 0 and hasattr(values[0], "getbands")
    if several or hasattr(values, "getbands"):
        view = _pillows(values if several else [values], what)
        view = view if several else _memory.View(view.address, view.shape[1:], view.strides[1:], view.typestr, True, view)
        return view if numpy() is None else numpy().asarray(view)
    if isinstance(values, (Images, list, tuple, str, bytes, _memory.View)):
        return values
    if hasattr(values, "__dlpack__") and not hasattr(values, "__array__") and not hasattr(values, "__array_interface__"):
        return _memory.from_dlpack(values, what)
    if numpy() is None and not hasattr(values, "__array_interface__"):
        return _memory.from_buffer(values) or (_memory.from_dlpack(values, what) if hasattr(values, "__dlpack__") else values)
    return values


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
    values = given(values, what)
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


def _flat(values: Any) -> Iterator[Any]:
    """The leaves of nested lists."""
    for v in values:
        if isinstance(v, list):
            yield from _flat(v)
        else:
            yield v


def _refuse(what: str, shape: Shape, at: int, value: float, limit: Optional[float], meaning: str) -> None:
    index = []
    for side in reversed(shape):
        index.append(at % side)
        at //= side
    place = "%s[%s]" % (what, ", ".join(map(str, reversed(index))))
    if not math.isfinite(value):
        raise ValueError("%s is %g, expected a finite number" % (place, value))
    raise ValueError("%s is %g, expected %s" % (place, value, meaning))


_BYTES = "%s holds bytes (uint8), expected numbers in [-1, 1]: x / 127.5 - 1 makes them of a picture's"


def _numpy_floats(np: Any, values: Any, what: str, allow_bool: bool) -> Any:
    try:
        array = np.asarray(values)
    except ValueError:  # lists whose rows differ in length
        raise ValueError("%s is no array: its rows differ in length" % what) from None
    if array.dtype == np.uint8 and not allow_bool:
        raise ValueError(_BYTES % what)
    if array.dtype.kind not in ("fiub" if allow_bool else "fiu"):
        raise TypeError("%s holds values of type %s, expected numbers" % (what, array.dtype))
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def floats(values: Any, shape: Sequence[int], what: str, limit: Optional[float] = None, meaning: str = "",
           finite: bool = True, allow_bool: bool = False) -> Tuple[Any, Any]:
    """A pointer to the float32 values of an array of that shape, and what keeps them alive.  Every value has to be
    finite, and within -limit..limit where a limit is given."""
    wanted = tuple(shape)
    np, values = numpy(), given(values, what)
    if isinstance(values, Images):
        has, flat = values.shape, values.data
    elif np is not None:
        flat = _numpy_floats(np, values, what, allow_bool)
        has = tuple(flat.shape) or (1,)
    elif isinstance(values, _memory.View) and values.is_dense("<f4"):
        has, flat = values.shape or (1,), (C.c_float * math.prod(values.shape)).from_address(values.address)
        flat._keep = values
    else:
        if isinstance(values, _memory.View) and values.typestr == "|u1" and not allow_bool:
            raise ValueError(_BYTES % what)
        if hasattr(values, "tolist"):
            values = values.tolist()
        if not hasattr(values, "__len__"):
            values = [values]
        has = shape_of(values, what)
        flat = list(_leaves(values, has, what))
        try:
            flat = (C.c_float * len(flat))(*flat)
        except OverflowError:
            raise ValueError("%s holds a number that is no float32" % what) from None
    if not _same(has, wanted):
        raise ValueError("%s has shape %s, expected %s" % (what, has, wanted))
    if np is not None and not isinstance(values, Images):
        wrong = ~np.isfinite(flat) if finite else np.zeros((), bool)
        if limit is not None:
            wrong = wrong | (np.abs(flat) > limit)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            _refuse(what, has, at, float(flat.reshape(-1)[at]), limit, meaning)
        return flat.ctypes.data_as(C.POINTER(C.c_float)), flat
    for at, v in enumerate(flat):
        if finite and not math.isfinite(v) or limit is not None and abs(v) > limit:
            _refuse(what, has, at, v, limit, meaning)
    return C.cast(flat, C.POINTER(C.c_float)), flat


def planes(shape: Sequence[int], pointer: Any) -> CImages:
    """Dense float32 images n x C x H x W as the C struct."""
    return CImages(C.sizeof(CImages), CM_F32, shape[0], shape[1], shape[2], shape[3], data=C.cast(pointer, C.c_void_p))


def _four(shape: Shape, what: str) -> Shape:
    if not 2 <= len(shape) <= 4:
        raise ValueError("%s has shape %s, expected n x C x H x W, or n x H x W x C bytes" % (what, shape))
    return (1,) * (4 - len(shape)) + shape


def _placed(view: _memory.View, what: str) -> Optional[CImages]:
    """Values of float32 or uint8 as the C struct, wherever they stand; None where one value stands as many, which C would take for
    dense images."""
    shape, strides, is_u8 = view.shape, view.strides, view.typestr == "|u1"
    if is_u8 and view.ndim in (3, 4) and shape[-1] <= 4:  # H x W x C
        shape, strides = (side[:-3] + side[-1:] + side[-3:-1] for side in (shape, strides))
    n, c, h, w = _four(shape, what)
    strides = (1,) * (4 - view.ndim) + strides
    if not any(strides[n == 1:]):
        return None
    b = CImages(C.sizeof(CImages), CM_U8 if is_u8 else CM_F32, n, c, h, w, 0, *strides, view.address)
    b._keep = view
    return b


def _in_place(array: Any, what: str) -> CImages:
    """A numpy array of float32 or uint8 as the C struct."""
    view = _memory.View(array.ctypes.data, array.shape, array.strides, "|u1" if array.dtype.itemsize == 1 else "<f4", False, array)
    return _placed(view, what) or _in_place(array.copy(), what)


def _without_numpy(values: Any, what: str, limit: Optional[float], finite: bool, mask: bool) -> CImages:
    if isinstance(values, _memory.View) and mask and values.typestr in ("|u1", "|b1"):
        pixels = bytes(_flat(values.tolist()))
        whole = memoryview(bytes(255 * v for v in pixels) if max(pixels) <= 1 else pixels)
        values = _memory.from_buffer(whole.cast("B", list(values.shape)))
    if isinstance(values, _memory.View) and values.typestr in ("<f4", "|u1"):
        b = _placed(values, what)
        if b and b.dtype == CM_U8:
            return b
        floats(values, values.shape, what, limit, "values in [-1, 1]", finite)  # the numbers are looked at
        if b:
            return b
    shape = _four(shape_of(values, what), what)
    data, keep = floats(values, shape, what, limit, "values in [-1, 1]", finite)
    b = planes(shape, data)
    b._keep = keep
    return b


def images(values: Any, what: str, mask: bool = False, limit: Optional[float] = None, finite: bool = True) -> CImages:
    """Pictures as the C struct, in place where they are numpy arrays of float32 or uint8.

    Numbers are n x C x H x W.  Bytes (uint8) are n x H x W x C, or n x C x H x W where the last axis is longer than 4.
    The axes in front may be left out, and that of the channel of a gray picture.  Numbers have to be finite, and within
    -limit..limit where there is a limit.  In a mask, truth values and bytes that are all 0 or 1 mean the numbers 0 and 1,
    other bytes 255ths."""
    np, values = numpy(), given(values, what)
    if np is None or isinstance(values, Images):
        return _without_numpy(values, what, limit, finite, mask)
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


def _writable(array: Any, what: str) -> Optional[_memory.View]:
    """An array whose memory can be told: numpy's, Images, one with the buffer protocol or with DLPack."""
    if isinstance(array, Images):
        return _memory.View(C.addressof(array.data), array.shape, _memory.dense(array.shape, 4), "<f4", False, array)
    if numpy() is not None and isinstance(array, numpy().ndarray):
        return _memory.View(array.ctypes.data, array.shape, array.strides, array.dtype.str, not array.flags.writeable, array)
    if hasattr(array, "__dlpack__"):
        return _memory.from_dlpack(array, what)
    return _memory.from_buffer(array) if not isinstance(array, (str, list, tuple)) else None


def target(array: Any, what: str, shape: Sequence[int]) -> CImages:
    """An array of the caller's that images of this shape n x C x H x W are written into."""
    view = _writable(array, what)
    if view is None or view.typestr not in ("<f4", "|u1"):
        raise TypeError("%s is %s, expected an array of float32 or uint8" % (what, type(array).__name__))
    if view.readonly:
        raise ValueError("%s cannot be written to" % what)
    b = _placed(view, what)
    if b is None or (b.n, b.channels, b.height, b.width) != tuple(shape):
        raise ValueError("%s has shape %s, expected %s" % (what, tuple(view.shape), tuple(shape)))
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
