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
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.contenders import CONTENDERS, make_problem
from benchmarks.regrets import Result, append_result, format_text, read_results, summarise
from benchmarks.tables import TableSpace, load_table
from nas.errors import NasError, UsageError, unknown_name
from nas.network.caps import parse_count
from nas.samplers import DEFAULT_SAMPLER


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
