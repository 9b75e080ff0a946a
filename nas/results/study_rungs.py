"""A study with its rungs, as it stands: which rung decides for a budget, and how far they agree.

The rows of a rung carry the numbers of the search's own trials, so that `show N` and
`retrain --trial N` mean the network that a table names, whichever rung it was measured in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import optuna
from optuna.storages import BaseStorage

from nas.results.estimates import EstimateReader
from nas.results.question import TOO_SHORT, Answer, answer_question
from nas.results.spending import Spending, account, add_up
from nas.results.summary import Summary, found_minus_baseline, summarise
from nas.study.attributes import CANDIDATES, NUM_NETWORKS, ORIGIN, RUNGS, TARGET
from nas.study.candidates import choose_candidates
from nas.study.definition import StudyDefinition
from nas.study.rungs import RungSpec, describe_training, parse_rungs, rung_study
from nas.study.storage import has_study, load_study
from nas.study.trials import TrialRow, rank, read_rows


@dataclass(frozen=True)
class Rung:
    """The search, or one of its rungs.

    Args:
        spec: What it trains; None is the search itself.
        definition: What its trials train by, under the name of its Optuna study.
        num_trials: Trials it is to have, as far as there are networks; None while a rung's
            networks are not chosen, or no more as the rungs or the trials below have changed.
        rows: Its trials; those of a rung under the numbers of the search's trials.
    """

    spec: RungSpec | None
    definition: StudyDefinition
    num_trials: int | None
    rows: tuple[TrialRow, ...]

    @property
    def study(self) -> str:
        """Return the name of its Optuna study."""
        return self.definition.name

    @property
    def label(self) -> str:
        """Return what it is called on screens; nothing for the search itself."""
        return f"@{self.spec.label}" if self.spec is not None else ""

    @property
    def epochs(self) -> int:
        """Return the epochs of each of its trials."""
        return self.definition.plan.epochs

    @property
    def images(self) -> int:
        """Return the training images of each of its trials."""
        return self.definition.plan.train_images

    @property
    def epoch_cost(self) -> float:
        """Return what an epoch costs, in training images; a pass forward is a third of one."""
        return self.images + self.definition.plan.val_images / 3

    @property
    def num_trained(self) -> int:
        """Return how many trials count."""
        return sum(row.is_counted for row in self.rows)

    @property
    def has_ended(self) -> bool:
        """Tell whether it has its trials."""
        return self.num_trials is not None and self.num_trained >= self.num_trials

    def accuracies(self) -> dict[int, float]:
        """Return the accuracy of every network that was trained to its end, by trial."""
        return {row.number: row.val_accuracy or 0.0 for row in rank(self.rows)}


@dataclass(frozen=True)
class StudyRungs:
    """A search and its rungs, the lowest first; rung 0 is the search.

    Args:
        definition: The search.
        rungs: The search itself, then its rungs.
    """

    definition: StudyDefinition
    rungs: tuple[Rung, ...]

    @property
    def upper(self) -> tuple[Rung, ...]:
        """Return the rungs above the search."""
        return self.rungs[1:]

    def current(self) -> Rung:
        """Return the rung whose trials are trained now or next, the highest where none is."""
        rung = self.rungs[0]
        for above in self.upper:
            if not rung.has_ended or above.num_trials is None:
                break
            rung = above
        return rung

    def deciding_rung(self, budget: int) -> Rung:
        """Return the highest rung that decides for a budget.

        A rung decides for a budget once it has trained the most accurate network that the rung
        below has within it: else its best may be no more than what happened to be trained again.
        """
        deciding = self.rungs[0]
        for rung in self.upper:
            ranked = rank(deciding.rows, budget)
            trained = {row.number for row in rung.rows if row.is_counted}
            if not ranked or ranked[0].number not in trained or not rank(rung.rows, budget):
                break
            deciding = rung
        return deciding

    def training(self, rung: Rung) -> str:
        """Return the length of a rung's trainings in words, images where the rungs differ."""
        differ = len({item.images for item in self.rungs}) > 1
        return describe_training(rung.epochs, rung.images if differ else None)

    def summarise(self, budget: int) -> Summary:
        """Return the outcome within a budget by the rung that decides.

        Funnel and Pareto front are those of the search, which has networks of every size. Best
        found and best baseline are those of the highest rung that has both.
        """
        name, val_images = self.definition.name, self.definition.plan.val_images
        answer = self.answer(budget)
        by_study = {
            rung.study: summarise(name, budget, val_images, rung.rows, rung.epochs, answer)
            for rung in self.rungs
        }
        own, decided = by_study[self.rungs[0].study], by_study[self.deciding_rung(budget).study]
        compared = [item for item in by_study.values() if found_minus_baseline(item)] or [decided]
        return replace(
            decided,
            funnel=own.funnel,
            pareto_front=own.pareto_front,
            smallest=own.smallest,
            best_found=compared[-1].best_found,
            best_baseline=compared[-1].best_baseline,
            epochs=compared[-1].epochs,
        )

    def answer(self, budget: int) -> Answer:
        """Answer the paper's question by the highest rung above the search with the candidates."""
        answers = [
            answer_question(rung.rows, budget, rung.epochs, rung.images) for rung in self.upper
        ]
        told = [item for item in answers if item.correlations]
        if told:
            return told[-1]
        most = max((item.num_candidates for item in answers), default=0)
        own = self.rungs[0]
        return Answer(TOO_SHORT, most, (), own.epochs, own.images)

    def seconds_by_rung(self, workers: int = 1) -> list[float] | None:
        """Return the expected seconds of what each rung lacks, None while nobody can know.

        An image is assumed to take as long as in the longest training of the same network so far.
        """
        rates = {
            row.number: row.elapsed_seconds / row.num_epochs / rung.epoch_cost
            for rung in self.rungs
            for row in rung.rows
            if row.is_counted and row.elapsed_seconds and row.num_epochs
        }
        if not rates:
            return None if self.upper else []
        mean, found = sum(rates.values()) / len(rates), []
        for index in range(1, len(self.rungs)):
            lacking, cost = self._lacks(index), self.rungs[index].epoch_cost
            seconds = [epochs * cost * rates.get(number, mean) for number, epochs in lacking]
            found.append(sum(seconds) / max(min(workers, len(seconds)), 1))
        return found

    def _lacks(self, index: int) -> list[tuple[int, int]]:
        """Return which trials a rung would train if it were filled now, with the epochs left.

        The number is -1 where the rung below has yet to find the network.
        """
        below, rung = self.rungs[index - 1 : index + 1]
        assert rung.spec is not None
        measured = [item for item in self.rungs[:index] if rank(item.rows)]
        rows = measured[-1].rows if measured else ()
        chosen = choose_candidates(rows, rung.spec.count)
        numbers = [row.number for row in chosen]
        if not below.has_ended:
            numbers += [-1] * (rung.spec.count - len(numbers))
        done = {row.number: row.num_epochs for row in rung.rows if row.state == "running"}
        done |= {row.number: rung.epochs for row in rung.rows if row.is_counted}
        return [(number, rung.epochs - done.get(number, 0)) for number in numbers]


