"""Train every network of a small space and keep what came out as a table for the samplers.

    python benchmarks/record_table.py OUT.json                                  # digits, 8x8
    python benchmarks/record_table.py OUT.json --data DIR --image-size 16       # an image folder

The space: three stages of one block kind, widths that do not fall, at most `MAX_PARAMS`
parameters; every second one of these. A code is kind:width:depth:width:depth:width:depth, each as
its place in its list; the table has NAS-Bench-Macro's form (`benchmarks/tables.py`), `test_acc`
holding the accuracy on the **validation** images, one of each seed. A seed decides weights, order
and augmentation; the split is the same for all. The same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nas.data.datasets import Reading, load_training
from nas.files import write_text_atomically
from nas.network.architecture import Architecture, Stage, Stem
from nas.network.complexity import count
from nas.training.batches import make_batches, place_search_splits
from nas.training.engine import Engine, hardware
from nas.training.fitting import fit_batch
from nas.training.loop import TrainSpec, train
from nas.training.recipe import get_recipe

KINDS, WIDTHS, DEPTHS = ("basic", "bottleneck"), (4, 8, 16, 32), (1, 2, 4)
NUM_STAGES, MAX_PARAMS, KEEP_EVERY = 3, 60_000, 2


def networks() -> Iterator[tuple[str, Architecture]]:
    """Yield code and network of every `KEEP_EVERY`th that fits, in the order of their codes."""
    return itertools.islice(_all_networks(), 0, None, KEEP_EVERY)


def _all_networks() -> Iterator[tuple[str, Architecture]]:
    places = tuple(itertools.product(range(len(WIDTHS)), range(len(DEPTHS))))
    groups = itertools.product(places, repeat=NUM_STAGES)
    for kind, stages in itertools.product(range(len(KINDS)), tuple(groups)):
        if any(later[0] < earlier[0] for earlier, later in itertools.pairwise(stages)):
            continue
        network = Architecture(
            Stem("conv3x3", WIDTHS[stages[0][0]]),
            tuple(
                Stage(KINDS[kind], DEPTHS[depth], WIDTHS[width], stride=1 if number == 0 else 2)
                for number, (width, depth) in enumerate(stages)
            ),
        )
        if count(network).num_params <= MAX_PARAMS:
            yield ":".join(map(str, (kind, *itertools.chain(*stages)))), network


def main() -> None:
    """Train what is missing and write the table after every network."""
    args = _parse()
    table: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    data = load_training("folder" if args.data else "digits", args.data, Reading(args.image_size))
    splits = place_search_splits(data, 0, args.images, args.val_images, "cpu")
    recipe = fit_batch(get_recipe("short"), args.images)
    engine = Engine("cpu", 1)
    todo = [item for item in networks() if item[0] not in table]
    print(
        f"{len(table)} networks known, {len(todo)} to train; {args.seeds} seeds, {args.epochs} "
        f"epochs on {args.images} + {args.val_images} images, {hardware(engine)}",
        flush=True,
    )
    started = time.perf_counter()
    for number, (code, network) in enumerate(todo, start=1):
        complexity = count(network, data.input_spec)
        accuracies = []
        for seed in range(args.seeds):
            spec = TrainSpec(network, data.input_spec, recipe, args.epochs, seed)
            result = train(spec, make_batches(splits, recipe, seed), engine)
            finished = result.status == "finished"
            accuracies.append(round(result.val_accuracy or 0.0, 5) if finished else 0.0)
        table[code] = {
            "test_acc": accuracies,
            "params": complexity.num_params,
            "flops": complexity.macs,
        }
        write_text_atomically(args.out, json.dumps(table) + "\n")
        if number % 20 == 0:
            seconds = time.perf_counter() - started
            print(f"{number} of {len(todo)} in {seconds:.0f} s", flush=True)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="the table, made or continued")
    parser.add_argument("--data", type=Path, help="an image folder (default: digits)")
    parser.add_argument("--image-size", type=int, help="side in pixels (default: the data's own)")
    parser.add_argument("--images", type=int, default=1_000, help="training images")
    parser.add_argument("--val-images", type=int, default=140, help="validation images")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
