"""What commands that train share: the data, how a folder is entered, a run shown by epochs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nas.commands.arguments import add_flags
from nas.errors import UsageError
from nas.printing import print_lines
from nas.units import format_duration, plural

if TYPE_CHECKING:
    from nas.data.images import Dataset
    from nas.retraining.run import RunSpec
    from nas.training.engine import Engine
    from nas.training.result import EpochRecord
    from nas.training.tracking import Trackers

DEFAULT_DATASET = "cifar10"
INTERRUPTED_TEXT = "interrupted; the last whole epoch is saved: add --resume to go on"
ACCURACIES = ("train_accuracy", "val_accuracy", "test_accuracy", "accuracy_gap")
TRACKED_RESULTS = ("status", "num_params", *ACCURACIES)  # of the metrics


def add_continuing(group: argparse._ArgumentGroup) -> None:
    """Add `--resume` and `--restart`."""
    anew = "discard what the folder holds, but for the record of the test split's openings"
    add_flags(group, ("--resume", "go on from the last epoch"), ("--restart", anew))


def load_data(args: argparse.Namespace) -> Dataset:
    """Load what the arguments of `add_data` name, else `DEFAULT_DATASET`; no test split.

    Raises:
        UsageError: There is no such data set, or its files are unusable.
        DownloadError: They are absent and could not be downloaded.
    """
    from nas.data.datasets import load_training, make_reading

    data = load_training(args.dataset or DEFAULT_DATASET, args.data, make_reading(vars(args)))
    print_notes(data)
    return data


def print_notes(data: Dataset) -> None:
    """Say on standard error how the images were read."""
    for note in data.notes:
        print_lines(f"note: {note}", file=sys.stderr)


def mode_of(args: argparse.Namespace) -> str:
    """Return how a run folder is entered: ``begin``, ``resume`` or ``restart``.

    Raises:
        UsageError: Both options are given.
    """
    if args.resume and args.restart:
        raise UsageError("--resume goes on and --restart begins again; give one of them")
    return "resume" if args.resume else "restart" if args.restart else "begin"


def train_all(
    runs: Sequence[RunSpec], data: Dataset, mode: str, track: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Train what has not come to its end yet, with every epoch on standard error.

    All folders are looked at when this is called: one that may not be entered is refused before
    anything is trained. The images are put on the device once.

    Args:
        runs: What is trained; runs of one network and recipe get the same engine.
        data: As they were loaded.
        mode: One of `mode_of`.
        track: Names of the experiment trackers.

    Returns:
        The metrics of each run, as it ends.

    Raises:
        UsageError: As `nas.retraining.retrain.find_ended`.
        StorageError: As that.
    """
    from nas.retraining.retrain import find_ended
    from nas.retraining.run import place_run_data
    from nas.retraining.run_time import choose_engine

    ended = [find_ended(run, data, mode) for run in runs]

    def train_missing() -> Iterator[dict[str, Any]]:
        placed: Dataset | None = None
        engines: dict[Any, Engine] = {}
        for run, metrics in zip(runs, ended, strict=True):
            if metrics is not None:
                print_lines(f"{run.folder.path} has come to its end already", file=sys.stderr)
                yield metrics
                continue
            placed = placed or place_run_data(run, data)
            kind = run.architecture, run.recipe
            engines[kind] = engines.get(kind) or choose_engine(run, data)
            yield _train_shown(replace(run, engine=engines[kind]), placed, mode, track)

    return train_missing()


def _train_shown(item: RunSpec, data: Dataset, mode: str, track: Sequence[str]) -> dict[str, Any]:
    """Train a run, with what it will do and every epoch on standard error.

    Its engine gives way to that of the epochs it goes on from.
    """
    from nas.retraining.retrain import resumed_engine, retrain
    from nas.retraining.run_time import estimate_seconds

    if mode == "resume":
        item = replace(item, engine=resumed_engine(item))
    print_lines(*_describe(item, data, estimate_seconds(item, data)), file=sys.stderr)
    with _make_trackers(track, item, data) as trackers:

        def on_epoch(epoch: EpochRecord) -> None:
            print(_describe_epoch(epoch, item.epochs), file=sys.stderr)
            trackers.log(epoch)

        metrics = retrain(item, data, mode, on_epoch)
        trackers.result = {name: metrics[name] for name in TRACKED_RESULTS}
    return metrics


def _make_trackers(track: Sequence[str], item: RunSpec, data: Dataset) -> Trackers:
    from nas.network.identity import identify
    from nas.retraining.run import settings_of
    from nas.training.tracking import TrackedRun, Trackers

    network_id = identify(item.architecture).id
    settings = settings_of(item, data)
    run = TrackedRun(item.folder.path.name, network_id, item.folder.path, settings)
    return Trackers(track, run)


def _describe(item: RunSpec, data: Dataset, seconds: float | None) -> list[str]:
    from nas.data.mirroring import describe_mirroring
    from nas.training.engine import hardware

    val = f", {len(data.val):,} held out" if data.val is not None else ""
    time = f"about {format_duration(seconds)}" if seconds is not None else "time unknown"
    mirroring = describe_mirroring(data, item.recipe.flip)
    return [
        f"seed {item.seed}: {plural(item.epochs, 'epoch')} on {len(data.train):,} images{val}, "
        f"recipe {item.recipe.name}, batch {item.recipe.batch_size}, {hardware(item.engine)}",
        f"        {time} in all -> {item.folder.path}",
        *([f"        {mirroring}"] if mirroring else []),
    ]


def _describe_epoch(epoch: EpochRecord, epochs: int) -> str:
    left = epoch.elapsed_seconds / epoch.epoch * (epochs - epoch.epoch)
    val = f" · val {100 * epoch.val_accuracy:.2f}%" if epoch.val_accuracy is not None else ""
    return (
        f"epoch {epoch.epoch}/{epochs} · train loss {epoch.train_loss:.4f} · "
        f"train {100 * epoch.train_accuracy:.2f}%{val} · {format_duration(left)} left"
    )
