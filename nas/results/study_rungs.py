"""A study with its rungs, as it stands: who is promoted, which rung decides, what it lacks.

Asynchronous successive halving (Li et al. 2020, "A System for Massively Parallel Hyperparameter
Tuning"): the best of a rung are promoted while the rung below is still being filled,

    rung 2    6 x 100 epochs     . . x                   one of the best of each rung is trained
    rung 1    24 x 30 epochs     . x . x . x x . x       again in the one above, from scratch,
    rung 0    the search         x x x x x x x x x x ... as soon as enough below have ended

so that a search has results in every rung whenever it is stopped. What is to be promoted follows
from the trials alone: whoever looks, before or after a crash, sees the same.

The rows of a rung carry the numbers of the search's own trials, so that `show N` and
`retrain --trial N` mean the network that a table names, whichever rung it was measured in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import optuna
from optuna.storages import BaseStorage

from nas.results.estimates import EstimateReader
from nas.results.question import TOO_SHORT, Answer, answer_question
from nas.results.spending import Spending, account, add_up
from nas.results.summary import Summary, found_minus_baseline, summarise
from nas.study.attributes import KNOWN, NUM_NETWORKS, ORIGIN, RUNGS, SAMPLED_UNITS, TARGET
from nas.study.definition import StudyDefinition
from nas.study.rungs import NONE_YET, RungSpec, describe_training, parse_rungs, rung_study
from nas.study.storage import has_study
from nas.study.trials import TrialRow, rank, read_rows
from nas.training.result import Ending

# What broke all of so many first trials is common to them: were half of the networks to break by
# themselves, one search in 256 would begin so.
MAX_BROKEN = 8


@dataclass(frozen=True)
class Rung:
    """The search, or one of its rungs.

    Args:
        spec: What it trains; None is the search itself.
        definition: What its trials train by, under the name of its Optuna study.
        num_trials: Trials it is to have, as far as there are networks; None of a rung while the
            one below goes on, as more may be owed to it than its count.
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
        plan = self.definition.plan
        return plan.folds * self.images + plan.val_images / 3

    @property
    def num_trained(self) -> int:
        """Return how many trials count."""
        return sum(row.is_counted for row in self.rows)

    @property
    def num_broken(self) -> int:
        """Return how many of these broke."""
        return sum(row.is_broken for row in self.rows)

    @property
    def has_ended(self) -> bool:
        """Tell whether it has its trials."""
        return self.num_trials is not None and self.num_trained >= self.num_trials

    @property
    def started(self) -> dict[int, TrialRow]:
        """Return its trials that wait, run or count, by network; what failed may be again."""
        return {row.number: row for row in self.rows if row.state not in ("failed", "rejected")}

    @property
    def unfinished(self) -> list[TrialRow]:
        """Return its trials that wait or run; what a dead process left goes first."""
        rows = [row for row in self.rows if row.state in ("waiting", "running")]
        return sorted(rows, key=lambda row: row.resumes is None)

    def not_had(self, below: Rung) -> list[TrialRow]:
        """Return the networks of the rung below that this one has no trial of, the best first."""
        # by id too: of a network with several seeds, another trial may stand for it later
        ids = {row.id for row in self.started.values()} - {""}
        return [
            row for row in rank(below.rows) if row.number not in self.started and row.id not in ids
        ]

    def promotions(self, below: Rung) -> list[int]:
        """Return the networks of the rung below that are to be trained in this one now, in order.

        Of its count it gets the share that the rung below has of its trials. The best baseline
        goes along with the first. When the rung below has ended, its best, its best baseline and
        best found network are owed on top where they are missing, up to three: else the two kinds
        could not be compared, nor could this rung decide. Estimates move with every training:
        without a bound, whoever is the best next would be owed again.
        """
        assert self.spec is not None
        ranked, started, num_due = rank(below.rows), self.started, self.spec.count
        if not below.has_ended:
            num_below = below.num_trials or (below.spec.count if below.spec else 0)
            num_due = num_due * min(below.num_trained, num_below) // max(num_below, 1)
        fresh = self.not_had(below)
        chosen = fresh[: max(num_due - len(started), 0)]
        begun = [*started.values(), *chosen]
        known = [row for row in ranked if row.source == KNOWN][:1]
        if below.has_ended:
            owed = ranked[:1] + known + [row for row in ranked if row.source != KNOWN][:1]
            owed = owed[: max(self.spec.count + len(owed) - len(begun), 0)]
        else:
            owed = known if begun and not any(row.source == KNOWN for row in begun) else []
        chosen += [row for row in owed if row in fresh]
        return list(dict.fromkeys(row.number for row in chosen))

    def accuracies(self) -> dict[int, float]:
        """Return the accuracy of every network that was trained to its end, by trial."""
        return {row.number: row.val_accuracy or 0.0 for row in rank(self.rows)}


