"""What a training is asked to do, and everything its loop mutates, in one record each."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from nas.checkpoint import load_checkpoint, save_checkpoint
from nas.device import Engine
from nas.ema import WeightAverage
from nas.errors import StudyMismatchError
from nas.network.architecture import Architecture, InputSpec
from nas.network.model import build_model, scale_branches
from nas.optimizer import make_optimizer
from nas.recipe import Recipe
from nas.result import EpochRecord
from nas.seeds import derive_seed


@dataclass(frozen=True, slots=True)
class Job:
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
        return {
            "architecture": self.architecture.to_dict(),
            "input_spec": asdict(self.input_spec),
            "recipe": self.recipe.to_dict(),
            "epochs": self.epochs,
            "seed": self.seed,
        }


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

    def save(self, path: Path, job: Job) -> None:
        """Write the state and the job it belongs to, whole or not at all.

        Raises:
            StorageError: The file cannot be written.
        """
        record = {
            "job": job.to_dict(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.shadow.state_dict() if self.average else None,
            "micro_batch": self.micro_batch,
            "curve": [epoch.to_dict() for epoch in self.curve],
        }
        save_checkpoint(path, record)

    def load(self, path: Path, job: Job, device: str) -> None:
        """Take over what `save` wrote.

        Raises:
            StorageError: The file is absent or damaged.
            StudyMismatchError: The file is of another job; the difference is named.
        """
        record = load_checkpoint(path, device)
        _require_same_job(path, record["job"], job.to_dict())
        self.model.load_state_dict(record["model"])
        self.optimizer.load_state_dict(record["optimizer"])
        if self.average:
            self.average.shadow.load_state_dict(record["average"])
        self.micro_batch = min(self.micro_batch, record["micro_batch"])
        self.curve = [EpochRecord(**epoch) for epoch in record["curve"]]


def make_state(job: Job, engine: Engine, steps_per_epoch: int, micro_batch: int) -> TrainState:
    """Return the state before the first epoch; the weights come from the job's seed alone.

    Moves PyTorch's global random state.

    Args:
        job: What is trained.
        engine: Where.
        steps_per_epoch: Turns the average's half-life into steps.
        micro_batch: Images a forward pass.
    """
    engine.seed_generators(derive_seed(job.seed, "weights"))
    architecture = job.architecture.with_dropout(job.recipe.dropout)
    model = build_model(architecture, job.input_spec)  # on the CPU: equal on every device
    if job.recipe.scaled_branches:
        scale_branches(model)
    model.to(engine.device, memory_format=engine.memory_format)  # type: ignore[call-overload]
    half_life_steps = job.recipe.ema_half_life_share * job.epochs * steps_per_epoch
    return TrainState(
        model.train(),
        make_optimizer(model, job.recipe, engine),
        WeightAverage(model, half_life_steps) if half_life_steps else None,
        micro_batch,
    )


def _require_same_job(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in sorted(set(found) | set(wanted)):
        if found.get(name) != wanted.get(name):
            raise StudyMismatchError(
                f"checkpoint {path} must be of the same training, but its {name} is "
                f"{found.get(name)}, not {wanted.get(name)}; remove it to start anew"
            )
