"""What a study's trials say to a sampler.

A finished trial never changes, so it is read once; a proposal at trial 1,000 reads only what is
new and what runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas.samplers.contract import (
    REASON_ATTR,
    CandidateSpace,
    Configuration,
    History,
    Observation,
    UpperRungs,
)
from nas.training.result import Ending


def ending_of(trial: FrozenTrial) -> Ending | None:
    """Return how a trial's training ended; None where it did not, or there was none.

    Why one broke is kept as a sentence, so that `DIVERGED` stands for everything that breaks.
    """
    if trial.state == TrialState.COMPLETE:
        return Ending.DIVERGED if trial.user_attrs.get(REASON_ATTR) else Ending.FINISHED
    is_stopped = trial.state == TrialState.PRUNED and trial.intermediate_values
    return Ending.STOPPED if is_stopped else None


class HistoryReader:
    """Read the history of a study and its rungs; a finished trial is read once.

    Args:
        space: The space that all trials come from.
        upper: Says which rungs the study has.
    """

    def __init__(self, space: CandidateSpace, upper: UpperRungs = lambda study: ()) -> None:
        self._space = space
        self._upper = upper
        self._finished: dict[tuple[str, int], tuple[str, Observation | None]] = {}

    def read(
        self, study: optuna.Study, asked: Mapping[int, Configuration], asking: int | None = None
    ) -> History:
        """Return the history as a sampler sees it.

        Args:
            study: The study.
            asked: Choices this process proposed, by trial number; they count while the trial has
                not written them yet.
            asking: Number of the trial that asks, which is not its own rival.
        """
        observations: list[Observation] = []
        pending: dict[str, Configuration] = {}
        seen: set[str] = set()
        rejected: set[str] = set()
        for trial in study.get_trials(deepcopy=False):
            if trial.number == asking:
                continue
            if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                key, observation = self._observe_once(study, trial)
                if observation is None:
                    rejected.add(key)
                else:
                    seen.add(key)
                    observations.append(observation)
            elif trial.state != TrialState.FAIL:
                choices = self._pending_choices(trial, asked)
                if choices is not None:
                    pending[self._space.key(choices)] = choices
        observations.sort(key=lambda observation: observation.number)
        return History(
            tuple(observations),
            pending,
            frozenset(seen | pending.keys()),
            frozenset(rejected),
            *self._read_upper(study),
        )

    def _read_upper(
        self, study: optuna.Study
    ) -> tuple[tuple[Observation, ...], tuple[tuple[str, Configuration, float], ...]]:
        """Return what was trained to its end above the search, and what waits or runs there."""
        trained, climbing = [], []
        for fidelity, rung in self._upper(study):
            for trial in rung.get_trials(deepcopy=False):
                if ending_of(trial) is Ending.FINISHED:
                    observation = self._observe_once(rung, trial)[1]
                    assert observation is not None
                    trained.append(replace(observation, fidelity=fidelity))
                elif not trial.state.is_finished():
                    choices = self._pending_choices(trial, {})
                    if choices is not None:
                        climbing.append((self._space.key(choices), choices, fidelity))
        trained.sort(key=lambda observation: (observation.fidelity, observation.number))
        return tuple(trained), tuple(climbing)

    def _observe_once(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> tuple[str, Observation | None]:
        name = study.study_name, trial.number
        if name not in self._finished:
            maximise = study.direction == StudyDirection.MAXIMIZE
            self._finished[name] = self._observe(trial, maximise)
        return self._finished[name]

    def _observe(self, trial: FrozenTrial, maximise: bool) -> tuple[str, Observation | None]:
        """Return the trial's key, and its observation unless it was never trained."""
        choices = self._space.canonical(trial.params)
        key = self._space.key(choices)
        ending = ending_of(trial)
        if ending is None:
            return key, None
        sign = 1.0 if maximise else -1.0
        curve = tuple(
            (step, sign * value)
            for step, value in sorted(trial.intermediate_values.items())
            if value == value  # NOTE: a diverged trial may have reported NaN
        )
        if ending is Ending.STOPPED:
            ending = ending if curve else Ending.DIVERGED
            score = curve[-1][1] if curve else 0.0
        else:
            assert trial.value is not None
            score = sign * trial.value
        return key, Observation(trial.number, choices, key, score, ending, curve)

    def _pending_choices(
        self, trial: FrozenTrial, asked: Mapping[int, Configuration]
    ) -> Configuration | None:
        """Return what a running or waiting trial will train, None while nobody can know."""
        enqueued: Mapping[str, Any] = trial.system_attrs.get("fixed_params", {})
        choices = {**asked.get(trial.number, {}), **enqueued, **trial.params}
        if choices.keys() < self._space.distributions.keys():
            return None
        return self._space.canonical(choices)
