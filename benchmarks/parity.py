"""Whether the engine's speed is bought with accuracy: the same training by it and by a plain loop.

    python benchmarks/parity.py --data DIR                  # an image folder, say CIFAR-10's

Both train the same network with the same recipe on the same images, from weights of the same
distribution; a validation split taken from the training split tells. Prints every seed, and the
mean of the paired differences with its standard error.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.differences import describe_points
from nas.bench.contenders import Pictures, PlainLoop
from nas.data.datasets import load_training
from nas.network.architecture import Architecture
from nas.network.presets import resolve_architecture
from nas.training.batches import Batches, make_batches, place_search_splits
from nas.training.engine import Engine, hardware
from nas.training.evaluate import evaluate
from nas.training.fitting import fit_batch
from nas.training.loop import TrainSpec, train
from nas.training.recipe import Recipe, get_recipe
from nas.training.timing import choose_bfloat16


def main() -> None:
    """Train the pairs and print them."""
    args = _parse()
    network = resolve_architecture(args.network)
    data = load_training("folder", args.data)
    splits = place_search_splits(data, 0, args.images, args.val_images, "cpu")
    recipe = fit_batch(get_recipe("short"), args.images)
    plain_engine = Engine("cpu", args.threads, channels_last=False)
    is_half = choose_bfloat16(network, data.input_spec, recipe, plain_engine)
    engine = Engine("cpu", args.threads, bfloat16=is_half)
    print(
        f"{args.network}, {args.epochs} epochs on {args.images} images, batch {recipe.batch_size}"
    )
    print(f"{args.val_images} validation images; {hardware(engine)}, torch {torch.__version__}")
    print(f"engine in {'bfloat16' if is_half else 'float32'}, plain loop in float32")
    differences = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = Pictures(Path(folder), splits.train, data.normalisation)
        for seed in range(args.seeds):
            batches = make_batches(splits, recipe, seed)
            started = time.perf_counter()
            spec = TrainSpec(network, data.input_spec, recipe, args.epochs, seed)
            ours = train(spec, batches, engine).val_accuracy or 0.0
            between = time.perf_counter()
            plain = _train_plainly(
                network, recipe, plain_engine, pictures, batches, args.epochs, seed
            )
            ended = time.perf_counter()
            differences.append(ours - plain)
            print(
                f"seed {seed}: engine {ours:.4f} in {between - started:.0f} s, "
                f"plain loop {plain:.4f} in {ended - between:.0f} s",
                flush=True,
            )
    print(f"engine - plain loop: {describe_points(differences)}")


def _train_plainly(
    network: Architecture,
    recipe: Recipe,
    engine: Engine,
    pictures: Pictures,
    batches: Batches,
    epochs: int,
    seed: int,
) -> float:
    """Return the validation accuracy of the plain loop after its last epoch."""
    torch.manual_seed(seed)
    plain = PlainLoop(network, recipe, engine, pictures, num_workers=0, epochs=epochs)
    plain.run(epochs * len(plain.loader))
    assert batches.val is not None
    plain.model.eval()
    with engine.applied():
        return evaluate(plain.model, batches.val, engine, recipe.precision).accuracy


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="an image folder")
    parser.add_argument("--network", default="resnet20", help="a preset (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--val-images", type=int, default=1_000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
