"""What a loaded data set is: records of images; made, selected, resized, measured."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from nas.errors import DataError
from nas.network.architecture import InputSpec

_CHUNK_IMAGES = 2048  # bounds the memory of a float copy


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
    """The training split of a data set, and its validation split where it has one of its own.

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
class Splits:
    """What a source reads for a training: `train`, an own `val` or None, and notes."""

    train: LabelledImages
    val: LabelledImages | None = None
    notes: tuple[str, ...] = ()


def labelled_images(
    images: Tensor, labels: Tensor, class_names: tuple[str, ...]
) -> LabelledImages:
    """Return the record of images and labels, with its fingerprint; hashes every byte once.

    Args:
        images: uint8, (N, C, H, W).
        labels: int64, (N,).
        class_names: The classes by label.
    """
    images = images.contiguous()
    return LabelledImages(images, labels, class_names, fingerprint(images, labels, class_names))


def fingerprint(images: Tensor, labels: Tensor, class_names: tuple[str, ...]) -> str:
    """Return 32 hexadecimal digits that depend on pixels, labels, names and shape alone."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([list(images.shape), list(class_names)]).encode())
    for tensor in (labels, images):
        digest.update(tensor.contiguous().view(-1).numpy().data)
    return digest.hexdigest()


def select(split: LabelledImages, indices: Tensor) -> LabelledImages:
    """Return the images at `indices` (int64, (M,)), in that order."""
    return labelled_images(split.images[indices], split.labels[indices], split.class_names)


def resize(images: Tensor, image_size: int) -> Tensor:
    """Resize a batch to squares, bilinear with antialiasing.

    Args:
        images: uint8, (N, C, H, W).
        image_size: Height and width wanted, in pixels.

    Returns:
        uint8, (N, C, image_size, image_size); `images` itself where nothing changes.
    """
    if images.shape[2:] == (image_size, image_size):
        return images
    resized = [
        functional.interpolate(
            chunk.float(), size=(image_size, image_size), mode="bilinear", antialias=True
        )
        .round_()
        .clamp_(0, 255)
        .to(torch.uint8)
        for chunk in torch.split(images, _CHUNK_IMAGES)
    ]
    return torch.cat(resized)


def mean_and_std(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation per channel, in [0, 1] units, from exact integer sums.

    Args:
        images: uint8, (N, C, H, W).

    Raises:
        DataError: A channel is constant over all images.
    """
    values = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in images.unbind(1):
        counts = torch.zeros(256, dtype=torch.int64)
        for chunk in torch.split(channel, _CHUNK_IMAGES):
            counts += torch.bincount(chunk.flatten(), minlength=256)
        weights = counts.double() / counts.sum()
        mean = (weights * values).sum()
        std = (weights * (values - mean).square()).sum().sqrt()
        if counts.count_nonzero() < 2:
            raise DataError(
                "training images must differ, but a channel has the value "
                f"{round(255 * float(mean))} in every pixel of every image; look at the files"
            )
        means.append(float(mean))
        stds.append(float(std))
    return tuple(means), tuple(stds)
