"""How far from the best network of a table a search ends, by sampler, budget and evaluations.

usage: python benchmarks/search_efficiency.py TABLE [--codes onehot|ordinal] [--sampler NAME ...]
           [--budget p25 ...] [--evaluations 50 ...] [--repetitions 100] [--results FILE]
           [--format text|json]

TABLE is JSON in NAS-Bench-Macro's form (`benchmarks/tables.py`); it is not part of this project.
A search sees one random training per network; regret is the best feasible mean over all trainings
less the mean of the network that the search names, in accuracy points. Repetition k has seed k,
and the same trainings for every method: differences are paired. `--results` keeps every finished
search, one line of JSON each; the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import math
import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.contenders import CONTENDERS, make_problem
from benchmarks.tables import TableSpace, load_table
from nas.budget import parse_count
from nas.errors import NasError, UsageError, unknown_name
from nas.samplers import DEFAULT_SAMPLER


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


def run_search(
    space: TableSpace, sampler: str, seed: int, checkpoints: Sequence[int]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the regrets and the raw regrets at the checkpoints, in accuracy points.

    A search that tried every network keeps its last result; one without a feasible network yet
    has the regret of the worst feasible one.
    """
    means = 100 * space.table.accuracies.mean(axis=1)
    best, worst = means[space.feasible_rows].max(), means[space.feasible_rows].min()
    # A search ends where every network was tried: that is its last checkpoint.
    marks = frozenset(min(mark, space.num_feasible()) for mark in checkpoints)
    last = (best - worst, best - worst)
    regrets: dict[int, tuple[float, float]] = {}
    for number, step in enumerate(CONTENDERS[sampler](make_problem(space, seed), marks), start=1):
        rows = (step.chosen, step.most_accurate)
        chosen, raw = (best - (worst if row is None else means[row]) for row in rows)
        last = (float(chosen), float(raw))
        if number in marks:
            regrets[number] = last
    reached = [regrets.get(min(mark, space.num_feasible()), last) for mark in checkpoints]
    return tuple(pair[0] for pair in reached), tuple(pair[1] for pair in reached)


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
    """Write a search behind the others, on a line of its own."""
    if path is None:
        return
    torn = path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")
    with path.open("a") as file:
        file.write(("\n" if torn else "") + json.dumps(asdict(result)) + "\n")


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
    """Return mean regrets, and paired differences of the reference at its first checkpoint.

    A difference is the reference's regret at its first checkpoint less the other's at its last,
    over the seeds that both have: below 0 the reference is better with fewer evaluations.
    """
    by_search = {(item.budget, item.sampler, item.seed): item for item in results}
    groups = sorted({(item.budget, item.sampler) for item in results})
    rows, differences = [], []
    for budget, sampler in groups:
        items = [item for item in results if (item.budget, item.sampler) == (budget, sampler)]
        for index, evaluations in enumerate(items[0].evaluations):
            mean, half = mean_interval(item.regrets[index] for item in items)
            raw, _ = mean_interval(item.raw_regrets[index] for item in items)
            rows.append(
                {
                    "budget": budget,
                    "sampler": sampler,
                    "evaluations": evaluations,
                    "n": len(items),
                    "mean_regret": mean,
                    "half_width": half,
                    "mean_raw_regret": raw,
                    "seconds_per_search": float(np.mean([i.elapsed_seconds for i in items])),
                }
            )
        pairs = [(by_search.get((budget, reference, item.seed)), item) for item in items]
        paired = [(ours, item) for ours, item in pairs if ours is not None]
        if sampler != reference and paired:
            for first, last, wording in ((0, -1, "first to last"), (0, 0, "first to first")):
                mean, half = mean_interval(
                    ours.regrets[first] - item.regrets[last] for ours, item in paired
                )
                differences.append(
                    {
                        "budget": budget,
                        "reference": reference,
                        "reference_evaluations": paired[0][0].evaluations[first],
                        "sampler": sampler,
                        "evaluations": paired[0][1].evaluations[last],
                        "compared": wording,
                        "n": len(paired),
                        "mean_difference": mean,
                        "half_width": half,
                    }
                )
    return {"regrets": rows, "differences": differences}


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


def read_budget(text: str, num_params: np.ndarray) -> int:
    """Return a budget in parameters: `p25` is that percentile of the table, else a count.

    Raises:
        UsageError: The text is neither.
    """
    match = re.fullmatch(r"p(\d{1,2}|100)", text)
    if match:
        return int(np.percentile(num_params, int(match.group(1))))
    return parse_count(text)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the searches that are missing and return the summary of all asked for."""
    table = load_table(args.table)
    digest = hashlib.sha256(args.table.read_bytes()).hexdigest()[:12] + ":" + args.codes
    checkpoints = tuple(sorted(set(args.evaluations)))
    wanted: list[Result] = []
    known = {
        (item.budget, item.sampler, item.seed): item
        for item in read_results(args.results)
        if item.table == digest and item.evaluations == checkpoints
    }
    spaces = {
        text: TableSpace(table, read_budget(text, table.num_params), args.codes)
        for text in args.budget
    }
    for seed in range(args.first_seed, args.first_seed + args.repetitions):
        for budget, sampler in itertools.product(args.budget, args.sampler):
            result = known.get((budget, sampler, seed))
            if result is None:
                started_at = time.perf_counter()
                regrets, raw = run_search(spaces[budget], sampler, seed, checkpoints)
                elapsed_seconds = time.perf_counter() - started_at
                result = Result(
                    digest, budget, sampler, seed, checkpoints, regrets, raw, elapsed_seconds
                )
                append_result(args.results, result)
                print(f"{budget} {sampler} seed {seed}: {elapsed_seconds:.1f}s", file=sys.stderr)
            wanted.append(result)
    return summarise(wanted, args.reference)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the arguments.

    Raises:
        UsageError: A sampler is unknown, or a number is below 1.
    """
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(description=lines[0])
    parser.add_argument("table", type=Path, help="JSON in NAS-Bench-Macro's form")
    parser.add_argument("--codes", choices=("onehot", "ordinal"), default="onehot")
    parser.add_argument("--sampler", nargs="+", default=list(CONTENDERS), metavar="NAME")
    parser.add_argument("--budget", nargs="+", default=["p25", "p50", "p75"], metavar="B")
    parser.add_argument("--evaluations", nargs="+", type=int, default=[50, 100, 200], metavar="N")
    parser.add_argument("--repetitions", type=int, default=100, metavar="N")
    parser.add_argument("--first-seed", type=int, default=0, metavar="N")
    parser.add_argument("--reference", default=DEFAULT_SAMPLER, metavar="NAME")
    parser.add_argument("--results", type=Path, metavar="FILE", help="go on from this file")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    args = parser.parse_args(argv)
    for name in [*args.sampler, args.reference]:
        if name not in CONTENDERS:
            raise unknown_name("sampler", name, CONTENDERS)
    if min(*args.evaluations, args.repetitions) < 1 or args.first_seed < 0:
        raise UsageError("--evaluations and --repetitions must be at least 1, --first-seed 0")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the summary and return the exit code."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        args = parse_arguments(argv)
        summary = run(args)
    except NasError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(json.dumps(summary, indent=1) if args.format == "json" else format_text(summary))
    return 0


if __name__ == "__main__":
    sys.exit(main())
