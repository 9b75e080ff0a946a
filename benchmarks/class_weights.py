"""What `class_weights=balanced` is worth on a long tail: one net with it and without, paired.

    python benchmarks/class_weights.py --data DIR        # CIFAR-10 as a folder, train/ and test/

The training images are thinned so that the largest class keeps all of its own and the smallest one
in `--ratio`, exponentially between (Cui et al. 2019, Class-Balanced Loss Based on Effective Number
of Samples). Both trainings of a pair have the same seed: of the images that are kept, the weights
and the order. They are measured on all test images, as many of each class: their accuracy there is
the macro recall. The accuracy is that on images as uneven as those trained on: the recalls' mean
with the classes' shares in the training images.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import fmean

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.differences import describe_points
from nas.confusion import class_figures, score
from nas.data.datasets import Reading, load_test, load_training
from nas.data.images import Dataset, LabelledImages, read_dataset, select
from nas.network.architecture import Architecture
from nas.network.complexity import count
from nas.training.batches import eval_loader, make_batches
from nas.training.engine import Engine, hardware
from nas.training.evaluate import evaluate
from nas.training.fitting import fit_batch
from nas.training.loop import TrainSpec, train
from nas.training.recipe import get_recipe

ARMS = ("balanced", "none")
ENGINE = Engine("cpu", 1)
FIGURES = ("macro recall", "accuracy", "recall of the smallest class")


def main() -> None:
    """Train the pairs and print them."""
    args = _parse()
    reading = Reading(image_size=args.image_size)
    data = load_training("folder", args.data, reading)
    test = load_test("folder", args.data, reading)
    network = Architecture.from_notation(args.network)
    num_params = count(network, data.input_spec).num_params
    print(f"{hardware(ENGINE)}; {num_params:,} parameters, {args.network}, {args.epochs} epochs")
    pairs: list[list[tuple[float, ...]]] = []
    for seed in range(args.seeds):
        thinned = thin(data.train, args.ratio, seed)
        if not pairs:
            print(f"{len(thinned):,} images: {thinned.class_counts}", flush=True)
        pairs.append([])
        for arm in ARMS:
            row = fit_batch(get_recipe("short"), len(thinned))
            recipe = row.with_overrides([f"class_weights={arm}"])
            spec = TrainSpec(network, data.input_spec, recipe, args.epochs, seed)
            started = time.perf_counter()
            found = measure(spec, read_dataset(thinned), test)
            pairs[-1].append(found)
            cells = [f"{name} {100 * x:.2f}%" for name, x in zip(FIGURES, found, strict=True)]
            seconds = time.perf_counter() - started
            print(f"seed {seed} {arm:<9} {', '.join(cells)}, {seconds:.0f} s", flush=True)
    for index, name in enumerate(FIGURES):
        balanced, none = ([pair[arm][index] for pair in pairs] for arm in range(2))
        difference = describe_points([a - b for a, b in zip(balanced, none, strict=True)])
        means = " and ".join(f"{100 * fmean(values):.2f}%" for values in (balanced, none))
        print(f"{name}: {means}, {difference}")


def measure(spec: TrainSpec, data: Dataset, test: LabelledImages) -> tuple[float, ...]:
    """Train a network, and return its `FIGURES` on the test images."""
    result = train(spec, make_batches(data, spec.recipe, spec.seed), ENGINE)
    assert result.model is not None, result.reason
    found = evaluate(result.model, eval_loader(test, data.normalisation), ENGINE)
    recalls, counts = class_figures(found.confusion).recall, data.train.class_counts
    uneven = sum(n * recall for n, recall in zip(counts, recalls, strict=True)) / sum(counts)
    return score("balanced_accuracy", found.confusion).value, float(uneven), float(recalls[-1])


def thin(split: LabelledImages, ratio: float, seed: int) -> LabelledImages:
    """Return a long tail of a split: class c of K keeps ratio ** (-c / (K - 1)) of its images."""
    generator = torch.Generator().manual_seed(seed)
    num_classes, kept = len(split.class_names), []
    for label in range(num_classes):
        own = (split.labels == label).nonzero().flatten()
        own = own[torch.randperm(len(own), generator=generator)]
        kept.append(own[: max(round(len(own) * ratio ** (-label / (num_classes - 1))), 1)])
    return select(split, torch.cat(kept).sort().values)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="an image folder with test/")
    parser.add_argument("--network", default="[[Basic,1,8],[Basic,1,24],[Basic,1,80]]")
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--ratio", type=float, default=100.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=4)
    return parser.parse_args()


if __name__ == "__main__":
    main()
