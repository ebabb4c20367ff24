"""progress=True: tqdm's bar where tqdm is installed, else a line on a terminal, and nothing elsewhere."""

import importlib
import sys
import time
from typing import Any, Callable, Union

# True, or a function (done, total) that may return a true value to stop.
Count = Union[None, bool, Callable[[int, int], Any]]


def _tqdm() -> Any:
    try:
        return importlib.import_module("tqdm.auto").tqdm
    except ImportError:
        return None


class Bar:
    """What has been done of a total; begins with the first show() and ends with the total or with close()."""

    def __init__(self, what: str) -> None:
        self.what, self.began, self.shown = what, time.monotonic(), 0.0
        self.bar: Any = None
        self.first = 0

    def show(self, done: int, total: int, more: str = "") -> None:
        # a notebook shows a bar although its standard error is no terminal
        if not (sys.stderr.isatty() or "ipykernel" in sys.modules):
            return
        if self.bar is None:
            tqdm = _tqdm()
            self.bar = tqdm(total=total, desc=self.what, initial=self.first, leave=True) if tqdm else self
        if self.bar is self:
            self._line(done, total, more)
        else:
            if more:
                self.bar.set_postfix_str(more, refresh=False)
            self.bar.update(done - self.bar.n)
            if done == total:
                self.close()

    def _line(self, done: int, total: int, more: str) -> None:
        now = time.monotonic()
        if now - self.shown > 0.1 or done == total:
            left = (now - self.began) * (total - done) / max(done - self.first, 1)
            sys.stderr.write("\r%s %3.0f%%%s, about %.0f s left\033[K%s" % (self.what, 100.0 * done / max(total, 1), more and "  " + more, left,
                                                                           "\n" if done == total else ""))
            sys.stderr.flush()
            self.shown = now

    def close(self) -> None:
        if self.bar is not None and self.bar is not self:  # bars of tqdm compare with none but each other
            self.bar.close()


def counting(progress: Count, what: str) -> Callable[[int, int], Any]:
    """The function that a callback of (done, total) calls."""
    if progress is True:
        return Bar(what).show
    return progress if callable(progress) else lambda done, total: None
