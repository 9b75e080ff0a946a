"""Train one run while its epochs are shown: what `retrain` and `reproduce` share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nas.errors import UsageError
from nas.units import format_duration

if TYPE_CHECKING:
    from nas.retraining.run import RunData, RunSpec
    from nas.training.result import EpochRecord
    from nas.training.tracking import Trackers

INTERRUPTED_TEXT = "interrupted; the last whole epoch is saved: add --resume to go on"
TRACKED_RESULTS = (  # of the metrics
    "status",
    "num_params",
    "train_accuracy",
    "val_accuracy",
    "test_accuracy",
    "accuracy_gap",
)


def add_continuing(group: argparse._ArgumentGroup) -> None:
    """Add `--resume` and `--restart`."""
    group.add_argument("--resume", action="store_true", help="go on from the last epoch")
    group.add_argument(
        "--restart",
        action="store_true",
        help="discard what the folder holds, but for the record of the test split's openings",
    )


def mode_of(args: argparse.Namespace) -> str:
    """Return how a run folder is entered: ``begin``, ``resume`` or ``restart``.

    Raises:
        UsageError: Both options are given.
    """
    if args.resume and args.restart:
        raise UsageError("--resume goes on and --restart begins again; give one of them")
    return "resume" if args.resume else "restart" if args.restart else "begin"


def train_shown(
    item: RunSpec, run_data: RunData, mode: str, track: Sequence[str]
) -> dict[str, Any]:
    """Train a run, with what it will do and every epoch on standard error.

    Args:
        item: The run; its engine gives way to that of the epochs it goes on from.
        run_data: The images on the device.
        mode: One of `mode_of`.
        track: Names of the experiment trackers.

    Returns:
        The run's metrics.
    """
    from nas.retraining.retrain import resumed_engine, retrain
    from nas.retraining.run_time import estimate_seconds

    if mode == "resume":
        item = replace(item, engine=resumed_engine(item))
    print(_describe(item, run_data, estimate_seconds(item, run_data)), file=sys.stderr)
    with _make_trackers(track, item, run_data) as trackers:

        def on_epoch(epoch: EpochRecord) -> None:
            print(_describe_epoch(epoch, item.epochs), file=sys.stderr)
            trackers.log(epoch)

        metrics = retrain(item, run_data, mode, on_epoch)
        trackers.result = {name: metrics[name] for name in TRACKED_RESULTS}
    return metrics


def _make_trackers(track: Sequence[str], item: RunSpec, run_data: RunData) -> Trackers:
    from nas.network.identity import identify
    from nas.retraining.run import settings_of
    from nas.training.tracking import TrackedRun, Trackers

    network_id = identify(item.architecture).id
    settings = settings_of(item, run_data.data)
    run = TrackedRun(item.folder.path.name, network_id, item.folder.path, settings)
    return Trackers(track, run)


def _describe(item: RunSpec, run_data: RunData, seconds: float | None) -> str:
    from nas.training.engine import hardware

    splits = run_data.splits
    val = f", {len(splits.val):,} held out" if splits.val is not None else ""
    time = f"about {format_duration(seconds)}" if seconds is not None else "time unknown"
    return (
        f"seed {item.seed}: {item.epochs} epochs on {len(splits.train):,} images{val}, recipe "
        f"{item.recipe.name}, batch {item.recipe.batch_size}, {hardware(item.engine)}\n"
        f"        {time} in all -> {item.folder.path}"
    )


def _describe_epoch(epoch: EpochRecord, epochs: int) -> str:
    left = epoch.elapsed_seconds / epoch.epoch * (epochs - epoch.epoch)
    val = f" · val {100 * epoch.val_accuracy:.2f}%" if epoch.val_accuracy is not None else ""
    return (
        f"epoch {epoch.epoch}/{epochs} · train loss {epoch.train_loss:.4f} · "
        f"train {100 * epoch.train_accuracy:.2f}%{val} · {format_duration(left)} left"
    )
