"""Augmentation policies on a batch: draw per image, group, apply torchvision's operations.

No image operation here is ours. To add a policy, write a function `(images, rng) -> images` and
add one row to `POLICIES`. All draws are made on the host, so nothing waits for the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from random import Random
from typing import NamedTuple

import torch
import torchvision.transforms.functional as F
from torch import Tensor
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from nas.data.augment import send

Policy = Callable[[Tensor, Random], Tensor]
SubPolicy = tuple[tuple[str, float, int | None], ...]


class Strengths(NamedTuple):
    """The strengths that a policy uses an operation at.

    Args:
        magnitudes: What there is to choose from; for translations, fractions of the image size.
        is_signed: Whether the magnitude is negated half of the time.
    """

    magnitudes: tuple[float, ...] = (0.0,)
    is_signed: bool = False


class SubPolicyDraw(NamedTuple):
    """What chance decided for one image under AutoAugment.

    Args:
        number: Which sub-policy.
        chances: In [0, 1), one for each of its operations, which is done where the chance is at
            most the operation's probability.
        negated: For each of its operations, whether a signed magnitude is negated.
    """

    number: int
    chances: tuple[float, float]
    negated: tuple[bool, bool]


# ---------------------------------------------------------------------------------------------
# Policies


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
    members: dict[str, list[int]] = {name: [] for name in TRIVIAL_SPACE}
    names = list(TRIVIAL_SPACE)
    for index in range(len(images)):
        members[rng.choice(names)].append(index)
    groups = {}
    for name, indices in members.items():
        strengths = TRIVIAL_SPACE[name]
        magnitude = rng.choice(strengths.magnitudes)
        if strengths.is_signed and rng.random() < 0.5:
            magnitude = -magnitude
        groups[name, magnitude] = indices
    return _apply(images, groups)


def auto_augment(images: Tensor, rng: Random) -> Tensor:
    """Apply to each image one of 25 sub-policies, each of two operations with probabilities.

    Args:
        images: uint8, (N, C, H, W).
        rng: The source of all randomness.

    Source: Cubuk et al. 2019, AutoAugment, Table 7: the policy learned on CIFAR-10, as in
        `torchvision.transforms.AutoAugment`; translations scale with the image size.
    """
    return apply_sub_policies(images, [draw_sub_policy(rng) for _ in range(len(images))])


POLICIES: dict[str, Policy] = {"trivial": trivial_augment, "autoaugment": auto_augment}


def draw_sub_policy(rng: Random) -> SubPolicyDraw:
    """Draw one sub-policy uniformly, and what becomes of its two operations."""
    return SubPolicyDraw(
        rng.randrange(len(_sub_policies())),
        (rng.random(), rng.random()),
        (rng.random() < 0.5, rng.random() < 0.5),
    )


def apply_sub_policies(images: Tensor, draws: list[SubPolicyDraw]) -> Tensor:
    """Apply to each of (N, C, H, W) what was drawn for it: all first operations, then the second.

    Images for which one operation was drawn at one strength are taken together.
    """
    for turn in (0, 1):
        groups: dict[tuple[str, float], list[int]] = {}
        for index, draw in enumerate(draws):
            name, probability, level = _sub_policies()[draw.number][turn]
            if draw.chances[turn] > probability:
                continue
            strengths = AUTO_SPACE[name]
            magnitude = strengths.magnitudes[level] if level is not None else 0.0
            if strengths.is_signed and draw.negated[turn]:
                magnitude = -magnitude
            groups.setdefault((name, magnitude), []).append(index)
        images = _apply(images, groups)
    return images


@cache
def _sub_policies() -> tuple[SubPolicy, ...]:
    """Return torchvision's own list: name, probability and level of each operation."""
    return tuple(AutoAugment(AutoAugmentPolicy.CIFAR10).policies)


def _apply(images: Tensor, groups: dict[tuple[str, float], list[int]]) -> Tensor:
    """Return the images, each group of indices after its operation at its magnitude."""
    augmented = images.clone()
    for (name, magnitude), indices in groups.items():
        if indices and name != "Identity":
            where = send(torch.tensor(indices), images.device)
            augmented[where] = OPERATIONS[name](images[where], magnitude)
    return augmented


# ---------------------------------------------------------------------------------------------
# Operations: uint8 images (..., C, H, W) and a magnitude; the same shape


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


OPERATIONS: dict[str, Callable[[Tensor, float], Tensor]] = {
    "Identity": lambda images, _: images,
    "ShearX": lambda images, m: _shear(images, m, 0.0),
    "ShearY": lambda images, m: _shear(images, 0.0, m),
    "TranslateX": lambda images, m: _translate(images, m, 0),
    "TranslateY": lambda images, m: _translate(images, 0, m),
    "Rotate": F.rotate,
    "Brightness": lambda images, m: F.adjust_brightness(images, 1.0 + m),
    "Color": lambda images, m: F.adjust_saturation(images, 1.0 + m),
    "Contrast": lambda images, m: F.adjust_contrast(images, 1.0 + m),
    "Sharpness": lambda images, m: F.adjust_sharpness(images, 1.0 + m),
    "Posterize": lambda images, m: F.posterize(images, int(m)),
    "Solarize": F.solarize,
    "AutoContrast": lambda images, _: F.autocontrast(images),
    "Equalize": lambda images, _: F.equalize(images),
    "Invert": lambda images, _: F.invert(images),
}


# ---------------------------------------------------------------------------------------------
# The strengths of each policy


def _steps(low: float, high: float, number: int) -> tuple[float, ...]:
    return tuple(torch.linspace(low, high, number).tolist())


def _space(
    number: int, shear: float, translate: float, rotate: float, factor: float, bits: float
) -> dict[str, Strengths]:
    """Return a policy's strengths: `number` equal steps from 0 to the highest of each kind.

    `bits` is how many of 8 Posterize takes away at most.
    """
    factors = Strengths(_steps(0.0, factor, number), True)
    posterized = (float(8 - round(step / ((number - 1) / bits))) for step in range(number))
    return {
        **dict.fromkeys(("ShearX", "ShearY"), Strengths(_steps(0.0, shear, number), True)),
        **dict.fromkeys(
            ("TranslateX", "TranslateY"), Strengths(_steps(0.0, translate, number), True)
        ),
        "Rotate": Strengths(_steps(0.0, rotate, number), True),
        **dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), factors),
        "Posterize": Strengths(tuple(posterized)),
        "Solarize": Strengths(_steps(255.0, 0.0, number)),
        **dict.fromkeys(("AutoContrast", "Equalize"), Strengths()),
    }


TRIVIAL_SPACE = {"Identity": Strengths(), **_space(31, 0.99, 1.0, 135.0, 0.99, 6)}
AUTO_SPACE = {**_space(10, 0.3, 150 / 331, 30.0, 0.9, 4), "Invert": Strengths()}
