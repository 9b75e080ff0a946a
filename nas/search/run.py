"""A search from its opened study to its last trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from nas.errors import StorageError
from nas.results.budgets import spread
from nas.results.estimates import EstimateReader
from nas.results.forecast import terms_of
from nas.results.spending import SECONDS_PER_HOUR
from nas.results.study_rungs import spend
from nas.samplers import make_rotation
from nas.samplers.enqueued import EnqueuedOnly
from nas.search.fill_rungs import OpenRung, fill_rungs
from nas.search.objective import Objective
from nas.search.open_study import load_ledger, open_study
from nas.search.prepare import Search, prepare
from nas.search.processes import require_parent, run_processes
from nas.search.progress import Display, ProgressLine
from nas.search.request import Request, quote_command
from nas.search.worker import EXHAUSTED, FINISHED, WorkerContext, run_worker
from nas.signals import InterruptGuard
from nas.study.attributes import DEVICE_HOURS, SAMPLER, TARGET
from nas.study.liveness import heartbeat
from nas.study.pruners import make_pruner
from nas.study.storage import load_study, open_storage, store_errors
from nas.training.batches import PlacedSplits, place_search_splits

__all__ = ["Request", "Search", "prepare", "quote_command", "run", "work"]


def run(search: Search, request: Request, console: Any) -> str:
    """Run a search to its number of trials, its time limit or the last network of its space.

    Then its rungs, where it has any.

    Args:
        search: The prepared search.
        request: Number of trials and time limit.
        console: The rich console of the progress line.

    Returns:
        Why it stopped, one of the constants of `nas.search.worker`.

    Raises:
        KeyboardInterrupt: A signal came; the state is saved.
        NasError: A trial failed for a reason outside its network.
    """
    deadline = _deadline(request)
    with InterruptGuard() as guard:
        with guard.deferred():
            search, ledger = open_study(search, request)
        first = OpenRung(search, ledger)
        terms = terms_of(search.definition, ledger.study.user_attrs)
        progress = ProgressLine(
            console, search.definition, first.num_trials, terms, search.workers
        )
        with progress, store_errors(f"the study {search.folder.path}"):
            display = Display(progress, search.definition, ledger, search.workers)
            display.show()
            if not any(rung.lacks_trials for rung in fill_rungs(first, guard)):
                return FINISHED
            if search.workers > 1:
                return run_processes(search, request, deadline, display.show)
            return _train_all(first, request, deadline, display.on_change, guard)


def work(request: Request) -> str:
    """Work on a study that exists as one more process, without a progress line.

    Returns:
        Why it stopped, one of the constants of `nas.search.worker`.

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

        return _train_all(OpenRung(search, ledger), request, deadline, on_change, guard)


def _train_all(
    first: OpenRung,
    request: Request,
    deadline: float | None,
    on_change: Callable[[str], None],
    guard: InterruptGuard,
) -> str:
    """Train what the search lacks, then what its rungs lack; return why that was the end."""
    outcome = FINISHED
    with _placed(first.search) as (splits, worker):
        for rung in fill_rungs(first, guard):
            objective = _make_objective(rung.search, splits, request.track)
            context = _assign(rung, first, objective, worker, deadline, on_change)
            reason = run_worker(context, guard)
            if reason not in (FINISHED, EXHAUSTED):
                return reason
            outcome = reason if rung is first else outcome
    return outcome


@contextmanager
def _placed(search: Search) -> Iterator[tuple[PlacedSplits, Mapping[str, Any]]]:
    """Put the images onto the device and show that a worker lives, until the block ends."""
    definition = search.definition
    plan = definition.plan
    splits = place_search_splits(
        search.data, definition.seed, plan.train_images, plan.val_images, plan.device
    )
    with heartbeat(search.folder.workers) as worker:
        yield splits, worker


def _make_objective(search: Search, splits: PlacedSplits, track: tuple[str, ...]) -> Objective:
    estimates = EstimateReader(search.definition.input_spec)
    return Objective(
        search.definition, search.folder, search.loaded.space, splits, estimates, track
    )


def _assign(
    rung: OpenRung,
    first: OpenRung,
    objective: Objective,
    worker: Mapping[str, Any],
    deadline: float | None,
    on_change: Callable[[str], None],
) -> WorkerContext:
    """Return the work on one rung; the search itself gets its sampler and pruner here."""
    search, ledger = rung.search, rung.ledger
    definition = search.definition
    limits = deadline, partial(_are_hours_spent, first)
    if rung.spec is not None:
        return WorkerContext(ledger, worker, EnqueuedOnly(), objective, *limits, on_change)
    sampler = make_rotation(
        ledger.study.user_attrs[SAMPLER],
        spread(search.space, definition.targets),
        definition.seed,
        "prune" if definition.over_budget == "prune" else "resample",
    )
    pruner = make_pruner(definition.pruner, definition.plan.epochs)
    study = load_study(ledger.study.study_name, ledger.storage, sampler, pruner)
    own = replace(ledger, study=study)
    return WorkerContext(own, worker, sampler, objective, *limits, on_change)


def _are_hours_spent(first: OpenRung) -> bool:
    """Tell whether the device time of a search and its rungs, running trials included, is over."""
    study = first.ledger.study
    hours: float | None = study.user_attrs.get(DEVICE_HOURS)
    if hours is None:
        return False
    spending = spend(first.search.definition, first.ledger.storage, study, datetime.now())
    return spending.total_seconds >= hours * SECONDS_PER_HOUR


def _deadline(request: Request) -> float | None:
    limit = request.time_limit_seconds
    return time.monotonic() + limit if limit is not None else None
