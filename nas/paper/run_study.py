"""Run a published study: every arm with every seed, each kept in a file; then the verdicts.

    <studies>/<name>/<scale>/<arm>-seed<k>.json    one training: settings, end, curve
    <studies>/<name>/<scale>/result.json           what was found, with every verdict

A seed decides split, slice, weights and order, the same for all arms: so their differences are
paired. Validation images come from the training split; the test split is never read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nas.data.images import Dataset, select
from nas.data.split import stratified_split
from nas.errors import StorageError
from nas.files import write_text_atomically
from nas.network.complexity import count
from nas.paper.metrics import measure
from nas.paper.study import (
    Arm,
    Claim,
    ClaimStudy,
    Comparison,
    StudyScale,
    arm_epochs,
    arm_network,
    arm_settings,
)
from nas.paper.verdict import Verdict, judge
from nas.retraining.run_folder import refuse_other_settings
from nas.training.batches import make_batches, merge, slice_of
from nas.training.engine import Engine, hardware
from nas.training.fitting import fit_recipe
from nas.training.loop import train
from nas.training.recipe import get_recipe
from nas.training.state import TrainSpec

MOST_VAL_FRACTION = 0.25

Record = dict[str, Any]


@dataclass(frozen=True)
class Sitting:
    """A study at one scale on one data set.

    Args:
        study: The study.
        scale: How large.
        epochs: Epochs of an arm with the factor 1.
        data: The images.
        engine: What it runs on.
        folder: Where its files lie.
    """

    study: ClaimStudy
    scale: StudyScale
    epochs: int
    data: Dataset
    engine: Engine
    folder: Path

    @property
    def comparison(self) -> Comparison:
        """Return the study's record."""
        return self.study.comparison

    @property
    def seeds(self) -> range:
        """Return the seeds of the pairs."""
        return range(self.comparison.num_seeds)

    def sizes(self) -> tuple[int, int]:
        """Return how many images are trained on, and how many validate."""
        total = self.data.num_images
        num_val = min(self.scale.val_images, int(MOST_VAL_FRACTION * total))
        return min(self.scale.train_images or total, total - num_val), num_val


@dataclass(frozen=True)
class Finding:
    """A claim with what was measured for it, one value a seed and arm; None is not measurable."""

    claim: Claim
    first: tuple[float | None, ...]
    second: tuple[float | None, ...]
    verdict: Verdict


def make_train_spec(sitting: Sitting, arm: Arm, seed: int) -> TrainSpec:
    """Return the training of an arm.

    The batch and the rates of the recipe are fitted to few images, as in every training; what the
    study sets itself stays as it is.

    Raises:
        InfeasibleError: The network cannot be built at the images' size.
    """
    settings = arm_settings(sitting.comparison, arm, sitting.scale)
    recipe = fit_recipe(get_recipe("paper"), settings, sitting.sizes()[0])
    network = arm_network(arm, recipe, sitting.scale)
    count(network, sitting.data.input_spec)
    epochs = arm_epochs(arm, sitting.epochs)
    return TrainSpec(network, sitting.data.input_spec, recipe, epochs, seed)


def place_splits(sitting: Sitting, seed: int) -> Dataset:
    """Put the two splits of a seed on the device: both from what a search may see."""
    data, (num_train, num_val) = sitting.data, sitting.sizes()
    whole = merge(data)
    rest, val = stratified_split(whole.labels, num_val / len(whole), seed, groups=whole.groups)
    left = select(whole, rest)  # fewer than asked for where a class has but a few images
    train = slice_of(left, min(num_train, len(left)), seed)
    return data.with_splits(train, select(whole, val)).to(sitting.engine.device)


def run_study(sitting: Sitting, on_training: Callable[[Record, bool], None]) -> list[Finding]:
    """Train what is not done yet, seed by seed, and judge every claim.

    Args:
        sitting: What is run; its folder is there, and no other process works in it.
        on_training: Called with each training's record, and whether it was trained just now.

    Raises:
        UsageError: The folder holds a training with other settings.
        StorageError: A file of it is damaged, or cannot be written.
    """
    done = {
        (arm.name, seed): _read(sitting, arm, seed)
        for seed in sitting.seeds
        for arm in sitting.comparison.arms
    }  # all are read first: a folder of another study is refused before an hour of training
    for seed in sitting.seeds:
        splits: Dataset | None = None
        for arm in sitting.comparison.arms:
            record = done[arm.name, seed]
            is_new = record is None
            if record is None:
                splits = splits or place_splits(sitting, seed)
                record = _train(sitting, arm, seed, splits)
                done[arm.name, seed] = record
            # also of a process that was killed right here
            _path(sitting, arm, seed).with_suffix(".pt").unlink(missing_ok=True)
            on_training(record, is_new)
    records = {key: record for key, record in done.items() if record is not None}
    return [_judge(sitting, claim, records) for claim in sitting.comparison.claims]


def discard(folder: Path) -> None:
    """Remove what a study left in its folder."""
    for path in (*folder.glob("*.json"), *folder.glob("*.pt")):
        path.unlink(missing_ok=True)


def write_result(sitting: Sitting, record: Mapping[str, Any]) -> Path:
    """Write what was found as ``result.json``; return its path."""
    path = sitting.folder / "result.json"
    write_text_atomically(path, json.dumps(record, indent=2) + "\n")
    return path


def _settings(sitting: Sitting, spec: TrainSpec) -> Record:
    num_train, num_val = sitting.sizes()
    return {
        **spec.to_dict(),
        "data_fingerprint": sitting.data.fingerprint,
        "train_images": num_train,
        "val_images": num_val,
    }


def _path(sitting: Sitting, arm: Arm, seed: int) -> Path:
    return sitting.folder / f"{arm.name.replace(' ', '-').replace('/', '-')}-seed{seed}.json"


def _read(sitting: Sitting, arm: Arm, seed: int) -> Record | None:
    path = _path(sitting, arm, seed)
    wanted = json.loads(json.dumps(_settings(sitting, make_train_spec(sitting, arm, seed))))
    try:
        record: Record = json.loads(path.read_text(encoding="utf-8"))
        found = record["settings"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StorageError(
            f"{path} cannot be used ({error}); begin again with --restart"
        ) from error
    refuse_other_settings(path, found, wanted, "begin again with --restart")
    return record


def _train(sitting: Sitting, arm: Arm, seed: int, splits: Dataset) -> Record:
    spec, path = make_train_spec(sitting, arm, seed), _path(sitting, arm, seed)
    checkpoint = path.with_suffix(".pt")
    batches = make_batches(splits, spec.recipe, seed)
    result = train(spec, batches, sitting.engine, checkpoint_path=checkpoint, resume=True)
    record = {
        "arm": arm.name,
        "seed": seed,
        "settings": _settings(sitting, spec),
        "num_params": count(spec.architecture, spec.input_spec).num_params,
        "hardware": hardware(sitting.engine),
        **result.to_dict(),
    }
    write_text_atomically(path, json.dumps(record, indent=2) + "\n")
    return record


def _judge(sitting: Sitting, claim: Claim, records: Mapping[tuple[str, int], Record]) -> Finding:
    classes = sitting.data.input_spec.num_classes
    first, second = (
        tuple(measure(claim.metric, records[name, seed], classes) for seed in sitting.seeds)
        for name in (claim.first, claim.second)
    )
    pairs = zip(first, second, strict=True)
    differences = [None if a is None or b is None else a - b for a, b in pairs]
    return Finding(claim, first, second, judge(differences, claim.direction, claim.margin))
