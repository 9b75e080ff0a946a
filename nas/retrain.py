"""The full training of one network, and the one time the test set is read.

A run has a folder of its own, `<id>-seed<k>`: architecture.json, weights.safetensors,
metrics.json, curve.csv, curve.png, checkpoint.pt, and test_openings.jsonl, which has a line for
every time the test part was read for this network.
"""

from __future__ import annotations

import csv
import io
import json
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_safetensors
from torch import nn

from nas import __version__
from nas.architecture import Architecture
from nas.batches import PlacedParts, make_batches, place_all, place_test
from nas.complexity import count
from nas.data.datasets import load_test, load_training
from nas.data.loader import EvalLoader
from nas.data.records import TrainingData
from nas.device import Engine
from nas.errors import StorageError, UsageError
from nas.evaluate import evaluate
from nas.files import write_atomically, write_text_atomically
from nas.identity import identify
from nas.plan import Speed, measure_speed
from nas.recipe import Recipe
from nas.result import EpochRecord, TrainResult
from nas.state import Job
from nas.train import train
from nas.trials import standard_error

ARCHITECTURE_FILE, WEIGHTS_FILE = "architecture.json", "weights.safetensors"
METRICS_FILE, CHECKPOINT_FILE = "metrics.json", "checkpoint.pt"
CURVE_TABLE, CURVE_PICTURE = "curve.csv", "curve.png"
OPENINGS_FILE = "test_openings.jsonl"
TEST_BATCH = 500


@dataclass(frozen=True)
class Run:
    """One full training.

    Args:
        architecture: The network.
        dataset: A key of `nas.data.datasets.DATASETS`.
        data_dir: Where the data are.
        image_size: Side of the images in pixels; None is the data set's own.
        recipe: How it is trained.
        epochs: Epochs.
        seed: Seed of weights, order and augmentation.
        engine: What it runs on.
        holdout: Keep the validation part out of the training and measure on it every epoch.
        split_seed: Seed of that split; a study's own, so that its validation part stays the same.
        folder: The run's folder.
        command: The command line, recorded.
    """

    architecture: Architecture
    dataset: str
    data_dir: Path | None
    image_size: int | None
    recipe: Recipe
    epochs: int
    seed: int
    engine: Engine
    holdout: bool
    split_seed: int
    folder: Path
    command: str


def run_folder(parent: Path, architecture: Architecture, seed: int) -> Path:
    """Return the folder of a run; it is not created."""
    return parent / "retrain" / f"{identify(architecture).id}-seed{seed}"


def finished_metrics(run: Run) -> dict[str, Any] | None:
    """Return the metrics of a run that is done, None where it is not.

    Raises:
        UsageError: The folder holds a run with other settings.
        StorageError: The metrics are damaged.
    """
    path = run.folder / METRICS_FILE
    if not path.exists():
        return None
    try:
        metrics: dict[str, Any] = json.loads(path.read_text())
        found = metrics["settings"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{path} is damaged: {error}; begin again with --restart"
        ) from error
    wanted = _settings(run)
    differences = [
        f"{name}: {found.get(name)} -> {value}"
        for name, value in wanted.items()
        if found.get(name) != value
    ]
    if differences:
        raise UsageError(
            f"{run.folder} holds a run with other settings ({'; '.join(differences)}); "
            "give another --seed, move the folder away, or begin again with --restart"
        )
    return metrics


def estimate(run: Run, data: TrainingData) -> tuple[Speed, float]:
    """Return the measured speed of the network and the expected seconds of the run."""
    num_train = len(data.train) + (len(data.val) if data.val is not None else 0)
    speed = measure_speed(run.architecture, data.input_spec, run.recipe, run.engine)
    return speed, run.epochs * num_train * speed.train_seconds


def retrain(
    run: Run, data: TrainingData, resume: bool, on_epoch: Callable[[EpochRecord], None]
) -> dict[str, Any]:
    """Train a network in full, measure it on the test part once, and write its folder.

    Args:
        run: What is trained.
        data: The training part of the run's data set.
        resume: Go on from the checkpoint in the folder; without one, begin.
        on_epoch: Called after every epoch.

    Returns:
        The metrics, as in `metrics.json`. Where the training broke, `status` and `reason` say
        so, there are no weights, and the test part was not read.

    Raises:
        UsageError: The folder holds an unfinished run and `resume` is off.
        StorageError: The folder may not be written, or the disk is full.
    """
    checkpoint = run.folder / CHECKPOINT_FILE
    if checkpoint.exists() and not resume:
        raise UsageError(
            f"{run.folder} holds an unfinished run; go on with --resume, or begin again with "
            "--restart"
        )
    _create_folder(run)
    started = time.monotonic()
    parts = place_all(data, run.engine.device, run.split_seed, run.holdout)
    curve: list[EpochRecord] = []

    def record(epoch: EpochRecord) -> bool:
        curve.append(epoch)
        _write_curve_table(run.folder / CURVE_TABLE, curve)
        on_epoch(epoch)
        return False

    result = train(
        Job(run.architecture, data.input_spec, run.recipe, run.epochs, run.seed),
        make_batches(parts, run.recipe, run.seed),
        run.engine,
        on_epoch=record,
        checkpoint_path=checkpoint,
        resume=resume,
    )
    metrics = _describe(run, data, parts, result, time.monotonic() - started)
    if result.model is not None:
        tensors = {name: t.contiguous() for name, t in result.model.state_dict().items()}
        content = save_safetensors(tensors, metadata={"id": identify(run.architecture).id})
        write_atomically(run.folder / WEIGHTS_FILE, lambda file: file.write(content))
        metrics |= measure_test(run, data, result.model)
    _draw_curve(run.folder / CURVE_PICTURE, result, metrics)
    write_text_atomically(run.folder / METRICS_FILE, json.dumps(metrics, indent=2) + "\n")
    return metrics


