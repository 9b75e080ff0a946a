"""What is said of a study's rungs: in JSON, in `best`, in `status`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from nas.results.agreement import describe_agreement
from nas.results.study_rungs import StudyRungs


def rungs_record(study_rungs: StudyRungs, budget: int) -> dict[str, Any]:
    """Return the rungs as JSON-ready values, and which one decides for a budget."""
    rung = study_rungs.deciding_rung(budget)
    return {
        "epochs": rung.epochs,
        "rung": rung.study if rung.spec is not None else None,
        "rungs": [
            {
                "study": item.study,
                "epochs": item.epochs,
                "count": item.spec.count if item.spec is not None else None,
                "target_trials": item.num_trials,
                "counted": item.num_trained,
                "broken": sum(row.is_broken for row in item.rows),
                "running": sum(row.state == "running" for row in item.rows),
            }
            for item in study_rungs.upper
        ],
        "rank_correlations": [asdict(item) for item in study_rungs.agreements()],
    }


def describe_deciding_rung(study_rungs: StudyRungs, budget: int) -> list[str]:
    """Return which rung the accuracies come from, and what the search's own are worth."""
    rung = study_rungs.deciding_rung(budget)
    silent = [item for item in study_rungs.upper if item.epochs > rung.epochs]
    if rung.spec is None:
        images = study_rungs.definition.plan.train_images
        lines = [
            f"Accuracies after the {rung.epochs} epochs of the search on {images:,} images: short "
            "trainings rank networks only roughly."
        ]
    else:
        lines = [
            f"Accuracies after {rung.epochs} epochs, of rung @{rung.epochs}: "
            f"{rung.num_trained} of {rung.num_trials or rung.spec.count} trained."
        ]
    if silent:
        names = ", ".join(f"@{item.epochs}" for item in silent)
        lines.append(
            f"Rung {names} does not decide for {budget:,} parameters: the best network within "
            "them has not been trained in it."
        )
    return lines


def describe_agreements(study_rungs: StudyRungs) -> list[str]:
    """Return the rank correlations in sentences."""
    lines = [describe_agreement(item) for item in study_rungs.agreements()]
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
        if rung.num_trials is None:
            text = f"the {rung.spec.count} best, when the rung below is done"
            text += f"; {rung.num_trained} trained so far" if rung.num_trained else ""
        else:
            text = f"{rung.num_trained} of {rung.num_trials} trained"
            broken = sum(row.is_broken for row in rung.rows)
            text += f", {broken} broken" if broken else ""
        lines.append(f"{f'rung @{rung.epochs}':<10}{text}")
    return lines
