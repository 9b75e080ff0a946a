"""What is said of a study's rungs: in JSON, in `best`, in `status`. Nothing where it has none."""

from __future__ import annotations

from typing import Any

from nas.results.agreement import describe_agreement
from nas.results.ladder import Ladder


def ladder_record(ladder: Ladder, budget: int) -> dict[str, Any]:
    """Return the rungs as JSON-ready values, and which one speaks for a budget."""
    level = ladder.level_for(budget)
    return {
        "epochs": level.epochs,
        "rung": level.study if level.rung is not None else None,
        "rungs": [
            {
                "study": item.study,
                "epochs": item.epochs,
                "count": item.rung.count if item.rung is not None else None,
                "target_trials": item.target,
                "counted": item.num_trained,
                "broken": sum(row.state == "broken" for row in item.rows),
                "running": sum(row.state == "running" for row in item.rows),
            }
            for item in ladder.rungs
        ],
        "rank_correlations": [item.to_dict() for item in ladder.agreements()],
    }


def describe_level(ladder: Ladder, budget: int) -> list[str]:
    """Return which rung the accuracies come from; nothing of a study without rungs."""
    if not ladder.rungs:
        return []
    level = ladder.level_for(budget)
    silent = [item for item in ladder.rungs if item.epochs > level.epochs]
    if level.rung is None:
        lines = [f"Accuracies after the {level.epochs} epochs of the search."]
    else:
        lines = [
            f"Accuracies after {level.epochs} epochs, of rung @{level.epochs}: "
            f"{level.num_trained} of {level.target or level.rung.count} trained."
        ]
    if silent:
        names = ", ".join(f"@{item.epochs}" for item in silent)
        lines.append(
            f"Rung {names} does not speak for {budget:,} parameters: the best network within them "
            "has not been trained in it."
        )
    return lines


def describe_agreements(ladder: Ladder) -> list[str]:
    """Return the rank correlations in sentences."""
    lines = [describe_agreement(item) for item in ladder.agreements()]
    if lines:
        lines.append(
            "  (a rung has the best of the one below alone: close ones, which two rankings order "
            "less alike than all networks)"
        )
    return lines


def describe_rungs(ladder: Ladder) -> list[str]:
    """Return a line on each rung, for `status`."""
    lines = []
    for level in ladder.rungs:
        assert level.rung is not None
        if level.target is None:
            text = f"the {level.rung.count} best, when the rung below is done"
            text += f"; {level.num_trained} trained so far" if level.num_trained else ""
        else:
            text = f"{level.num_trained} of {level.target} trained"
            broken = sum(row.state == "broken" for row in level.rows)
            text += f", {broken} broken" if broken else ""
        lines.append(f"{f'rung @{level.epochs}':<10}{text}")
    return lines
