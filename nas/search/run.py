"""A search from its opened study to its last trial."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cache, partial
from typing import Any

from nas.data.images import Dataset
from nas.errors import StorageError
from nas.results.budgets import spread
from nas.results.estimates import EstimateReader
from nas.results.spending import SECONDS_PER_HOUR
from nas.results.study_rungs import spend
from nas.samplers import make_sampler
from nas.samplers.adapter import BudgetSampler
from nas.samplers.enqueued import EnqueuedOnly
from nas.search.fill_rungs import OpenRung, fill_rungs
from nas.search.objective import Objective
from nas.search.open_study import load_ledger, open_study
from nas.search.prepare import Search, prepare
from nas.search.processes import require_parent, run_processes
from nas.search.progress import Display, ProgressLine
from nas.search.request import Request
from nas.search.worker import EXHAUSTED, FINISHED, WorkerContext, run_worker
from nas.signals import InterruptGuard
from nas.study.attributes import DEVICE_HOURS, SAMPLER, TARGET
from nas.study.ledger import Ledger
from nas.study.liveness import heartbeat
from nas.study.pruners import make_pruner
from nas.study.storage import load_study, open_storage, store_errors
from nas.training.batches import place_search_splits


def run(search: Search, console: Any) -> str:
    """Run a search to its number of trials, its time limit or the last network of its space.

    Then its rungs, where it has any.

    Args:
        search: The prepared search.
        console: The rich console of the progress line.

    Returns:
        Why it stopped, one of the constants of `nas.search.worker`.

    Raises:
        KeyboardInterrupt: A signal came; the state is saved.
        NasError: A trial failed for a reason outside its network.
    """
    deadline = _deadline(search.request)
    with InterruptGuard() as guard:
        with guard.deferred():
            search, ledger = open_study(search)
        first = OpenRung(search, ledger)
        progress = ProgressLine(console)
        with progress, store_errors(f"the study {search.folder.path}"):
            display = Display(progress, search.definition, ledger, search.workers)
            display.show()
            if not any(rung.lacks_trials for rung in fill_rungs(first, guard)):
                return FINISHED
            if search.workers > 1:
                return run_processes(search, deadline, display.show)
            return _train_all(first, deadline, display.on_change, guard)


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
        storage = open_storage(search.url, search.folder.journal)
        ledger = load_ledger(search, storage)
        if TARGET not in ledger.study.user_attrs:
            raise StorageError(
                f"study {search.folder.name!r} was not begun in full; "
                "run its `search` command first"
            )

        def on_change(text: str) -> None:
            require_parent()

        return _train_all(OpenRung(search, ledger), deadline, on_change, guard)


def _train_all(
    first: OpenRung,
    deadline: float | None,
    on_change: Callable[[str], None],
    guard: InterruptGuard,
) -> str:
    """Train what the search lacks, then what its rungs lack; return why that was the end."""
    search, outcome = first.search, FINISHED
    plan, seed = search.definition.plan, search.definition.seed

    @cache  # rungs of as many images share them
    def place(train_images: int) -> Dataset:
        return place_search_splits(search.data, seed, train_images, plan.val_images, plan.device)

    with heartbeat(search.folder.workers) as worker:
        for rung in fill_rungs(first, guard):
            objective = Objective(
                rung.search.definition,
                rung.search.folder,
                search.space.space,
                place(rung.search.definition.plan.train_images),
                EstimateReader(search.definition.input_spec),
                search.request.track,
            )
            ledger, sampler = _with_sampler(rung)
            are_hours_spent = partial(_are_hours_spent, first)
            context = WorkerContext(
                ledger, worker, sampler, objective, deadline, are_hours_spent, on_change
            )
            reason = run_worker(context, guard)
            if reason not in (FINISHED, EXHAUSTED):
                return reason
            outcome = reason if rung is first else outcome
    return outcome


def _with_sampler(rung: OpenRung) -> tuple[Ledger, BudgetSampler | EnqueuedOnly]:
    """Return the trials with what proposes them; the search itself gets its pruner here too."""
    if rung.spec is not None:
        return rung.ledger, EnqueuedOnly()
    ledger, definition = rung.ledger, rung.search.definition
    sampler = make_sampler(
        ledger.study.user_attrs[SAMPLER],
        spread(rung.search.space, definition.targets),
        definition.seed,
        "prune" if definition.over_budget == "prune" else "resample",
    )
    pruner = make_pruner(definition.pruner, definition.plan.epochs)
    study = load_study(ledger.study.study_name, ledger.storage, sampler, pruner)
    return replace(ledger, study=study), sampler


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
