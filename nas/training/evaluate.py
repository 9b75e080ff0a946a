"""Accuracy of a network over images: a plain fraction, the ragged last batch included."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from nas.data.loader import Batch, EvalLoader
from nas.training.engine import Engine, halving


class Evaluation(NamedTuple):
    """A measured accuracy.

    Args:
        accuracy: Fraction of the images classified right, in [0, 1].
        loss: Mean cross-entropy over the images, without label smoothing.
        num_images: Images measured.
    """

    accuracy: float
    loss: float
    num_images: int


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
    num_correct = torch.zeros((), dtype=torch.int64, device=engine.device)
    num_images = 0
    for images, labels in batches:
        with engine.autocast(precision):
            logits = model(images)
            if flip:
                logits = (logits + model(images.flip(3))) / 2
        logits = logits.float()
        loss += F.cross_entropy(logits, labels, reduction="sum")
        num_correct += (logits.argmax(1) == labels).sum()
        num_images += len(labels)
    return Evaluation(
        float(num_correct) / num_images,  # sync
        float(loss) / num_images,
        num_images,
    )
