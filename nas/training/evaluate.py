"""A network measured over images: every image counts once, the ragged last batch included."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.data.loader import Batch, EvalLoader
from nas.training.engine import Engine, halving


class Evaluation(NamedTuple):
    """What was measured of a network.

    Args:
        confusion: How many images of each class were given each answer: int64, (K, K), on the
            CPU, the classes by row.
        loss: Mean cross-entropy over the images, without label smoothing.
        num_images: Images measured.
    """

    confusion: Tensor
    loss: float
    num_images: int

    @property
    def accuracy(self) -> float:
        """Return the fraction of the images classified right, in [0, 1]."""
        return int(self.confusion.trace()) / self.num_images


def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    engine: Engine,
    precision: str = "auto",
    flip: bool = False,
) -> Evaluation:
    """Measure a network; its mode and its weights are left as they are found.

    Args:
        model: The network, on the engine's device.
        batches: Images and labels on that device; at least one image. The batches of an
            `EvalLoader` that do not fit in memory are halved, from then on.
        engine: The device's autocast.
        precision: See `Recipe.precision`.
        flip: Average the logits of each image and its mirror image (test-time augmentation);
            report such a figure apart from the plain one.
    """
    was_training = model.training
    try:
        if not isinstance(batches, EvalLoader):
            return _measure(model.eval(), batches, engine, precision, flip)
        loader = batches

        def attempt(batch_size: int) -> Evaluation:
            loader.batch_size = batch_size
            return _measure(model.eval(), loader, engine, precision, flip)

        return halving(attempt, loader.batch_size, 1, engine.device)
    finally:
        model.train(was_training)


@torch.no_grad()
def _measure(
    model: nn.Module, batches: Iterable[Batch], engine: Engine, precision: str, flip: bool
) -> Evaluation:
    loss = torch.zeros((), device=engine.device)
    counts = torch.zeros((), dtype=torch.int64, device=engine.device)
    num_images = num_classes = 0
    for images, labels in batches:
        with engine.autocast(precision):
            logits = model(images)
            if flip:
                logits = (logits + model(images.flip(3))) / 2
        logits = logits.float()
        loss += F.cross_entropy(logits, labels, reduction="sum")
        num_classes = logits.shape[1]
        cells = labels * num_classes + logits.argmax(1)  # (N,), row by row
        # NOTE: not bincount, which waits for the device to learn its length
        ones = torch.ones_like(cells)
        counts = counts + ones.new_zeros(num_classes**2).scatter_add_(0, cells, ones)
        num_images += len(labels)
    mean_loss = float(loss) / num_images  # sync
    return Evaluation(counts.view(num_classes, num_classes).cpu(), mean_loss, num_images)
