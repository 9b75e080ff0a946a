"""Contenders in a process of their own, which nothing of ours has tuned.

NOTE: A pipe, and no `ProcessPoolExecutor`: the threads that it starts in this process made our
loop take 2.3 times as long (LOG.md, 2026-11-23).
"""

from __future__ import annotations

import gc
import multiprocessing
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

STOP = "stop"


class SeparateProcess:
    """Make and run contenders in another process; use as a context manager.

    What our engine tells this process' allocator (`nas.training.engine.keep_freed_memory`) can not
    be taken back, so the plain loop is timed where it was never said.
    """

    def __enter__(self) -> SeparateProcess:
        """Start the process."""
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other,))
        self._process.start()
        other.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process."""
        if kind is None:
            self._pipe.send(STOP)
        else:
            self._process.terminate()
        self._process.join()
        self._pipe.close()

    def make(self, contender: Callable[..., Any], *args: object) -> Callable[[int], float]:
        """Make a contender there and return its `time_steps`.

        Raises:
            Exception: What making it, or later a timing, raised there.
        """
        name = self._ask(_make, contender, *args)
        return partial(self._ask, _time_steps, name)

    def clear(self) -> None:
        """Forget all contenders."""
        self._ask(_clear)

    def _ask(self, function: Callable[..., Any], *args: object) -> Any:
        self._pipe.send((function, args))
        answer, error = self._pipe.recv()
        if error is not None:
            raise error
        return answer


_contenders: list[Any] = []


def _serve(pipe: Connection) -> None:
    """Answer until told to stop, or until the other side is gone."""
    try:
        while (message := pipe.recv()) != STOP:
            function, args = message
            try:
                pipe.send((function(*args), None))
            except Exception as error:  # raised again on the other side
                pipe.send((None, error))
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        pass


def _make(contender: Callable[..., Any], *args: object) -> int:
    _contenders.append(contender(*args))
    return len(_contenders) - 1


def _time_steps(name: int, num_steps: int) -> float:
    return float(_contenders[name].time_steps(num_steps))


def _clear() -> None:
    _contenders.clear()
    gc.collect()  # a loop and its batches refer to each other; its DataLoader's workers end here