def rungs_of(attrs: Mapping[str, Any]) -> tuple[RungSpec, ...]:
    """Return the rungs of a study from the user attributes of the search's Optuna study."""
    text = attrs.get(RUNGS)
    return parse_rungs(text) if text is not None else ()


def read_study_rungs(
    definition: StudyDefinition,
    storage: BaseStorage,
    study: optuna.Study,
    rows: Sequence[TrialRow] | None = None,
    rungs: Sequence[RungSpec] | None = None,
) -> StudyRungs:
    """Read a study with its rungs; nothing is written.

    Args:
        definition: The search.
        storage: Its store.
        study: Its Optuna study.
        rows: Its trials, where they are at hand.
        rungs: The rungs that it is to have; None takes those it has.
    """
    attrs = study.user_attrs
    own = tuple(EstimateReader(definition.input_spec).read(study) if rows is None else rows)
    num_trials = attrs.get(TARGET)
    if num_trials is not None and attrs.get(NUM_NETWORKS):
        num_trials = min(num_trials, attrs[NUM_NETWORKS])
    found_rungs = [Rung(None, definition, num_trials, own)]
    rungs = rungs_of(attrs) if rungs is None else rungs
    begun = begun_rungs(definition, storage, rungs)
    for spec in rungs:
        below, num_trials, found = found_rungs[-1], None, []
        if spec in begun:
            found = read_rung_rows(begun[spec])
            upper_attrs = begun[spec].user_attrs
            basis = basis_of(below.study, below.rows, spec)
            if upper_attrs.get(CANDIDATES, {}).get("basis") == basis:
                num_trials = upper_attrs.get(TARGET)
        found_rungs.append(Rung(spec, definition.at_rung(spec), num_trials, tuple(found)))
    return StudyRungs(definition, tuple(found_rungs))


def spend(
    definition: StudyDefinition,
    storage: BaseStorage,
    study: optuna.Study,
    now: datetime | None = None,
) -> Spending:
    """Return the device time of a search and its rungs; `now` is as for `account`."""
    begun = begun_rungs(definition, storage, rungs_of(study.user_attrs))
    own = account(read_rows(study), definition.plan.epochs, now)
    return add_up(
        [own, *(account(read_rows(item), spec.epochs, now) for spec, item in begun.items())]
    )


def basis_of(below: str, rows: Sequence[TrialRow], spec: RungSpec) -> dict[str, Any]:
    """Return what a rung's networks are chosen from; while it is the same, the choice stays."""
    trained = sum(row.is_counted for row in rows)
    return {"of": below, "trained": trained, "count": spec.count}


def begun_rungs(
    definition: StudyDefinition, storage: BaseStorage, rungs: Sequence[RungSpec]
) -> dict[RungSpec, optuna.Study]:
    """Return the Optuna studies of those rungs that have one."""
    names = {spec: rung_study(definition.name, spec) for spec in rungs}
    return {
        spec: load_study(name, storage) for spec, name in names.items() if has_study(name, storage)
    }


def read_rung_rows(study: optuna.Study) -> list[TrialRow]:
    """Return the trials of a rung, under the numbers of the search's trials."""
    trials = study.get_trials(deepcopy=False)
    return [
        replace(row, number=trial.user_attrs.get(ORIGIN, row.number))
        for row, trial in zip(read_rows(study), trials, strict=False)
    ]
