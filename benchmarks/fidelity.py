"""Do short trainings rank networks as long ones do? Train the same networks by many plans.

    python benchmarks/fidelity.py OUT.json --data DIR --image-size 16

24 networks of at most 100,000 parameters, fixed beforehand: 12 pairs that differ in one thing
(depth, stem, kind, widths, where the blocks are). Each is trained by every short plan, those of
`PLANS` or `--plans`, and once in full, by `LONG` or `--long`; the accuracy is that on the 5,000
images which the split keeps out of the 45,000. A seed decides weights, order and augmentation;
split and slices are the same for all.
The record is written after every training, and the same command goes on where it stopped.
`benchmarks/fidelity_plans.py` reads it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nas.data.datasets import Reading, load_training
from nas.data.images import Dataset
from nas.data.split import train_and_val
from nas.files import write_text_atomically
from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.network.complexity import count
from nas.training.batches import make_batches, place_search_splits
from nas.training.engine import Engine, hardware
from nas.training.loop import TrainSpec, train
from nas.training.recipe import get_recipe

MAX_VAL_IMAGES, SPLIT_SEED = 5_000, 0


@dataclass(frozen=True)
class TrainingPlan:
    """One way to train every network.

    Args:
        images: Of the training slice.
        epochs: Over which the schedule is annealed.
        batch: Images a step; the rate goes with its square root.
        recipe: A row of `nas.training.recipe.RECIPES`.
    """

    images: int
    epochs: int
    batch: int
    recipe: str = "short"

    @property
    def name(self) -> str:
        """Return it in a word, for example ``10000x1@128``."""
        return f"{self.images}x{self.epochs}@{self.batch}"

    @classmethod
    def parse(cls, text: str) -> TrainingPlan:
        """Return the plan of a name, for example ``45000x20@128``, with the recipe ``short``."""
        images, epochs, batch = map(int, text.replace("@", "x").split("x"))
        return cls(images, epochs, batch)


LONG = TrainingPlan(45_000, 20, 128, "modern")
PLANS = (
    TrainingPlan(1_000, 10, 32),
    TrainingPlan(3_000, 3, 32),
    TrainingPlan(3_000, 10, 64),
    TrainingPlan(10_000, 1, 32),
    TrainingPlan(10_000, 1, 128),
    TrainingPlan(20_000, 1, 64),
    TrainingPlan(4_500, 10, 64),
    TrainingPlan(15_000, 3, 128),
    TrainingPlan(45_000, 1, 32),
    TrainingPlan(45_000, 1, 64),
    TrainingPlan(45_000, 1, 128),
    TrainingPlan(45_000, 3, 128),
)

# what the two differ in; of each: stem, kind, blocks of the stages, widths relative to the first's
_PAIRS = (
    ("depth", "conv3x3 basic 1-1-1 1-2-4", "conv3x3 basic 3-3-3 1-2-4"),
    ("stem", "conv3x3 basic 1-2-1 1-2-4", "conv5x5 basic 1-2-1 1-2-4"),
    ("kind", "conv3x3 basic 2-3-2 1-2-4", "conv3x3 bottleneck 2-3-2 1-2-4"),
    ("widths", "conv3x3 basic 2-2-2 1-1-1", "conv3x3 basic 2-2-2 1-3-6"),
    ("depth", "conv3x3 bottleneck 2-2-2 1-2-4", "conv3x3 bottleneck 6-6-6 1-2-4"),
    ("blocks", "conv3x3 basic 5-2-1 1-2-4", "conv3x3 basic 1-2-3 1-2-4"),
    ("stem", "conv3x3 bottleneck 4-4-4 1-2-2", "conv5x5 bottleneck 4-4-4 1-2-2"),
    ("depth", "conv3x3 basic 2-2-2 1-2-4", "conv3x3 basic 6-6-6 1-2-4"),
    ("kind", "conv5x5 basic 3-3-3 1-2-4", "conv5x5 bottleneck 3-3-3 1-2-4"),
    ("stem", "conv3x3 basic 2-2-2 1-1-2", "conv5x5 basic 2-2-2 1-1-2"),
    ("widths", "conv3x3 bottleneck 3-3-3 1-1-1", "conv3x3 bottleneck 3-3-3 1-2-6"),
    ("depth", "conv5x5 bottleneck 1-1-1 1-2-4", "conv5x5 bottleneck 4-6-3 1-2-4"),
)


def networks(spec: InputSpec, max_params: int) -> Iterator[tuple[int, str, Architecture]]:
    """Yield number of the pair, what it differs in, and the two networks of every pair.

    Args:
        spec: The input.
        max_params: Each is as wide as this allows.
    """
    for number, (factor, *pair) in enumerate(_PAIRS):
        for shape in pair:
            yield number, factor, widest(shape, spec, max_params)


def widest(shape: str, spec: InputSpec, max_params: int) -> Architecture:
    """Return the network of a shape, as in `_PAIRS`, that is as wide as its budget allows."""
    stem, kind, *lists = shape.split()
    depths, ratios = ([int(number) for number in text.split("-")] for text in lists)
    step = 4 if kind == "bottleneck" else 2
    found = []
    for quarters in range(8, 800):
        widths = [step * max(round(quarters * ratio / 4 / step), 1) for ratio in ratios]
        stages = zip(depths, widths, (1, 2, 2), strict=True)
        network = Architecture(Stem(stem, widths[0]), tuple(Stage(kind, *each) for each in stages))
        if count(network, spec).num_params <= max_params:
            found.append(network)
    return max(found, key=lambda network: count(network, spec).num_params)


def main() -> None:
    """Train what is missing and write the record after every training."""
    args = _parse()
    source = (str(args.data), args.image_size)
    spec, val_images = _load(*source).input_spec, _num_val(*source)
    nets = list(networks(spec, args.max_params))
    long, plans = replace(args.long, recipe=LONG.recipe), args.plans or PLANS
    record: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    record |= {
        "input": asdict(spec),
        "val_images": val_images,
        "long": long.name,
        "networks": [
            {
                "pair": pair,
                "factor": factor,
                "architecture": network.to_dict(),
                "depth": network.depth,
                "num_params": count(network, spec).num_params,
                "macs": count(network, spec).macs,
            }
            for pair, factor, network in nets
        ],
    }
    rows = record.setdefault("trainings", [])
    done = {(row["network"], row["plan"], row["seed"]) for row in rows}
    todo = [
        (index, plan, seed)
        for seed in range(args.seeds)
        for index in range(len(nets))[: args.networks]
        for plan in (*plans, long)
        if (index, plan.name, seed) not in done
    ]
    print(f"{len(rows)} trainings known, {len(todo)} to do", flush=True)
    with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
        jobs = [
            pool.submit(_train, source, args.device, nets[index][2], plan, seed)
            for index, plan, seed in todo
        ]
        for (index, plan, seed), job in zip(todo, jobs, strict=True):
            row = {"network": index, "plan": plan.name, "seed": seed, **job.result()}
            rows.append(row)
            write_text_atomically(args.out, json.dumps(record, indent=1) + "\n")
            accuracy = row["val_accuracy"][-1] if row["val_accuracy"] else None
            print(index, plan.name, seed, accuracy, f"{row['seconds']:.0f} s", flush=True)


@cache
def _load(data: str, image_size: int | None) -> Dataset:
    return load_training("folder", Path(data), Reading(image_size))


def _num_val(data: str, image_size: int | None) -> int:
    _, val = train_and_val(_load(data, image_size), SPLIT_SEED)
    return min(len(val), MAX_VAL_IMAGES)


def _train(
    source: tuple[str, int | None],
    device: str,
    network: Architecture,
    plan: TrainingPlan,
    seed: int,
) -> dict[str, Any]:
    """Train one network, on a CPU on one thread; return its curve, its seconds, the hardware."""
    data = _load(*source)
    splits = place_search_splits(data, SPLIT_SEED, plan.images, _num_val(*source), device)
    row = get_recipe(plan.recipe)
    scale = (plan.batch / row.batch_size) ** 0.5
    recipe = row.with_overrides(
        [f"batch_size={plan.batch}", f"learning_rate={row.learning_rate * scale}"]
    )
    engine = Engine(device, 1)
    spec = TrainSpec(network, data.input_spec, recipe, plan.epochs, seed)
    result = train(spec, make_batches(splits, recipe, seed), engine)
    return {
        "status": result.status.value,
        "steps": plan.epochs * -(-plan.images // plan.batch),
        "val_accuracy": [record.val_accuracy for record in result.curve],
        "train_accuracy": [round(record.train_accuracy, 5) for record in result.curve],
        "seconds": round(result.elapsed_seconds, 2),
        "hardware": hardware(engine),
    }


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="the record, made or continued")
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10 as an image folder")
    parser.add_argument("--image-size", type=int, help="side in pixels (default: the data's own)")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--max-params", type=int, default=100_000)
    parser.add_argument("--networks", type=int, help="only the first (default: all 24)")
    plan = TrainingPlan.parse
    parser.add_argument("--plans", type=plan, nargs="+", help="for example 10000x1@32")
    parser.add_argument("--long", type=plan, default=LONG, help="for example 45000x20@128")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="trainings at once")
    return parser.parse_args()


if __name__ == "__main__":
    main()
