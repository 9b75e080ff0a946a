"""Does the mean over several splits of few images rank networks better than one split?

    python benchmarks/folds.py OUT.json --dataset digits --images 200 --parts 2

Ten networks of three blocks, of at most 3,000 and of at most 20,000 parameters. A part is so
many images, drawn anew; of each, every network is trained on every split of every plan of `PLANS`,
and on the whole part for `LONG_EPOCHS`. Which of the images that are in no part each training gets
right is recorded: truth is the share of them that the long training does, the mean over the parts.
What a plan measures is drawn from these too, `DRAWS` times: as many of them as its split would
leave to validate on, the same for all networks. Printed are, for each plan, Kendall's tau with the
truth; the regret, which is what the network that the plan ranks first loses against the best, in
points of the truth; and that of the first of a quarter of the networks, drawn at random, as a
search of about the same time names it whose trials cost five times as much. The errors are over
the parts; networks and trainings are the same in all draws.
The record is written after every network, and the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.fidelity import widest
from nas.data.datasets import Reading, load_training
from nas.data.images import Dataset, LabelledImages, select
from nas.data.split import split_folds, stratified_subset, train_and_val
from nas.files import write_text_atomically
from nas.network.architecture import Architecture
from nas.statistics import kendall_tau, mean_error
from nas.training.batches import eval_loader, make_batches, merge
from nas.training.engine import Engine, hardware
from nas.training.fitting import fit_recipe
from nas.training.loop import TrainSpec, train
from nas.training.recipe import get_recipe

LONG_EPOCHS, DRAWS = 50, 500
MAX_PARAMS = 3_000, 20_000
SHAPES = tuple(  # stem, kind, blocks of the stages, widths relative to the first's
    f"conv3x3 {kind} 1-1-1 {widths}"
    for kind in ("basic", "bottleneck")
    for widths in ("1-1-1", "1-2-4", "1-3-6")
)
ENGINE = Engine("cpu", 1)


class FoldPlan(NamedTuple):
    """Splits that a network is trained on, and the epochs of each."""

    folds: int
    epochs: int

    @property
    def name(self) -> str:
        """Return it in a word, for example ``5x10``."""
        return f"{self.folds}x{self.epochs}"


PLANS = FoldPlan(1, 10), FoldPlan(1, 50), FoldPlan(5, 10)


def hits(
    network: Architecture,
    data: Dataset,
    own: LabelledImages,
    rest: Dataset,
    epochs: int,
    seed: int,
) -> str:
    """Return which images of the rest a network gets right, as 0 and 1, trained on its own."""
    recipe = fit_recipe(get_recipe("short"), (), len(own), epochs=epochs)
    spec = TrainSpec(network, data.input_spec, recipe, epochs, seed)
    batches = make_batches(data.with_splits(own, None), recipe, seed)
    model = train(spec, batches, ENGINE).model
    if model is None:  # diverged
        return "0" * len(rest.train)
    with torch.no_grad():
        found = [
            model(images).argmax(1) == labels
            for images, labels in eval_loader(rest.train, data.normalisation)
        ]
    return "".join(map(str, torch.cat(found).int().tolist()))


def main() -> None:
    """Train what the record lacks, then print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--parts", type=int, default=2)
    args = parser.parse_args()
    loaded = load_training(args.dataset, args.data, Reading(args.image_size))
    *parts, rest = _draw_parts(loaded, args.images, args.parts)
    networks = list(  # two shapes may be one network
        dict.fromkeys(
            widest(shape, loaded.input_spec, most) for most in MAX_PARAMS for shape in SHAPES
        )
    )
    record: dict[str, Any] = {"hardware": hardware(ENGINE), "images": args.images, "results": {}}
    if args.out.exists():
        record = json.loads(args.out.read_text())
    for part, data in enumerate(parts):
        for number, network in enumerate(networks):
            key = f"{part}/{number}"
            if key in record["results"]:
                continue
            row: dict[str, Any] = {
                "long": hits(network, data, data.train, rest, LONG_EPOCHS, seed=part)
            }
            for plan in PLANS:
                started = time.process_time()
                row[plan.name] = [
                    hits(network, data, train_and_val(fold, part)[0], rest, plan.epochs, part)
                    for fold in split_folds(data, part, plan.folds)
                ]
                row[f"{plan.name} seconds"] = time.process_time() - started
            record["results"][key] = row
            write_text_atomically(args.out, json.dumps(record, indent=1))
            print(key, file=sys.stderr)
    report(record, args.parts, len(networks))


