"""Arrays of others, where they stand: the buffer protocol and DLPack, in and out, without numpy and without copies."""

import ctypes as C
import math
from typing import Any, Dict, Optional, Tuple

Shape = Tuple[int, ...]


_CTYPES: Dict[str, Any] = {"<f4": C.c_float, "<f8": C.c_double, "|u1": C.c_uint8, "|i1": C.c_int8, "|b1": C.c_bool, "<i2": C.c_int16,
                           "<u2": C.c_uint16, "<i4": C.c_int32, "<u4": C.c_uint32, "<i8": C.c_int64, "<u8": C.c_uint64}


class View:
    """Values of one type somewhere in memory, which `keep` keeps there; strides in bytes."""

    def __init__(self, address: int, shape: Shape, strides: Shape, typestr: str, readonly: bool, keep: Any) -> None:
        self.address, self.shape, self.strides, self.typestr, self.readonly, self.keep = address, shape, strides, typestr, readonly, keep
        self.ndim = len(shape)

    def __len__(self) -> int:
        return self.shape[0] if self.shape else 1

    def is_dense(self, typestr: str) -> bool:
        return self.typestr == typestr and self.strides == dense(self.shape, int(typestr[2:]))

    def tolist(self) -> Any:
        kind: Any = _CTYPES.get(self.typestr)
        if kind is None:
            raise TypeError("values of type %s are not read without numpy" % self.typestr)

        def cut(address: int, axis: int) -> Any:
            if axis == self.ndim:
                return kind.from_address(address).value
            return [cut(address + i * self.strides[axis], axis + 1) for i in range(self.shape[axis])]
        return cut(self.address, 0)

    @property
    def __array_interface__(self) -> Dict[str, Any]:
        return {"version": 3, "shape": self.shape, "strides": self.strides, "typestr": self.typestr,
                "data": (self.address, self.readonly)}


def dense(shape: Shape, size: int) -> Shape:
    """The strides in bytes of an array in C's order."""
    return tuple(size * math.prod(shape[i + 1:]) for i in range(len(shape)))


# --- the buffer protocol -----------------------------------------------------------------------------


class _Buffer(C.Structure):  # Py_buffer
    _fields_ = [("buf", C.c_void_p), ("obj", C.c_void_p), ("len", C.c_ssize_t), ("itemsize", C.c_ssize_t), ("readonly", C.c_int),
                ("ndim", C.c_int), ("format", C.c_char_p), ("shape", C.c_void_p), ("strides", C.c_void_p), ("suboffsets", C.c_void_p),
                ("internal", C.c_void_p)]


_get_buffer = C.pythonapi.PyObject_GetBuffer
_get_buffer.argtypes, _get_buffer.restype = (C.py_object, C.POINTER(_Buffer), C.c_int), C.c_int
_release_buffer = C.pythonapi.PyBuffer_Release
_release_buffer.argtypes, _release_buffer.restype = (C.POINTER(_Buffer),), None
_READ_ONLY = 0x0100 | 0x0010 | 0x0008 | 0x0004  # PyBUF_FULL_RO: any strides
# Formats of the module struct as numpy's names of types.
_FORMATS = {"f": "<f4", "d": "<f8", "e": "<f2", "B": "|u1", "b": "|i1", "?": "|b1", "h": "<i2", "H": "<u2", "i": "<i4", "I": "<u4",
            "l": "<i8", "L": "<u8", "q": "<i8", "Q": "<u8"}


def from_buffer(values: Any) -> Optional[View]:
    """An object with the buffer protocol; None where it has none, or values of another kind."""
    try:
        view = memoryview(values)
    except TypeError:
        return None
    typestr = _FORMATS.get((view.format or "B").lstrip("@=<"))
    if typestr is None or view.shape is None or view.strides is None or view.nbytes == 0:
        return None
    found = _Buffer()
    _get_buffer(view, C.byref(found), _READ_ONLY)
    address, indirect = found.buf or 0, bool(found.suboffsets)
    _release_buffer(C.byref(found))
    return None if indirect else View(address, tuple(view.shape), tuple(view.strides), typestr, view.readonly, view)


# --- DLPack ------------------------------------------------------------------------------------------


class _Device(C.Structure):
    _fields_ = [("type", C.c_int32), ("id", C.c_int32)]


class _Type(C.Structure):
    _fields_ = [("code", C.c_uint8), ("bits", C.c_uint8), ("lanes", C.c_uint16)]


