"""A search from its opened study to its last trial."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from nas.errors import StorageError
from nas.printing import print_lines
from nas.results.budgets import spread
from nas.results.spending import SECONDS_PER_HOUR
from nas.results.study_rungs import spend, upper_rungs
from nas.samplers import make_sampler
from nas.samplers.adapter import BudgetSampler
from nas.search.limits import Limits
from nas.search.open_rungs import OpenRungs
from nas.search.open_study import load_ledger, open_study
from nas.search.prepare import Search, prepare, version_notes
from nas.search.processes import PARENT_VARIABLE, end_with_parent, run_processes
from nas.search.progress import Display, ProgressLine
from nas.search.request import Request
from nas.search.worker import WorkerContext, describe_end, run_worker
from nas.signals import InterruptGuard
from nas.study.attributes import DEVICE_HOURS, SAMPLER, TARGET
from nas.study.liveness import heartbeat
from nas.study.pruners import make_pruner
from nas.study.storage import open_storage, store_errors

BEGAN_VARIABLE = "NAS_BEGAN"  # when the process began whose place this one takes


def run(search: Search, console: Any) -> str:
    """Run a search and its rungs to their trials, a time limit or the last network of the space.

    Args:
        search: The prepared search.
        console: The rich console of the progress line.

    Returns:
        Why it stopped, one of the constants of `nas.search.worker` and `limits`.

    Raises:
        KeyboardInterrupt: A signal came; the state is saved.
        NasError: A trial failed for a reason outside its network.
    """
    deadline = _deadline(search.request)
    with InterruptGuard() as guard:
        search, ledger = open_study(search, guard)
        progress, rungs = ProgressLine(console), OpenRungs(search, ledger)
        with progress, store_errors(search.folder.path, search.url):
            with ledger.lock(guard):
                rungs.open()
            rungs.clear()
            display = Display(progress, rungs)
            display.show()
            state = rungs.read()
            if state.is_hopeless or state.has_ended:
                return describe_end(rungs)
            if search.workers > 1:
                return run_processes(search, deadline, display.show, guard)
            return _train_all(rungs, deadline, display.on_change, guard)


def work(request: Request) -> str:
    """Work on a study that exists as one more process, without a progress line.

    Returns:
        Why it stopped, one of the constants of `nas.search.worker` and `limits`.

    Raises:
        KeyboardInterrupt: A signal came, or the search that started this process is gone; the
            state is saved.
        NasError: The study is absent or damaged, or a trial failed outside its network.
    """
    end_with_parent()
    deadline = _deadline(request)
    search = prepare(request)
    if PARENT_VARIABLE not in os.environ:  # else the search that started this one has said it
        for note in version_notes(search.definition):
            print_lines(f"note: {note}", file=sys.stderr)
    with InterruptGuard() as guard, store_errors(search.folder.path, search.url):
        storage = open_storage(search.url, search.folder.journal)
        ledger = load_ledger(search, storage)
        if TARGET not in ledger.study.user_attrs:
            raise StorageError(
                f"study {search.folder.name!r} was not begun in full; "
                "run its `search` command first"
            )
        return _train_all(OpenRungs(search, ledger), deadline, lambda text: None, guard)


def _train_all(
    rungs: OpenRungs,
    deadline: float | None,
    on_change: Callable[[str], None],
    guard: InterruptGuard,
) -> str:
    """Train what the search and its rungs lack; return why that was the end."""
    sampler, left = _set_sampler(rungs), partial(_device_seconds_left, rungs)
    with heartbeat(rungs.search.folder.workers) as worker:
        context = WorkerContext(rungs, worker, sampler, Limits(deadline, left), on_change)
        return run_worker(context, guard)


def _set_sampler(rungs: OpenRungs) -> BudgetSampler:
    """Give the search the sampler that proposes, and its pruner; return the sampler."""
    definition, ledger = rungs.search.definition, rungs.first
    sampler = make_sampler(
        ledger.study.user_attrs[SAMPLER],
        spread(rungs.search.space, definition.targets),
        definition.seed,
        "prune" if definition.over_budget == "prune" else "resample",
        partial(upper_rungs, definition, ledger.storage),
    )
    pruner = make_pruner(definition.pruner, definition.plan.epochs)
    ledger.study.sampler, ledger.study.pruner = sampler, pruner
    return sampler


def _device_seconds_left(rungs: OpenRungs) -> float:
    """Return what is left of the device time of a search and its rungs; infinity is no limit."""
    study = rungs.first.study
    hours: float | None = study.user_attrs.get(DEVICE_HOURS)
    if hours is None:
        return math.inf
    spending = spend(rungs.search.definition, rungs.first.storage, study, datetime.now())
    return hours * SECONDS_PER_HOUR - spending.total_seconds


def _deadline(request: Request) -> float | None:
    limit, began = request.time_limit_seconds, os.environ.pop(BEGAN_VARIABLE, None)
    if limit is None:
        return None
    return limit + (time.monotonic() if began is None else float(began))
