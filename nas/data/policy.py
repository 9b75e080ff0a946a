"""Augmentation policies on a batch: draw per image, group, apply torchvision's operations.

No image operation here is ours. A policy is a function `(images, rng) -> images`; all draws are
made on the host, so nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random
from typing import NamedTuple

import torch
import torchvision.transforms.functional as F
from torch import Tensor

from nas.data.augment import send

NUM_BINS = 31


class Operation(NamedTuple):
    """One operation of torchvision and the strengths it is used at.

    Args:
        apply: Takes uint8 images (..., C, H, W) and a magnitude; returns the same shape.
        magnitudes: The strengths to choose from; for translations, shares of the image size.
        is_signed: Whether the magnitude is negated half of the time.
    """

    apply: Callable[[Tensor, float], Tensor]
    magnitudes: tuple[float, ...] = (0.0,)
    is_signed: bool = False


def trivial_augment(images: Tensor, rng: Random) -> Tensor:
    """Apply one operation, drawn uniformly, to each image, at a strength drawn uniformly.

    Images of a batch that draw the same operation share its strength and sign, so that there are
    at most as many launches as operations; each image by itself has torchvision's distribution.

    Args:
        images: uint8, (N, C, H, W).
        rng: The source of all randomness.

    Source: Mueller and Hutter 2021, TrivialAugment, Algorithm 1 with the "wide" space, as in
        `torchvision.transforms.TrivialAugmentWide`; translations scale with the image size.
    """
    members: dict[str, list[int]] = {name: [] for name in TRIVIAL_OPERATIONS}
    names = list(TRIVIAL_OPERATIONS)
    for index in range(len(images)):
        members[rng.choice(names)].append(index)
    augmented = images.clone()
    for name, indices in members.items():
        operation = TRIVIAL_OPERATIONS[name]
        magnitude = rng.choice(operation.magnitudes)
        if operation.is_signed and rng.random() < 0.5:
            magnitude = -magnitude
        if indices and name != "Identity":
            where = send(torch.tensor(indices), images.device)
            augmented[where] = operation.apply(images[where], magnitude)
    return augmented


def _shear(images: Tensor, x: float, y: float) -> Tensor:
    degrees = [math.degrees(math.atan(x)), math.degrees(math.atan(y))]
    sheared: Tensor = F.affine(
        images, angle=0.0, translate=[0, 0], scale=1.0, shear=degrees, center=[0, 0]
    )
    return sheared


def _translate(images: Tensor, x: float, y: float) -> Tensor:
    size = images.shape[-1]
    pixels = [int(x * size), int(y * size)]
    moved: Tensor = F.affine(images, angle=0.0, translate=pixels, scale=1.0, shear=[0.0, 0.0])
    return moved


def _steps(low: float, high: float) -> tuple[float, ...]:
    return tuple(torch.linspace(low, high, NUM_BINS).tolist())


_FACTORS = _steps(0.0, 0.99)

TRIVIAL_OPERATIONS: dict[str, Operation] = {
    "Identity": Operation(lambda images, _: images),
    "ShearX": Operation(lambda images, m: _shear(images, m, 0.0), _FACTORS, True),
    "ShearY": Operation(lambda images, m: _shear(images, 0.0, m), _FACTORS, True),
    "TranslateX": Operation(lambda images, m: _translate(images, m, 0), _steps(0, 1), True),
    "TranslateY": Operation(lambda images, m: _translate(images, 0, m), _steps(0, 1), True),
    "Rotate": Operation(F.rotate, _steps(0.0, 135.0), True),
    "Brightness": Operation(lambda i, m: F.adjust_brightness(i, 1.0 + m), _FACTORS, True),
    "Color": Operation(lambda i, m: F.adjust_saturation(i, 1.0 + m), _FACTORS, True),
    "Contrast": Operation(lambda i, m: F.adjust_contrast(i, 1.0 + m), _FACTORS, True),
    "Sharpness": Operation(lambda i, m: F.adjust_sharpness(i, 1.0 + m), _FACTORS, True),
    "Posterize": Operation(
        lambda images, m: F.posterize(images, int(m)),
        tuple(float(8 - round(step / ((NUM_BINS - 1) / 6))) for step in range(NUM_BINS)),
    ),
    "Solarize": Operation(F.solarize, _steps(255.0, 0.0)),
    "AutoContrast": Operation(lambda images, _: F.autocontrast(images)),
    "Equalize": Operation(lambda images, _: F.equalize(images)),
}

POLICIES: dict[str, Callable[[Tensor, Random], Tensor]] = {"trivial": trivial_augment}
