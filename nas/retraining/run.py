"""What a full training is: one record, and what follows from it and its data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.data.datasets import Reading
from nas.data.images import Dataset
from nas.network.architecture import Architecture
from nas.network.complexity import count
from nas.retraining.run_folder import RunFolder
from nas.training.batches import place_all
from nas.training.engine import Engine
from nas.training.recipe import Recipe
from nas.training.state import TrainSpec


@dataclass(frozen=True)
class RunSpec:
    """One full training.

    Args:
        architecture: The network.
        dataset: A key of `nas.data.datasets.DATASETS`.
        data_dir: Where the data are.
        reading: How its images are read.
        recipe: How it is trained.
        epochs: Epochs.
        seed: Seed of weights, order and augmentation.
        engine: What it runs on.
        holdout: Keep the validation split out of the training and measure on it every epoch.
        split_seed: Seed of that split; a study's own, so that its validation split stays the same.
        folder: The run's folder.
        command: The command line, recorded.
    """

    architecture: Architecture
    dataset: str
    data_dir: Path | None
    reading: Reading
    recipe: Recipe
    epochs: int
    seed: int
    engine: Engine
    holdout: bool
    split_seed: int
    folder: RunFolder
    command: str


def place_run_data(run: RunSpec, data: Dataset) -> Dataset:
    """Put all that may be trained on upon the device, for the runs of all seeds.

    Raises:
        InfeasibleError: The network cannot be built at the images' size.
        DataError: A class has too few images to hold any out.
    """
    count(run.architecture, data.input_spec)
    return place_all(data, run.engine.device, run.split_seed, run.holdout)


def train_spec_of(run: RunSpec, data: Dataset) -> TrainSpec:
    """Return what the training is asked to do."""
    return TrainSpec(run.architecture, data.input_spec, run.recipe, run.epochs, run.seed)


def settings_of(run: RunSpec, data: Dataset) -> dict[str, Any]:
    """Return all that decides the result of a run, as JSON-ready values."""
    return {
        "architecture": run.architecture.to_dict(),
        "dataset": run.dataset,
        "data_fingerprint": data.fingerprint,
        "test_files": data.test_files,
        "image_size": data.input_spec.image_size,
        "epochs": run.epochs,
        "seed": run.seed,
        "holdout": run.holdout,
        "split_seed": run.split_seed if run.holdout else None,
        "recipe": run.recipe.to_dict(),
    }
