"""What a study found: the best and their ties, found against known, and the next command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas.budget import format_share
from nas.trials import (
    KNOWN,
    Funnel,
    TrialRow,
    choose_best,
    count_funnel,
    rank,
    resolvable_difference,
    standard_error,
    tied_with_first,
)

TOP = 5


@dataclass(frozen=True)
class Summary:
    """The outcome of a study within a budget.

    Args:
        name: The study.
        budget: Parameters a network may have.
        val_images: Images an accuracy was measured on.
        funnel: How many candidates went which way.
        ranked: Completed trials within the budget, the most accurate first.
        tied: Those within one standard error of the first.
        best: The smallest of the tied; None where nothing completed.
        best_found: The same among those the search proposed.
        best_known: The same among the known networks.
    """

    name: str
    budget: int
    val_images: int
    funnel: Funnel
    ranked: tuple[TrialRow, ...]
    tied: tuple[TrialRow, ...]
    best: TrialRow | None
    best_found: TrialRow | None
    best_known: TrialRow | None


def summarise(name: str, budget: int, val_images: int, rows: Sequence[TrialRow]) -> Summary:
    """Return the summary of a study's trials within a budget."""
    ranked = rank(rows, budget)
    found = [row for row in ranked if row.source != KNOWN]
    known = [row for row in ranked if row.source == KNOWN]
    return Summary(
        name=name,
        budget=budget,
        val_images=val_images,
        funnel=count_funnel(rows),
        ranked=tuple(ranked),
        tied=tuple(tied_with_first(ranked, val_images)),
        best=choose_best(ranked, val_images),
        best_found=choose_best(found, val_images),
        best_known=choose_best(known, val_images),
    )


def row_record(row: TrialRow, summary: Summary) -> dict[str, Any]:
    """Return a trial as JSON-ready values."""
    accuracy = row.val_accuracy or 0.0
    return {
        "trial": row.number,
        "id": row.id,
        "val_accuracy": accuracy,
        "standard_error": standard_error(accuracy, summary.val_images),
        "tied_with_best": row in summary.tied,
        "num_params": row.num_params,
        "budget_share": (row.num_params or 0) / summary.budget,
        "macs": row.macs,
        "source": row.source,
        "known_name": row.known_name,
        "notation": row.notation,
        "architecture": row.architecture,
    }


def summary_record(summary: Summary, top: int = TOP) -> dict[str, Any]:
    """Return the summary as JSON-ready values."""

    def optional(row: TrialRow | None) -> dict[str, Any] | None:
        return row_record(row, summary) if row is not None else None

    return {
        "study": summary.name,
        "budget": summary.budget,
        "val_images": summary.val_images,
        "funnel": {
            field: getattr(summary.funnel, field) for field in Funnel.__dataclass_fields__
        },
        "best": optional(summary.best),
        "best_found": optional(summary.best_found),
        "best_known": optional(summary.best_known),
        "top": [row_record(row, summary) for row in summary.ranked[:top]],
    }


def table_of(summary: Summary, top: int = TOP) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and cells of the best trials."""
    header = ("trial", "val accuracy", "parameters", "budget", "multiply-adds", "", "network")
    cells: list[tuple[str, ...]] = []
    for row in summary.ranked[:top]:
        accuracy = row.val_accuracy or 0.0
        error = standard_error(accuracy, summary.val_images)
        marks = [row.known_name or row.source]
        if row is summary.best:
            marks.append("best")
        elif row in summary.tied:
            marks.append("tied")
        cells.append(
            (
                str(row.number),
                f"{100 * accuracy:.2f} ± {100 * error:.2f}%",
                f"{row.num_params:,}",
                format_share(row.num_params or 0, summary.budget),
                f"{row.macs:,}",
                ", ".join(marks),
                row.notation or row.id,
            )
        )
    return header, cells


def verdict_lines(summary: Summary) -> list[str]:
    """Return how sure the study is, in sentences."""
    best = summary.best
    if best is None:
        return ["No trial within this budget was trained to its end yet."]
    lines = []
    others = [row for row in summary.tied if row is not best]
    if others:
        numbers = ", ".join(str(row.number) for row in others[:8]) + (
            f" and {len(others) - 8} more" if len(others) > 8 else ""
        )
        lines.append(
            f"Trial {best.number} is the best: tied within one standard error with trial "
            f"{numbers}, and the smallest of them."
        )
    else:
        lines.append(f"Trial {best.number} is the best, by more than one standard error.")
    lines.append(
        f"The best of {len(summary.ranked)} measured on the same {summary.val_images:,} images "
        "reads high: expect less from a fresh measurement."
    )
    lines.append(_found_against_known(summary))
    return lines


def _found_against_known(summary: Summary) -> str:
    found, known = summary.best_found, summary.best_known
    if found is None or known is None:
        missing = "found by the search" if found is None else "known"
        return f"No network {missing} was trained to its end, so there is nothing to compare with."
    difference = (found.val_accuracy or 0.0) - (known.val_accuracy or 0.0)
    limit = resolvable_difference(known.val_accuracy or 0.0, summary.val_images)
    sure = "more" if abs(difference) > limit else "less"
    return (
        f"Best found (trial {found.number}) against best known ({known.known_name}): "
        f"{100 * difference:+.2f} points, {sure} than the {100 * limit:.2f} this validation set "
        "resolves."
    )
