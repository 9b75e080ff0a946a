"""Ctrl-C, SIGTERM, SIGHUP: they act where a program computes or waits, and nowhere else.

What is taken has to reach the `try` that gives it back, and no signal may come between. So signals
are held by default and let in where that is safe, as Haskell's ``block`` and ``unblock`` do it.

Source: Marlow, Peyton Jones, Moran and Reppy, "Asynchronous exceptions in Haskell", PLDI 2001.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nas.errors import DeviceError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
FORCE_SECONDS = 30.0  # after the first, a further signal acts wherever it comes: saving may hang


class InterruptGuard:
    """Turn the signals into `KeyboardInterrupt`, inside of `interruptible` blocks alone.

    Use as a context manager in the main thread; elsewhere it does nothing. A signal that the
    process was started to ignore (`nohup`) stays ignored. One that comes outside of such a block
    waits for the next. So a trial is claimed and given back in whole:

        trial = claim()
        try:
            with guard.interruptible():
                train(trial)
        except BaseException:
            requeue(trial)
            raise
    """

    def __init__(self) -> None:
        self._is_open = False
        self._requested_at: float | None = None
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
            KeyboardInterrupt: A signal came while this process was about to begin anew.
        """
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # typeshed: what signal() gave
        if self._requested_at is not None and kind is not None and issubclass(kind, DeviceError):
            raise KeyboardInterrupt

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Let a signal raise at once inside of the block; one that came before it raises first.

        Raises:
            KeyboardInterrupt: A signal came, or came and an error arose from it: PyTorch,
                interrupted while it writes a file, says that the file is short.
        """
        with self._set(is_open=True):
            self.check()
            try:
                yield
            except Exception:
                self.check()
                raise

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Hold signals back for a write inside of an interruptible block; they raise at its end.

        Once a signal came, they do at the end of each: an exception that got lost in a callback
        is raised again.
        """
        with self._set(is_open=False):
            yield
        if self._is_open:
            self.check()

    @contextmanager
    def _set(self, is_open: bool) -> Iterator[None]:
        before = self._is_open
        try:
            self._is_open = is_open
            yield
        finally:
            self._is_open = before

    def check(self) -> None:
        """Raise if a signal came.

        Raises:
            KeyboardInterrupt: One did, now or earlier.
        """
        if self._requested_at is not None:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        self._requested_at = self._requested_at or now
        # a further one does not interrupt what is saved and given back because of the first
        is_ending = isinstance(sys.exc_info()[1], KeyboardInterrupt)
        if (self._is_open and not is_ending) or now - self._requested_at >= FORCE_SECONDS:
            raise KeyboardInterrupt


@contextmanager
def interruptible(text: str) -> Iterator[None]:
    """Turn the signals into a `KeyboardInterrupt` with a text, which the command line prints."""
    try:
        with InterruptGuard() as guard, guard.interruptible():
            yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(text) from None
