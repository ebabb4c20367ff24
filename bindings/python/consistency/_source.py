"""What a model or a checkpoint is read from: the name of a file, bytes, or an object with read and seek."""

import ctypes as C
import os
from typing import Any, List, Optional, Tuple

from . import _values
from ._interrupt import Interrupt
from ._lib import READ, LoadOptions, Reader, lib


def as_bytes(source: Any) -> Optional[Any]:
    """The object's bytes, or None where it has none to show."""
    try:
        view = memoryview(source)
    except TypeError:
        return None
    if not view.c_contiguous:
        raise ValueError("the bytes have strides: give a contiguous block")
    return source if isinstance(source, bytes) else view.cast("B") if view.nbytes else b""


def _reading(file: Any, failure: List[BaseException], interrupt: Interrupt) -> Any:
    """The reader's function; what the file raises goes to `failure` and ends the call."""
    def read(_: Any, offset: int, to: int, size: int) -> int:
        try:
            if interrupt.happened:
                return -1
            file.seek(offset)
            data = file.read(size)
            if not isinstance(data, (bytes, bytearray, memoryview)):
                raise TypeError("read() gave %s, expected bytes: open the file in binary mode" % type(data).__name__)
            if len(data) > size:
                raise ValueError("read(%d) gave %d bytes" % (size, len(data)))
            C.memmove(to, bytes(data), len(data))
            return len(data)
        except BaseException as error:  # must not pass through C
            failure.append(error)
            return -1
    return READ(read)


def pointer_to(data: Any) -> Tuple[Any, int, Any]:
    """Where they are, how many, and what keeps them there.  Read-only memory that is not bytes has no address for ctypes:
    it is copied."""
    if not isinstance(data, bytes) and data.readonly:
        data = bytes(data)
    if isinstance(data, bytes):
        return C.cast(C.c_char_p(data), C.c_void_p), len(data), data
    size = data.nbytes
    block = (C.c_char * size).from_buffer(data)
    return C.cast(block, C.c_void_p), size, block


def load(source: Any, context: Any, options: LoadOptions, handle: Any, failure: List[BaseException],
         interrupt: Interrupt) -> Tuple[int, Any]:
    """The status, and what has to stay as long as the model."""
    data = as_bytes(source)
    if data is not None:
        pointer, size, keep = pointer_to(data)
        status = lib.cm_model_load_memory(context, pointer, size, C.byref(options), C.byref(handle))
        return status, None if options.copy else keep
    if not (hasattr(source, "read") and hasattr(source, "seek")):
        return lib.cm_model_load(context, _values.path(source), C.byref(options), C.byref(handle)), None
    reader = Reader()
    lib.cm_reader_init(C.byref(reader), C.sizeof(reader))
    reader.size = source.seek(0, os.SEEK_END)
    reader.read = _reading(source, failure, interrupt)
    return lib.cm_model_load_stream(context, C.byref(reader), C.byref(options), C.byref(handle)), None
