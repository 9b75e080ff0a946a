"""Contenders in a process of their own, which nothing of ours has tuned.

What our engine tells this process' allocator (`nas.device.keep_freed_memory`) cannot be taken
back, so the plain loop is timed where it was never said.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(frozen=True)
class Aside:
    """Makes and runs contenders in one other process; errors there are raised here.

    Args:
        pool: The process.
    """

    pool: ProcessPoolExecutor

    def make(self, contender: Callable[..., Any], *args: object) -> Callable[[int], float]:
        """Make a contender there and return its `run`, from a number of steps to their seconds."""
        return partial(self._call, _run, self._call(_make, contender, *args))

    def clear(self) -> None:
        """Forget all contenders."""
        self._call(_clear)

    def _call(self, function: Callable[..., Any], *args: object) -> Any:
        return self.pool.submit(function, *args).result()


@contextmanager
def process_aside() -> Iterator[Aside]:
    """Start the process; it ends with the block."""
    context = multiprocessing.get_context("spawn")  # with nothing of this process in it
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        yield Aside(pool)


_contenders: list[Any] = []  # of the other process


def _make(contender: Callable[..., Any], *args: object) -> int:
    _contenders.append(contender(*args))
    return len(_contenders) - 1


def _run(index: int, num_steps: int) -> float:
    return float(_contenders[index].run(num_steps))


def _clear() -> None:
    _contenders.clear()
