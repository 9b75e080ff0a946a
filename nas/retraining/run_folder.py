"""The folder of one full training: what lies in it, how it stands, and who works in it.

    architecture.json    the network, as `count`, `show` and `retrain --arch` read it
    metrics.json         status, settings, what was measured, every opening of the test split
    weights.safetensors  the trained weights, by the names of `build_model`
    curve.csv curve.png  every epoch
    classes.csv          of the test split: recall, precision, F1 and images of each class
    confusion.csv .png   of the test split: how many images of each class got which answer
    checkpoint.pt        the state after the last epoch, or on a GPU up to 20 seconds before

`metrics.json` is written first, with the status ``running`` and all settings: it shows that a
training was killed, and which one.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.confusion import class_figures
from nas.errors import StorageError, UsageError, printable
from nas.files import (
    remove_leftovers,
    write_figure_atomically,
    write_table_atomically,
    write_text_atomically,
)
from nas.locks import try_lock
from nas.network.architecture import Architecture
from nas.network.identity import identify
from nas.retraining.confusion_picture import draw_confusion
from nas.training.recipe import Recipe
from nas.training.result import Ending, EpochRecord

if TYPE_CHECKING:
    import numpy as np

RUNNING = "running"
ENDED = (Ending.FINISHED, Ending.DIVERGED)  # a repetition would end in the same way
OPENINGS = "test_openings"
SPLITS = ("train", "val")
FIGURES = ("loss", "accuracy")
MEASURED = [f"{split}_{figure}" for split in SPLITS for figure in FIGURES]
COLUMNS = ("epoch", *MEASURED, "accuracy_gap", "learning_rate", "elapsed_seconds")  # of curve.csv
CLASS_COLUMNS = ("class", "support", "recall", "precision", "f1")  # of classes.csv


class RunFolder:
    """The paths of one run, described at the head of this file; naming them creates nothing."""

    def __init__(self, path: Path) -> None:
        """Name the files of the run in the folder `path`."""
        self.path = path
        self.architecture = path / "architecture.json"
        self.metrics = path / "metrics.json"
        self.weights = path / "weights.safetensors"
        self.curve_table, self.curve_picture = path / "curve.csv", path / "curve.png"
        self.classes_table = path / "classes.csv"
        self.confusion_table = path / "confusion.csv"
        self.confusion_picture = path / "confusion.png"
        self.checkpoint = path / "checkpoint.pt"

    def read(self) -> dict[str, Any] | None:
        """Return the metrics, None where there are none.

        Raises:
            StorageError: They are damaged or may not be read.
        """
        try:
            metrics = json.loads(self.metrics.read_text(encoding="utf-8"))
            if not isinstance(metrics, dict) or not isinstance(metrics["settings"], dict):
                raise ValueError("no settings in it")
            return {OPENINGS: [], "status": RUNNING, **metrics}
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StorageError(f"cannot read {self.metrics}: {error.strerror}") from error
        except (ValueError, KeyError, RecursionError) as error:
            raise StorageError(
                f"{self.metrics} is damaged and was left as it is ({error}); "
                "begin again with --restart"
            ) from error

    def openings(self) -> list[dict[str, str]]:
        """Return when the test split was read for this network; of damaged metrics, nothing."""
        try:
            return list((self.read() or {OPENINGS: []})[OPENINGS])
        except StorageError:
            return []

    def begin(self, architecture: Architecture, metrics: Mapping[str, Any]) -> None:
        """Write down what this run is and remove what an earlier one left.

        In an order that lets a kill at any point leave the earlier run with its metrics and
        weights, or one that is known to have begun and has no checkpoint of another.
        """
        _remove(self.checkpoint)
        self.write(metrics)
        text = json.dumps(architecture.to_dict(), indent=2) + "\n"
        write_text_atomically(self.architecture, text)
        kept = (self.path, self.architecture, self.metrics)
        for path in vars(self).values():
            if path not in kept:
                _remove(path)

    def write(self, metrics: Mapping[str, Any]) -> None:
        """Write the metrics."""
        write_text_atomically(self.metrics, json.dumps(metrics, indent=2) + "\n")

    def write_curve(self, curve: Sequence[EpochRecord]) -> None:
        """Write the epochs as a table."""
        rows = ({name: getattr(record, name) for name in COLUMNS} for record in curve)
        write_table_atomically(self.curve_table, COLUMNS, rows)

    def draw_curve(self, curve: Sequence[EpochRecord], title: str) -> None:
        """Draw loss and accuracy by epoch."""
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator

        figure = Figure(figsize=(9, 3.6), layout="constrained")
        epochs = [record.epoch for record in curve]
        for axes, name in zip(figure.subplots(1, 2), FIGURES, strict=True):
            for split in SPLITS:
                values = [getattr(record, f"{split}_{name}") for record in curve]
                if values[0] is not None:
                    axes.plot(epochs, values, marker="." if len(epochs) < 30 else "", label=split)
            if name == "accuracy" and (gap := curve[-1].accuracy_gap) is not None:
                train, val = ([getattr(r, f"{p}_accuracy") for r in curve] for p in SPLITS)
                label = f"gap, {100 * gap:+.1f} points at the end"
                axes.fill_between(epochs, train, val, color="gray", alpha=0.2, label=label)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_ylabel(name)
            axes.grid(alpha=0.3)
            axes.legend()
        figure.suptitle(title)
        write_figure_atomically(self.curve_picture, figure)

    def write_classes(self, names: Sequence[str], confusion: np.ndarray) -> None:
        """Write what was measured of each class, and the confusion matrix, (K, K).

        What is not defined stays empty: the recall of a class without images.
        """
        names = [printable(name) for name in names]  # of a folder's directory it may be no text
        found = class_figures(confusion)
        rows = []
        for name, support, *figures in zip(names, *found, strict=True):
            known = (figure if figure == figure else None for figure in figures)
            rows.append(dict(zip(CLASS_COLUMNS, (name, int(support), *known), strict=True)))
        write_table_atomically(self.classes_table, CLASS_COLUMNS, rows)
        matrix = [["class", *names]]
        matrix += [[n, *map(str, row)] for n, row in zip(names, confusion.tolist(), strict=True)]
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows(matrix)
        write_text_atomically(self.confusion_table, buffer.getvalue())
        draw_confusion(self.confusion_picture, names, confusion)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process from training here; a killed one holds nothing.

        What a process left that was killed while it wrote is removed first.

        Raises:
            UsageError: Another process trains here.
        """
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            if not try_lock(descriptor):
                raise UsageError(
                    f"another process trains in {self.path}; wait for it, or stop it first"
                )
            for file in vars(self).values():
                remove_leftovers(file)
            yield
        finally:
            os.close(descriptor)


