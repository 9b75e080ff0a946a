"""Tensors of images: made into records, selected, merged, resized, measured."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor
from torch.nn import functional

from nas.data.records import LabelledImages
from nas.errors import DataError

_CHUNK_IMAGES = 2048  # bounds the memory of a float copy


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


def select(part: LabelledImages, indices: Tensor) -> LabelledImages:
    """Return the images at `indices` (int64, (M,)), in that order."""
    return labelled_images(part.images[indices], part.labels[indices], part.class_names)


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
