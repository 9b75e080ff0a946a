"""Several workers on this machine: started, watched and ended by the search."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import nas
from nas.errors import RunError
from nas.search.prepare import Search
from nas.search.worker import BROKEN, ELSEWHERE, EXHAUSTED, FINISHED, HOURS_SPENT, TIME_LIMIT
from nas.signals import InterruptGuard
from nas.study.folder import STORAGE_VARIABLE

POLL_SECONDS = 0.5
INTERRUPTED_CODE = 130
PARENT_VARIABLE = "NAS_SEARCH_PID"
# the first that a worker ended with holds
REASONS = (FINISHED, EXHAUSTED, ELSEWHERE, HOURS_SPENT, TIME_LIMIT, BROKEN)


@dataclass(frozen=True)
class WorkerProcess:
    """A worker, and where it writes why it stopped and what went wrong."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    errors: IO[bytes]

    def text(self, file: IO[bytes]) -> str:
        """Return what was written to one of its files."""
        file.seek(0)
        return file.read().decode(errors="replace").strip()


def run_processes(
    search: Search, deadline: float | None, on_poll: Callable[[], None], guard: InterruptGuard
) -> str:
    """Run the search's number of workers until all have ended.

    A worker that dies does not end the others: they take over its trial.

    Args:
        search: The search; its study is open.
        deadline: Value of `time.monotonic` after which no trial is begun.
        on_poll: Called again and again while they run.
        guard: Lets signals in between.

    Returns:
        Why they stopped, one of the constants of `nas.search.worker`.

    Raises:
        RunError: No worker ended well; the text of the first that failed is its message.
        KeyboardInterrupt: A signal came; all have ended and requeued what they trained.
    """
    with _started(search, deadline) as workers:
        while any(worker.process.poll() is None for worker in workers):
            on_poll()
            with guard.interruptible():
                time.sleep(POLL_SECONDS)
        on_poll()
        return _conclude(workers)


@contextmanager
def _started(search: Search, deadline: float | None) -> Iterator[list[WorkerProcess]]:
    """Start the workers; none outlives the block."""
    workers: list[WorkerProcess] = []
    with ExitStack() as files:
        try:
            for _ in range(search.workers):
                output = files.enter_context(tempfile.TemporaryFile())
                errors = files.enter_context(tempfile.TemporaryFile())
                process = subprocess.Popen(
                    _command(search, deadline),
                    env=_environment(search),
                    stdout=output,
                    stderr=errors,
                )
                workers.append(WorkerProcess(process, output, errors))
            yield workers
        finally:
            for worker in workers:
                if worker.process.poll() is None:
                    worker.process.terminate()
            for worker in workers:
                worker.process.wait()


def _command(search: Search, deadline: float | None) -> list[str]:
    words = [sys.executable, "-m", "nas", "worker", "--study", search.folder.name]
    words += ["--studies", str(search.folder.path.parent)]
    if search.request.data is not None:
        words += ["--data", str(search.request.data)]
    for tracker in search.request.track:
        words += ["--track", tracker]
    if deadline is not None:
        words += ["--time-limit", f"{max(deadline - time.monotonic(), 0.1):.1f}s"]
    return words


def _environment(search: Search) -> dict[str, str]:
    root = str(Path(nas.__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {
        # beside the training too, as in a sampler's linear algebra; else each would take all cores
        "OMP_NUM_THREADS": str(search.definition.plan.num_threads),
        **os.environ,
        "PYTHONPATH": path,
        PARENT_VARIABLE: str(os.getpid()),
    }
    if search.url is not None:
        environment[STORAGE_VARIABLE] = search.url  # not in argv: it may hold a password
    return environment


def _conclude(workers: list[WorkerProcess]) -> str:
    codes = [worker.process.returncode for worker in workers]
    if all(code == INTERRUPTED_CODE for code in codes):
        raise KeyboardInterrupt
    failed = [worker for worker in workers if worker.process.returncode != 0]
    texts = [worker.text(worker.errors) for worker in failed]
    if len(failed) == len(workers):
        text = texts[0].removeprefix("error: ") or f"it ended with code {codes[0]}"
        raise RunError(f"all {len(workers)} workers failed; the first: {text}")
    for worker, text in zip(failed, texts, strict=True):
        code = worker.process.returncode
        print(f"a worker ended with code {code}, the rest went on: {text}", file=sys.stderr)
    warnings = [worker.text(worker.errors) for worker in workers if worker not in failed]
    for text in dict.fromkeys(filter(None, warnings)):  # what several say, once
        print(f"a worker said: {text}", file=sys.stderr)
    ended = {worker.text(worker.output) for worker in workers}
    return next((reason for reason in REASONS if reason in ended), FINISHED)


def require_parent() -> None:
    """End a worker whose search was killed; one that was started by hand has none.

    Raises:
        KeyboardInterrupt: The search that started this process is gone.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is not None and os.getppid() != int(parent):
        raise KeyboardInterrupt
