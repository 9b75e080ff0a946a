"""What one field of the recipe is worth in a short training: two values of it, paired.

    python benchmarks/paired.py scaled_branches true false             # digits, 8x8
    python benchmarks/paired.py learning_rate 0.1 0.2 --data DIR --budget 100k

Networks are drawn uniformly from the space below the budget; both trainings of a pair have the
same seed, slice and batches. Prints each pair, the mean difference with its standard error, and
how many networks stayed below twice the accuracy of guessing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.differences import describe_points
from nas.data.datasets import load_training
from nas.network.architecture import Architecture
from nas.network.caps import Caps, parse_count
from nas.space import BudgetedSpace, load_space
from nas.training.batches import make_batches, place_search_splits
from nas.training.engine import Engine, hardware
from nas.training.fitting import fit_batch
from nas.training.loop import TrainSpec, train
from nas.training.recipe import Recipe, get_recipe


def main() -> None:
    """Train the pairs and print them."""
    args = _parse()
    data = load_training("folder" if args.data else "digits", args.data)
    spec = data.input_spec
    space = BudgetedSpace(
        load_space(args.space).space, spec, Caps(parse_count(args.budget)), args.space
    )
    rng = np.random.default_rng(args.seed)
    networks = [space.decode(space.sample(rng)) for _ in range(args.networks)]
    splits = place_search_splits(data, args.seed, args.images, args.val_images, "cpu")
    row = fit_batch(get_recipe("short"), args.images)
    recipes = [row.with_overrides([f"{args.field}={value}"]) for value in args.values]
    engine = Engine("cpu", args.threads)
    print(
        f"{hardware(engine)}; {args.space} below {args.budget}, {args.images} + {args.val_images} "
        f"images, {args.epochs} epochs, batch {row.batch_size}"
    )

    def accuracy(network: Architecture, recipe: Recipe) -> float:
        train_spec = TrainSpec(network, spec, recipe, args.epochs, args.seed)
        result = train(train_spec, make_batches(splits, recipe, args.seed), engine)
        return result.val_accuracy or 0.0 if result.status == "finished" else 0.0

    pairs = []
    for network in networks:
        pairs.append([accuracy(network, recipe) for recipe in recipes])
        depth = sum(stage.depth for stage in network.stages)
        cells = (f"{v} {a:.3f}" for v, a in zip(args.values, pairs[-1], strict=True))
        print(f"{depth:3d} blocks  {'  '.join(cells)}", flush=True)
    first, second = args.values
    difference = describe_points([one - other for one, other in pairs])
    print(f"{args.field} {first} - {second}: {difference}")
    floor = 2 / spec.num_classes
    for value, column in zip(args.values, zip(*pairs, strict=True), strict=True):
        below = sum(accuracy < floor for accuracy in column)
        print(f"{value}: {below} of {len(column)} below {floor:.2f}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("field", help="a field of the recipe")
    parser.add_argument("values", nargs=2, metavar="VALUE", help="two values of it")
    parser.add_argument("--data", type=Path, help="an image folder (default: digits)")
    parser.add_argument("--space", default="resnet", help="a space (default: %(default)s)")
    parser.add_argument("--budget", default="20k", help="parameters (default: %(default)s)")
    parser.add_argument("--networks", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--val-images", type=int, default=140)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    main()