@dataclass(frozen=True)
class StudyRungs:
    """A search and its rungs, the lowest first; rung 0 is the search.

    Args:
        definition: The search.
        rungs: The search itself, then its rungs.
        sampled_units: Mean `nas.results.forecast.cost_units` of networks drawn uniformly; None
            where unknown.
    """

    definition: StudyDefinition
    rungs: tuple[Rung, ...]
    sampled_units: float | None = None

    @property
    def upper(self) -> tuple[Rung, ...]:
        """Return the rungs above the search."""
        return self.rungs[1:]

    @property
    def has_ended(self) -> bool:
        """Tell whether the search and every rung have their trials."""
        return all(rung.has_ended for rung in self.rungs)

    @property
    def is_hopeless(self) -> bool:
        """Tell whether all trials of the search broke, `MAX_BROKEN` or more."""
        return MAX_BROKEN <= self.rungs[0].num_trained == self.rungs[0].num_broken

    def closed(self) -> StudyRungs:
        """Return the study as if its search ended now: each rung has a like share of its count."""
        own = self.rungs[0]
        if own.has_ended or not own.num_trials:
            return self
        upper = []
        for rung in self.upper:
            assert rung.spec is not None
            count = rung.spec.count * own.num_trained // own.num_trials
            upper.append((replace(rung.spec, count=count), rung.rows))
        closed = replace(own, num_trials=own.num_trained)
        return stack_rungs(closed, upper, self.sampled_units)

    def deciding_rung(self, budget: int) -> Rung:
        """Return the highest rung that decides for a budget.

        A rung decides for a budget once it has trained the most accurate network that the rung
        below has within it: else its best may be no more than what happened to be trained again.
        For the study's own budget it decides too when it has all its trials, those of a search
        that would end now.
        """
        deciding = self.rungs[0]
        for rung, closed in zip(self.upper, self.closed().upper, strict=True):
            ranked = rank(deciding.rows, budget)
            trained = {row.number for row in rung.rows if row.is_counted}
            is_done = closed.has_ended and budget >= self.definition.budget
            if not ranked or not rank(rung.rows, budget):
                break
            if not is_done and ranked[0].number not in trained:
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
            rung.study: summarise(
                name, budget, val_images, rung.rows, rung.epochs, rung.images, answer
            )
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
            images=compared[-1].images,
            estimated=self._estimated(),
            metric=self.definition.metric,
            class_counts=self.definition.class_counts,
        )

    def _estimated(self) -> str | None:
        """Return of which training the estimates are, None where of the search's own."""
        has_climbed = any(rank(rung.rows) for rung in self.upper)
        return self.training(self.rungs[-1]) if has_climbed else None

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

    def lacks(self, index: int) -> list[tuple[int, int]]:
        """Return which trials a rung would train if it were filled now, with the epochs they have.

        The number is -1 where the rung below has yet to find the network.
        """
        below, rung = self.rungs[index - 1 : index + 1]
        assert rung.spec is not None
        numbers = rung.promotions(below)
        if not below.has_ended:
            num_left = max(rung.spec.count - len(rung.started), 0)
            fresh = [row.number for row in rung.not_had(below)]
            numbers = [*fresh, *[-1] * num_left][:num_left]
        begun = [(row.number, row.num_epochs) for row in rung.unfinished]
        return begun + [(number, 0) for number in numbers]


