"""What a data set is, from the files to the device: one record, and what is done with it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from nas.errors import DataError
from nas.network.architecture import InputSpec

_CHUNK_IMAGES = 2048  # bounds the memory of a float copy
_FREE_MEMORY_FRACTION = 0.5  # of a device's free memory that images may take


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images with their classes, as bytes: on the CPU, or on the device that trains on them.

    Args:
        images: uint8, (N, C, H, W) with H = W; on the CPU where they do not fit on the device.
        labels: int64, (N,), each an index into `class_names`; on the device.
        class_names: The classes; the position is the label.
        is_resident: Whether the images lie where the labels do; else they are fetched by batch.
        value_range: Lowest and highest value of training files of more than 8 bits, which became
            0 and 255; None where there are none.
        groups: int64, (N,): images of equal numbers belong on one side of every split; None
            where each is alone. On the CPU.
        files: The path of each in a folder of the user's; () where there is none.
        notes: What the user should know about these images, one sentence each.
        num_set_aside: How many were set aside of them for test.
        num_broken: How many files of train and val could not be read and are left out.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    is_resident: bool = True
    value_range: tuple[float, float] | None = None
    groups: Tensor | None = None
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    num_set_aside: int = 0
    num_broken: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def device(self) -> torch.device:
        """Return where batches of them are wanted."""
        return self.labels.device

    @cached_property
    def input_spec(self) -> InputSpec:
        """Return the input a network for these images takes."""
        return InputSpec(
            channels=self.images.shape[1],
            image_size=self.images.shape[2],
            num_classes=len(self.class_names),
        )

    @property
    def class_counts(self) -> list[int]:
        """Return how many images each class has."""
        counts: list[int] = torch.bincount(self.labels, minlength=len(self.class_names)).tolist()
        return counts

    @cached_property
    def fingerprint(self) -> str:
        """Return `fingerprint` of images on the CPU; hashed when it is first asked for."""
        return fingerprint(self.images, self.labels, self.class_names)

    @property
    def groups_hash(self) -> str:
        """Return a hash of the groups; of none the empty text."""
        if self.groups is None:
            return ""
        return hashlib.blake2b(self.groups.contiguous().numpy().data, digest_size=8).hexdigest()

    def to(
        self, device: str | torch.device, memory_limit_bytes: int | None = None
    ) -> LabelledImages:
        """Return the images on a device, for all trainings there.

        Args:
            device: Where batches are wanted.
            memory_limit_bytes: Images that take more stay on the host; None is half of a GPU's
                free memory, and no limit on the CPU.
        """
        place = torch.device(device)
        if memory_limit_bytes is None and place.type == "cuda":
            memory_limit_bytes = int(_FREE_MEMORY_FRACTION * torch.cuda.mem_get_info(place)[0])
        fits = memory_limit_bytes is None or self.images.nbytes <= memory_limit_bytes
        images = self.images.to(place) if fits else self.images
        return replace(self, images=images, labels=self.labels.to(place), is_resident=fits)


class Normalisation(NamedTuple):
    """What brings the channels of the training images to mean 0 and deviation 1.

    Args:
        mean: Of each channel, in [0, 1].
        std: Standard deviation of each channel, in [0, 1] units, above 0.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def scale_and_shift(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return 1 / (255 * std) and -mean / std as float, (1, C, 1, 1), on a device."""
        mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in self)
        return (1 / (255 * std)).to(device), (-mean / std).to(device)


@dataclass(frozen=True, eq=False)
class Dataset:
    """What a training may see of a data set, never its test split.

    Args:
        train: The training images.
        val: The validation images: as it is loaded, the data set's own or None; later the split
            that is measured on, None where all is trained on.
        normalisation: Of the training images that were loaded.
        name: A key of `nas.data.datasets.DATASETS`.
        flip_is_lawful: Whether a mirrored image keeps its class.
        notes: What the user should know about how the data were read, one sentence each.
        loaded: The data set that this one is split off; None is itself.
        test_files: Tells a folder's test files from others by name, label and size.
    """

    train: LabelledImages
    val: LabelledImages | None
    normalisation: Normalisation
    name: str = ""
    flip_is_lawful: bool = False
    notes: tuple[str, ...] = ()
    loaded: Dataset | None = None
    test_files: str = ""

    @property
    def num_images(self) -> int:
        """Return the number of images, those for validation included."""
        return len(self.train) + (len(self.val) if self.val is not None else 0)

    @property
    def fingerprint(self) -> str:
        """Return the hash that tells the loaded images from others; a copy has the same.

        Groups count where they decide a split: not beside a validation split of the data's own.
        """
        whole = self.loaded or self
        if whole.val is None:
            return whole.train.fingerprint + whole.train.groups_hash
        return f"{whole.train.fingerprint}+{whole.val.fingerprint}"

    @property
    def value_range(self) -> tuple[float, float] | None:
        """Return what became 0 and 255 in files of more than 8 bits, as in `LabelledImages`."""
        return (self.loaded or self).train.value_range

    @property
    def input_spec(self) -> InputSpec:
        """Return the input a network for these images takes."""
        return self.train.input_spec

    def with_splits(self, train: LabelledImages, val: LabelledImages | None) -> Dataset:
        """Return the data set with other images of its own to train and to validate on."""
        return replace(self, train=train, val=val, loaded=self.loaded or self)

    def to(self, device: str | torch.device) -> Dataset:
        """Return the data set on a device, shared by all trainings of a process."""
        train = self.train.to(device)
        return self.with_splits(train, None if self.val is None else self.val.to(device))


def read_dataset(
    train: LabelledImages, val: LabelledImages | None = None, notes: tuple[str, ...] = ()
) -> Dataset:
    """Return the data set of images that were read, its normalisation measured.

    Raises:
        DataError: A channel is constant over all training images.
    """
    return Dataset(train, val, mean_and_std(train.images), notes=notes)


def fingerprint(images: Tensor, labels: Tensor, class_names: tuple[str, ...]) -> str:
    """Return 32 hexadecimal digits that depend on pixels, labels, names and shape alone.

    Every byte is hashed: 0.2 s for 150 MB.
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(json.dumps([list(images.shape), list(class_names)]).encode())
    for tensor in (labels, images):
        digest.update(tensor.contiguous().view(-1).numpy().data)
    return digest.hexdigest()


def select(split: LabelledImages, indices: Tensor) -> LabelledImages:
    """Return the images at `indices` (int64, (M,)), in that order, or where they are true."""
    files = np.array(split.files, dtype=object)[indices.numpy()] if split.files else ()
    return LabelledImages(
        split.images[indices],
        split.labels[indices],
        split.class_names,
        groups=split.groups[indices] if split.groups is not None else None,
        files=tuple(files),
    )


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


def mean_and_std(images: Tensor) -> Normalisation:
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
    return Normalisation(tuple(means), tuple(stds))
