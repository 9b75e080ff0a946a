"""Which short plan ranks networks as a long training does, and what the model makes of it.

usage: python benchmarks/fidelity_plans.py RECORD.json [--middle 15000x3@128] [--repetitions 100]
           [--policies PLAN[,PLAN...] ... --images N] [--format text|json]

RECORD is what `benchmarks/fidelity.py` writes; it may still grow, a plan is judged on the networks
that it and the long training have. The first table is about the plans alone:

    tau         Kendall's, against the long training, with its 95% interval
    in a plan   mean tau with half as many validation images as training images, which is what a
                search's plan has: the recorded ones are less, drawn anew in every repetition
    regret      of the most accurate network by the plan, in points of the long training
    s           median seconds of a training; tau/100 s is tau over that
    macs depth stride
                the bias: by how many of 100 places a network stands too high per doubling of its
                multiply-adds, of its depth, of its stem's stride; least squares on all three, with
                the half-width of the 95% interval

The second is about `nas.samplers.incumbent`: every network has the short plan, 2k of them, drawn
anew in every repetition, the middle plan and k of these the long one. `low` ranks by the short
plan, `model` by the estimate of the long accuracy; tau is over the networks without a long
training, regret is of the first of all. `trained` is the regret of the best of the k. The last
column is the gain of the model over `low` in tau, mean and half-width over the repetitions: the
networks are the same, so it says how much the draw matters, not how other networks would fare.

The third is about searches at equal cost. A policy is the plan of a search and those of its rungs,
each rung trains again a third of the networks of the one below, the first a sixth. In every
repetition the networks come in another order, as many as the trainings of all rungs may see N
images in sum; named is the most accurate of the last rung, on as many validation images as in a
plan. Regret is its mean, in points of the long training; then it is less the first policy's, over
the same orders, with its half-width.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.regrets import mean_interval
from nas.network.architecture import Architecture, InputSpec
from nas.network.blocks import stem_layers
from nas.network.complexity import count
from nas.samplers.contract import Observation
from nas.samplers.incumbent import MIN_OBSERVATIONS, estimate_scores
from nas.samplers.surrogate import Scaling, SurrogateFitter
from nas.search.plan import FIRST_FRACTION, RUNG_FACTOR
from nas.space.features import FeatureLayout
from nas.statistics import kendall_tau, tau_interval
from nas.training.result import Ending

NUM_LONG = (3, 6)  # networks that climb to the top
MIN_NETWORKS = 6  # fewer say nothing


@dataclass(frozen=True)
class Record:
    """The record of one set of networks.

    Args:
        networks: In the order of the record.
        features: Standardised, without the columns that never vary.  # (n, d)
        covariates: Base-2 logarithms of multiply-adds, depth and stride of the stem.  # (n, 3)
        val_images: On which all accuracies are measured.
        long: Name of the long plan.
        accuracies: Of each network by plan, the mean over its seeds.
        seconds: Median of a training, by plan.
    """

    networks: tuple[Architecture, ...]
    features: np.ndarray
    covariates: np.ndarray
    val_images: int
    long: str
    accuracies: dict[str, dict[int, float]]
    seconds: dict[str, float]

    def fidelity(self, plan: str, low: str) -> float:
        """Return the fidelity of a plan where `low` is the search's and `long` the top rung's."""
        reach = math.log(_images_seen(self.long) / _images_seen(low))
        return math.log(_images_seen(plan) / _images_seen(low)) / reach

    def observe(self, plan: str, index: int, low: str) -> Observation:
        """Return a training as the samplers see it."""
        accuracy, fidelity = self.accuracies[plan][index], self.fidelity(plan, low)
        own = {"network": index}
        return Observation(index, own, str(index), accuracy, Ending.FINISHED, (), fidelity)

    def fitter(self) -> SurrogateFitter:
        """Return a fitter of the networks, told by their index."""
        columns, zeros = self.features.shape[1], [0.0] * self.features.shape[1]
        scaling = Scaling(tuple(range(columns)), tuple(zeros), tuple([1.0] * columns))
        return SurrogateFitter(lambda choices: self.features[choices["network"]], lambda: scaling)


def read_record(path: Path) -> Record:
    """Read what `benchmarks/fidelity.py` wrote; broken trainings are left out."""
    record: dict[str, Any] = json.loads(path.read_text())
    spec = InputSpec(**record["input"])
    nets = tuple(Architecture.from_dict(item["architecture"]) for item in record["networks"])
    trainings: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    seconds: dict[str, list[float]] = defaultdict(list)
    for row in record["trainings"]:
        if row["status"] == Ending.FINISHED.value:
            trainings[row["plan"]][row["network"]].append(row["val_accuracy"][-1])
            seconds[row["plan"]].append(row["seconds"])
    stages = [stage for net in nets for stage in net.stages]
    layout = FeatureLayout(
        max(len(net.stages) for net in nets),
        tuple(sorted({stage.kind for stage in stages})),
        tuple(sorted({stage.kernel for stage in stages})),
        tuple(sorted({net.stem.kind for net in nets})),
    )
    rows = np.array([list(layout.columns(net, count(net, spec)).values()) for net in nets])
    rows = rows[:, rows.std(axis=0) > 1e-9]
    strides = [
        math.prod(getattr(layer, "stride", 1) for layer in stem_layers(net.stem.kind, 3, 8))
        for net in nets
    ]
    covariates = [
        (count(net, spec).macs, net.depth, stride)
        for net, stride in zip(nets, strides, strict=True)
    ]
    return Record(
        nets,
        (rows - rows.mean(axis=0)) / rows.std(axis=0),
        np.log2(np.array(covariates)),
        record["val_images"],
        record["long"],
        {
            plan: {index: statistics.fmean(values) for index, values in own.items()}
            for plan, own in trainings.items()
        },
        {plan: statistics.median(values) for plan, values in seconds.items()},
    )


def judge_plan(record: Record, plan: str, repetitions: int) -> dict[str, Any] | None:
    """Return how a short plan ranks, None where too few networks have both trainings."""
    long = record.accuracies.get(record.long, {})
    both = [index for index in record.accuracies[plan] if index in long]
    if len(both) < MIN_NETWORKS:
        return None
    short = [record.accuracies[plan][index] for index in both]
    full = [long[index] for index in both]
    tau = kendall_tau(short, full) or 0.0
    places = 100 * (stats.rankdata(short) - stats.rankdata(full)) / len(both)
    return {
        "plan": plan,
        "n": len(both),
        "tau": tau,
        "interval": tau_interval(tau, len(both)),
        "plan_tau": _tau_in_a_plan(record, plan, short, full, repetitions),
        "regret": 100 * (max(full) - full[int(np.argmax(short))]),
        "seconds": record.seconds[plan],
        "bias": _regress(record.covariates[both], places),
    }


def _tau_in_a_plan(
    record: Record, plan: str, short: list[float], full: list[float], repetitions: int
) -> float:
    """Return the mean tau where accuracies are of half as many images as are trained on."""
    return statistics.fmean(
        kendall_tau(_with_fewer(record, plan, short, np.random.default_rng(seed)), full) or 0.0
        for seed in range(repetitions)
    )


def _with_fewer(
    record: Record, plan: str, accuracies: Sequence[float], rng: np.random.Generator
) -> list[float]:
    """Return accuracies as on half as many images as a plan trains on, drawn anew.

    They vary more than the recorded ones by p (1 - p) (1 / fewer - 1 / recorded).
    """
    fewer, values = min(int(plan.partition("x")[0]) // 2, record.val_images), np.array(accuracies)
    deviations = np.sqrt(values * (1 - values) * (1 / fewer - 1 / record.val_images))
    drawn: list[float] = (values + deviations * rng.standard_normal(len(values))).tolist()
    return drawn


def _regress(covariates: np.ndarray, values: np.ndarray) -> list[tuple[float, float]]:
    """Return slope and half-width of its 95% interval of each covariate; nan where unknown.

    Source: ordinary least squares, Student's t.
    """
    design = np.column_stack([np.ones(len(values)), covariates])
    free = len(values) - design.shape[1]
    if free < 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        return [(math.nan, math.nan)] * covariates.shape[1]
    slopes = np.linalg.lstsq(design, values, rcond=None)[0]
    variance = float(((values - design @ slopes) ** 2).sum()) / free
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    half_widths = float(stats.t.ppf(0.975, free)) * errors
    return [(float(slopes[i]), float(half_widths[i])) for i in range(1, len(slopes))]


def judge_model(
    record: Record, low: str, middle: str, num_long: int, repetitions: int
) -> dict[str, Any] | None:
    """Return what the model makes of a short plan and a few longer trainings.

    None where the networks with all three trainings are too few.
    """
    long = record.accuracies.get(record.long, {})
    plans = [record.accuracies.get(plan, {}) for plan in (low, middle, record.long)]
    known = sorted(set.intersection(*map(set, plans)))
    if len(known) < max(MIN_OBSERVATIONS, 2 * num_long):
        return None
    best, found = max(long[index] for index in known), []
    own = [record.observe(low, index, low) for index in known]
    for seed in range(repetitions):
        drawn = np.random.default_rng(seed).permutation(known)[: 2 * num_long].tolist()
        climbed = drawn[:num_long]
        upper = [record.observe(middle, index, low) for index in sorted(drawn)]
        upper += [record.observe(record.long, index, low) for index in sorted(climbed)]
        estimates = estimate_scores(record.fitter(), own + upper)
        rest = [index for index in known if index not in climbed]
        truth = [long[index] for index in rest]
        scores = {index: estimates[str(index)].score for index in known}
        found.append(
            {
                "low_tau": kendall_tau([plans[0][i] for i in rest], truth) or 0.0,
                "model_tau": kendall_tau([scores[i] for i in rest], truth) or 0.0,
                "low_regret": 100 * (best - long[max(known, key=lambda i: plans[0][i])]),
                "model_regret": 100 * (best - long[max(known, key=lambda i: scores[i])]),
                "trained_regret": 100 * (best - max(long[index] for index in climbed)),
            }
        )
    gain = mean_interval(item["model_tau"] - item["low_tau"] for item in found)
    means = {name: statistics.fmean(item[name] for item in found) for name in found[0]}
    return {"low": low, "n": len(known), "long": num_long, **means, "gain": gain}


def _images_seen(plan: str) -> int:
    images, _, rest = plan.partition("x")
    return int(images) * int(rest.partition("@")[0])


def judge_policies(
    record: Record, policies: Sequence[Sequence[str]], images: int, repetitions: int
) -> list[dict[str, Any]]:
    """Return the regret of every policy that the record has the trainings for."""
    long = record.accuracies.get(record.long, {})
    plans = {plan: record.accuracies.get(plan, {}) for policy in policies for plan in policy}
    known = sorted(set(long).intersection(*plans.values()))
    orders, seen = [], []
    for seed in range(repetitions):
        rng = np.random.default_rng(seed)
        orders.append(rng.permutation(known))
        drawn = {
            plan: _with_fewer(record, plan, [own[index] for index in known], rng)
            for plan, own in plans.items()
        }
        seen.append({plan: dict(zip(known, own, strict=True)) for plan, own in drawn.items()})
    rows: list[dict[str, Any]] = []
    if len(known) < MIN_NETWORKS:
        return rows
    best = max(long[index] for index in known)
    for policy in policies:
        counts = _counts(policy, images, len(known))
        regrets: list[float] = []
        for order, accuracies in zip(orders, seen, strict=True):
            pool = order[: counts[0]].tolist()
            for plan, fewer in zip(policy, (*counts[1:], 1), strict=True):
                pool = sorted(pool, key=accuracies[plan].__getitem__, reverse=True)[:fewer]
            regrets.append(100 * (best - long[pool[0]]))
        first = rows[0]["regrets"] if rows else regrets
        less = mean_interval(own - other for own, other in zip(regrets, first, strict=True))
        rows.append(
            {
                "policy": ",".join(policy),
                "counts": counts,
                "regret": statistics.fmean(regrets),
                "less_first": less,
                "regrets": regrets,
            }
        )
    return rows


def _counts(policy: Sequence[str], images: int, most: int) -> list[int]:
    """Return how many networks each rung of a policy trains, at least one, within the images."""
    found = [1] * len(policy)
    for number in range(1, most + 1):
        counts, left = [number], max(number // FIRST_FRACTION, 1)
        for _ in policy[1:]:
            counts.append(left)
            left = max(left // RUNG_FACTOR, 1)
        cost = sum(n * _images_seen(plan) for n, plan in zip(counts, policy, strict=True))
        if cost <= images:
            found = counts
    return found


def run(args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of the tables; the cheapest plan first."""
    record = read_record(args.record)
    short = sorted(set(record.accuracies) - {record.long}, key=lambda plan: record.seconds[plan])
    below = [plan for plan in short if _images_seen(plan) < _images_seen(args.middle)]
    plans = [judge_plan(record, plan, args.repetitions) for plan in short]
    models = [
        judge_model(record, plan, args.middle, num_long, args.repetitions)
        for plan in below
        for num_long in NUM_LONG
    ]
    return {
        "plans": [row for row in plans if row],
        "models": [row for row in models if row],
        "policies": judge_policies(record, args.policies, args.images, args.repetitions),
    }


