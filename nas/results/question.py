"""The paper's question, asked of a rung: are deep, narrow bottleneck networks better?

Among the candidates that were trained to their end and use at least 90% of the budget, the rank
correlation of the accuracy with what the paper speaks of: total depth, mean width, share of
bottleneck blocks, width of the last stage. Parameters are nearly equal there, so that what differs
is the shape. Short trainings reward what learns fast, so that the search's own are not asked: it
takes a rung above them.

Source: Aswani, Biehl and Shi, "Network Depth and Number of Channels", "Basic vs Bottleneck".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.network.architecture import Architecture
from nas.network.caps import Caps
from nas.statistics import spearman, spearman_interval
from nas.study.definition import StudyDefinition
from nas.study.rungs import describe_training
from nas.study.trials import TrialRow, gather
from nas.training.result import Ending

PAPER_DATASET = "cifar10"
MIN_BUDGET_FRACTION = 0.9
MIN_CANDIDATES = 8
CLAIMED_SIGNS = {"total depth": 1, "mean width": -1, "share of bottlenecks": 1}
FAVOURS = "favours deep, narrow bottleneck networks"
DOES_NOT = "does not favour deep, narrow bottleneck networks"
CANNOT_TELL = "cannot tell whether deep, narrow bottleneck networks are better"
TOO_SHORT = "cannot tell: these trainings are too short to say"


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation of the accuracy with one feature, and its 95% interval.

    All three are None where the feature does not vary.
    """

    feature: str
    coefficient: float | None
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """Return the sign that the interval leaves, 0 where it contains 0."""
        if self.low is None or self.high is None:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0


@dataclass(frozen=True)
class Answer:
    """What a study answers to the paper's question.

    Args:
        verdict: `FAVOURS` where depth, narrowness and bottlenecks all raise the accuracy beyond
            doubt, `DOES_NOT` where one of them lowers it beyond doubt, else `CANNOT_TELL`;
            `TOO_SHORT` where no rung above the search has `MIN_CANDIDATES`.
        num_candidates: Candidates that were compared, or that the fullest such rung has.
        correlations: One per feature; empty below `MIN_CANDIDATES`.
        epochs: Epochs of each training, the search's own where they are too short.
        images: Training images of each epoch.
    """

    verdict: str
    num_candidates: int
    correlations: tuple[Correlation, ...]
    epochs: int
    images: int


def answer_question(rows: Sequence[TrialRow], budget: int, epochs: int, images: int) -> Answer:
    """Answer the paper's question from the trials of one rung.

    Args:
        rows: The trials; those that were pruned, broken, over the budget or far below it are
            left out.
        budget: Parameters a network may have.
        epochs: Epochs of each trial.
        images: Training images of each epoch.
    """
    caps, floor = Caps(budget), MIN_BUDGET_FRACTION * budget
    chosen = [
        row
        for row in gather(rows)
        if row.state is Ending.FINISHED
        and row.architecture is not None
        and floor <= (row.num_params or 0)
        and caps.holds(row.num_params or 0)
    ]
    if len(chosen) < MIN_CANDIDATES:
        return Answer(CANNOT_TELL, len(chosen), (), epochs, images)
    accuracies = [row.val_accuracy or 0.0 for row in chosen]
    features = [shape_features(row.architecture or {}) for row in chosen]
    correlations = tuple(
        correlate(name, [item[name] for item in features], accuracies) for name in features[0]
    )
    signs = {item.feature: item.sign for item in correlations}
    agreeing = [signs[name] * claimed for name, claimed in CLAIMED_SIGNS.items()]
    verdict = CANNOT_TELL
    if all(sign > 0 for sign in agreeing):
        verdict = FAVOURS
    elif any(sign < 0 for sign in agreeing):
        verdict = DOES_NOT
    return Answer(verdict, len(chosen), correlations, epochs, images)


def shape_features(record: Mapping[str, Any]) -> dict[str, float]:
    """Return what the paper speaks of, of an architecture's record; the mean is over blocks."""
    stages = Architecture.from_dict(record).stages
    depth = sum(stage.depth for stage in stages)
    bottlenecks = sum(stage.depth for stage in stages if stage.kind == "bottleneck")
    return {
        "total depth": float(depth),
        "mean width": sum(stage.depth * stage.width for stage in stages) / depth,
        "share of bottlenecks": bottlenecks / depth,
        "last-stage width": float(stages[-1].width),
    }


def correlate(feature: str, values: Sequence[float], accuracies: Sequence[float]) -> Correlation:
    """Return Spearman's rank correlation with its interval."""
    coefficient = spearman(values, accuracies)
    if coefficient is None:
        return Correlation(feature, None, None, None)
    low, high = spearman_interval(coefficient, len(values))
    return Correlation(feature, coefficient, low, high)


def asks_paper(definition: StudyDefinition) -> bool:
    """Tell whether a study is of the paper's data, so that its question is answered unasked."""
    return definition.dataset == PAPER_DATASET


def describe_answer(answer: Answer, metric: str = "accuracy") -> list[str]:
    """Return the answer in sentences; the metric in words."""
    percent = f"{100 * MIN_BUDGET_FRACTION:.0f}%"
    length = describe_training(answer.epochs, answer.images)
    if not answer.correlations:
        return [
            f"The paper's question: {TOO_SHORT} ({length}). It takes {MIN_CANDIDATES} candidates "
            f"with at least {percent} of the budget in one rung (--rungs); this study has "
            f"{answer.num_candidates}."
        ]
    lines = [
        f"The paper's question: this study {answer.verdict} ({answer.num_candidates} candidates "
        f"with at least {percent} of the budget, {length})."
    ]
    for item in answer.correlations:
        if item.coefficient is None:
            lines.append(f"  {metric} and {item.feature}: does not vary among them")
        else:
            lines.append(
                f"  {metric} and {item.feature}: rank correlation {item.coefficient:+.2f} "
                f"[{item.low:+.2f}, {item.high:+.2f}]"
            )
    return lines
