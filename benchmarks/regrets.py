"""Searches on tables as records: kept in a file, summarised as means and paired differences."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Result:
    """One search.

    Args:
        table: Digest of the table and of how its codes are read.
        budget: As given, `p25` or a number of parameters.
        sampler: A key of `CONTENDERS`.
        seed: The repetition.
        evaluations: Checkpoints.
        regrets: Regret of the named network at each, in accuracy points.
        raw_regrets: Regret of the most accurate measurement at each.
        elapsed_seconds: Time of the search.
    """

    table: str
    budget: str
    sampler: str
    seed: int
    evaluations: tuple[int, ...]
    regrets: tuple[float, ...]
    raw_regrets: tuple[float, ...]
    elapsed_seconds: float


def read_results(path: Path | None) -> list[Result]:
    """Return the searches of earlier runs; a torn last line is left out."""
    if path is None or not path.exists():
        return []
    results = []
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith("\n"):
            record: dict[str, Any] = json.loads(line)
            for name in ("evaluations", "regrets", "raw_regrets"):
                record[name] = tuple(record[name])
            results.append(Result(**record))
    return results


def append_result(path: Path | None, result: Result) -> None:
    """Write a search behind the others; a torn last line is cut off first."""
    if path is None:
        return
    with path.open("a+b") as file:
        file.seek(0)
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)
        file.write((json.dumps(asdict(result)) + "\n").encode())


def mean_interval(values: Iterable[float]) -> tuple[float, float]:
    """Return the mean and the half-width of its 95% interval.

    Source: Student's t distribution.
    """
    array = np.array(list(values))
    if len(array) < 2:
        return float(array.mean()), math.nan
    quantile = float(stats.t.ppf(0.975, len(array) - 1))
    return float(array.mean()), quantile * float(array.std(ddof=1)) / math.sqrt(len(array))


def summarise(results: Sequence[Result], reference: str) -> dict[str, Any]:
    """Return the mean regrets, and the paired differences between the reference and the others."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for item in results:
        groups.setdefault((item.budget, item.sampler), []).append(item)
    regrets: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    for (budget, sampler), items in sorted(groups.items()):
        regrets += [_regret_row(items, index) for index in range(len(items[0].evaluations))]
        ours = {item.seed: item for item in groups.get((budget, reference), [])}
        pairs = [(ours[item.seed], item) for item in items if item.seed in ours]
        if sampler != reference and pairs:
            last = len(items[0].evaluations) - 1
            indices = [(0, last), *((index, index) for index in range(last + 1 if last else 0))]
            differences += [_difference_row(pairs, *chosen) for chosen in indices]
    return {"regrets": regrets, "differences": differences}


def _regret_row(items: Sequence[Result], index: int) -> dict[str, Any]:
    mean, half_width = mean_interval(item.regrets[index] for item in items)
    raw, _ = mean_interval(item.raw_regrets[index] for item in items)
    return {
        "budget": items[0].budget,
        "sampler": items[0].sampler,
        "evaluations": items[0].evaluations[index],
        "n": len(items),
        "mean_regret": mean,
        "half_width": half_width,
        "mean_raw_regret": raw,
        "seconds_per_search": float(np.mean([item.elapsed_seconds for item in items])),
    }


def _difference_row(
    pairs: Sequence[tuple[Result, Result]], ours: int, theirs: int
) -> dict[str, Any]:
    """Compare the reference at one checkpoint with the other at another, seed by seed."""
    mean, half_width = mean_interval(
        first.regrets[ours] - second.regrets[theirs] for first, second in pairs
    )
    first, second = pairs[0]
    return {
        "budget": first.budget,
        "reference": first.sampler,
        "reference_evaluations": first.evaluations[ours],
        "sampler": second.sampler,
        "evaluations": second.evaluations[theirs],
        "n": len(pairs),
        "mean_difference": mean,
        "half_width": half_width,
    }


def format_text(summary: dict[str, Any]) -> str:
    """Return the summary as two tables."""
    lines = ["budget  sampler                 evaluations    n  regret (95%)      raw    s/search"]
    for row in summary["regrets"]:
        lines.append(
            f"{row['budget']:7} {row['sampler']:23} {row['evaluations']:11} {row['n']:4}  "
            f"{row['mean_regret']:.3f} +- {row['half_width']:.3f}  {row['mean_raw_regret']:.3f}  "
            f"{row['seconds_per_search']:8.1f}"
        )
    if summary["differences"]:
        lines += ["", "paired differences of regret (below 0: the reference is better)"]
    for row in summary["differences"]:
        low = row["mean_difference"] - row["half_width"]
        high = row["mean_difference"] + row["half_width"]
        lines.append(
            f"{row['budget']:7} {row['reference']}@{row['reference_evaluations']} - "
            f"{row['sampler']}@{row['evaluations']}: {row['mean_difference']:+.3f} "
            f"[{low:+.3f}, {high:+.3f}]  n={row['n']}"
        )
    return "\n".join(lines)
