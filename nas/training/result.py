"""What a training leaves behind: a curve, an accuracy, and how it ended. No PyTorch needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from nas.confusion import ACCURACY

if TYPE_CHECKING:
    from torch import nn


class Ending(StrEnum):
    """How a training ended, from its loop to a study's table.

    The values are what checkpoints, `metrics.json` and trackers say. What a study's tables say is
    in `nas.study.trials.WORDS`. NOTE: write `.value` into a checkpoint, which holds plain types.
    """

    FINISHED = "finished"
    STOPPED = "stopped"  # on request at an epoch's edge: pruned
    DIVERGED = "diverged"
    OUT_OF_MEMORY = "out_of_memory"

    @property
    def is_broken(self) -> bool:
        """Tell whether the accuracy says nothing of the network."""
        return self in (Ending.DIVERGED, Ending.OUT_OF_MEMORY)


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """One epoch of a curve.

    Args:
        epoch: From 1.
        train_loss: Mean loss of the epoch's images as they were trained on, augmented.
        train_accuracy: Fraction of them classified right; of a mixed image, its largest part.
        val_loss: Mean cross-entropy on the validation images; None without any.
        val_accuracy: Fraction of them classified right, in [0, 1]; None without any.
        learning_rate: Of the epoch's last step.
        elapsed_seconds: Since the training began, interruptions left out.
        val_scores: Of each other metric of `nas.confusion.METRIC_WORDS` the value and its standard
            error; None without validation images, and in an older record.
        val_confusion: The confusion matrix, (K, K), kept of a fold until it is added to those of
            the others.
    """

    epoch: int
    train_loss: float
    train_accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    elapsed_seconds: float
    val_scores: Mapping[str, Sequence[float]] | None = None
    val_confusion: tuple[Sequence[int], ...] | None = None

    def val_score(self, metric: str) -> float:
        """Return a metric of the validation images, of which there are some."""
        found = self.val_accuracy if metric == ACCURACY else (self.val_scores or {})[metric][0]
        assert found is not None
        return found

    @property
    def accuracy_gap(self) -> float | None:
        """Return by how much validation lags behind training, in [-1, 1]; None without any.

        It is the usual sign of overfitting. Training images are augmented and go through dropout
        while the network still learns, so it reads low, at first below 0.
        """
        if self.val_accuracy is None:
            return None
        return self.train_accuracy - self.val_accuracy

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """How a training ended and what it measured.

    Args:
        status: How it ended.
        reason: Why it did not finish, in one sentence; None where it did.
        curve: The epochs, in order.
        elapsed_seconds: Time spent, evaluation included, interruptions left out.
        images_per_second: Training images over the time of the training steps of this process.
        micro_batch: Images a forward pass; less than the recipe's batch where that did not fit.
        num_threads: CPU threads that were used.
        model: The trained network in evaluation mode, the weight average where the recipe has
            one, of several folds the first's; None where the training did not finish.
    """

    status: Ending
    reason: str | None
    curve: tuple[EpochRecord, ...]
    elapsed_seconds: float
    images_per_second: float
    micro_batch: int
    num_threads: int
    model: nn.Module | None = field(default=None, repr=False, compare=False)

    @property
    def val_accuracy(self) -> float | None:
        """Return the last epoch's validation accuracy, never the best epoch's."""
        return self.curve[-1].val_accuracy if self.curve else None

    def to_dict(self) -> dict[str, Any]:
        """Return the record, without the network, as JSON-ready values."""
        names = ("reason", "elapsed_seconds", "images_per_second", "micro_batch", "num_threads")
        return {
            "status": self.status.value,
            **{name: getattr(self, name) for name in names},
            "val_accuracy": self.val_accuracy,
            "curve": [record.to_dict() for record in self.curve],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> TrainResult:
        """Read what `to_dict` wrote; the network is absent."""
        values = {name: value for name, value in record.items() if name != "val_accuracy"}
        curve = tuple(EpochRecord(**epoch) for epoch in values.pop("curve"))
        return cls(Ending(values.pop("status")), curve=curve, **values)