def report(record: dict[str, Any], num_parts: int, num_networks: int) -> None:
    """Print the figures of every plan."""
    rows = [
        [record["results"][f"{part}/{number}"] for number in range(num_networks)]
        for part in range(num_parts)
    ]
    by_part = [[row["long"].count("1") / len(row["long"]) for row in own] for own in rows]
    truth = [statistics.fmean(values) for values in zip(*by_part, strict=True)]
    agreement = [kendall_tau(*pair) or 0.0 for pair in combinations(by_part, 2)]
    print(
        f"{num_networks} networks, {num_parts} parts; true accuracies {min(truth):.3f} to "
        f"{max(truth):.3f}, deviation {statistics.stdev(truth):.3f}; two parts rank them with "
        f"tau {statistics.fmean(agreement):+.2f}"
    )
    print("plan | seconds | accuracy | tau | regret of its first | of the first of a quarter")
    for plan in PLANS:
        num_val = record["images"] // (plan.folds if plan.folds > 1 else 10)
        parts = [_judge(own, plan.name, num_val, truth) for own in rows]
        seconds = statistics.fmean(row[f"{plan.name} seconds"] for own in rows for row in own)
        figures = zip(*parts, strict=True)
        print(" | ".join([plan.name, f"{seconds:.2f}", *map(_with_error, figures)]))


def _judge(
    rows: list[dict[str, Any]], name: str, num_val: int, truth: list[float]
) -> tuple[float, float, float, float]:
    """Return mean accuracy, tau, and both regrets of a plan, over draws of validation images."""
    right = np.array([[list(map(int, text)) for text in row[name]] for row in rows])
    _, num_folds, num_images = right.shape  # networks, folds, images
    rng, found = np.random.default_rng(0), []
    for _ in range(DRAWS):
        drawn = rng.permutation(num_images)[: num_folds * num_val].reshape(num_folds, num_val)
        scores = np.mean([right[:, k, own].mean(1) for k, own in enumerate(drawn)], axis=0)
        few = rng.permutation(len(scores))
        regrets = [_regret(scores, truth, few[:size]) for size in (len(few), len(few) // 4)]
        found.append((scores.mean(), kendall_tau(scores.tolist(), truth) or 0.0, *regrets))
    mean = np.mean(found, axis=0)
    return float(mean[0]), float(mean[1]), float(mean[2]), float(mean[3])


def _regret(scores: np.ndarray, truth: list[float], among: np.ndarray) -> float:
    """Return the points that the first of some networks, in random order, loses to the best."""
    first = max(among.tolist(), key=lambda number: float(scores[number]))
    return float(100 * (max(truth) - truth[first]))


def _draw_parts(loaded: Dataset, num_images: int, num_parts: int) -> list[Dataset]:
    """Return disjoint parts of a data set, then all the rest of it."""
    every = merge(loaded)
    used = stratified_subset(every.labels, num_images * num_parts, 0)
    is_rest = torch.ones(len(every), dtype=torch.bool)
    is_rest[used] = False
    order = used[np.random.default_rng(0).permutation(len(used))]
    drawn = [order[number::num_parts] for number in range(num_parts)]
    return [loaded.with_splits(select(every, indices), None) for indices in (*drawn, is_rest)]


def _with_error(values: tuple[float, ...]) -> str:
    return f"{statistics.fmean(values):+.2f} ± {mean_error(values):.2f}"


if __name__ == "__main__":
    main()
