"""Ctrl-C and exceptions while the C library works.

Python would raise KeyboardInterrupt at any place of a callback, and an exception must not pass through C.  So the default
handler of SIGINT is replaced for the time of a call by one that asks the call to stop; KeyboardInterrupt is raised after
the call's end."""

import contextlib
import signal
import threading
from typing import Any, Callable, List, Optional

_running: List["Interrupt"] = []  # calls of the main thread, the outermost first: one may stand in a callback of another


def _on_signal(number: int, frame: Any) -> None:
    if not _running:  # between two calls
        signal.default_int_handler(number, frame)
    for call in list(_running):
        call.interrupt()


class Interrupt:
    """stop: what asks the call to stop, or None where its callback is enough."""

    def __init__(self, stop: Optional[Callable[[], None]] = None) -> None:
        self.stop, self.happened, self.counted = stop, False, False

    def interrupt(self) -> None:
        self.happened = True
        if self.stop:
            with contextlib.suppress(ValueError):  # not begun yet, and closed
                self.stop()

    def __enter__(self) -> "Interrupt":
        if (threading.current_thread() is threading.main_thread()
                and signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _on_signal)):
            signal.signal(signal.SIGINT, _on_signal)
            _running.append(self)
            self.counted = True
        return self

    def __exit__(self, *_: Any) -> None:
        if self.counted:
            _running.remove(self)
            if not _running:
                signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.happened:
            raise KeyboardInterrupt


def guarded(failure: List[BaseException], interrupt: Interrupt, function: Callable[..., Any]) -> Callable[..., int]:
    """function as a callback: what it raises goes to the list `failure` and stops the call, and so do a true result and
    Ctrl-C."""
    def call(*arguments: Any) -> int:
        try:
            return 1 if function(*arguments) or interrupt.happened else 0
        except BaseException as error:  # must not pass through C
            failure.append(error)
            return 1
    return call
