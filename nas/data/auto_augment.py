"""Augmentation policies on a batch: draw per image, group, apply torchvision's operations.

Operations and strengths are torchvision's own, which has no public door to them; what is ours is
that a whole batch is drawn for at once. To add a policy, write a function
`(images, rng) -> images` and add one row to `POLICIES`. All draws are made on the host, so nothing
waits for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode, autoaugment

from nas.data.augment import send

Policy = Callable[[Tensor, Random], Tensor]
SubPolicy = tuple[tuple[str, float, int | None], ...]

TRIVIAL_BINS, AUTO_BINS = 31, 10  # strengths of an operation, in torchvision's policies
TRIVIAL_SIZE = 32  # pixels; torchvision's translations of TrivialAugment are those of this size


class Strengths(NamedTuple):
    """The strengths that a policy uses an operation at.

    Args:
        magnitudes: What there is to choose from; of translations in pixels.
        is_signed: Whether the magnitude is negated half of the time.
    """

    magnitudes: tuple[float, ...]
    is_signed: bool


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
    space = trivial_space(images.shape[-1])
    members: dict[str, list[int]] = {name: [] for name in space}
    names = list(space)
    for index in range(len(images)):
        members[rng.choice(names)].append(index)
    groups = {}
    for name, indices in members.items():
        magnitude = rng.choice(space[name].magnitudes)
        if space[name].is_signed and rng.random() < 0.5:
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


@cache
def trivial_space(image_size: int) -> dict[str, Strengths]:
    """Return TrivialAugment's operations with their strengths for images of this size."""
    space = _read_table(autoaugment.TrivialAugmentWide()._augmentation_space(TRIVIAL_BINS))
    for name in ("TranslateX", "TranslateY"):
        pixels = tuple(item * image_size / TRIVIAL_SIZE for item in space[name].magnitudes)
        space[name] = space[name]._replace(magnitudes=pixels)
    return space


@cache
def auto_space(image_size: int) -> dict[str, Strengths]:
    """Return AutoAugment's operations with their strengths for images of this size."""
    size = (image_size, image_size)
    return _read_table(autoaugment.AutoAugment()._augmentation_space(AUTO_BINS, size))


def _read_table(table: dict[str, tuple[Tensor, bool]]) -> dict[str, Strengths]:
    return {
        name: Strengths(tuple(magnitudes.flatten().tolist()), is_signed)
        for name, (magnitudes, is_signed) in table.items()
    }


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
    space = auto_space(images.shape[-1])
    for turn in (0, 1):
        groups: dict[tuple[str, float], list[int]] = {}
        for index, draw in enumerate(draws):
            name, probability, level = _sub_policies()[draw.number][turn]
            if draw.chances[turn] > probability:
                continue
            magnitude = space[name].magnitudes[level] if level is not None else 0.0
            if space[name].is_signed and draw.negated[turn]:
                magnitude = -magnitude
            groups.setdefault((name, magnitude), []).append(index)
        images = _apply(images, groups)
    return images


@cache
def _sub_policies() -> tuple[SubPolicy, ...]:
    """Return torchvision's own list: name, probability and level of each operation."""
    return tuple(autoaugment.AutoAugment(autoaugment.AutoAugmentPolicy.CIFAR10).policies)


def _apply(images: Tensor, groups: dict[tuple[str, float], list[int]]) -> Tensor:
    """Return the images, each group of indices after its operation at its magnitude."""
    augmented = images.clone()
    for (name, magnitude), indices in groups.items():
        if indices and name != "Identity":
            where = send(torch.tensor(indices), images.device)
            augmented[where] = apply_operation(images[where], name, magnitude)
    return augmented


def apply_operation(images: Tensor, name: str, magnitude: float) -> Tensor:
    """Return uint8 images, (N, C, H, W), after torchvision's operation of this name."""
    nearest = InterpolationMode.NEAREST
    changed: Tensor = autoaugment._apply_op(images, name, magnitude, nearest, fill=None)
    return changed
