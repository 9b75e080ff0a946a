"""One worker: look, claim, train, tell, until the study and its rungs have their trials.

Any number of workers, here or on other machines, work on one study; what keeps them apart is in
`nas.study.ledger`. A worker looks from the top rung down: it trains what waits or is to be
promoted there, else in the rung below, and proposes a new network for the search itself where
nothing climbs. One that finds nothing but what other processes of this machine are training waits
for them: should one die, its network is still there to be trained.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import TrialState

from nas.network.architecture import Architecture
from nas.results.forecast import Forecast
from nas.results.study_rungs import Rung, StudyRungs
from nas.samplers.adapter import BudgetSampler
from nas.samplers.contract import SpaceExhausted
from nas.search.failures import requeued_on_error
from nas.search.limits import HOURS_SPENT, TIME_LIMIT, Limits
from nas.search.objective import told
from nas.search.open_rungs import OpenRungs
from nas.signals import InterruptGuard
from nas.study.attributes import DEVICE_HOURS, NUM_NETWORKS, TARGET, WORKER
from nas.study.lineage import num_claimed
from nas.study.liveness import is_elsewhere

FINISHED, EXHAUSTED = "finished", "every architecture tried"
BROKEN = "the first trials all broke"
ELSEWHERE = "the last trials run on other machines"
WAITING = "waiting for the trials of other processes"  # of this machine
WAIT_SECONDS = 0.5  # between two looks at what the others do


@dataclass(frozen=True)
class WorkerContext:
    """What a worker works on.

    Args:
        rungs: The study and its rungs.
        worker: What its trials say of this process.
        sampler: The study's sampler.
        limits: Until when, and for how long.
        on_change: Called with a text whenever a trial began or ended an epoch, without one when
            it ended; raising stops the worker.
    """

    rungs: OpenRungs
    worker: Mapping[str, Any]
    sampler: BudgetSampler
    limits: Limits
    on_change: Callable[[str], None]


@dataclass(frozen=True)
class ClaimedTrial:
    """A claimed trial.

    Args:
        rung: The rung that it is of.
        trial: The trial.
        architecture: Its network.
    """

    rung: Rung
    trial: optuna.Trial
    architecture: Architecture


def run_worker(context: WorkerContext, guard: InterruptGuard) -> str:
    """Train until the study and its rungs have their trials, or the deadline.

    Returns:
        Why it stopped: `FINISHED`, `TIME_LIMIT`, `HOURS_SPENT`, `EXHAUSTED`, `BROKEN` or
        `ELSEWHERE`.

    Raises:
        KeyboardInterrupt: A signal came; the running trial was requeued.
        NasError: Trials failed for a reason outside their networks; they were requeued.
    """
    while True:
        with context.rungs.first.lock(guard):
            step = _next(context)
        if isinstance(step, ClaimedTrial):
            _train(context, step, guard)
            context.on_change("")
        elif step == WAITING:
            if context.limits.is_over():
                return TIME_LIMIT
            context.on_change(WAITING)
            with guard.interruptible():
                time.sleep(WAIT_SECONDS)
        elif step is not None:
            return step


def describe_end(rungs: OpenRungs) -> str:
    """Return what `run_worker` returns of a study that is hopeless, or whose rungs have ended."""
    state = rungs.read()
    if state.is_hopeless:
        return BROKEN
    is_full = state.rungs[0].num_trained >= rungs.first.study.user_attrs[TARGET]
    return FINISHED if is_full else EXHAUSTED


def _next(context: WorkerContext) -> ClaimedTrial | str | None:
    """Return a trial to train and its network, or `WAITING`, or why to stop.

    None means that something changed which calls for another look.
    """
    rungs, limits = context.rungs, context.limits
    rungs.open()
    state = rungs.read()
    work = _list_work(rungs, state)
    # with work left at the end two machines promoted one network, and one is refused
    if state.is_hopeless or (state.has_ended and not work):
        return describe_end(rungs)
    has_waiting = any(row.state == "waiting" for row in state.rungs[0].rows)
    if (0, -1) in work and not has_waiting and context.sampler.is_exhausted(rungs.first.study):
        _record_exhausted(rungs)
        return None
    closing = limits.closing(state, rungs.first.study.user_attrs.get(DEVICE_HOURS))
    if closing is not None:
        closed = state.closed()
        climbing = [item for item in _list_work(rungs, closed) if item[0]]
        # what is left is best spent on more networks in the highest rung that it holds
        work = climbing or (_list_next_best(state) if closed.has_ended else [])
    if not work:
        return WAITING if _others_train_here(rungs) else closing or ELSEWHERE
    if limits.is_over():
        return TIME_LIMIT
    if limits.device_seconds_left() <= 0:
        return HOURS_SPENT
    if limits.deadline is None:
        return _claim(context, state, *work[0])
    forecast = Forecast(state)
    seconds = [forecast.training_seconds(*item) or 0.0 for item in work]
    fitting = [not limits.is_over(after) for after in seconds]
    if not any(fitting):
        if any(limits.began + after <= limits.deadline for after in seconds):
            return TIME_LIMIT
        fitting[0] = True  # no run of this length could hold any: it is begun, and resumed
    return _claim(context, state, *work[fitting.index(True)])


def _list_work(rungs: OpenRungs, state: StudyRungs) -> list[tuple[int, int]]:
    """Return in which rungs a trial can be begun, the top one first, and of which network.

    The network is the search's trial that has it, -1 in the search itself.
    """
    work = []
    for index in range(len(state.rungs) - 1, 0, -1):
        rung = state.rungs[index]
        waiting = [row.number for row in rung.unfinished if row.state == "waiting"]
        numbers = waiting or rung.promotions(state.rungs[index - 1])
        work += [(index, number) for number in numbers[:1]]
    if num_claimed(rungs.first.trials()) < (state.rungs[0].num_trials or 0):
        work.append((0, -1))
    return work


def _list_next_best(state: StudyRungs) -> list[tuple[int, int]]:
    """Return the best network that each rung has not had, the top rung first."""
    return [
        (index, fresh[0].number)
        for index in range(len(state.rungs) - 1, 0, -1)
        if (fresh := state.rungs[index].not_had(state.rungs[index - 1]))
    ]


def _record_exhausted(rungs: OpenRungs) -> None:
    """Write down that there are no more networks than those that count or run."""
    num_networks = num_claimed(rungs.first.trials())
    rungs.first.study.set_user_attr(NUM_NETWORKS, num_networks)


def _others_train_here(rungs: OpenRungs) -> bool:
    """Tell whether a process that can be seen from here is training for this study."""
    return any(
        WORKER in trial.user_attrs and not is_elsewhere(trial, rungs.first.folder.workers)
        for ledger in rungs.ledgers.values()
        for trial in ledger.trials(TrialState.RUNNING)
    )


def _claim(
    context: WorkerContext, state: StudyRungs, index: int, number: int
) -> ClaimedTrial | None:
    """Begin a trial and make its network this worker's; None where it is not to be trained."""
    rung, num_trials = state.rungs[index], math.inf if index else state.rungs[0].num_trials or 0
    ledger, objective = context.rungs.ledgers[rung.study], context.rungs.objective(rung)
    if index and number not in rung.started:
        context.rungs.promote(rung, number)
    try:
        trial = ledger.begin(context.worker, proposes=not index)
    except SpaceExhausted:
        _record_exhausted(context.rungs)
        return None
    if trial is None:  # a worker of another machine was faster
        return None
    with requeued_on_error(context.rungs, ledger, trial.number):
        proposal = None if index else context.sampler.proposal(trial.number)
        architecture = objective.describe(trial, proposal)
        refusal = ledger.refusal(trial.number, num_trials)
        if refusal is not None:
            ledger.withdraw(trial.number, refusal)
            return None
        if objective.check_caps(trial, architecture) is not None:
            ledger.tell(trial.number, TrialState.PRUNED)
            return None
        return ClaimedTrial(rung, trial, architecture)
    return None


def _train(context: WorkerContext, training: ClaimedTrial, guard: InterruptGuard) -> None:
    """Train a claimed trial."""
    rung, trial = training.rung, training.trial
    ledger, objective = context.rungs.ledgers[rung.study], context.rungs.objective(rung)

    def on_change(text: str) -> None:
        ledger.trials(TrialState.RUNNING)  # a study that another program deleted ends it here
        context.on_change(f"{rung.label} {text}".lstrip())

    with requeued_on_error(context.rungs, ledger, trial.number):
        on_change(f"trial {trial.number}: preparing")
        result = objective.train(trial, training.architecture, guard, on_change)
        objective.finish(trial, result)
        ledger.tell(trial.number, *told(result, objective.definition.metric))
    objective.clear(ledger.study)
