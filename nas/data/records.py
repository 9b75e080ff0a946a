"""What a loaded data set is: images with labels, and the training part with its statistics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.architecture import InputSpec

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with their classes, as bytes on the CPU.

    Args:
        images: uint8, (N, C, H, W) with H = W.
        labels: int64, (N,), each an index into `class_names`.
        class_names: The classes; the position is the label.
        fingerprint: Hexadecimal hash of the images, the labels and the class names.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    fingerprint: str

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.labels)

    @property
    def input_spec(self) -> InputSpec:
        """Return the input a network for these images takes."""
        return InputSpec(
            channels=self.images.shape[1],
            image_size=self.images.shape[2],
            num_classes=len(self.class_names),
        )


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The training part of a data set, and its validation part where it has one of its own.

    Args:
        name: A key of `nas.data.datasets.DATASETS`.
        train: The training images.
        val: The data set's own validation images; None where they are split off `train`.
        mean: Mean of `train` per channel, in [0, 1].
        std: Standard deviation of `train` per channel, in [0, 1] units.
        flip_is_lawful: Whether a mirrored image keeps its class.
        notes: What the user should know about how the data were read, one sentence each.
    """

    name: str
    train: LabelledImages
    val: LabelledImages | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip_is_lawful: bool
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """Return the hash that tells these training data from others; a copy has the same."""
        own = "" if self.val is None else f"+{self.val.fingerprint}"
        return self.train.fingerprint + own

    @property
    def input_spec(self) -> InputSpec:
        """Return the input a network for these images takes."""
        return self.train.input_spec


@dataclass(frozen=True, eq=False)
class Parts:
    """What a source reads for a training: `train`, an own `val` or None, and notes."""

    train: LabelledImages
    val: LabelledImages | None = None
    notes: tuple[str, ...] = ()
