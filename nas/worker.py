"""One worker: ask, claim, train, tell, until the study has its trials.

Any number of workers, here or on other machines, work on one study; the rules below hold for all
of them together, through the store alone:

    the target   counted + running trials, tested before each trial; of a race the lower number
                 trains and the higher one is withdrawn (FAIL, never proposed again)
    one id       written into the trial before training; the lower running number trains
    a death      whoever starts next tells the trial FAIL and enqueues its network again
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from nas.interrupt import InterruptGuard
from nas.liveness import WORKER, describe_process, is_dead
from nas.objective import Objective
from nas.samplers.adapter import BudgetSampler
from nas.samplers.contract import SpaceExhausted
from nas.storage import set_trial_attr
from nas.trials import (
    ID,
    KNOWN_NAME,
    REASON,
    RESUMES,
    SOURCE,
    is_counted,
)

FINISHED, TIME_LIMIT, EXHAUSTED = "finished", "time limit", "every architecture tried"
KEPT_ATTRS = (SOURCE, KNOWN_NAME)  # what a network that is enqueued again keeps


@dataclass(frozen=True)
class Assignment:
    """What a worker works on.

    Args:
        study: The Optuna study, its sampler set.
        storage: The store the study lives in.
        sampler: The study's sampler.
        objective: Trains one trial.
        target: Trials the study is to have in total.
        deadline: Value of `time.monotonic` after which no trial is begun; None is never.
        on_change: Called whenever a trial began, ended an epoch, or ended.
    """

    study: optuna.Study
    storage: BaseStorage
    sampler: BudgetSampler
    objective: Objective
    target: int
    deadline: float | None
    on_change: Callable[[str], None]


def run_worker(assignment: Assignment, guard: InterruptGuard) -> str:
    """Train trials until the target, the deadline, or the last network of the space.

    Returns:
        Why it stopped: `FINISHED`, `TIME_LIMIT` or `EXHAUSTED`.

    Raises:
        KeyboardInterrupt: A signal came; the running trial was given back.
        NasError: A trial failed for a reason outside its network; it was given back.
    """
    study = assignment.study
    while True:
        trials = study.get_trials(deepcopy=False)
        if _num_claimed(trials) >= assignment.target:
            return FINISHED
        if assignment.deadline is not None and time.monotonic() >= assignment.deadline:
            return TIME_LIMIT
        has_waiting = any(trial.state == TrialState.WAITING for trial in trials)
        if not has_waiting and assignment.sampler.is_exhausted(study):
            return EXHAUSTED
        with guard.deferred():
            trial = _ask(study, assignment.storage)
        if trial is None:
            return EXHAUSTED
        _run_trial(assignment, trial, guard)
        assignment.on_change("")


def revive_dead(study: optuna.Study, storage: BaseStorage) -> list[int]:
    """Tell FAIL to trials whose process on this host is gone; their networks are enqueued again.

    Returns:
        The numbers of the trials that were found dead.
    """
    dead = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if is_dead(trial)
    ]
    for trial in dead:
        give_back(study, storage, trial.number, "killed")
    return [trial.number for trial in dead]


def give_back(study: optuna.Study, storage: BaseStorage, number: int, reason: str) -> None:
    """Tell FAIL to an unfinished trial and enqueue its network again.

    The new trial continues the training from the old one's checkpoint.
    """
    withdraw(study, storage, number, reason)
    trial = study.get_trials(deepcopy=False)[number]
    if trial.params:
        kept = {name: trial.user_attrs[name] for name in KEPT_ATTRS if name in trial.user_attrs}
        study.enqueue_trial(trial.params, user_attrs={**kept, RESUMES: number})


def withdraw(study: optuna.Study, storage: BaseStorage, number: int, reason: str) -> None:
    """Tell FAIL to a trial, with its reason."""
    set_trial_attr(storage, study.study_name, number, REASON, reason)
    study.tell(number, state=TrialState.FAIL, skip_if_finished=True)


def _run_trial(assignment: Assignment, trial: optuna.Trial, guard: InterruptGuard) -> None:
    """Claim a trial and train it; whatever goes wrong, it does not stay RUNNING."""
    study, storage, objective = assignment.study, assignment.storage, assignment.objective
    try:
        with guard.deferred():
            architecture = objective.describe(trial, assignment.sampler.proposal(trial.number))
            refusal = _refusal(study, trial.number, assignment.target)
            if refusal is not None:
                withdraw(study, storage, trial.number, refusal)
                return
            if objective.check_caps(trial, architecture) is not None:
                study.tell(trial, state=TrialState.PRUNED)
                return
        assignment.on_change(f"trial {trial.number}: preparing")
        outcome = objective.train(trial, architecture, guard, assignment.on_change)
        with guard.deferred():
            objective.finish(trial, outcome)
            study.tell(trial, outcome.value, state=outcome.state)
            objective.clear(study)
    except BaseException as error:
        with guard.deferred():
            interrupted = isinstance(error, KeyboardInterrupt)
            reason = "interrupted" if interrupted else f"{type(error).__name__}: {error}"
            give_back(study, storage, trial.number, reason)
        raise


def _ask(study: optuna.Study, storage: BaseStorage) -> optuna.Trial | None:
    """Return a new trial that carries its worker's name; None where no network is left."""
    before = len(study.get_trials(deepcopy=False))
    try:
        trial = study.ask()
    except SpaceExhausted as error:
        for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if frozen.number >= before and WORKER not in frozen.user_attrs:
                withdraw(study, storage, frozen.number, str(error))
        return None
    trial.set_user_attr(WORKER, describe_process())
    return trial


def _refusal(study: optuna.Study, number: int, target: int) -> str | None:
    """Return why a claimed trial is not to be trained, or None."""
    trials = study.get_trials(deepcopy=False)
    mine = trials[number]
    if _num_claimed([trial for trial in trials if trial.number < number]) >= target:
        return "surplus: the study has its trials"
    for other in trials:
        if other.number == number or other.user_attrs.get(ID) != mine.user_attrs[ID]:
            continue
        if is_counted(other) or (other.state == TrialState.RUNNING and other.number < number):
            return f"repeat of trial {other.number}"
    return None


def _num_claimed(trials: Sequence[FrozenTrial]) -> int:
    return sum(is_counted(trial) or trial.state == TrialState.RUNNING for trial in trials)