def measure_test(run: Run, data: TrainingData, model: nn.Module) -> dict[str, Any]:
    """Read the test part and measure the network on it; the opening is recorded first."""
    opening = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "command": run.command}
    with (run.folder / OPENINGS_FILE).open("a") as file:
        file.write(json.dumps(opening) + "\n")
    test = load_test(run.dataset, run.data_dir, run.image_size)
    loader = EvalLoader(place_test(data, test, run.engine.device), TEST_BATCH)
    precision = run.recipe.precision
    with run.engine.applied():
        plain = evaluate(model, loader, run.engine, precision)
        mirrored = (
            evaluate(model, loader, run.engine, precision, flip=True)
            if data.flip_is_lawful
            else None
        )
    return {
        "test_accuracy": plain.accuracy,
        "test_standard_error": standard_error(plain.accuracy, plain.num_images),
        "test_loss": plain.loss,
        "test_images": plain.num_images,
        "test_accuracy_flip_tta": mirrored.accuracy if mirrored is not None else None,
    }


def _settings(run: Run) -> dict[str, Any]:
    return {
        "architecture": run.architecture.to_dict(),
        "dataset": run.dataset,
        "image_size": run.image_size,
        "recipe": run.recipe.to_dict(),
        "epochs": run.epochs,
        "seed": run.seed,
        "holdout": run.holdout,
    }


def _create_folder(run: Run) -> None:
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot create {run.folder}: {error.strerror}") from error
    text = json.dumps(run.architecture.to_dict(), indent=2) + "\n"
    write_text_atomically(run.folder / ARCHITECTURE_FILE, text)


def _describe(
    run: Run, data: TrainingData, parts: PlacedParts, result: TrainResult, seconds: float
) -> dict[str, Any]:
    cost = count(run.architecture, data.input_spec)
    last = result.curve[-1] if result.curve else None
    return {
        **identify(run.architecture)._asdict(),
        **cost._asdict(),
        "status": result.status,
        "reason": result.reason,
        "settings": _settings(run),
        "engine": asdict(run.engine),
        "input_spec": asdict(data.input_spec),
        "class_names": list(data.train.class_names),
        "mean": list(data.mean),
        "std": list(data.std),
        "data_fingerprint": data.fingerprint,
        "train_images": len(parts.train),
        "train_accuracy": last.train_accuracy if last else None,
        "val_accuracy": result.val_accuracy,
        "val_images": len(parts.val) if parts.val is not None else 0,
        "micro_batch": result.micro_batch,
        "training_seconds": result.elapsed_seconds,
        "elapsed_seconds": seconds,
        "images_per_second": result.images_per_second,
        "test_accuracy": None,
        "hardware": hardware(run.engine),
        "versions": {"nas": __version__, "torch": torch.__version__},
        "command": run.command,
    }


def hardware(engine: Engine) -> str:
    """Return the name of the device and the threads that were used."""
    if engine.is_cuda:
        return torch.cuda.get_device_name(engine.device)
    threads = engine.num_threads or torch.get_num_threads()
    return f"{platform.machine()} CPU, {threads} threads"


def _write_curve_table(path: Path, curve: list[EpochRecord]) -> None:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(curve[0].to_dict()), lineterminator="\n")
    writer.writeheader()
    writer.writerows(record.to_dict() for record in curve)
    write_text_atomically(path, buffer.getvalue())


def _draw_curve(path: Path, result: TrainResult, metrics: Mapping[str, Any]) -> None:
    """Draw loss and accuracy by epoch, the test accuracy in the title."""
    if not result.curve:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    epochs = [record.epoch for record in result.curve]
    for axes, name in ((left, "loss"), (right, "accuracy")):
        for part in ("train", "val"):
            values = [getattr(record, f"{part}_{name}") for record in result.curve]
            if values[0] is not None:
                axes.plot(epochs, values, marker="." if len(epochs) < 30 else "", label=part)
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        axes.legend()
    test = metrics.get("test_accuracy")
    title = f"{metrics['id']}: {metrics['num_params']:,} parameters, seed " + str(
        metrics["settings"]["seed"]
    )
    figure.suptitle(title + (f", test {100 * test:.2f}%" if test is not None else ""))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_atomically(path, lambda file: file.write(buffer.getvalue()))


def load_run_data(run: Run) -> TrainingData:
    """Return the training part of a run's data set."""
    return load_training(run.dataset, run.data_dir, run.image_size)
