"""A search from its opened study to its last trial."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nas.batches import place_search_parts
from nas.claims import Ledger
from nas.errors import StorageError
from nas.forecast import terms_of
from nas.interrupt import InterruptGuard
from nas.liveness import presence
from nas.objective import Objective
from nas.opening import SAMPLER, load_ledger, open_study
from nas.prepare import Search, prepare
from nas.processes import require_parent, run_processes
from nas.progress import ProgressLine
from nas.pruners import make_pruner
from nas.request import Request, quote_command
from nas.samplers import make_sampler
from nas.standing import StandingReader
from nas.storage import (
    load_study,
    open_storage,
    store_errors,
)
from nas.trials import TARGET, read_rows
from nas.worker import FINISHED, Assignment, run_worker

__all__ = ["Request", "Search", "prepare", "quote_command", "run", "work"]


def run(search: Search, request: Request, console: Any) -> str:
    """Run a search to its target, its time limit or the last network of its space.

    Args:
        search: The prepared search.
        request: Target, workers and time limit.
        console: The rich console of the progress line.

    Returns:
        Why it stopped, one of the constants of `nas.worker`.

    Raises:
        KeyboardInterrupt: A signal came; the state is saved.
        NasError: A trial failed for a reason outside its network.
    """
    deadline = _deadline(request)
    with InterruptGuard() as guard:
        with guard.deferred():
            search, ledger = open_study(search, request)
        target = int(ledger.study.user_attrs[TARGET])
        terms = terms_of(search.definition, ledger.study.user_attrs)
        standing = StandingReader(search.definition.input_spec)
        progress = ProgressLine(console, search.definition, target, terms, request.workers)
        with progress, store_errors(f"the study {search.folder.path}"):

            def show_rows() -> None:
                progress.update(standing.read(ledger.study))

            def on_change(text: str) -> None:
                progress.show_now(text)
                if not text:
                    show_rows()

            show_rows()
            if sum(row.is_counted for row in read_rows(ledger.study)) >= target:
                return FINISHED
            if request.workers > 1:
                return run_processes(search, request, deadline, show_rows)
            with _assigned(search, ledger, deadline, on_change) as assignment:
                return run_worker(assignment, guard)


def work(request: Request) -> str:
    """Work on a study that exists as one more process, without a progress line.

    Returns:
        Why it stopped, one of the constants of `nas.worker`.

    Raises:
        KeyboardInterrupt: A signal came, or the search that started this process is gone; the
            state is saved.
        NasError: The study is absent or damaged, or a trial failed outside its network.
    """
    deadline = _deadline(request)
    search = prepare(request)
    with InterruptGuard() as guard, store_errors(f"the study {search.folder.path}"):
        storage = open_storage(request.storage or search.definition.storage, search.folder.journal)
        ledger = load_ledger(search, storage)
        if TARGET not in ledger.study.user_attrs:
            raise StorageError(
                f"study {search.folder.name!r} was not begun in full; "
                "run its `search` command first"
            )

        def on_change(text: str) -> None:
            require_parent()

        with _assigned(search, ledger, deadline, on_change) as assignment:
            return run_worker(assignment, guard)


@contextmanager
def _assigned(
    search: Search, ledger: Ledger, deadline: float | None, on_change: Any
) -> Iterator[Assignment]:
    """Put the images onto the device and show that a worker lives, until the block ends."""
    definition = search.definition
    plan = definition.plan
    sampler = make_sampler(
        ledger.study.user_attrs[SAMPLER],
        search.space,
        definition.seed,
        "prune" if definition.over_budget == "prune" else "resample",
    )
    study = load_study(
        ledger.study.study_name,
        ledger.storage,
        sampler,
        make_pruner(definition.pruner, plan.epochs),
    )
    own = Ledger(study, ledger.storage, ledger.folder, ledger.names, ledger.is_local)
    parts = place_search_parts(
        search.data, definition.seed, plan.train_images, plan.val_images, plan.device
    )
    standing = StandingReader(definition.input_spec)
    objective = Objective(definition, search.folder, search.loaded.space, parts, standing)
    with presence(search.folder.workers) as worker:
        yield Assignment(own, worker, sampler, objective, deadline, on_change)


def _deadline(request: Request) -> float | None:
    limit = request.time_limit_seconds
    return time.monotonic() + limit if limit is not None else None