def format_text(tables: dict[str, list[dict[str, Any]]]) -> str:
    """Return the tables."""
    lines = [
        "plan            n  tau (95%)             in a plan  regret       s  tau/100 s  "
        "macs            depth           stride"
    ]
    for row in tables["plans"]:
        low, high = row["interval"]
        rate = 100 * row["tau"] / row["seconds"]
        bias = "  ".join(f"{slope:+5.1f} +- {half:4.1f}" for slope, half in row["bias"])
        lines.append(
            f"{row['plan']:13} {row['n']:3}  {row['tau']:+.2f} [{low:+.2f}, {high:+.2f}]  "
            f"{row['plan_tau']:+9.2f}  {row['regret']:6.2f}  {row['seconds']:6.0f}  {rate:9.2f}  "
            f"{bias}"
        )
    heads = "n  long  tau: low  model  regret: low  model  trained  gain in tau"
    lines += ["", f"low             {heads}"]
    for row in tables["models"]:
        gain, half = row["gain"]
        lines.append(
            f"{row['low']:13} {row['n']:3}  {row['long']:4}  {row['low_tau']:+8.2f}  "
            f"{row['model_tau']:+.2f}  {row['low_regret']:11.2f}  {row['model_regret']:5.2f}  "
            f"{row['trained_regret']:7.2f}  {gain:+.2f} +- {half:.2f}"
        )
    if tables["policies"]:
        lines += [
            "",
            "policy                                     networks  regret  less the first's",
        ]
    for row in tables["policies"]:
        less, half = row["less_first"]
        counts = "+".join(map(str, row["counts"]))
        lines.append(
            f"{row['policy']:40} {counts:>10}  {row['regret']:6.2f}  {less:+.2f} +- {half:.2f}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("record", type=Path, help="what benchmarks/fidelity.py wrote")
    parser.add_argument("--middle", default="15000x3@128", metavar="PLAN")
    parser.add_argument("--repetitions", type=int, default=100, metavar="N")
    policies = "plans of a search and its rungs, for example 10000x1@32,15000x3@128"
    parser.add_argument(
        "--policies", nargs="+", default=[], type=lambda text: text.split(","), help=policies
    )
    parser.add_argument("--images", type=int, default=240_000, help="that a policy trains on")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    args = parser.parse_args(argv)
    tables = run(args)
    print(json.dumps(tables, indent=1) if args.format == "json" else format_text(tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