def run_folder(parent: Path, architecture: Architecture, seed: int, other: str = "") -> RunFolder:
    """Return the folder of a run under a study or the folder of studies; it is not created.

    Args:
        parent: That folder.
        architecture: The network.
        seed: The run's seed.
        other: What the data are called, where they are not the study's own.
    """
    name = f"{identify(architecture).id}{other and '-'}{other}-seed{seed}"
    return RunFolder(parent / "retrain" / name)


def opening(command: str) -> dict[str, str]:
    """Return the record of one opening of the test split."""
    return {"at": datetime.now(UTC).isoformat(timespec="seconds"), "command": command}


def refuse_other_settings(
    path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any], advice: str
) -> None:
    """Refuse to go on with a run whose settings are others.

    Args:
        path: Where the run lies.
        found: Its settings.
        wanted: Those that it should have.
        advice: What to do, the end of the message.

    Raises:
        UsageError: A setting differs; every difference is shown.
    """
    now = _flat(wanted)
    before = {"test_files": now.get("test_files"), **_flat(found)}  # older runs have none
    said = {
        "data_fingerprint": "--data: it has other images now, or they are read otherwise",
        "test_files": "--data: its test images are others now",
    }
    differences = [
        said.get(name, f"{name}: {before.get(name)} -> {now.get(name)}")
        for name in dict.fromkeys([*now, *before])
        if before.get(name) != now.get(name)
    ]
    if differences:
        raise UsageError(
            f"{path} holds a run with other settings ({'; '.join(differences)}); {advice}"
        )


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings with the recipe's fields beside the others."""
    own = {**Recipe().to_dict(), **settings["recipe"]} if "recipe" in settings else {}
    recipe = {f"recipe.{name}": value for name, value in own.items()}  # later fields at default
    return {**{k: v for k, v in settings.items() if k != "recipe"}, **recipe}


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(f"cannot remove {path}: {error.strerror}") from error
