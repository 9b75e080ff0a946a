"""Batches for training and evaluation, from images that lie on the device as bytes.

`place` puts a split on the device once; all trainings of a process share it. What does not fit
stays on the host and is fetched ahead of use. Either way the images of epoch k are decided by
(seed, k) alone: the same batches come after a resume, and on any device.

Nothing in an epoch waits for the device, and all batches of a training have one shape.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from nas.data.augment import Augmentation, augment, draw, normalise, send
from nas.data.images import LabelledImages
from nas.errors import DataError
from nas.network.architecture import InputSpec
from nas.seeds import derive_seed

_FREE_MEMORY_FRACTION = 0.5  # of the device's free memory that images may take
_BATCHES_AHEAD = 2


class Batch(NamedTuple):
    """Images and their labels on the device."""

    images: Tensor  # float, (B, C, H, W), channels last, normalised
    labels: Tensor  # int64, (B,)


@dataclass(frozen=True, eq=False)
class PlacedImages:
    """A split of a data set where batches are made from it.

    Args:
        images: uint8, (N, C, H, W), on `device`, or on the CPU where it did not fit.
        labels: int64, (N,), on `device`.
        scale: float, (1, C, 1, 1), on `device`; see `nas.data.augment.normalise`.
        shift: float, (1, C, 1, 1), on `device`.
        input_spec: What a network for them takes.
        device: Where batches are wanted.
        is_resident: Whether all images lie on `device`; else they are fetched batch by batch.
    """

    images: Tensor
    labels: Tensor
    scale: Tensor
    shift: Tensor
    input_spec: InputSpec
    device: torch.device
    is_resident: bool

    def __len__(self) -> int:
        return len(self.labels)


def place(
    split: LabelledImages,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
    memory_limit_bytes: int | None = None,
) -> PlacedImages:
    """Put a split on a device, once for all trainings there.

    Args:
        split: The images.
        mean: Per channel, in [0, 1].
        std: Per channel, in [0, 1] units, above 0.
        device: Where batches are wanted.
        memory_limit_bytes: Images that take more stay on the host; None is half of a GPU's free
            memory, and no limit on the CPU.
    """
    if memory_limit_bytes is None and device.type == "cuda":
        memory_limit_bytes = int(_FREE_MEMORY_FRACTION * torch.cuda.mem_get_info(device)[0])
    fits = memory_limit_bytes is None or split.images.nbytes <= memory_limit_bytes
    means, stds = (torch.tensor(values).view(1, -1, 1, 1) for values in (mean, std))
    return PlacedImages(
        images=split.images.to(device) if fits else split.images,
        labels=split.labels.to(device),
        scale=(1 / (255 * stds)).to(device),
        shift=(-means / stds).to(device),
        input_spec=split.input_spec,
        device=device,
        is_resident=fits,
    )


class DeviceLoader:
    """Augmented training batches, reshuffled each epoch.

    The last, ragged batch is left out (another one each epoch, as the order changes), unless
    there are fewer images than `batch_size`: then all of them are the one batch.

    Args:
        placed: The training images.
        batch_size: Images a step, at least 1.
        augmentation: What is done to them.
        seed: Decides order and augmentation, with the epoch's number.

    Raises:
        DataError: `batch_size` is below 1.
    """

    def __init__(
        self, placed: PlacedImages, batch_size: int, augmentation: Augmentation, seed: int
    ) -> None:
        if batch_size < 1:
            raise DataError(f"batch_size must be at least 1, but got {batch_size}")
        self.placed = placed
        self.batch_size = min(batch_size, len(placed))
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.placed) // self.batch_size

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch (from 0), the same ones whenever it is asked for."""
        placed, size = self.placed, self.batch_size
        generator = epoch_generator(self.seed, epoch)
        order = torch.randperm(len(placed), generator=generator)[: len(self) * size]
        image_size = placed.input_spec.image_size
        draws = draw(self.augmentation, len(order), image_size, generator).to(placed.device)
        policy = self._policy(epoch)
        for step, (raw, labels) in enumerate(_fetch(placed, order, size)):
            own = draws.batch(step * size, (step + 1) * size)
            scale, shift = placed.scale, placed.shift
            yield Batch(augment(raw, own, self.augmentation, scale, shift, policy), labels)

    def _policy(self, epoch: int) -> Callable[[Tensor], Tensor] | None:
        if self.augmentation.policy == "none":
            return None
        from nas.data.auto_augment import POLICIES  # torchvision: only where it is used

        apply = POLICIES[self.augmentation.policy]
        rng = Random(derive_seed(self.seed, "policy", epoch))
        return lambda images: apply(images, rng)


class EvalLoader:
    """All images in order, without augmentation; the last batch may be smaller.

    Args:
        placed: The images.
        batch_size: Images a batch, at least 1.

    Raises:
        DataError: `batch_size` is below 1.
    """

    def __init__(self, placed: PlacedImages, batch_size: int) -> None:
        if batch_size < 1:
            raise DataError(f"batch_size must be at least 1, but got {batch_size}")
        self.placed = placed
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.placed) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        placed = self.placed
        for raw, labels in _fetch(placed, torch.arange(len(placed)), self.batch_size):
            yield Batch(normalise(raw, placed.scale, placed.shift), labels)


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Return a generator on the CPU that (seed, epoch) decides; near pairs are unrelated."""
    return torch.Generator().manual_seed(derive_seed(seed, "order and augmentation", epoch))


def _fetch(
    placed: PlacedImages, order: Tensor, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield raw images (uint8, (B, C, H, W)) and labels by `order` (int64, (M,), on the CPU)."""
    on_device = send(order, placed.device)
    labels = (
        placed.labels.index_select(0, indices) for indices in torch.split(on_device, batch_size)
    )
    raw: Iterator[Tensor]
    if placed.is_resident:
        raw = (
            placed.images.index_select(0, indices)
            for indices in torch.split(on_device, batch_size)
        )
    else:
        raw = _fetch_ahead(placed, torch.split(order, batch_size))
    return zip(raw, labels, strict=True)


def _fetch_ahead(placed: PlacedImages, batches: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """Yield raw images gathered on the host by a thread, copied while the device works."""
    stream: torch.cuda.Stream | None = None
    if placed.device.type == "cuda":
        stream = torch.cuda.Stream(placed.device)
    waiting: deque[Future[Tensor]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="fetch") as pool:
        for indices in batches:
            waiting.append(pool.submit(_gather, placed, indices, stream))
            if len(waiting) > _BATCHES_AHEAD:
                yield _hand_over(waiting.popleft().result(), stream)
        while waiting:
            yield _hand_over(waiting.popleft().result(), stream)


def _gather(placed: PlacedImages, indices: Tensor, stream: torch.cuda.Stream | None) -> Tensor:
    if stream is None:
        return placed.images.index_select(0, indices).to(placed.device)
    shape = (len(indices), *placed.images.shape[1:])
    pinned = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
    torch.index_select(placed.images, 0, indices, out=pinned)
    with torch.cuda.stream(stream):
        return pinned.to(placed.device, non_blocking=True)


def _hand_over(images: Tensor, stream: torch.cuda.Stream | None) -> Tensor:
    """Make the computing stream wait for the copy; the CPU does not."""
    if stream is not None:
        current = torch.cuda.current_stream(images.device)
        current.wait_stream(stream)
        images.record_stream(current)
    return images