def rungs_of(attrs: Mapping[str, Any]) -> tuple[RungSpec, ...]:
    """Return the rungs of a study from the user attributes of the search's Optuna study."""
    text = attrs.get(RUNGS)
    return parse_rungs(text) if text not in (None, NONE_YET) else ()


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
    if rows is None:
        rows = make_estimates(definition, storage).read(study)
    own = tuple(rows)
    num_trials = attrs.get(TARGET)
    if num_trials is not None and attrs.get(NUM_NETWORKS) is not None:
        num_trials = min(num_trials, attrs[NUM_NETWORKS])
    rungs = rungs_of(attrs) if rungs is None else rungs
    begun = begun_rungs(definition, storage, rungs)
    upper = [(spec, read_rung_rows(begun[spec], own) if spec in begun else []) for spec in rungs]
    return stack_rungs(Rung(None, definition, num_trials, own), upper, attrs.get(SAMPLED_UNITS))


def stack_rungs(
    search: Rung,
    upper: Iterable[tuple[RungSpec, Sequence[TrialRow]]],
    sampled_units: float | None = None,
) -> StudyRungs:
    """Return a study with its rungs; those above one that has ended know what they are owed.

    Args:
        search: The search itself.
        upper: The rungs above it, the lowest first, with their trials.
        sampled_units: As in `StudyRungs`.
    """
    found = [search]
    for spec, rows in upper:
        below, rung = found[-1], Rung(spec, search.definition.at_rung(spec), None, tuple(rows))
        if below.has_ended:
            num_trials = len(rung.started) + len(rung.promotions(below))
            rung = replace(rung, num_trials=num_trials)
        found.append(rung)
    return StudyRungs(search.definition, tuple(found), sampled_units)


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


def begun_rungs(
    definition: StudyDefinition, storage: BaseStorage, rungs: Sequence[RungSpec]
) -> dict[RungSpec, optuna.Study]:
    """Return the Optuna studies of those rungs that have one."""
    names = {spec: rung_study(definition.name, spec) for spec in rungs}
    return {
        spec: optuna.load_study(study_name=name, storage=storage)
        for spec, name in names.items()
        if has_study(name, storage)
    }


def read_rung_rows(study: optuna.Study, own: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the trials of a rung, under the numbers of the search's trials.

    Args:
        study: The rung's Optuna study.
        own: The trials of the search, whose estimates are those of the rung's as well.
    """
    found, below = [], {row.number: row for row in own}
    for row, trial in zip(read_rows(study), study.get_trials(deepcopy=False), strict=False):
        row = replace(row, number=trial.user_attrs.get(ORIGIN, row.number))
        origin = below.get(row.number)
        if origin is not None and row.state is Ending.FINISHED:
            row = replace(row, estimate=origin.estimate, estimate_sd=origin.estimate_sd)
        found.append(row)
    return found


def upper_rungs(
    definition: StudyDefinition, storage: BaseStorage, study: optuna.Study
) -> list[tuple[float, optuna.Study]]:
    """Return the rungs of a search that have begun, with their fidelity.

    It is 0 for a training of the search and 1 for one of the highest rung; between them it is
    linear in the logarithm of the images that a training sees, over all its epochs. A rung whose
    trainings see no more than the search's is left out.
    """
    plan, specs = definition.plan, rungs_of(study.user_attrs)
    lengths = {
        spec: math.log(spec.epochs * (spec.images or plan.train_images))
        - math.log(plan.epochs * plan.train_images)
        for spec in specs
    }
    begun = begun_rungs(definition, storage, [spec for spec in specs if lengths[spec] > 0])
    return [(lengths[spec] / max(lengths.values()), item) for spec, item in begun.items()]


def make_estimates(definition: StudyDefinition, storage: BaseStorage) -> EstimateReader:
    """Return the reader of a study's estimates, its rungs taken in."""
    return EstimateReader(definition.input_spec, partial(upper_rungs, definition, storage))
