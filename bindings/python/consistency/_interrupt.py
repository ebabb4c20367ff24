"""Ctrl-C and exceptions while the C library works.

Python would raise KeyboardInterrupt at any place of a callback, and an exception must not pass through C.  So the default
handler of SIGINT is replaced for the time of a call by one that asks the call to stop; KeyboardInterrupt is raised after
the call's end."""

import contextlib
import os
import signal
import threading
from typing import Any, Callable, List, Optional

_running: List["Interrupt"] = []  # calls of the main thread, the outermost first: one may stand in a callback of another


def _on_signal(number: int, frame: Any) -> None:
    if not _running:  # between two calls
        signal.default_int_handler(number, frame)
    for call in list(_running):
        call.happened = True
        call.request()


class _Watcher:
    """Python runs signal handlers between instructions of the main thread, so not while that is in C.  This thread hears
    of a signal at once, through the descriptor that is written to when one arrives (signal.set_wakeup_fd)."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.ear, self.mouth = os.pipe()
        os.set_blocking(self.mouth, False)
        self.caught_up = threading.Semaphore(0)
        threading.Thread(target=self._listen, name="consistency-interrupt", daemon=True).start()

    def _listen(self) -> None:
        while True:
            for number in os.read(self.ear, 64):
                if number == 0:
                    self.caught_up.release()
                elif number == signal.SIGINT:
                    for call in list(_running):
                        call.request()

    def begin(self) -> bool:
        before = signal.set_wakeup_fd(self.mouth, warn_on_full_buffer=False)
        if before != -1:  # somebody else's, an event loop's for example
            signal.set_wakeup_fd(before)
        return before == -1

    def end(self, happened: bool) -> None:
        """After a signal: not before it has been heard, since it is not meant for the next call."""
        signal.set_wakeup_fd(-1)
        if happened:
            os.write(self.mouth, b"\0")
            self.caught_up.acquire()


_watcher: Optional[_Watcher] = None


def _watch() -> Optional[_Watcher]:
    """The watcher of this process, if it can hear."""
    global _watcher
    try:
        if _watcher is None or _watcher.process != os.getpid():
            _watcher = _Watcher()
        return _watcher if _watcher.begin() else None
    except (OSError, RuntimeError, ValueError):  # no descriptor, no thread, a part of the interpreter without signals
        return None


class Interrupt:
    """stop: what asks the call to stop, or None where its callback is enough."""

    def __init__(self, stop: Optional[Callable[[], None]] = None) -> None:
        self.stop, self.happened, self.counted = stop, False, False
        self.watcher: Optional[_Watcher] = None

    def request(self) -> None:
        if self.stop:
            with contextlib.suppress(ValueError):  # not begun yet, and closed
                self.stop()

    def __enter__(self) -> "Interrupt":
        if (threading.current_thread() is threading.main_thread()
                and signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _on_signal)):
            signal.signal(signal.SIGINT, _on_signal)
            _running.append(self)
            self.counted = True
            if len(_running) == 1:
                self.watcher = _watch()
        return self

    def __exit__(self, *_: Any) -> None:
        if self.watcher:
            self.watcher.end(self.happened)
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