class _Tensor(C.Structure):
    _fields_ = [("data", C.c_void_p), ("device", _Device), ("ndim", C.c_int32), ("dtype", _Type),
                ("shape", C.POINTER(C.c_int64)), ("strides", C.POINTER(C.c_int64)), ("byte_offset", C.c_uint64)]


class _Managed(C.Structure):
    pass


_DELETER = C.CFUNCTYPE(None, C.c_void_p)
_Managed._fields_ = [("tensor", _Tensor), ("context", C.c_void_p), ("deleter", _DELETER)]

_CPU, _PINNED = 1, 3  # kinds of memory that the processor reads
_CODES = {0: "i", 1: "u", 2: "f", 6: "b"}
_NAME, _USED = b"dltensor", b"used_dltensor"

_DESTRUCTOR = C.CFUNCTYPE(None, C.c_void_p)
_capsule_new = C.PYFUNCTYPE(C.py_object, C.c_void_p, C.c_char_p, C.c_void_p)(("PyCapsule_New", C.pythonapi))
_capsule_pointer = C.PYFUNCTYPE(C.c_void_p, C.py_object, C.c_char_p)(("PyCapsule_GetPointer", C.pythonapi))
_capsule_rename = C.PYFUNCTYPE(C.c_int, C.py_object, C.c_char_p)(("PyCapsule_SetName", C.pythonapi))
# A capsule that is being destroyed is given as an address: a reference to it must not be made.
_dying_is_valid = C.PYFUNCTYPE(C.c_int, C.c_void_p, C.c_char_p)(("PyCapsule_IsValid", C.pythonapi))
_dying_pointer = C.PYFUNCTYPE(C.c_void_p, C.c_void_p, C.c_char_p)(("PyCapsule_GetPointer", C.pythonapi))


class _Owner:
    """Gives a tensor of others back at its end."""

    def __init__(self, managed: Any) -> None:
        self.managed = managed

    def __del__(self) -> None:
        if self.managed.contents.deleter:
            self.managed.contents.deleter(C.addressof(self.managed.contents))


def from_dlpack(values: Any, what: str) -> View:
    """An object with __dlpack__."""
    kind = int(values.__dlpack_device__()[0])
    if kind not in (_CPU, _PINNED):
        raise TypeError("%s is in the memory of another device (DLPack's %d), expected the processor's" % (what, kind))
    capsule = values.__dlpack__()
    managed = C.cast(_capsule_pointer(capsule, _NAME), C.POINTER(_Managed))
    _capsule_rename(capsule, _USED)
    owner, t = _Owner(managed), managed.contents.tensor
    if t.dtype.lanes != 1 or t.dtype.code not in _CODES or t.dtype.bits % 8:
        raise TypeError("%s holds values of DLPack's type (%d, %d, %d), expected numbers" % (what, t.dtype.code, t.dtype.bits, t.dtype.lanes))
    size, shape = t.dtype.bits // 8, tuple(t.shape[i] for i in range(t.ndim))
    strides = tuple(t.strides[i] * size for i in range(t.ndim)) if t.strides else dense(shape, size)
    return View((t.data or 0) + t.byte_offset, shape, strides, "%s%s%d" % ("|" if size == 1 else "<", _CODES[t.dtype.code], size), False, owner)


_lent: Dict[int, Any] = {}  # what tensors that others hold stand on, by the address of their structs


def _give_back(managed: int) -> None:
    _lent.pop(managed, None)


def _end(capsule: int) -> None:
    if _dying_is_valid(capsule, _NAME):  # nobody has taken it
        _lent.pop(_dying_pointer(capsule, _NAME), None)


_given_back, _ended = _DELETER(_give_back), _DESTRUCTOR(_end)


def to_dlpack(address: int, shape: Shape, keep: Any) -> Any:
    """A capsule of float32 values in C's order; `keep` lives until it has been given back."""
    managed, sides = _Managed(), (C.c_int64 * max(len(shape), 1))(*shape)
    t = managed.tensor
    t.data, t.ndim, t.shape = address, len(shape), sides
    t.device, t.dtype = _Device(_CPU, 0), _Type(2, 32, 1)
    managed.deleter = _given_back
    where = C.addressof(managed)
    _lent[where] = (managed, sides, keep)
    return _capsule_new(where, _NAME, C.cast(_ended, C.c_void_p))
