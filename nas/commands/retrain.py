"""Train one network in full, and measure it on the test set once.

Training and validation part are merged, unless --holdout keeps the validation part apart. The
result is that of the last epoch. The run's folder holds weights, curves, metrics and a checkpoint
of every epoch: --resume goes on from it.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.budget import parse_count
from nas.commands.common import add_format, add_study, add_training, open_study, print_json
from nas.errors import UsageError
from nas.units import format_duration

if TYPE_CHECKING:
    from nas.architecture import Architecture
    from nas.retrain import Run
    from nas.study import StudyDefinition

DEFAULT_EPOCHS = 200
DEFAULT_RECIPE = "modern"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `retrain`."""
    group = parser.add_argument_group("network")
    which = group.add_mutually_exclusive_group(required=True)
    which.add_argument("--best", action="store_true", help="the best trial of the study")
    which.add_argument("--trial", type=int, metavar="N", help="a trial of the study")
    which.add_argument("--arch", metavar="NAME|FILE", help="a preset, a JSON file or a notation")
    group.add_argument(
        "--budget", type=parse_count, metavar="N", help="with --best: at most N parameters"
    )
    group.add_argument("--stem", metavar="KIND", help="with --arch: replace the stem's kind")
    group = parser.add_argument_group("run")
    group.add_argument(
        "--epochs", type=int, default=DEFAULT_EPOCHS, metavar="N", help="epochs (default: 200)"
    )
    group.add_argument(
        "--seeds", type=int, default=1, metavar="N", help="runs with seeds k, k+1, ..."
    )
    group.add_argument(
        "--holdout",
        action="store_true",
        help="keep the validation part out and measure on it every epoch",
    )
    group.add_argument("--resume", action="store_true", help="go on from the last epoch")
    group.add_argument("--restart", action="store_true", help="discard what the folder holds")
    add_study(parser)
    add_training(parser)
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Train with each seed, and say what came out."""
    for name in ("epochs", "seeds"):
        if getattr(args, name) < 1:
            raise UsageError(f"--{name} must be at least 1, but got {getattr(args, name)}")
    if args.seed is not None and args.seed < 0:
        raise UsageError(f"--seed must be at least 0, but got {args.seed}")
    if args.resume and args.restart:
        raise UsageError("--resume goes on and --restart begins again; give one of them")
    runs = _make_runs(args)
    try:
        results = [_run_one(args, item) for item in runs]
    except KeyboardInterrupt:
        print("interrupted; the last epoch is saved: add --resume to go on", file=sys.stderr)
        return 130
    _print_end(args, runs, results)
    return 0 if all(metrics["status"] == "finished" for metrics in results) else 1


def _make_runs(args: argparse.Namespace) -> list[Run]:
    from nas.device import Engine, choose_device
    from nas.plan import fit_batch
    from nas.recipe import get_recipe
    from nas.retrain import Run, load_run_data, run_folder
    from nas.search import quote_command
    from nas.study import studies_folder

    architecture, definition, parent = _find_network(args)
    if parent is None:
        parent = studies_folder(args.studies)
    dataset = args.dataset or (definition.dataset if definition else None)
    if dataset is None:
        raise UsageError("--arch needs --dataset NAME, or --study NAME to take its data")
    data_dir = args.data or (definition.data_dir if definition else None)
    image_size = args.image_size or (definition.image_size if definition else None)
    recipe = get_recipe(args.recipe or DEFAULT_RECIPE).with_overrides(args.overrides)
    first = args.seed if args.seed is not None else 0
    base = Run(
        architecture=architecture,
        dataset=dataset,
        data_dir=Path(data_dir) if data_dir else None,
        image_size=image_size,
        recipe=recipe,
        epochs=args.epochs,
        seed=first,
        engine=Engine(choose_device(args.device or "auto")),
        holdout=args.holdout,
        split_seed=definition.seed if definition else 0,
        folder=run_folder(parent, architecture, first),
        command=quote_command(sys.argv[1:]),
    )
    if not any(text.split("=")[0].strip() == "batch_size" for text in args.overrides):
        base = replace(base, recipe=fit_batch(recipe, len(load_run_data(base).train)))
    return [
        replace(base, seed=seed, folder=run_folder(parent, architecture, seed))
        for seed in range(first, first + args.seeds)
    ]


def _find_network(
    args: argparse.Namespace,
) -> tuple[Architecture, StudyDefinition | None, Path | None]:
    """Return the network, and definition and folder of the study it or its data come from."""
    from nas.architecture import Architecture
    from nas.presets import resolve_architecture
    from nas.summary import summarise

    if args.arch is not None:
        architecture = resolve_architecture(args.arch, stem_kind=args.stem)
        definition = open_study(args).definition if args.study is not None else None
        return architecture, definition, None
    opened = open_study(args)
    definition = opened.definition
    if args.trial is not None:
        chosen = next((row for row in opened.rows if row.number == args.trial), None)
        if chosen is None or chosen.architecture is None:
            raise UsageError(
                f"study {definition.name!r} has no trial {args.trial}; it has "
                f"{len(opened.rows)} trials, from 0"
            )
    else:
        budget = args.budget or definition.budget
        chosen = summarise(
            definition.name, budget, definition.plan.val_images, opened.rows
        ).best
        if chosen is None:
            raise UsageError(
                f"study {definition.name!r} has no trial trained to its end within {budget:,} "
                "parameters; see `python cli.py best`"
            )
    assert chosen.architecture is not None
    return Architecture.from_dict(chosen.architecture), definition, opened.folder.path


def _run_one(args: argparse.Namespace, item: Run) -> dict[str, Any]:
    from nas.interrupt import InterruptGuard
    from nas.result import EpochRecord
    from nas.retrain import estimate, finished_metrics, load_run_data, retrain

    if args.restart and item.folder.exists():
        shutil.rmtree(item.folder)
    done = finished_metrics(item)
    if done is not None:
        print(f"{item.folder} is finished already", file=sys.stderr)
        return done
    data = load_run_data(item)
    _, seconds = estimate(item, data)
    print(
        f"seed {item.seed}: {item.epochs} epochs with recipe {item.recipe.name} on "
        f"{item.engine.device}, about {format_duration(seconds)} -> {item.folder}",
        file=sys.stderr,
    )

    def show(epoch: EpochRecord) -> None:
        left = epoch.elapsed_seconds / epoch.epoch * (item.epochs - epoch.epoch)
        val = f" · val {100 * epoch.val_accuracy:.2f}%" if epoch.val_accuracy is not None else ""
        print(
            f"epoch {epoch.epoch}/{item.epochs} · train loss {epoch.train_loss:.4f} · "
            f"train {100 * epoch.train_accuracy:.2f}%{val} · {format_duration(left)} left",
            file=sys.stderr,
        )

    with InterruptGuard():
        return retrain(item, data, args.resume, show)


def _print_end(args: argparse.Namespace, runs: list[Run], results: list[dict[str, Any]]) -> None:
    accuracies = [m["test_accuracy"] for m in results if m["test_accuracy"] is not None]
    mean = statistics.fmean(accuracies) if accuracies else None
    deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else None
    if args.format == "json":
        folders = [str(item.folder) for item in runs]
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
            print(f"seed {item.seed}: {metrics['status']}: {metrics['reason']}")
            continue
        print(
            f"seed {item.seed}: test accuracy {100 * metrics['test_accuracy']:.2f} "
            f"± {100 * metrics['test_standard_error']:.2f}% on {metrics['test_images']:,} images, "
            f"{metrics['num_params']:,} parameters, {metrics['settings']['epochs']} epochs"
        )
        print(f"        {item.folder}")
    if mean is not None and deviation is not None:
        print(
            f"mean of {len(accuracies)} seeds: {100 * mean:.2f}%, "
            f"standard deviation {100 * deviation:.2f} points"
        )
