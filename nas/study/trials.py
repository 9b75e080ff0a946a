"""What a study's trials say: one row per trial, the funnel, the best and their ties.

Everything that shows a study (`status`, `best`, `report`, the progress line) reads it through
these rows; what the search writes into a trial is named in `nas.study.attributes`.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from nas.network.caps import Caps
from nas.samplers.history import ending_of
from nas.statistics import standard_error
from nas.study import attributes as names
from nas.study.liveness import is_dead
from nas.training.result import Ending

WORDS: Mapping[str, str] = {  # of an ending, on screens and in JSON
    Ending.FINISHED: "complete",
    Ending.STOPPED: "pruned",
    Ending.DIVERGED: "broken",
    Ending.OUT_OF_MEMORY: "broken",
}


@dataclass(frozen=True)
class TrialRow:
    """A trial as the tables show it.

    `state` is how its training ended, or ``rejected`` (over budget, never trained), ``failed``,
    ``running`` or ``waiting``; `word` is what is shown of it.
    Accuracies are of the validation split, in [0, 1]; `val_accuracy` is None until the first epoch
    ends. It, `curve` and `estimate` are in the metric that the study maximises; `standard_error`
    is that of `val_accuracy`, None of an accuracy, where the number of images gives it.
    `elapsed_seconds` runs from Optuna's ask to tell; None until then. `curve` has the
    reported (step, accuracy) pairs. `estimate` is what a complete trial would score on average,
    by `nas.results.estimates`, `estimate_sd` how sure that is; None where nothing was estimated.
    `device_seconds` is what its own process spent on its training, up to the last whole epoch
    where it was killed; `resumes` is the killed trial that it went on from. `audited_epoch` is
    where pruning would have stopped it, `target_budget` what it was proposed for in a study of
    several budgets. `seed` is that of its weights and order, None of an older trial: the study's.
    A row of `gather` stands for all `num_trainings` of its network.
    """

    number: int
    state: Ending | str
    id: str
    num_params: int | None
    macs: int | None
    val_accuracy: float | None
    train_accuracy: float | None
    num_epochs: int
    source: str
    known_name: str | None
    reason: str | None
    elapsed_seconds: float | None
    num_over_budget: int
    num_repeats: int
    architecture: Mapping[str, Any] | None
    notation: str | None
    curve: tuple[tuple[int, float], ...] = ()
    estimate: float | None = None
    estimate_sd: float | None = None
    device_seconds: float | None = None
    resumes: int | None = None
    started_at: datetime | None = None
    audited_epoch: int | None = None
    target_budget: int | None = None
    seed: int | None = None
    num_trainings: int = 1
    standard_error: float | None = None

    @property
    def score(self) -> float:
        """Return what trials are ranked by: the estimate, where there is none the accuracy."""
        return self.estimate if self.estimate is not None else self.val_accuracy or 0.0

    @property
    def word(self) -> str:
        """Return the state as screens and JSON show it."""
        return WORDS.get(self.state, self.state)

    @property
    def is_broken(self) -> bool:
        """Tell whether the accuracy says nothing of the network."""
        return isinstance(self.state, Ending) and self.state.is_broken

    @property
    def is_counted(self) -> bool:
        """Tell whether the trial counts to `--trials`."""
        return isinstance(self.state, Ending)


@dataclass(frozen=True)
class Funnel:
    """How many candidates went which way; `num_over_budget` and `num_repeats` cost no training."""

    counted: int
    complete: int
    pruned: int
    broken: int
    failed: int
    running: int
    waiting: int
    num_over_budget: int
    num_repeats: int

    @property
    def trained(self) -> int:
        """Return how many of those that count have an accuracy."""
        return self.complete + self.pruned


def read_rows(study: optuna.Study) -> list[TrialRow]:
    """Return every trial of a study, by number."""
    return [_to_row(trial) for trial in study.get_trials(deepcopy=False)]


def is_counted(trial: FrozenTrial) -> bool:
    """Tell whether a trial counts to `--trials`: trained to its end, pruned, or broken."""
    return ending_of(trial) is not None


def count_funnel(rows: Sequence[TrialRow]) -> Funnel:
    """Count the rows by what happened to them."""
    counts = Counter(row.word for row in rows)
    shown = ("complete", "pruned", "broken", "failed", "running", "waiting")
    return Funnel(
        **{word: counts[word] for word in shown},
        counted=sum(row.is_counted for row in rows),
        num_over_budget=counts["rejected"] + sum(row.num_over_budget for row in rows),
        num_repeats=sum(row.num_repeats for row in rows),
    )


def gather(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return one row for each network that was trained, in the order of their first trainings.

    A network may be trained again, with another seed. Its row is the first of those trained to
    the end, with the mean accuracy over the seeds; where none was, it is the first of all.

    Args:
        rows: Trials of one rung.
    """
    trainings: dict[str | int, list[TrialRow]] = {}
    for row in rows:
        if row.is_counted:
            trainings.setdefault(row.id or row.number, []).append(row)
    return [_stand_for(own) for own in trainings.values()]


