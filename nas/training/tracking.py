"""Experiment trackers: every run, by network and epoch, beside `curve.csv`, which always is.

To add a tracker, write one function that opens it and add one row to `TRACKERS`. A tracker never
stops a training: one that fails is left out from then on, with one warning.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from nas.errors import UsageError, unknown_name
from nas.training.result import EpochRecord

logger = logging.getLogger(__name__)

PROJECT = "nas"
WANDB_ID = "wandb-id"  # the file that lets a resumed run go on as the same one
INIT_TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class TrackedRun:
    """What a tracker is told of a run.

    Args:
        name: The run's own name: ``<id>-seed<k>``, of a trial ``<study>-trial<n>``.
        network_id: Groups the runs of one network.
        folder: Trackers keep their files there: the run's folder, or one of the trial's own that
            outlives the trial's.
        settings: All that decides the result, JSON-ready.
    """

    name: str
    network_id: str
    folder: Path
    settings: Mapping[str, Any]


class Tracker(Protocol):
    """Where the figures of one run go."""

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Write the figures of an epoch, from 1."""

    def close(self, result: Mapping[str, Any]) -> None:
        """Write how the run ended and let everything go."""


class TrackerKind(NamedTuple):
    """A row of `TRACKERS`: the package it needs, and how it is opened at a first epoch."""

    package: str
    open: Callable[[TrackedRun, int], Tracker]


class TensorBoard:
    """Event files in ``<run folder>/tensorboard``; `tensorboard --logdir studies` shows all."""

    def __init__(self, run: TrackedRun, first_epoch: int) -> None:
        """Open a file; of the folder's older files this epoch and later ones are not shown."""
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard"
        self._writer = SummaryWriter(str(folder), purge_step=first_epoch)
        self._write_text("settings", run.settings)

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Write one scalar a figure."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()  # it writes in a thread: a full disk shows here

    def close(self, result: Mapping[str, Any]) -> None:
        """Write the result as text."""
        self._write_text("result", result)
        self._writer.close()

    def _write_text(self, name: str, values: Mapping[str, Any]) -> None:
        """Write values as a code block of Markdown, which TensorBoard shows."""
        lines = json.dumps(values, indent=2).splitlines()
        self._writer.add_text(name, "\n".join(f"    {line}" for line in lines))


class WeightsAndBiases:
    """A run of the project ``nas``; offline unless $WANDB_MODE or a login says otherwise."""

    def __init__(self, run: TrackedRun, first_epoch: int) -> None:
        """Begin a run, or go on with the one that was begun in this folder."""
        import wandb

        mode = os.environ.get("WANDB_MODE") or ("online" if _has_login() else "offline")
        id_file = run.folder / WANDB_ID
        if first_epoch == 1 or not id_file.exists():
            id_file.write_text(secrets.token_hex(4))
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT,
            id=id_file.read_text().strip(),
            resume="allow" if mode == "online" else None,
            name=run.name,
            group=run.network_id,
            config=dict(run.settings),
            dir=str(run.folder),
            mode=mode,
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=INIT_TIMEOUT_SECONDS,
                disable_git=True,
                x_disable_meta=True,  # it has the command line, and so a --storage's password
            ),
        )
        self._folder, self._mode = Path(self._run.dir).parent, mode

    def log(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Log the figures at the epoch."""
        self._run.log(dict(figures), step=epoch)

    def close(self, result: Mapping[str, Any]) -> None:
        """Write the result into the run's summary."""
        for name, value in result.items():
            self._run.summary[name] = value
        self._run.finish()
        if self._mode == "offline":
            print(f"wandb: offline; `wandb sync {self._folder}` sends it", file=sys.stderr)


TRACKERS: dict[str, TrackerKind] = {
    "tensorboard": TrackerKind("tensorboard", TensorBoard),
    "wandb": TrackerKind("wandb", WeightsAndBiases),
}


def require_trackers(names: Sequence[str]) -> None:
    """Refuse a tracker that is unknown or not installed.

    Raises:
        UnknownNameError: There is no such tracker.
        UsageError: Its package is absent; the command that installs it is named.
    """
    for name in names:
        if name not in TRACKERS:
            raise unknown_name("tracker", name, TRACKERS)
        package = TRACKERS[name].package
        spec = importlib.util.find_spec(package)
        if spec is None or spec.origin is None:  # the latter: a folder that has its name
            raise UsageError(
                f"--track {name} needs the package {package}, which is not installed; run: "
                f"{sys.executable} -m pip install {package}"
            )


class Trackers:
    """The trackers of one run, opened at its first epoch; none of them can stop it.

    As a context they are closed at its end, with the `result` that was set within.
    """

    def __init__(
        self, names: Sequence[str], run: TrackedRun, left_out: set[str] | None = None
    ) -> None:
        """Open nothing yet; `left_out` keeps the names that failed, for the runs that follow."""
        self.result: Mapping[str, Any] = {"status": "interrupted"}
        self._left_out = left_out if left_out is not None else set()
        self._waiting = [name for name in dict.fromkeys(names) if name not in self._left_out]
        self._run = run
        self._open: dict[str, Tracker] = {}

    def __enter__(self) -> Trackers:
        return self

    def __exit__(self, *exception: object) -> None:
        """Tell every tracker that works how the run ended, and close it."""
        for name, tracker in list(self._open.items()):
            with self._guarded(name):
                tracker.close(self.result)
        self._open.clear()

    def log(self, record: EpochRecord) -> None:
        """Write the figures of an epoch to every tracker that works."""
        for name in self._waiting:
            with self._guarded(name):
                self._run.folder.mkdir(parents=True, exist_ok=True)
                self._open[name] = TRACKERS[name].open(self._run, record.epoch)
        self._waiting = []
        for name, tracker in list(self._open.items()):
            with self._guarded(name):
                tracker.log(record.epoch, figures_of(record))

    @contextmanager
    def _guarded(self, name: str) -> Iterator[None]:
        """Call a tracker inside; where it raises anything, leave it out and say so once."""
        try:
            yield
        except Exception as error:  # whatever a tracker raises, the training goes on
            self._open.pop(name, None)
            self._left_out.add(name)
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            logger.warning("%s is left out from here on: %s", name, reason)


def figures_of(record: EpochRecord) -> dict[str, float]:
    """Return what is tracked of an epoch; what was not measured is left out."""
    figures = {
        "loss/train": record.train_loss,
        "loss/val": record.val_loss,
        "accuracy/train": record.train_accuracy,
        "accuracy/val": record.val_accuracy,
        "accuracy/gap": record.accuracy_gap,
        "learning_rate": record.learning_rate,
    }
    return {name: value for name, value in figures.items() if value is not None}


def _has_login() -> bool:
    """Tell whether Weights & Biases has a key, without asking for one."""
    import netrc

    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False
