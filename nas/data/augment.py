"""Augmentation as a few operations on a whole batch, and the draws that decide it.

Draws and operations are apart. Draws come from a generator on the CPU, a whole epoch at once, so
that they do not depend on the device; operations are pure functions of images and draws, without
a loop over images and without a wait for the device.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images; see `nas.training.recipe.Recipe` for the ranges.

    Args:
        rotation_degrees: Largest angle of a rotation to either side; 0 is no rotation.
        flip: Mirror left and right with probability 1/2.
        crop_padding: Black pixels added on each side before a crop back to size; 0 is no crop.
        cutout_size: Side of the square set to the mean, in pixels; 0 is none.
        policy: ``none``, or a key of `nas.data.auto_augment.POLICIES`.
    """

    rotation_degrees: float = 0.0
    flip: bool = False
    crop_padding: int = 0
    cutout_size: int = 0
    policy: str = "none"


class Draws(NamedTuple):
    """What chance decided for N images; None for what is not done.

    Args:
        crop_offsets: int64, (2, N), rows and columns, each in 0..2 * padding inclusive.
        flips: bool, (N,).
        cutout_centers: int64, (2, N), row and column, each in 0..image_size - 1 inclusive.
        angles: float, (N,), degrees against the clock, in [-rotation_degrees, rotation_degrees].
    """

    crop_offsets: Tensor | None = None
    flips: Tensor | None = None
    cutout_centers: Tensor | None = None
    angles: Tensor | None = None

    def batch(self, start: int, stop: int) -> Draws:
        """Return the draws of images start..stop-1, as views."""
        return Draws(*(None if draw is None else draw[..., start:stop] for draw in self))

    def to(self, device: torch.device) -> Draws:
        """Return the draws on a device; does not wait for the copy."""
        return Draws(*(None if draw is None else send(draw, device) for draw in self))


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Return the tensor on a device, through pinned memory where the device is a GPU."""
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def draw(
    augmentation: Augmentation, num_images: int, image_size: int, generator: torch.Generator
) -> Draws:
    """Draw independently and uniformly for each image; what is not done draws nothing.

    Args:
        augmentation: What is done.
        num_images: N.
        image_size: Height and width in pixels.
        generator: On the CPU; moved on.
    """
    crop_offsets = flips = cutout_centers = angles = None
    if augmentation.crop_padding:
        highest = 2 * augmentation.crop_padding + 1
        crop_offsets = torch.randint(highest, (2, num_images), generator=generator)
    if augmentation.flip:
        flips = torch.randint(2, (num_images,), generator=generator).bool()
    if augmentation.cutout_size:
        cutout_centers = torch.randint(image_size, (2, num_images), generator=generator)
    if augmentation.rotation_degrees:
        fractions = 2 * torch.rand(num_images, generator=generator) - 1
        angles = augmentation.rotation_degrees * fractions
    return Draws(crop_offsets, flips, cutout_centers, angles)


def augment(
    images: Tensor,
    draws: Draws,
    augmentation: Augmentation,
    scale: Tensor,
    shift: Tensor,
    policy: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Rotate, crop, flip, apply the policy, normalise, cut out, in this order.

    Args:
        images: uint8, (N, C, H, W).
        draws: For these N images.
        augmentation: What the draws were made for.
        scale: As `normalise`.
        shift: As `normalise`.
        policy: Maps uint8 images (N, C, H, W) to such; None leaves them.

    Returns:
        float, (N, C, H, W), channels last.
    """
    if draws.angles is not None:
        images = rotate(images, draws.angles)
    if draws.crop_offsets is not None:
        images = crop(images, draws.crop_offsets, augmentation.crop_padding)
    if draws.flips is not None:
        images = flip(images, draws.flips)
    if policy is not None:
        images = policy(images)
    normalised = normalise(images, scale, shift)
    if draws.cutout_centers is not None:
        normalised = cutout(normalised, draws.cutout_centers, augmentation.cutout_size)
    return normalised


def rotate(images: Tensor, angles: Tensor) -> Tensor:
    """Rotate each image about its centre by its own angle; what comes in from outside is black.

    Each pixel takes the nearest one of the image, as in `torchvision.transforms.RandomRotation`.

    Args:
        images: uint8, (N, C, H, W).
        angles: float, (N,), degrees against the clock.
    """
    height, width = images.shape[2:]
    radians = torch.deg2rad(angles)
    cos, sin = torch.cos(radians), torch.sin(radians)
    zero = torch.zeros_like(cos)
    # from a pixel of the result to one of the image, in units of half the image's sides
    theta = torch.stack(
        [
            torch.stack([cos, -sin * (height / width), zero], 1),
            torch.stack([sin * (width / height), cos, zero], 1),
        ],
        1,
    )  # (N, 2, 3)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    rotated = functional.grid_sample(images.float(), grid, mode="nearest", align_corners=False)
    return rotated.to(images.dtype)


def crop(images: Tensor, offsets: Tensor, padding: int) -> Tensor:
    """Crop each image, padded with zeros, back to its size at its own offset.

    Args:
        images: (N, C, H, W).
        offsets: int64, (2, N), rows and columns in 0..2 * padding; padding is the image itself.
        padding: Pixels added on each side.

    Source: He et al., Deep Residual Learning, section 4.2.
    """
    height, width = images.shape[2:]
    padded = functional.pad(images, (padding,) * 4)
    windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # (N, C, 2p+1, 2p+1, H, W), a view
    which = torch.arange(len(images), device=images.device)
    return windows[which, :, offsets[0], offsets[1]]  # (N, C, H, W)


def flip(images: Tensor, flips: Tensor) -> Tensor:
    """Mirror left and right the images of (N, C, H, W) where `flips`, (N,), is true."""
    return torch.where(flips.view(-1, 1, 1, 1), images.flip(3), images)


def cutout(images: Tensor, centers: Tensor, size: int) -> Tensor:
    """Set a square in each image to zero, the mean of normalised images.

    The square covers rows and columns center - size // 2 to center - size // 2 + size - 1, and
    is cut off at the border.

    Args:
        images: float, (N, C, H, W).
        centers: int64, (2, N).
        size: Side of the square in pixels, at least 1.

    Source: DeVries and Taylor, Improved Regularization with Cutout, section 3.
    """
    rows = _within(images.shape[2], centers[0], size).unsqueeze(2)  # (N, H, 1)
    columns = _within(images.shape[3], centers[1], size).unsqueeze(1)  # (N, 1, W)
    return images.clone().masked_fill_((rows & columns).unsqueeze(1), 0.0)


def normalise(images: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return ``images * scale + shift``, which is ``(images / 255 - mean) / std``, channels last.

    Args:
        images: uint8, (N, C, H, W).
        scale: float, (1, C, 1, 1), 1 / (255 * std).
        shift: float, (1, C, 1, 1), -mean / std.
    """
    floats = images.to(scale.dtype, memory_format=torch.channels_last)  # a copy of its own
    return floats.mul_(scale).add_(shift)


def _within(length: int, centers: Tensor, size: int) -> Tensor:
    """Return bool, (N, length): which positions lie in each square's side."""
    first = (centers - size // 2).unsqueeze(1)
    positions = torch.arange(length, device=centers.device)
    return (positions >= first) & (positions < first + size)
