"""Several workers on this machine: started, watched and ended by the search."""

from __future__ import annotations

import glob
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import nas
from nas.errors import RunError
from nas.locks import Stall
from nas.search.limits import HOURS_SPENT, TIME_LIMIT
from nas.search.prepare import Search
from nas.search.worker import BROKEN, ELSEWHERE, EXHAUSTED, FINISHED
from nas.signals import InterruptGuard
from nas.study.folder import STORAGE_VARIABLE
from nas.study.liveness import expired

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.5
GRACE_SECONDS = 30.0  # for a worker to save and give back what it trains; then it is killed
MAX_REPLACED = 3  # killed workers in a row, without a trial that ended in between
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
    stall: Stall = field(default_factory=Stall)

    def text(self, file: IO[bytes]) -> str:
        """Return what was written to one of its files."""
        file.seek(0)
        return file.read().decode(errors="replace").strip()

    @property
    def cause(self) -> str:
        """Return why it failed: its last line, which of a traceback is the error."""
        code = self.process.returncode
        if code < 0:
            return f"killed by {signal.Signals(-code).name}"
        lines = self.text(self.errors).splitlines() or [f"it ended with code {code}"]
        return lines[-1].removeprefix("error: ")


def run_processes(
    search: Search, deadline: float | None, on_poll: Callable[[], int], guard: InterruptGuard
) -> str:
    """Run the search's number of workers until all have ended.

    A worker that dies does not end the others: they take over its trial. One that was killed is
    replaced, `MAX_REPLACED` times in a row without a trial that ended in between. One that hangs
    until its lease expires is killed.

    Args:
        search: The search; its study is open.
        deadline: Value of `time.monotonic` after which no trial is begun.
        on_poll: Called again and again while they run; returns how many trials have ended.
        guard: Lets signals in between.

    Returns:
        Why they stopped, one of the constants of `nas.search.worker` and `limits`.

    Raises:
        RunError: No worker ended well; the cause of the first that failed is its message.
        KeyboardInterrupt: A signal came; all have ended and requeued what they trained.
    """
    with _started(search, deadline) as (workers, start):
        num_ended, num_replaced = on_poll(), 0
        while any(worker.process.returncode is None for worker in workers):
            with guard.interruptible():
                time.sleep(POLL_SECONDS)
            before, num_ended = num_ended, on_poll()
            num_replaced = num_replaced if num_ended == before else 0
            for worker in list(workers):
                if worker.process.poll() is None:
                    _kill_stalled(worker, search.folder.workers)
                elif worker.process.returncode < 0 and num_replaced < MAX_REPLACED:
                    num_replaced += 1
                    count = f"{num_replaced} of {MAX_REPLACED} times in a row"
                    logger.warning("a worker is replaced, %s: %s", count, worker.cause)
                    workers.remove(worker)
                    start()
        return _conclude(workers)


def _kill_stalled(worker: WorkerProcess, locks: Path) -> None:
    """End a worker that shows no life: where it is stopped or hangs, no signal else does."""
    for path in locks.glob(f"{glob.escape(socket.gethostname())}-{worker.process.pid}-*.lock"):
        if expired(worker.stall, path, f"worker process {worker.process.pid}"):
            worker.process.kill()


@contextmanager
def _started(
    search: Search, deadline: float | None
) -> Iterator[tuple[list[WorkerProcess], Callable[[], None]]]:
    """Start the workers; yield them and what starts one more. None outlives the block."""
    workers: list[WorkerProcess] = []
    with ExitStack() as files:
        # nothing is written into this pipe: its end is how they see that this process has ended
        pipe = os.pipe()
        for end in pipe:
            files.callback(os.close, end)

        def start() -> None:
            output = files.enter_context(tempfile.TemporaryFile())
            errors = files.enter_context(tempfile.TemporaryFile())
            process = subprocess.Popen(
                _command(search, deadline),
                env=_environment(search),
                stdin=pipe[0],
                stdout=output,
                stderr=errors,
            )
            workers.append(WorkerProcess(process, output, errors))

        try:
            for _ in range(search.workers):
                start()
            yield workers, start
        finally:
            for worker in workers:
                if worker.process.poll() is None:
                    worker.process.terminate()
            until = time.monotonic() + GRACE_SECONDS
            for worker in workers:
                try:
                    worker.process.wait(max(until - time.monotonic(), 0.0))
                except subprocess.TimeoutExpired:  # stopped, or it hangs
                    worker.process.kill()
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
    if len(failed) == len(workers):
        raise RunError(f"all {len(workers)} workers failed; the first: {failed[0].cause}")
    for worker in failed:
        print(f"a worker ended, the rest went on: {worker.cause}", file=sys.stderr)
    warnings = [worker.text(worker.errors) for worker in workers if worker not in failed]
    for text in dict.fromkeys(filter(None, warnings)):  # what several say, once
        print(f"a worker said: {text}", file=sys.stderr)
    ended = {worker.text(worker.output) for worker in workers}
    return next((reason for reason in REASONS if reason in ended), FINISHED)


def end_with_parent() -> None:
    """Let this process end when the search that started it does; by hand, none did."""

    def watch() -> None:
        os.read(0, 1)  # the other end of the pipe is the search's
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os.kill(os.getpid(), signal.SIGKILL)

    if PARENT_VARIABLE in os.environ:
        threading.Thread(target=watch, daemon=True).start()
