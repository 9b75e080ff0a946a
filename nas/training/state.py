"""What a training is asked to do, everything its loop changes, and the checkpoint file."""

from __future__ import annotations

import hashlib
import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from textwrap import shorten
from typing import IO, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nas.errors import StorageError
from nas.fields import read_fields
from nas.files import write_atomically
from nas.network.architecture import Architecture, InputSpec
from nas.network.model import build_model, scale_branches
from nas.seeds import derive_seed
from nas.training.ema import WeightAverage
from nas.training.engine import Engine, is_out_of_memory
from nas.training.optimizer import make_optimizer
from nas.training.recipe import Recipe
from nas.training.result import EpochRecord

FORMAT_VERSION = 1
DIGEST_BYTES = 32  # SHA-256 of all before them: PyTorch checks no sum of what it reads
LATER_FIELDS = {"class_weights": "none"}  # of a recipe, which older checkpoints lack
MOST_SECONDS_LOST = 20.0  # of training, in a kill
MOST_WRITING = 0.02  # of the time since the last checkpoint, where that is shorter


@dataclass(frozen=True, slots=True)
class TrainSpec:
    """What is trained and how: with the batches, all that decides the result.

    Args:
        architecture: The network.
        input_spec: The input it takes.
        recipe: How.
        epochs: Epochs, at least 1; the schedule is annealed within them.
        seed: Decides weights, dropout and mixing, each by a stream of its own.
    """

    architecture: Architecture
    input_spec: InputSpec
    recipe: Recipe
    epochs: int
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values."""
        return {**asdict(self), "architecture": self.architecture.to_dict()}


@dataclass(slots=True)
class TrainState:
    """Everything the loop mutates.

    Random streams need no place here: each starts anew at every epoch, from seed and epoch.

    Args:
        model: The network.
        optimizer: Its optimizer.
        average: The weight average, or None.
        micro_batch: Images a forward pass.
        curve: The epochs that are done.
    """

    model: nn.Module
    optimizer: Optimizer
    average: WeightAverage | None
    micro_batch: int
    curve: list[EpochRecord] = field(default_factory=list)

    @property
    def epoch(self) -> int:
        """Return the number of epochs that are done."""
        return len(self.curve)

    @property
    def elapsed_seconds(self) -> float:
        """Return the time the epochs took that are done."""
        return self.curve[-1].elapsed_seconds if self.curve else 0.0

    @property
    def result_model(self) -> nn.Module:
        """Return the network that is measured: the weight average where there is one."""
        return self.average.shadow if self.average else self.model

    def save(self, path: Path, spec: TrainSpec) -> None:
        """Write the state and the training it belongs to, whole or not at all.

        Raises:
            StorageError: The file cannot be written.
        """
        record = {
            "job": spec.to_dict(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.shadow.state_dict() if self.average else None,
            "micro_batch": self.micro_batch,
            "curve": [epoch.to_dict() for epoch in self.curve],
        }
        save_checkpoint(path, record)

    def load(self, path: Path, spec: TrainSpec, device: str) -> None:
        """Take over what `save` wrote.

        Raises:
            StorageError: The file cannot be used, for whatever reason; the state may be half of
                one and half of the other, and is to be made anew.
        """
        try:
            self._take_over(load_checkpoint(path, device), spec)
        except Exception as error:
            if is_out_of_memory(error):  # the file has no part in it
                raise
            kind = "" if isinstance(error, StorageError) else f"{type(error).__name__}: "
            reason = shorten(f"{kind}{error}", 300)
            raise StorageError(f"checkpoint {path} cannot be used ({reason})") from error

    def _take_over(self, record: dict[str, Any], spec: TrainSpec) -> None:
        job = record["job"]
        job = {**job, "recipe": {**LATER_FIELDS, **job["recipe"]}}
        _require_same("job", job, spec.to_dict())
        self.model.load_state_dict(record["model"])
        own = self.optimizer.state_dict()  # its rates and flags are the recipe's, not the file's
        self.optimizer.load_state_dict({**own, "state": record["optimizer"]["state"]})
        if self.average:
            self.average.shadow.load_state_dict(record["average"])
        micro_batch = record["micro_batch"]
        if type(micro_batch) is not int or micro_batch < 1:
            raise StorageError(f"its micro_batch is {micro_batch!r}")
        self.micro_batch = min(self.micro_batch, micro_batch)
        epochs = [
            read_fields(EpochRecord, "an epoch", epoch, StorageError) for epoch in record["curve"]
        ]
        self.curve = [EpochRecord(**epoch) for epoch in epochs]
        if [epoch.epoch for epoch in self.curve] != list(range(1, self.epoch + 1)):
            raise StorageError("its epochs are not 1, 2, 3, ...")
        self._check_optimizer()

    def _check_optimizer(self) -> None:
        """Refuse what PyTorch takes over and stumbles on in the next step, or begins anew.

        Its fused steps read a buffer of the wrong size beyond its end, and the process dies.
        """
        states = self.optimizer.state
        num_weights = sum(len(group["params"]) for group in self.optimizer.param_groups)
        is_whole = len(states) == (num_weights if self.curve else 0)
        is_even = len({frozenset(values) for values in states.values()}) <= 1
        fits = all(
            isinstance(value, Tensor) and value.shape == (() if name == "step" else weight.shape)
            for weight, values in states.items()
            for name, value in values.items()
        )
        if not (is_whole and is_even and fits):
            raise StorageError("its optimizer is that of other weights")


def make_state(
    spec: TrainSpec, engine: Engine, steps_per_epoch: int, micro_batch: int
) -> TrainState:
    """Return the state before the first epoch; the weights come from the seed alone.

    Moves PyTorch's global random state.

    Args:
        spec: What is trained.
        engine: Where.
        steps_per_epoch: Turns the average's half-life into steps.
        micro_batch: Images a forward pass.
    """
    engine.seed_generators(derive_seed(spec.seed, "weights"))
    architecture = spec.architecture.with_dropout(spec.recipe.dropout)
    model = build_model(architecture, spec.input_spec)  # on the CPU: equal on every device
    if spec.recipe.scaled_branches:
        scale_branches(model)
    model.to(engine.device, memory_format=engine.memory_format)  # type: ignore[call-overload]
    half_life_steps = spec.recipe.ema_half_life_share * spec.epochs * steps_per_epoch
    return TrainState(
        model.train(),
        make_optimizer(model, spec.recipe, engine),
        WeightAverage(model, half_life_steps) if half_life_steps else None,
        micro_batch,
    )


def _require_same(name: str, found: Any, wanted: Any) -> None:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in sorted(found.keys() | wanted.keys()):
            _require_same(f"{name}.{key}", found.get(key), wanted.get(key))
    elif found != wanted:
        raise StorageError(f"its {name} is {found}, this training's {wanted}")


class CheckpointPace:
    """When to write a checkpoint: what a kill would lose, against the time that writing takes.

    After every epoch, or by time: where the last writing took less than `MOST_WRITING` of the
    seconds since, and after `MOST_SECONDS_LOST` whatever it took. The first is always due.
    """

    def __init__(self, by_time: bool, now: Callable[[], float] = time.perf_counter) -> None:
        """Start the clock.

        Args:
            by_time: A GPU's epochs take seconds and its checkpoints a tenth of one.
            now: Returns the time in seconds.
        """
        self.by_time, self._now = by_time, now
        self._written_at, self._cost_seconds = now(), 0.0

    def is_due(self) -> bool:
        """Tell whether to write now."""
        since = self._now() - self._written_at
        is_cheap = self._cost_seconds < MOST_WRITING * since
        return not self.by_time or is_cheap or since >= MOST_SECONDS_LOST

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Measure what is written in this block."""
        started = self._now()
        yield
        self._written_at = self._now()
        self._cost_seconds = self._written_at - started


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a state of tensors and plain values; a crash leaves the old file or the new one.

    Raises:
        StorageError: The disk is full, or the folder is absent or not writable.
    """

    def write(file: IO[bytes]) -> None:
        torch.save({"format_version": FORMAT_VERSION, **state}, file)
        file.seek(0)
        file.write(hashlib.sha256(file.read()).digest())

    write_atomically(path, write)


def load_checkpoint(path: Path, device: str = "cpu") -> dict[str, Any]:
    """Read what `save_checkpoint` wrote; runs no code from the file.

    Args:
        path: The file.
        device: Where its tensors go.

    Raises:
        OSError: The file is absent or may not be read.
        StorageError: It is damaged, or of another format version.
        UnpicklingError: It would run code.
    """
    content = path.read_bytes()
    content, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        raise StorageError("it is damaged, or of an older version: its checksum is wrong")
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    if state["format_version"] != FORMAT_VERSION:
        raise StorageError(f"its format version is {state['format_version']}")
    return state
