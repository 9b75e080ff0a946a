"""The full training of one network, and the one time the test split is read.

The folder of a run is described in `nas.retraining.run_folder`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from safetensors.torch import save as save_safetensors
from torch import nn

from nas.confusion import majority, other_scores, worst_class
from nas.data.datasets import load_test
from nas.data.groups import describe_shared, keyed_files
from nas.data.images import Dataset
from nas.errors import DataError, UsageError
from nas.files import make_folder, write_atomically
from nas.network.complexity import count
from nas.network.identity import identify
from nas.retraining.run import RunSpec, settings_of, train_spec_of
from nas.retraining.run_folder import ENDED, OPENINGS, RUNNING, opening, refuse_other_settings
from nas.statistics import standard_error
from nas.training.batches import eval_loader, make_batches
from nas.training.engine import Engine, hardware
from nas.training.evaluate import evaluate
from nas.training.loop import train
from nas.training.result import EpochRecord, TrainResult
from nas.training.versions import other_torch, versions


def find_ended(run: RunSpec, data: Dataset, mode: str) -> dict[str, Any] | None:
    """Return the metrics of a run that came to its end, None where there is something to train.

    Args:
        run: What is to be trained.
        data: Its data, as they were loaded or on the device.
        mode: As for `retrain`.

    Raises:
        UsageError: The folder holds a run with other settings, an unfinished one, one to be gone
            on with that another PyTorch began, or a checkpoint without the metrics that say which
            run it belongs to.
        StorageError: Its metrics are damaged.
    """
    if mode == "restart":
        return None
    found = run.folder.read()
    if found is not None:
        advice = "give another --seed, move the folder away, or begin again with --restart"
        wanted = settings_of(run, data)
        refuse_other_settings(run.folder.path, found["settings"], wanted, advice)
        if found["status"] in ENDED:
            return found
    if not run.folder.checkpoint.exists():
        return None
    if found is None:  # a checkpoint knows its network and recipe, and not its data
        raise UsageError(
            f"{run.folder.path} holds a checkpoint, but no {run.folder.metrics.name} that says "
            "what it was trained on; begin again with --restart"
        )
    if mode == "begin":
        raise UsageError(
            f"{run.folder.path} holds an unfinished run; go on with --resume, or begin again "
            "with --restart"
        )
    if reason := other_torch(found.get("versions")):
        raise UsageError(f"{run.folder.path} {reason}, or begin again with --restart")
    return None


def resumed_engine(run: RunSpec) -> Engine:
    """Return the run's engine with the threads and the format of its unfinished part.

    Sums in floating point depend on them: so a resumed run equals one that was not interrupted.
    """
    found = run.folder.read() or {}
    if found.get("status") != RUNNING or found["engine"]["device"] != run.engine.device:
        return run.engine
    recorded = {name: found["engine"][name] for name in ("num_threads", "bfloat16")}
    return replace(run.engine, **recorded)


def retrain(
    run: RunSpec,
    data: Dataset,
    mode: str = "begin",
    on_epoch: Callable[[EpochRecord], None] = lambda epoch: None,
) -> dict[str, Any]:
    """Train a network in full, measure it on the test split once, and write its folder.

    Args:
        run: What is trained.
        data: What `place_run_data` gave for it.
        mode: ``begin`` refuses a folder with an unfinished run; ``resume`` goes on from its
            checkpoint, or begins where there is none; ``restart`` discards what is there, the
            record of the test split's openings excepted.
        on_epoch: Called after every epoch that is trained now.

    Returns:
        The metrics, as in `metrics.json`. Where the training broke, `status` and `reason` say
        so, there are no weights, and the test split was not read.

    Raises:
        UsageError: As `find_ended`; or another process trains in the folder.
        StorageError: The folder may not be written, or the disk is full.
    """
    folder = run.folder
    make_folder(folder.path)
    with folder.locked():
        find_ended(run, data, mode)
        is_going_on = mode == "resume" and folder.checkpoint.exists()
        metrics = _describe(run, data) | {OPENINGS: folder.openings()}
        if is_going_on:
            folder.write(metrics)
        else:
            folder.begin(run.architecture, metrics)
        result = _train(run, data, is_going_on, on_epoch)
        metrics |= _outcome(result)
        if result.model is not None:
            content = save_safetensors(
                {name: tensor.contiguous() for name, tensor in result.model.state_dict().items()},
                metadata={"id": metrics["id"]},
            )
            write_atomically(folder.weights, lambda file: file.write(content))
            metrics[OPENINGS] = [*metrics[OPENINGS], opening(run.command)]
            folder.write({**metrics, "status": RUNNING})
            metrics |= measure_test(run, data, result.model)
        if result.curve:
            folder.write_curve(result.curve)
            folder.draw_curve(result.curve, _title(metrics))
        folder.write(metrics)
    return metrics


def measure_test(run: RunSpec, data: Dataset, model: nn.Module) -> dict[str, Any]:
    """Read the test split and measure a network on it; the opening has been recorded.

    What was answered for each class is written into the run's folder.
    """
    try:
        test = load_test(run.dataset, run.data_dir, run.reading)
    except DataError as error:
        text = f"{error}; the training is kept: with that done, --resume measures it"
        raise DataError(text) from error
    own = data.loaded or data
    others = {"train": own.train} | ({} if own.val is None else {"val": own.val})
    keyed = {name: keyed_files(split) for name, split in others.items()}
    num_shared, notes = describe_shared(keyed_files(test), "test", keyed)
    loader = eval_loader(test.to(run.engine.device), data.normalisation)
    with run.engine.applied():
        plain = evaluate(model, loader, run.engine, run.recipe.precision)
        mirrored = (
            evaluate(model, loader, run.engine, run.recipe.precision, flip=True)
            if data.flip_is_lawful and run.recipe.flip
            else None
        )
    confusion = plain.confusion.numpy()
    run.folder.write_classes(test.class_names, confusion)
    scores = other_scores(confusion)
    return {
        "test_accuracy": plain.accuracy,
        "test_standard_error": standard_error(plain.accuracy, plain.num_images),
        **{f"test_{name}": found.value for name, found in scores.items()},
        **{f"test_{name}_standard_error": found.error for name, found in scores.items()},
        "majority": majority(dict(zip(test.class_names, test.class_counts, strict=True))),
        "worst_class": worst_class(test.class_names, confusion),
        "test_loss": plain.loss,
        "test_images": plain.num_images,
        "test_images_in_train": num_shared,
        "test_notes": [*test.notes, *notes],
        "test_accuracy_flip_tta": mirrored.accuracy if mirrored is not None else None,
    }


def _train(
    run: RunSpec, data: Dataset, is_going_on: bool, on_epoch: Callable[[EpochRecord], None]
) -> TrainResult:
    """Train the epochs that are missing; those done before are not shown again."""
    curve: list[EpochRecord] = []

    def keep(epoch: EpochRecord) -> None:
        curve[epoch.epoch - 1 :] = [epoch]  # a training that began again repeats its epochs

    def record(epoch: EpochRecord) -> None:
        keep(epoch)
        run.folder.write_curve(curve)
        on_epoch(epoch)

    return train(
        train_spec_of(run, data),
        make_batches(data, run.recipe, run.seed),
        run.engine,
        on_epoch=record,
        on_resumed=keep,
        checkpoint_path=run.folder.checkpoint,
        resume=is_going_on,
    )


def _describe(run: RunSpec, data: Dataset) -> dict[str, Any]:
    """Return the metrics of a run that begins."""
    return {
        "status": RUNNING,
        "reason": None,
        **identify(run.architecture)._asdict(),
        **count(run.architecture, data.input_spec)._asdict(),
        "test_accuracy": None,
        "val_accuracy": None,
        "train_images": len(data.train),
        "val_images": len(data.val) if data.val is not None else 0,
        "settings": settings_of(run, data),
        "input_spec": asdict(data.input_spec),
        "class_names": list(data.train.class_names),
        "mean": list(data.normalisation.mean),
        "std": list(data.normalisation.std),
        "resize": run.reading.resize,
        "value_range": data.value_range,
        "engine": asdict(run.engine),
        "hardware": hardware(run.engine),
        "versions": versions(),
        "command": run.command,
    }


def _outcome(result: TrainResult) -> Mapping[str, Any]:
    return {
        "status": result.status.value,
        "reason": result.reason,
        "train_accuracy": result.curve[-1].train_accuracy if result.curve else None,
        "val_accuracy": result.val_accuracy,
        "accuracy_gap": result.curve[-1].accuracy_gap if result.curve else None,
        "micro_batch": result.micro_batch,
        "training_seconds": result.elapsed_seconds,
        "images_per_second": result.images_per_second or None,  # 0: nothing was left to train
    }


def _title(metrics: Mapping[str, Any]) -> str:
    seed, test = metrics["settings"]["seed"], metrics["test_accuracy"]
    end = f"test {100 * test:.2f}%" if test is not None else metrics["status"]
    return f"{metrics['id']}: {metrics['num_params']:,} parameters, seed {seed}, {end}"
