"""How residual branches should begin: short trainings with `scaled_branches` on and off, paired.

    python benchmarks/starts.py --networks 12                     # digits, 8x8
    python benchmarks/starts.py --data DIR --budget 100k          # an image folder

Networks are drawn uniformly from the space below the budget; both trainings of a pair have the
same seed, slice and batches. Prints each pair, the mean difference with its standard error, and
how many networks stayed below twice the accuracy of guessing.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.differences import describe_points
from nas.architecture import Architecture
from nas.batches import make_batches, place_search_parts
from nas.budget import Caps, parse_count
from nas.data.datasets import load_training
from nas.device import Engine, hardware
from nas.plan import fit_batch
from nas.recipe import get_recipe
from nas.space import BudgetedSpace, load_space
from nas.train import Job, train


def main() -> None:
    """Train the pairs and print them."""
    args = _parse()
    data = load_training("folder" if args.data else "digits", args.data)
    spec = data.input_spec
    space = BudgetedSpace(
        load_space("resnet").space, spec, Caps(parse_count(args.budget)), "resnet"
    )
    rng = np.random.default_rng(args.seed)
    networks = [space.decode(space.sample(rng)) for _ in range(args.networks)]
    parts = place_search_parts(data, args.seed, args.images, args.val_images, "cpu")
    recipe = fit_batch(get_recipe("short"), args.images)
    engine = Engine("cpu", 1)
    print(f"{hardware(engine)}; {args.images} + {args.val_images} images, {args.epochs} epochs")

    def accuracy(network: Architecture, scaled: bool) -> float:
        chosen = replace(recipe, scaled_branches=scaled)
        job = Job(network, spec, chosen, args.epochs, args.seed)
        result = train(job, make_batches(parts, chosen, args.seed), engine)
        return result.val_accuracy or 0.0 if result.status == "finished" else 0.0

    pairs = []
    for network in networks:
        pairs.append((accuracy(network, scaled=True), accuracy(network, scaled=False)))
        depth = sum(stage.depth for stage in network.stages)
        print(
            f"{depth:3d} blocks  scaled {pairs[-1][0]:.3f}  plain {pairs[-1][1]:.3f}", flush=True
        )
    print(f"scaled - plain: {describe_points([scaled - plain for scaled, plain in pairs])}")
    floor = 2 / spec.num_classes
    for name, values in zip(("scaled", "plain"), zip(*pairs, strict=True), strict=True):
        print(
            f"{name}: {sum(value < floor for value in values)} of {len(values)} below {floor:.2f}"
        )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, help="an image folder (default: digits)")
    parser.add_argument("--budget", default="20k", help="parameters (default: %(default)s)")
    parser.add_argument("--networks", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--val-images", type=int, default=140)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
