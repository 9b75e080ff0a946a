"""Ctrl-C and SIGTERM: at once while a network trains, after the write during bookkeeping."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptGuard:
    """Turn both signals into `KeyboardInterrupt`, but never in the middle of a write.

    Use as a context manager in the main thread; elsewhere it does nothing.
    """

    def __init__(self) -> None:
        """Install nothing yet."""
        self._depth = 0
        self._pending = False
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> InterruptGuard:
        """Install the handlers."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        """Put the former handlers back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # typeshed: what signal() gave

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Hold signals back until the block ends, then raise."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if self._pending and self._depth == 0:
            self._pending = False
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._depth:
            self._pending = True
        else:
            raise KeyboardInterrupt
