"""What naming the best of a search costs, by the rule that names it.

usage: python benchmarks/incumbent_rules.py TABLE --images N [--codes onehot|ordinal]
           [--budget p25 ...] [--evaluations 50 ...] [--repetitions 20] [--format text|json]

accurate    the most accurate measurement
smallest    the smallest within one standard error of it (N images) of the most accurate
estimated   the best estimated score (`nas.samplers.incumbent`)
est-small   the smallest whose estimated score is within one standard error of the best one

TABLE is read as by `search_efficiency.py`, whose problems these are: repetition k has seed k, one
random training of each network is what the default sampler sees, and regret is against the mean of
all trainings, in accuracy points. Every rule names from the same trials: differences are paired.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.contenders import make_problem
from benchmarks.regrets import mean_interval
from benchmarks.search_efficiency import read_budget
from benchmarks.tables import TableSpace, load_table
from nas.samplers import DEFAULT_SAMPLER, make_sampler
from nas.samplers.incumbent import estimate_scores
from nas.samplers.surrogate import make_fitter
from nas.statistics import standard_error

RULES = ("accurate", "smallest", "estimated", "est-small")


def name_best(
    scores: Sequence[float], estimates: Sequence[float], sizes: Sequence[int], num_images: int
) -> dict[str, int]:
    """Return the index that each rule names; of equal ones the smaller network's.

    Args:
        scores: Measured accuracies.
        estimates: Estimated ones.
        sizes: Parameters.
        num_images: Images of a measurement.
    """

    def first(values: Sequence[float]) -> int:
        return max(range(len(values)), key=lambda index: (values[index], -sizes[index]))

    def smallest(values: Sequence[float]) -> int:
        best = values[first(values)]
        floor = best - standard_error(min(max(best, 0.0), 1.0), num_images)
        tied = [index for index, value in enumerate(values) if value >= floor]
        return min(tied, key=lambda index: sizes[index])

    return {
        "accurate": first(scores),
        "smallest": smallest(scores),
        "estimated": first(estimates),
        "est-small": smallest(estimates),
    }


def search(
    space: TableSpace, seed: int, marks: Sequence[int], num_images: int
) -> Iterator[tuple[int, str, float, float]]:
    """Yield evaluations, rule, regret in points and share of the budget, at every mark."""
    problem = make_problem(space, seed)
    means = 100 * space.table.accuracies.mean(axis=1)
    best = means[space.feasible_rows].max()
    sampler, fitter = make_sampler(DEFAULT_SAMPLER, [space], seed), make_fitter(space)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for number in range(1, max(marks) + 1):
        trial = study.ask(dict(space.distributions))
        study.tell(trial, float(problem.values[space.row(trial.params)]))
        if number not in marks:
            continue
        observations = sampler.history(study).observations
        estimates = estimate_scores(fitter, observations)
        sizes = [space.num_params(item.choices) for item in observations]
        scores = [item.score for item in observations]
        own = [estimates[item.key].score for item in observations]
        for rule, index in name_best(scores, own, sizes, num_images).items():
            row = space.row(observations[index].choices)
            yield number, rule, float(best - means[row]), sizes[index] / space.budget


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row for every budget, number of evaluations and rule."""
    table = load_table(args.table)
    found: dict[tuple[str, int, str], list[tuple[float, float]]] = {}
    for text in args.budget:
        space = TableSpace(table, read_budget(text, table.num_params), args.codes)
        for seed in range(args.repetitions):
            for number, rule, regret, share in search(space, seed, args.evaluations, args.images):
                found.setdefault((text, number, rule), []).append((regret, share))
            print(f"{text} seed {seed}", file=sys.stderr)
    rows = []
    for (text, number, rule), pairs in found.items():
        reference = [pair[0] for pair in found[text, number, "accurate"]]
        regrets = [pair[0] for pair in pairs]
        mean, half_width = mean_interval(regrets)
        gain, gain_half_width = mean_interval(np.subtract(regrets, reference).tolist())
        rows.append(
            {
                "budget": text,
                "evaluations": number,
                "rule": rule,
                "n": len(pairs),
                "mean_regret": mean,
                "half_width": half_width,
                "against_accurate": gain,
                "against_half_width": gain_half_width,
                "mean_budget_share": float(np.mean([pair[1] for pair in pairs])),
            }
        )
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print the rows and return the exit code."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(description=lines[0])
    parser.add_argument("table", type=Path, help="JSON in NAS-Bench-Macro's form")
    parser.add_argument("--images", type=int, required=True, metavar="N", help="of a measurement")
    parser.add_argument("--codes", choices=("onehot", "ordinal"), default="onehot")
    parser.add_argument("--budget", nargs="+", default=["p25", "p50", "p75"], metavar="B")
    parser.add_argument("--evaluations", nargs="+", type=int, default=[50, 100], metavar="N")
    parser.add_argument("--repetitions", type=int, default=20, metavar="N")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    args = parser.parse_args(argv)
    rows = run(args)
    if args.format == "json":
        print(json.dumps(rows, indent=1))
        return 0
    print("budget  evaluations  rule         n  regret (95%)      less accurate's       budget")
    for row in rows:
        print(
            f"{row['budget']:7} {row['evaluations']:11}  {row['rule']:10} {row['n']:4}  "
            f"{row['mean_regret']:.3f} +- {row['half_width']:.3f}  "
            f"{row['against_accurate']:+.3f} +- {row['against_half_width']:.3f}  "
            f"{row['mean_budget_share']:8.1%}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
