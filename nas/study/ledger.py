"""Who trains what: trials are begun, claimed, refused and requeued, through the store alone.

The rules:

- The processes that share a study's folder take its lock in turn.
- A study's number of trials is that of trials that count and trials that run. Of a race between
  machines the lower number trains, the higher one is withdrawn: FAIL, never proposed again.
- A training is (network id, seed, rung), the rung being the Optuna study. Seed and id are written
  into the trial before it begins; of two that run with both the same the lower number trains.
- A trial whose process died is told FAIL by whoever is next, and its network is enqueued again,
  before everything else that waits.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas.locks import Stall, locked
from nas.signals import InterruptGuard
from nas.study import liveness
from nas.study.attributes import (
    ARCHITECTURE,
    AUDITED_EPOCH,
    GIVEN_BACK,
    ID,
    KNOWN_NAME,
    ORIGIN,
    REASON,
    RESUMES,
    SEED,
    SOURCE,
    TARGET_BUDGET,
    WORKER,
)
from nas.study.folder import StudyFolder
from nas.study.lineage import (
    KILLED,
    MACHINE,
    STARVED,
    count_failed_attempts,
    list_requeued,
    num_claimed,
)
from nas.study.trials import is_counted

MAX_KILLS = 10  # of a network before its first epoch's end; then it is left
MAX_FAILED_ATTEMPTS = 3  # deaths of a network before its first epoch's end; then it is given up
WORST_ACCURACY = 0.0
# what a network that is enqueued again keeps
REQUEUED_ATTRS = (SEED, SOURCE, KNOWN_NAME, ARCHITECTURE, AUDITED_EPOCH, ORIGIN, TARGET_BUDGET)
SETTLE_SECONDS = 5.0  # for another machine to write the id of the trial it just began


@dataclass(frozen=True)
class Ledger:
    """The trials of a study and where they are kept.

    Args:
        study: The Optuna study, its sampler set where trials are begun.
        storage: The store it lives in.
        folder: The study's folder, which holds its lock.
        names: The names that the choices of every network have.
        is_local: Whether all processes that can reach the store share the folder: a journal and
            SQLite are one machine's, a database server is not.
        seed: What a trial trains with that names no seed of its own.
        stalls: How long each running trial's process has shown no life, by study and number.
    """

    study: optuna.Study
    storage: BaseStorage
    folder: StudyFolder
    names: frozenset[str]
    is_local: bool
    seed: int
    stalls: dict[tuple[str, int], Stall] = field(default_factory=dict)

    def lock(self, guard: InterruptGuard) -> AbstractContextManager[None]:
        """Keep the other processes of this folder from beginning trials, in a block."""
        return locked(self.folder.claim_lock, guard.interruptible)

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """Return the trials in these states, or all, by number; not to be changed."""
        return list(self.study.get_trials(deepcopy=False, states=states or None))

    def begin(self, worker: Mapping[str, Any], proposes: bool = True) -> optuna.Trial | None:
        """Return a running trial in this worker's name: a waiting one, given-back ones first.

        Args:
            worker: What the trial says of its process.
            proposes: Whether the sampler proposes a network where none waits; else there is none.

        Returns:
            The trial, or None where there is none, or another process ended it meanwhile.

        Raises:
            SpaceExhausted: No network is left to propose; the trial was withdrawn.
        """
        number = self._take_waiting(worker)
        if number is None and not proposes:
            return None
        if number is None:
            # one write: there is no moment in which it runs without its worker's name
            born = create_trial(state=TrialState.RUNNING, user_attrs={WORKER: dict(worker)})
            trial_id = self.storage.create_new_trial(self._study_id, born)
        else:
            trial_id = self._trial_id(number)
        try:
            return optuna.Trial(self.study, trial_id)  # asks the sampler
        except UpdateFinishedTrialError:
            return None
        except BaseException as error:
            attrs = {} if number is None else {GIVEN_BACK: True}
            # not its text: a database's may hold what is secret in a URL
            reason = f"not begun: {type(error).__name__}"
            self.withdraw(self.storage.get_trial(trial_id).number, reason, **attrs)
            raise

    def refusal(self, number: int, num_trials: float) -> str | None:
        """Return why a claimed trial is not to be trained, or None.

        Args:
            number: The trial.
            num_trials: The trials that the study is to have; infinite of a rung, whose trials
                were all promoted.
        """
        # by number alone, so that all machines decide alike without talking
        trials = self._settled(number)
        if num_claimed(trials[:number]) >= num_trials:
            return "surplus: the study has its trials"
        own = self._training(trials[number])
        for other in trials:
            if other.number == number or self._training(other) != own:
                continue
            is_first = other.state == TrialState.RUNNING and other.number < number
            if is_counted(other) or is_first:
                return f"repeat of trial {other.number}"
        return None

    def tell(self, number: int, state: TrialState, value: float | None = None) -> None:
        """Tell a running trial how it ended.

        Raises:
            UpdateFinishedTrialError: It has ended before.
        """
        try:
            self.study.tell(number, value, state=state)
        except ValueError as error:  # what Optuna raises where it looks before it writes
            if self.trials()[number].state.is_finished():
                raise UpdateFinishedTrialError(str(error)) from error
            raise

    def withdraw(self, number: int, reason: str, **attrs: Any) -> bool:
        """Tell FAIL to a trial, with its reason; return False of one that has ended, and stays."""
        return self._end(number, TrialState.FAIL, None, {REASON: reason, **attrs})

    def requeue(self, number: int, reason: str) -> bool:
        """Tell FAIL to an unfinished trial and enqueue its network again.

        The new trial continues the training from the old one's checkpoint. A network whose
        trainings died `MAX_FAILED_ATTEMPTS` times in a row without finishing an epoch is given up:
        a trial with the worst value, as for one that does not fit in memory. Killed for want of
        memory it is only left: with more memory it might have been trained. So is one that was
        killed `MAX_KILLS` times for whatever reason: it may crash the process that trains it.

        Returns:
            False of a trial that had ended, by another process.
        """
        trials = self.trials()
        deaths = count_failed_attempts(trials, number, reason)
        if reason.startswith(KILLED):
            kills = count_failed_attempts(trials, number, reason, with_kills=True)
            if deaths >= MAX_FAILED_ATTEMPTS or kills >= MAX_KILLS:
                text = f"{reason}, {kills} times before an epoch ended: given up"
                return self.withdraw(number, text)
        elif deaths >= MAX_FAILED_ATTEMPTS:
            text = f"given up: died {deaths} times before an epoch ended: {reason}"
            return self._end(number, TrialState.COMPLETE, WORST_ACCURACY, {REASON: text})
        was_running = self.withdraw(number, reason, **{GIVEN_BACK: True})
        self.enqueue_retries()
        return was_running

    def enqueue_retries(self) -> None:
        """Enqueue the networks of given-back trials that no trial continues yet."""
        for trial in list_requeued(self.trials()):
            self.enqueue(trial, REQUEUED_ATTRS, {RESUMES: trial.number})

    def enqueue(self, trial: FrozenTrial, kept: Iterable[str], attrs: Mapping[str, Any]) -> None:
        """Enqueue the network of a trial; of one that was killed before it had one, nothing.

        Args:
            trial: The trial.
            kept: Names of the user attributes that the new trial takes along.
            attrs: Its further user attributes.
        """
        choices = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        if choices.keys() >= self.names:
            own = {name: trial.user_attrs[name] for name in kept if name in trial.user_attrs}
            self.study.enqueue_trial(choices, user_attrs={**own, **attrs})

    def requeue_dead(self) -> list[int]:
        """Requeue the trials whose process is gone or hangs; to be called under the lock.

        One that was stopped and goes on finds its trial ended at its next write.

        Returns:
            The numbers of the trials that were requeued.
        """
        reasons = {trial.number: self._death(trial) for trial in self.trials(TrialState.RUNNING)}
        dead = [number for number, reason in reasons.items() if reason]
        for number in dead:
            self.requeue(number, reasons[number])
        self.enqueue_retries()  # whoever requeued may have been killed half-way
        return dead

    def _death(self, trial: FrozenTrial) -> str:
        """Return why a running trial is to be requeued; empty while its process shows life."""
        grace = timedelta(0) if self.is_local else liveness.UNCLAIMED_GRACE
        if liveness.is_dead(trial, self.folder.workers, grace):
            return STARVED if liveness.ran_out_of_memory(trial) else KILLED
        path = liveness.lock_path(trial, self.folder.workers)
        stall = self.stalls.setdefault((self.study.study_name, trial.number), Stall())
        who = f"{MACHINE}{liveness.name_process(trial)}"
        return liveness.expired(stall, path, who) if path else ""

    def _training(self, trial: FrozenTrial) -> tuple[str | None, int]:
        """Return what a trial trains within its rung: network id, None before it has one; seed."""
        return trial.user_attrs.get(ID), trial.user_attrs.get(SEED, self.seed)

    def _take_waiting(self, worker: Mapping[str, Any]) -> int | None:
        # retries first (False sorts before True), each kind by number
        waiting = self.trials(TrialState.WAITING)
        for trial in sorted(waiting, key=lambda trial: RESUMES not in trial.user_attrs):
            trial_id = self._trial_id(trial.number)
            with suppress(UpdateFinishedTrialError):
                if self.storage.set_trial_state_values(trial_id, TrialState.RUNNING):
                    # two writes: killed in between, it is dead for want of a worker's name
                    self.storage.set_trial_user_attr(trial_id, WORKER, dict(worker))
                    return trial.number
        return None

    def _end(
        self, number: int, state: TrialState, value: float | None, attrs: Mapping[str, Any]
    ) -> bool:
        try:
            for name, content in attrs.items():
                self.storage.set_trial_user_attr(self._trial_id(number), name, content)
            self.tell(number, state, value)
        except UpdateFinishedTrialError:
            return False
        return True

    def _settled(self, number: int) -> list[FrozenTrial]:
        """Return the trials once no machine is just writing the id of a lower one."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while True:
            trials = self.trials()
            is_settled = self.is_local or not any(map(_is_unsettled, trials[:number]))
            if is_settled or time.monotonic() >= deadline:
                return trials
            time.sleep(0.05)

    @property
    def _study_id(self) -> int:
        return self.storage.get_study_id_from_name(self.study.study_name)

    def _trial_id(self, number: int) -> int:
        return self.storage.get_trial_id_from_study_id_trial_number(self._study_id, number)


def _is_unsettled(trial: FrozenTrial) -> bool:
    if trial.state != TrialState.RUNNING or ID in trial.user_attrs:
        return False
    started = trial.datetime_start
    return started is not None and datetime.now() - started < timedelta(seconds=SETTLE_SECONDS)
