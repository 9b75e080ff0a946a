"""Accuracy of a network over images: a plain share of images, the ragged last batch included."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from nas.data.loader import Batch
from nas.device import Engine


class Evaluation(NamedTuple):
    """A measured accuracy.

    Args:
        accuracy: Share of the images classified right, in [0, 1].
        loss: Mean cross-entropy over the images, without label smoothing.
        num_images: Images measured.
    """

    accuracy: float
    loss: float
    num_images: int


@torch.no_grad()
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
        batches: Images and labels on that device; at least one image.
        engine: The device's autocast.
        precision: See `Recipe.precision`.
        flip: Average the logits of each image and its mirror image (test-time augmentation);
            report such a figure apart from the plain one.
    """
    loss = torch.zeros((), device=engine.device)
    num_correct = torch.zeros((), dtype=torch.int64, device=engine.device)
    num_images = 0
    was_training = model.training
    model.eval()
    for images, labels in batches:
        with engine.autocast(precision):
            logits = model(images)
            if flip:
                logits = (logits + model(images.flip(3))) / 2
        logits = logits.float()
        loss += F.cross_entropy(logits, labels, reduction="sum")
        num_correct += (logits.argmax(1) == labels).sum()
        num_images += len(labels)
    model.train(was_training)
    return Evaluation(
        float(num_correct) / num_images,  # sync
        float(loss) / num_images,
        num_images,
    )
