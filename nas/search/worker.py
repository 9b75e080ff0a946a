"""One worker: claim, train, tell, until the study has its trials.

Any number of workers, here or on other machines, work on one study; what keeps them apart is in
`nas.study.ledger`. A worker whose study lacks nothing but what other processes of this machine are
training waits for them: should one die, its network is still there to be trained.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from nas.errors import BrokenCaptureError, StorageError
from nas.network.architecture import Architecture
from nas.samplers.adapter import BudgetSampler
from nas.samplers.contract import SpaceExhausted
from nas.samplers.enqueued import EnqueuedOnly
from nas.search.objective import Objective, told
from nas.signals import InterruptGuard
from nas.study.attributes import TARGET, WORKER
from nas.study.ledger import Ledger
from nas.study.lineage import INTERRUPTED, num_claimed
from nas.study.liveness import is_elsewhere
from nas.study.trials import is_counted

FINISHED, TIME_LIMIT, EXHAUSTED = "finished", "time limit", "every architecture tried"
HOURS_SPENT = "device hours spent"
ELSEWHERE = "the last trials run on other machines"
WAITING = "waiting for the trials of other processes"  # of this machine
WAIT_SECONDS = 0.5  # between two looks at what the others do


@dataclass(frozen=True)
class WorkerContext:
    """What a worker works on.

    Args:
        ledger: The study.
        worker: What its trials say of this process.
        sampler: The study's sampler.
        objective: Trains one trial.
        deadline: Value of `time.monotonic` after which no trial is begun; None is never.
        are_hours_spent: Tells whether the study's device time has reached its limit.
        on_change: Called with a text whenever a trial began or ended an epoch, without one when
            it ended; raising stops the worker.
    """

    ledger: Ledger
    worker: Mapping[str, Any]
    sampler: BudgetSampler | EnqueuedOnly
    objective: Objective
    deadline: float | None
    are_hours_spent: Callable[[], bool]
    on_change: Callable[[str], None]


def run_worker(context: WorkerContext, guard: InterruptGuard) -> str:
    """Train until the study has its trials, the deadline, or the last network of the space.

    Returns:
        Why it stopped: `FINISHED`, `TIME_LIMIT`, `HOURS_SPENT`, `EXHAUSTED` or `ELSEWHERE`.

    Raises:
        KeyboardInterrupt: A signal came; the running trial was requeued.
        NasError: A trial failed for a reason outside its network; it was requeued.
    """
    ledger = context.ledger
    while True:
        guard.check()
        with ledger.lock(), guard.deferred():
            step = _next(context)
        if isinstance(step, tuple):
            _train(context, *step, guard)
            context.on_change("")
        elif step == WAITING:
            if _is_over(context.deadline):
                return TIME_LIMIT
            context.on_change(WAITING)
            time.sleep(WAIT_SECONDS)
        elif step is not None:
            return step


def _next(context: WorkerContext) -> tuple[optuna.Trial, Architecture] | str | None:
    """Return a trial to train and its network, or `WAITING`, or why to stop.

    None means that a trial was begun which is not to be trained: ask again.
    """
    ledger = context.ledger
    ledger.requeue_dead()
    reason = stop_reason(context)
    if reason in (ELSEWHERE, EXHAUSTED) and _others_train_here(ledger):
        return WAITING
    if reason is not None:
        return reason
    try:
        return _claim(context)
    except SpaceExhausted:
        return EXHAUSTED


def stop_reason(context: WorkerContext) -> str | None:
    """Return why no trial is to be begun now, or None."""
    ledger = context.ledger
    trials = ledger.trials()
    num_trials = int(ledger.study.user_attrs[TARGET])
    if sum(map(is_counted, trials)) >= num_trials:
        return FINISHED
    if num_claimed(trials) >= num_trials:
        return ELSEWHERE
    if _is_over(context.deadline):
        return TIME_LIMIT
    if context.are_hours_spent():
        return HOURS_SPENT
    has_waiting = any(trial.state == TrialState.WAITING for trial in trials)
    if not has_waiting and context.sampler.is_exhausted(ledger.study):
        return EXHAUSTED
    return None


def _others_train_here(ledger: Ledger) -> bool:
    """Tell whether a process that can be seen from here is training for this study."""
    workers = ledger.folder.workers
    return any(
        WORKER in trial.user_attrs and not is_elsewhere(trial, workers)
        for trial in ledger.trials(TrialState.RUNNING)
    )


def _claim(context: WorkerContext) -> tuple[optuna.Trial, Architecture] | None:
    """Begin a trial and make its network this worker's; None where it is not to be trained.

    Raises:
        SpaceExhausted: No network is left to propose.
    """
    ledger, objective = context.ledger, context.objective
    trial = ledger.begin(context.worker)
    try:
        architecture = objective.describe(trial, context.sampler.proposal(trial.number))
        refusal = ledger.refusal(trial.number, int(ledger.study.user_attrs[TARGET]))
        if refusal is not None:
            ledger.withdraw(trial.number, refusal)
            return None
        if objective.check_caps(trial, architecture) is not None:
            ledger.study.tell(trial, state=TrialState.PRUNED)
            return None
    except BaseException as error:
        ledger.requeue(trial.number, _describe_failure(error))
        raise
    return trial, architecture


def _train(
    context: WorkerContext, trial: optuna.Trial, architecture: Architecture, guard: InterruptGuard
) -> None:
    """Train a claimed trial; whatever goes wrong, it does not stay RUNNING."""
    ledger, objective = context.ledger, context.objective
    try:
        context.on_change(f"trial {trial.number}: preparing")
        result = objective.train(trial, architecture, guard, context.on_change)
        with guard.deferred():
            objective.finish(trial, result)
            state, value = told(result)
            ledger.study.tell(trial, value, state=state)
            objective.clear(ledger.study)
    except UpdateFinishedTrialError:  # another process took this one for dead and gave it back
        context.on_change(f"trial {trial.number} was given to another process")
    except BaseException as error:
        with guard.deferred():
            ledger.requeue(trial.number, _describe_failure(error))
        raise


def _describe_failure(error: BaseException) -> str:
    """Return a trial's reason: what begins with `error` may be its network's fault."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    is_machines = isinstance(error, (StorageError, OSError, BrokenCaptureError))
    what = "machine" if is_machines else "error"
    return f"{what}: {type(error).__name__}: {error}"


def _is_over(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() >= deadline
