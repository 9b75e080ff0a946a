"""What is said of a study's rungs: in JSON, in `best`, in `status`.

Do short trainings rank networks as long ones do? Kendall's rank correlation between every two
rungs says it. Only networks that were trained to their end in both are compared. The upper rung
holds the best of the lower one alone; among these, which lie close together, two rankings agree
less than over all networks.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from nas.results.study_rungs import Rung, StudyRungs
from nas.statistics import kendall_tau, tau_interval
from nas.study.rungs import describe_training
from nas.units import list_words, plural

MIN_FOR_INTERVAL = 8  # as for the paper's question; fewer give an interval that says nothing


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b between the accuracies of two rungs, and its 95% interval.

    Args:
        low_epochs: Epochs in the lower rung.
        high_epochs: Epochs in the upper rung.
        low_images: Training images in the lower rung.
        high_images: Training images in the upper rung.
        num_networks: Networks trained to their end in both.
        tau: The correlation; None below two networks, or where all are equal in one rung.
        low: Lower end of the interval; None below `MIN_FOR_INTERVAL` networks.
        high: Upper end.
    """

    low_epochs: int
    high_epochs: int
    low_images: int
    high_images: int
    num_networks: int
    tau: float | None
    low: float | None
    high: float | None


def compare_rungs(low: Rung, high: Rung) -> Agreement:
    """Return how far two rungs rank their common networks alike."""
    left, right = low.accuracies(), high.accuracies()
    common = sorted(left.keys() & right.keys())
    tau = kendall_tau([left[number] for number in common], [right[number] for number in common])
    ends: tuple[float | None, float | None] = None, None
    if tau is not None and len(common) >= MIN_FOR_INTERVAL:
        ends = tau_interval(tau, len(common))
    return Agreement(low.epochs, high.epochs, low.images, high.images, len(common), tau, *ends)


def compare_all(study_rungs: StudyRungs) -> list[Agreement]:
    """Return the rank correlation between every two rungs, where the upper one has any."""
    pairs = combinations(study_rungs.rungs, 2)
    return [compare_rungs(low, high) for low, high in pairs if high.num_trained]


def describe_agreement(item: Agreement) -> str:
    """Return the correlation in a sentence."""
    text = f"Ranks after {item.low_epochs} and {plural(item.high_epochs, 'epoch')}: "
    if item.low_images != item.high_images:
        text = (
            f"Ranks after {plural(item.low_epochs, 'epoch')} on {item.low_images:,} images and "
            f"{item.high_epochs} on {item.high_images:,}: "
        )
    if item.num_networks < 2:
        return f"{text}{item.num_networks} trained to the end in both, nothing to compare."
    if item.tau is None:
        return f"{text}all {item.num_networks} networks are equal in one of them."
    text += f"Kendall tau {item.tau:+.2f}"
    if item.low is None or item.high is None:
        return f"{text} over {item.num_networks} networks, too few for an interval."
    return f"{text} [{item.low:+.2f}, {item.high:+.2f}] over {item.num_networks} networks."


def rungs_record(study_rungs: StudyRungs, budget: int) -> dict[str, Any]:
    """Return the rungs as JSON-ready values, and which one decides for a budget."""
    rung = study_rungs.deciding_rung(budget)
    return {
        "epochs": rung.epochs,
        "images": rung.images,
        "rung": rung.study if rung.spec is not None else None,
        "rungs": [
            {
                "study": item.study,
                "epochs": item.epochs,
                "images": item.images,
                "count": item.spec.count if item.spec is not None else None,
                "target_trials": item.num_trials,
                "counted": item.num_trained,
                "broken": item.num_broken,
                "running": sum(row.state == "running" for row in item.rows),
            }
            for item in study_rungs.upper
        ],
        "rank_correlations": [asdict(item) for item in compare_all(study_rungs)],
    }


def describe_deciding_rung(study_rungs: StudyRungs, budget: int) -> list[str]:
    """Return which rung the accuracies come from, and what the search's own are worth."""
    rung = study_rungs.deciding_rung(budget)
    silent = study_rungs.rungs[study_rungs.rungs.index(rung) + 1 :]
    if rung.spec is None:
        length = describe_training(rung.epochs, rung.images)
        lines = [
            f"Accuracies after {length}, of the search: short trainings rank networks "
            "only roughly."
        ]
    else:
        trained = rung.num_trained - rung.num_broken
        lines = [
            f"Accuracies after {study_rungs.training(rung)}, of rung {rung.label}: "
            f"{trained} of {rung.num_trials or rung.spec.count} trained."
        ]
    if silent:
        names = list_words(item.label for item in silent)
        lead = f"Rungs {names} do" if len(silent) > 1 else f"Rung {names} does"
        lines.append(
            f"{lead} not decide for {budget:,} parameters: the best network within them has not "
            "been trained there."
        )
    return lines


def describe_agreements(study_rungs: StudyRungs) -> list[str]:
    """Return the rank correlations in sentences."""
    lines = [describe_agreement(item) for item in compare_all(study_rungs)]
    if lines:
        lines.append(
            "  (a rung trains only the best of the one below; these are close, and two rankings "
            "agree less on them than on all networks)"
        )
    return lines


def describe_rungs(study_rungs: StudyRungs) -> list[str]:
    """Return a line on each rung, for `status`."""
    lines = []
    for rung in study_rungs.upper:
        assert rung.spec is not None
        trained = rung.num_trained - rung.num_broken
        if rung.num_trials is None:
            text = f"{trained} of {rung.spec.count} trained, as the rung below goes on"
        else:
            text = f"{trained} of {rung.num_trials} trained"
        text += f", {rung.num_broken} broken" if rung.num_broken else ""
        lines.append(f"{f'rung {rung.label}':<9} {text}")
    return lines
