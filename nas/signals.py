"""Ctrl-C, SIGTERM, SIGHUP: they act at once while a network trains, but never inside a write."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class InterruptGuard:
    """Turn the signals into `KeyboardInterrupt`, but never in the middle of a write.

    Use as a context manager in the main thread; elsewhere it does nothing. A signal that the
    process was started to ignore (`nohup`) stays ignored. Once a signal came, every further
    `deferred` block raises at its end: an exception that got lost in a callback is raised again.
    """

    def __init__(self) -> None:
        self._depth = 0
        self._requested = False
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> InterruptGuard:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Put the former handlers back.

        Raises:
            KeyboardInterrupt: A signal came and an error arose from it: PyTorch, interrupted while
                it writes a file, says that the file is short.
        """
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # typeshed: what signal() gave
        if self._requested and kind is not None and issubclass(kind, Exception):
            raise KeyboardInterrupt

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Hold signals back until the block ends, then raise."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if self._depth == 0:
            self.check()

    def check(self) -> None:
        """Raise if a signal came.

        Raises:
            KeyboardInterrupt: One did, now or earlier.
        """
        if self._requested:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        if self._depth == 0:
            raise KeyboardInterrupt


@contextmanager
def interruptible(text: str) -> Iterator[None]:
    """Turn the signals into a `KeyboardInterrupt` with a text, which the command line prints."""
    try:
        with InterruptGuard():
            yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(text) from None
