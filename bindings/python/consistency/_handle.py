"""What every object that stands for a handle of the C library has in common."""

import contextlib
import threading
from typing import Any, Callable, Iterator, TypeVar

from ._lib import lib

_T = TypeVar("_T", bound="Handle")


class Error(Exception):
    """A failed call: .status is the status's name ("CM_ERR_SHAPE"), str() the message."""

    __module__ = "consistency"

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


class Handle:
    """Calls hold the handle while they run, whatever thread they are in: it is not freed under them."""

    _what = "handle"  # its name in messages
    _free: Callable[[Any], None]  # the C function that ends it

    def __new__(cls, *_: Any, **__: Any) -> Any:
        self = super().__new__(cls)
        # An RLock, since a signal handler may come in between two instructions of its holder.
        self._handle, self._calls, self._lock = None, 0, threading.RLock()
        return self

    _handle: Any
    _lock: Any
    _calls: int

    def _alive(self) -> Any:
        if not self._handle:
            raise ValueError("the %s is closed" % self._what)
        return self._handle

    @contextlib.contextmanager
    def _held(self) -> Iterator[Any]:
        """The C handle for the time of a call."""
        with self._lock:
            handle = self._alive()
            self._calls += 1
        try:
            yield handle
        finally:
            with self._lock:
                self._calls -= 1

    def close(self) -> None:
        """Frees the memory.  While a call runs, in another thread or around this one, this raises Error CM_ERR_STATE."""
        with self._lock:
            if self._calls and self._handle:
                raise Error("CM_ERR_STATE", "the %s is in use by a call that has not ended: it cannot be closed" % self._what)
            handle, self._handle = self._handle, None
        if handle:
            type(self)._free(handle)

    def __enter__(self: _T) -> _T:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        if self._handle and not self._calls and lib is not None:
            handle, self._handle = self._handle, None
            type(self)._free(handle)

    def __reduce_ex__(self, _: Any) -> Any:
        raise TypeError("a %s cannot be copied or pickled: it stands for memory of the C library; make another one"
                        % type(self).__name__)
