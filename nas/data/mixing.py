"""Augmentations that mix images of a batch, and their labels with them.

Each is a function `(images, labels, alpha, rng) -> (images, labels)` and one row of `MIXERS`.
Boxes are drawn on the host, one per batch, so nothing waits for the device; partners are found by
rolling the batch, which the data order has shuffled already.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import torch
from torch import Tensor

Mixer = Callable[[Tensor, Tensor, float, Random], tuple[Tensor, Tensor]]


def cutmix(images: Tensor, labels: Tensor, alpha: float, rng: Random) -> tuple[Tensor, Tensor]:
    """Paste one box of every image's partner over it; labels mix by the pasted area.

    Args:
        images: (N, C, H, W).
        labels: (N, K) probabilities.
        alpha: Both parameters of the beta distribution of the share that is kept.
        rng: The source of all randomness.

    Source: Yun et al. 2019, CutMix, equations 1 and 2.
    """
    height, width = images.shape[-2:]
    cut = math.sqrt(1.0 - rng.betavariate(alpha, alpha))
    centre_y, centre_x = rng.randrange(height), rng.randrange(width)
    half_h, half_w = int(height * cut) // 2, int(width * cut) // 2
    top, bottom = max(centre_y - half_h, 0), min(centre_y + half_h, height)
    left, right = max(centre_x - half_w, 0), min(centre_x + half_w, width)
    shift = rng.randrange(len(images))
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images.roll(shift, 0)[..., top:bottom, left:right]
    pasted = (bottom - top) * (right - left) / (height * width)
    return mixed, torch.lerp(labels, labels.roll(shift, 0), pasted)


def ricap(images: Tensor, labels: Tensor, alpha: float, rng: Random) -> tuple[Tensor, Tensor]:
    """Put together every image from random crops of four; labels mix by the four areas.

    Args:
        images: (N, C, H, W).
        labels: (N, K) probabilities.
        alpha: Both parameters of the beta distribution of the boundary's position.
        rng: The source of all randomness.

    Source: Takahashi et al. 2018, RICAP, section 3.
    """
    height, width = images.shape[-2:]
    row = round(height * rng.betavariate(alpha, alpha))
    column = round(width * rng.betavariate(alpha, alpha))
    mixed, mixed_labels = torch.empty_like(images), torch.zeros_like(labels)
    for top, bottom in ((0, row), (row, height)):
        for left, right in ((0, column), (column, width)):
            h, w = bottom - top, right - left
            y, x = rng.randint(0, height - h), rng.randint(0, width - w)
            shift = rng.randrange(len(images))
            crop = images.roll(shift, 0)[..., y : y + h, x : x + w]
            mixed[..., top:bottom, left:right] = crop
            mixed_labels += labels.roll(shift, 0) * (h * w / (height * width))
    return mixed, mixed_labels


MIXERS: dict[str, Mixer] = {"cutmix": cutmix, "ricap": ricap}
