"""Batches for training and evaluation, from images that lie on the device as bytes.

A split is put on the device once (`LabelledImages.to`); all trainings of a process share it. What
does not fit stays on the host and is fetched ahead of use. Either way the images of epoch k are
decided by (seed, k) alone: the same batches come after a resume, and on any device.

Nothing in an epoch waits for the device, and all batches of a training have one shape.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from nas.data.augment import Augmentation, augment, draw, normalise, send
from nas.data.images import LabelledImages, Normalisation
from nas.seeds import derive_seed

_BATCHES_AHEAD = 2


class Batch(NamedTuple):
    """Images and their labels on the device."""

    images: Tensor  # float, (B, C, H, W), channels last, normalised
    labels: Tensor  # int64, (B,)


class DeviceLoader:
    """Augmented training batches, reshuffled each epoch.

    The last, ragged batch is left out (another one each epoch, as the order changes), unless
    there are fewer images than `batch_size`: then all of them are the one batch.

    Args:
        split: The training images.
        normalisation: Of the data set they belong to.
        batch_size: Images a step, at least 1.
        augmentation: What is done to them.
        seed: Decides order and augmentation, with the epoch's number.
    """

    def __init__(
        self,
        split: LabelledImages,
        normalisation: Normalisation,
        batch_size: int,
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.split = split
        self.batch_size = min(batch_size, len(split))
        self._scale_and_shift = normalisation.scale_and_shift(split.device)
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.split) // self.batch_size

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch (from 0), the same ones whenever it is asked for."""
        split, size = self.split, self.batch_size
        generator = epoch_generator(self.seed, epoch)
        order = torch.randperm(len(split), generator=generator)[: len(self) * size]
        image_size = split.input_spec.image_size
        draws = draw(self.augmentation, len(order), image_size, generator).to(split.device)
        policy = self._policy(epoch)
        for step, (raw, labels) in enumerate(_fetch(split, order, size)):
            own = draws.batch(step * size, (step + 1) * size)
            images = augment(raw, own, self.augmentation, *self._scale_and_shift, policy)
            yield Batch(images, labels)

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
        split: The images.
        normalisation: Of the training images.
        batch_size: Images a batch, at least 1.
    """

    def __init__(
        self, split: LabelledImages, normalisation: Normalisation, batch_size: int
    ) -> None:
        self.split = split
        self.batch_size = batch_size
        self._scale_and_shift = normalisation.scale_and_shift(split.device)

    @property
    def num_images(self) -> int:
        """Return how many images there are."""
        return len(self.split)

    def __iter__(self) -> Iterator[Batch]:
        for raw, labels in _fetch(self.split, torch.arange(len(self.split)), self.batch_size):
            yield Batch(normalise(raw, *self._scale_and_shift), labels)


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """Return a generator on the CPU that (seed, epoch) decides; near pairs are unrelated."""
    return torch.Generator().manual_seed(derive_seed(seed, "order and augmentation", epoch))


def _fetch(
    split: LabelledImages, order: Tensor, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield raw images (uint8, (B, C, H, W)) and labels by `order` (int64, (M,), on the CPU)."""
    on_device = send(order, split.device)
    labels = (
        split.labels.index_select(0, indices) for indices in torch.split(on_device, batch_size)
    )
    raw: Iterator[Tensor]
    if split.is_resident:
        raw = (
            split.images.index_select(0, indices) for indices in torch.split(on_device, batch_size)
        )
    else:
        raw = _fetch_ahead(split, torch.split(order, batch_size))
    return zip(raw, labels, strict=True)


def _fetch_ahead(split: LabelledImages, batches: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """Yield raw images gathered on the host by a thread, copied while the device works."""
    stream: torch.cuda.Stream | None = None
    if split.device.type == "cuda":
        stream = torch.cuda.Stream(split.device)
    waiting: deque[Future[Tensor]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="fetch") as pool:
        for indices in batches:
            waiting.append(pool.submit(_gather, split, indices, stream))
            if len(waiting) > _BATCHES_AHEAD:
                yield _hand_over(waiting.popleft().result(), stream)
        while waiting:
            yield _hand_over(waiting.popleft().result(), stream)


def _gather(split: LabelledImages, indices: Tensor, stream: torch.cuda.Stream | None) -> Tensor:
    if stream is None:
        return split.images.index_select(0, indices).to(split.device)
    shape = (len(indices), *split.images.shape[1:])
    pinned = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
    torch.index_select(split.images, 0, indices, out=pinned)
    with torch.cuda.stream(stream):
        return pinned.to(split.device, non_blocking=True)


def _hand_over(images: Tensor, stream: torch.cuda.Stream | None) -> Tensor:
    """Make the computing stream wait for the copy; the CPU does not."""
    if stream is not None:
        current = torch.cuda.current_stream(images.device)
        current.wait_stream(stream)
        images.record_stream(current)
    return images
