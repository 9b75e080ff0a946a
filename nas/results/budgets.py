"""Several budgets in one study: each trial is proposed for one of them, in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nas.results.summary import percent
from nas.space import BudgetedSpace
from nas.study.definition import StudyDefinition
from nas.study.trials import TrialRow, error_of, rank


def spread(space: BudgetedSpace, budgets: Sequence[int]) -> tuple[BudgetedSpace, ...]:
    """Return the space under each budget; the space alone where there is none.

    Raises:
        BudgetError: No network of the space keeps a budget; the smallest network is named.
    """
    budgets = budgets or (space.caps.budget,)
    return tuple(space if own == space.caps.budget else space.under(own) for own in budgets)


def budgets_record(rows: Sequence[TrialRow], definition: StudyDefinition) -> list[dict[str, Any]]:
    """Return for each budget its best trial and how many were proposed for it, JSON-ready."""
    num_images = definition.plan.val_images
    record: list[dict[str, Any]] = []
    for budget in definition.targets:
        best = next(iter(rank(rows, budget)), None)
        record.append(
            {
                "budget": budget,
                "num_trials": sum(row.is_counted and row.target_budget == budget for row in rows),
                "best_trial": best.number if best else None,
                f"val_{definition.metric}": best.val_accuracy if best else None,
                "standard_error": error_of(best, num_images) if best else None,
                "num_params": best.num_params if best else None,
            }
        )
    return record


def describe_budgets(rows: Sequence[TrialRow], definition: StudyDefinition) -> list[str]:
    """Return a line for each budget: its best trial, and how many were proposed for it."""
    lines = []
    for best in budgets_record(rows, definition):
        what = "no trial was trained to its end"
        if best["best_trial"] is not None:
            what = (
                f"trial {best['best_trial']}: "
                f"{percent(best[f'val_{definition.metric}'], best['standard_error'])}, "
                f"{best['num_params']:,} parameters"
            )
        lines.append(f"within {best['budget']:,}: {what}; {best['num_trials']} proposed for it")
    return lines