def _stand_for(trainings: Sequence[TrialRow]) -> TrialRow:
    complete = [row for row in trainings if row.state is Ending.FINISHED]
    by_seed = list({row.seed: row for row in reversed(complete)}.values())
    if len(by_seed) <= 1:
        return by_seed[0] if by_seed else trainings[0]
    mean = statistics.fmean(row.val_accuracy or 0.0 for row in by_seed)
    errors = [row.standard_error for row in by_seed if row.standard_error is not None]
    error = statistics.fmean(errors) if errors else None  # all measured on the same images
    return replace(
        complete[0], val_accuracy=mean, standard_error=error, num_trainings=len(by_seed)
    )


def rank(rows: Sequence[TrialRow], budget: int | None = None) -> list[TrialRow]:
    """Return the networks trained to the end within a budget, the best score first.

    Of two with one score the smaller is first. Each has one row, as `gather` makes it.

    Every command, the progress line and what is kept on disk go by this order.
    """
    caps = Caps(budget) if budget is not None else None
    complete = [
        row
        for row in gather(rows)
        if row.state is Ending.FINISHED
        and row.num_params is not None
        and (caps is None or caps.holds(row.num_params))
    ]
    return sorted(complete, key=lambda row: (-row.score, row.num_params or 0))


def error_of(row: TrialRow, num_images: int) -> float:
    """Return the standard error of what was measured of a trial on so many images."""
    if row.standard_error is not None:
        return row.standard_error
    return standard_error(row.val_accuracy or 0.0, num_images)


def tied_with_first(ranked: Sequence[TrialRow], num_images: int) -> list[TrialRow]:
    """Return the rows within one standard error of the first one's score, the first included."""
    if not ranked:
        return []
    floor = ranked[0].score - error_of(ranked[0], num_images)
    return [row for row in ranked if row.score >= floor]


def pareto_front(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the Pareto front of score against parameters, the smallest network first.

    They are the best of every budget: `rank(rows, budget)[0]` is the last that fits.
    """
    front: list[TrialRow] = []
    for row in sorted(rank(rows), key=lambda row: row.num_params or 0):
        if not front or row.score > front[-1].score:
            front.append(row)
    return front


def _to_row(trial: FrozenTrial) -> TrialRow:
    attrs = trial.user_attrs
    steps = trial.intermediate_values
    last = steps[max(steps)] if steps else None
    return TrialRow(
        number=trial.number,
        state=_state(trial),
        id=attrs.get(names.ID, ""),
        num_params=attrs.get(names.NUM_PARAMS),
        macs=attrs.get(names.MACS),
        val_accuracy=trial.value if trial.state == TrialState.COMPLETE else last,
        train_accuracy=attrs.get(names.TRAIN_ACCURACY),
        num_epochs=len(steps),
        source=attrs.get(names.SOURCE, ""),
        known_name=attrs.get(names.KNOWN_NAME),
        reason=attrs.get(names.REASON),
        elapsed_seconds=trial.duration.total_seconds() if trial.duration else None,
        num_over_budget=attrs.get(names.OVER_BUDGET, 0),
        num_repeats=attrs.get(names.REPEATS, 0),
        architecture=attrs.get(names.ARCHITECTURE),
        notation=attrs.get(names.NOTATION),
        curve=tuple((step, value) for step, value in sorted(steps.items()) if value == value),
        device_seconds=attrs.get(names.DEVICE_SECONDS, attrs.get(names.SECONDS)),
        resumes=attrs.get(names.RESUMES),
        started_at=trial.datetime_start,
        audited_epoch=attrs.get(names.AUDITED_EPOCH),
        target_budget=attrs.get(names.TARGET_BUDGET),
        seed=attrs.get(names.SEED),
        standard_error=attrs.get(names.STANDARD_ERROR),
    )


def _state(trial: FrozenTrial) -> Ending | str:
    no_ending = {TrialState.PRUNED: "rejected", TrialState.FAIL: "failed"}
    return ending_of(trial) or no_ending.get(trial.state, trial.state.name.lower())


def count_workers(study: optuna.Study, workers: Path) -> int:
    """Return how many trials are being trained by a process that this host sees, or elsewhere.

    Args:
        study: The study.
        workers: The folder of the workers' lock files.
    """
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return sum(not is_dead(trial, workers) for trial in running)
