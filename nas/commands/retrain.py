"""Train one network in full, and measure it on the test set once.

Training and validation split are merged, unless --holdout keeps the validation split apart. The
result is that of the last epoch. The folder <studies>/<study>/retrain/<id>-seed<k> (with --arch:
<studies>/retrain/<id>-seed<k>) gets weights, curves, metrics and a checkpoint of the last epoch
(on a GPU, of one in the last 20 seconds or so); --resume goes on from it. On other data than the
study's the folder is <id>-<data>-seed<k>.

  cli.py retrain --best
  cli.py retrain --arch resnet20 --dataset cifar10 --epochs 100 --set learning_rate=0.05
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.commands import arguments
from nas.commands.common import find_network
from nas.commands.training import (
    INTERRUPTED_TEXT,
    add_continuing,
    mode_of,
    print_notes,
    train_all,
)
from nas.confusion import describe_majority
from nas.errors import UsageError
from nas.network.blocks import STEMS
from nas.network.caps import parse_count
from nas.printing import print_json, print_lines
from nas.training.result import Ending
from nas.units import plural

if TYPE_CHECKING:
    from nas.data.images import Dataset
    from nas.retraining.run import RunSpec

DEFAULT_EPOCHS = 200
DEFAULT_RECIPE = "modern"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `retrain`."""
    group = parser.add_argument_group("network")
    which = group.add_mutually_exclusive_group(required=True)
    arguments.add_flags(which, ("--best", "the best of the study, found or baseline"))
    arguments.add_options(
        which,
        ("--trial", int, "N", "trial number N of the study"),
        ("--arch", str, "NAME|FILE", "a preset, a JSON file, a run or the paper's notation"),
    )
    stems = f"with --arch: the stem's kind, {arguments.list_names(STEMS)}; a notation has none"
    arguments.add_options(
        group,
        ("--budget", parse_count, "N", "with --best: at most N parameters"),
        ("--stem", str, "KIND", stems),
    )
    group = parser.add_argument_group("run")
    group.add_argument(
        "--epochs", type=int, default=DEFAULT_EPOCHS, metavar="N", help="epochs (default: 200)"
    )
    text = "N runs, with seeds k, k+1, ... from --seed on; mean and standard deviation"
    group.add_argument("--seeds", type=int, default=1, metavar="N", help=text)
    holdout = "keep the validation split out and measure on it every epoch"
    arguments.add_flags(group, ("--holdout", holdout))
    add_continuing(group)
    arguments.add_study(parser)
    arguments.add_training(parser, recipe=DEFAULT_RECIPE, dataset="the study's")
    arguments.add_track(parser)
    arguments.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Train with each seed, and say what came out."""
    from nas.signals import interruptible

    mode = _check(args)
    runs, data = _make_runs(args)
    with interruptible(INTERRUPTED_TEXT):
        results = list(train_all(runs, data, mode, args.track))
    _print_end(args, runs, results)
    return 0 if all(metrics["status"] == Ending.FINISHED for metrics in results) else 1


def _check(args: argparse.Namespace) -> str:
    """Refuse what does not go together; return how the run folders are entered."""
    from nas.training.tracking import require_trackers

    arguments.require_range(args, 1, "epochs", "image_size")
    arguments.require_range(args, 1, "seeds", most=1_000)
    arguments.require_range(args, 0, "seed")
    if args.budget is not None and not args.best:
        raise UsageError("--budget goes with --best: it limits which trial is the best")
    if args.stem is not None and args.arch is None:
        raise UsageError("--stem goes with --arch; a trial has its own stem")
    require_trackers(args.track)
    return mode_of(args)


def _make_runs(args: argparse.Namespace) -> tuple[list[RunSpec], Dataset]:
    """Find the network, read the data and choose what the runs share; nothing is written."""
    from nas.data.datasets import load_training, make_reading
    from nas.retraining.run import RunSpec
    from nas.retraining.run_folder import run_folder
    from nas.study.folder import data_name, studies_folder
    from nas.training.engine import Engine, choose_device

    architecture, definition, study = find_network(args)
    dataset = args.dataset or (definition.dataset if definition else None)
    if dataset is None:
        raise UsageError(
            "--arch needs --dataset NAME, or --study NAME to train on that study's data"
        )
    same_data = definition is not None and definition.dataset == dataset
    data_dir, reading = args.data, make_reading(vars(args))
    if definition is not None and same_data:
        reading = make_reading(vars(args), definition.reading_at(data_dir))
        if data_dir is None and definition.data_dir:
            data_dir = Path(definition.data_dir)
    parent, other = study or studies_folder(args.studies), ""
    recipe = arguments.make_recipe(args, DEFAULT_RECIPE)  # refused before the data are read
    architecture = architecture.with_dropout(recipe.dropout)  # the folder says what was trained
    device = choose_device(args.device or "auto")
    data = load_training(dataset, data_dir, reading)
    if definition is not None and data.fingerprint != definition.data_fingerprint:
        print("note: these are not the images that the study searched on", file=sys.stderr)
        # they were asked for: the study's folder of this network and seed is of its own images
        if study is not None and (args.data or not same_data):
            other = data_name(dataset, data_dir)
    print_notes(data)
    first = args.seed or 0
    recipe = arguments.make_recipe(args, DEFAULT_RECIPE, len(data.train))
    weights = definition.recipe.get("class_weights", "none") if definition else "none"
    if recipe.class_weights != weights and same_data:
        text = f"note: the search had class_weights={weights}, this run {recipe.class_weights}"
        print(f"{text}; --set class_weights={weights} trains as it did", file=sys.stderr)
    return [
        RunSpec(
            architecture=architecture,
            dataset=dataset,
            data_dir=data_dir,
            reading=reading,
            recipe=recipe,
            epochs=args.epochs,
            seed=seed,
            engine=Engine(device),
            holdout=args.holdout,
            split_seed=definition.seed if definition else 0,
            folder=run_folder(parent, architecture, seed, other),
            command=args.command_line,
        )
        for seed in range(first, first + args.seeds)
    ], data


def _describe_gap(metrics: dict[str, Any]) -> str:
    """Return how far training is ahead of what was not trained on: the sign of overfitting."""
    train, val = metrics["train_accuracy"], metrics["val_accuracy"]
    name, other = ("val", val) if val is not None else ("test", metrics["test_accuracy"])
    return (
        f"train {100 * train:.2f}% (augmented) - {name} {100 * other:.2f}%: "
        f"gap {100 * (train - other):+.2f} points"
    )


def _describe_classes(metrics: dict[str, Any]) -> str:
    """Return what the accuracy hides: the share of the largest class, and the worst class."""
    if "worst_class" not in metrics:  # of a run that ended before it was recorded
        return "per class: not recorded"
    worst = metrics["worst_class"]
    parts = [
        describe_majority(metrics["majority"], len(metrics["class_names"])),
        f"balanced accuracy {100 * metrics['test_balanced_accuracy']:.2f}%",
        f"worst recall {100 * worst['recall']:.2f}% of {worst['class']!r} "
        f"({plural(worst['images'], 'image')})",
    ]
    return ", ".join(filter(None, parts))


def _print_end(
    args: argparse.Namespace, runs: list[RunSpec], results: list[dict[str, Any]]
) -> None:
    accuracies = [m["test_accuracy"] for m in results if m["test_accuracy"] is not None]
    mean = statistics.fmean(accuracies) if accuracies else None
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    if args.format == "json":
        folders = [str(item.folder.path) for item in runs]
        print_json(
            {
                "runs": [{"folder": f, **m} for f, m in zip(folders, results, strict=True)],
                "mean_test_accuracy": mean,
                "standard_deviation": deviation,
            }
        )
        return
    for item, metrics in zip(runs, results, strict=True):
        if metrics["test_accuracy"] is None:
            text = f"{metrics['status']}: {metrics['reason']}; test not opened"
            print_lines(f"seed {item.seed}: {text}")
        else:
            print(
                f"seed {item.seed}: test accuracy {100 * metrics['test_accuracy']:.2f} "
                f"± {100 * metrics['test_standard_error']:.2f}% on "
                f"{metrics['test_images']:,} images, {metrics['num_params']:,} parameters, "
                f"{plural(metrics['settings']['epochs'], 'epoch')}"
            )
            print(f"        {_describe_gap(metrics)}")
            print_lines(f"        {_describe_classes(metrics)}")
            for note in metrics.get("test_notes", ()):
                print_lines(f"        {note}")
        print_lines(f"        {item.folder.path}")
    if mean is not None and deviation is not None:
        of = f" of {len(runs)}" if len(accuracies) < len(runs) else ""
        print(
            f"mean of {len(accuracies)}{of} seeds: {100 * mean:.2f}%, "
            f"standard deviation {100 * deviation:.2f} points"
        )
