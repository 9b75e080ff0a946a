"""One training step as a closure over the training's state.

It has no Python side effects and never waits for the device, so that a CUDA graph
(`nas.training.cuda_graph`) wraps it in one line.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from nas.training.ema import WeightAverage
from nas.training.engine import Engine
from nas.training.optimizer import add_sharpness
from nas.training.recipe import Recipe

Step = Callable[[Tensor, Tensor], None]


class EpochTotals:
    """Sums over an epoch's images, kept on the device and read once."""

    def __init__(self, device: str) -> None:
        self.loss = torch.zeros((), device=device)
        self.num_correct = torch.zeros((), dtype=torch.int64, device=device)

    def reset(self) -> None:
        """Start again from zero, in place: captured graphs keep their addresses."""
        self.loss.zero_()
        self.num_correct.zero_()

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: its mean loss, logits (N, K), labels (N,) or their probabilities (N, K)."""
        classes = labels if labels.ndim == 1 else labels.argmax(1)
        self.loss += loss.detach() * len(labels)
        self.num_correct += (logits.detach().argmax(1) == classes).sum()

    def read(self, num_images: int) -> tuple[float, float]:
        """Return mean loss and accuracy over the images added."""
        return float(self.loss) / num_images, float(self.num_correct) / num_images  # sync


def make_step(
    model: nn.Module,
    optimizer: Optimizer,
    average: WeightAverage | None,
    totals: EpochTotals,
    recipe: Recipe,
    engine: Engine,
    micro_batch: int,
) -> Step:
    """Return the function that trains on one batch.

    A batch is taken in pieces of at most `micro_batch` images whose gradients add up to the
    batch's mean gradient; only the statistics of batch norms see the pieces.

    Args:
        model: The network, in training mode.
        optimizer: Its optimizer; the learning rate is set from outside.
        average: Follows the model after every step; None is off.
        totals: Receives loss and hits.
        recipe: Label smoothing, sharpness, precision.
        engine: The device's autocast, and whether to compile.
        micro_batch: Images a forward pass.
    """
    forward = torch.compile(model) if engine.compile else model

    def add_gradients(images: Tensor, labels: Tensor, into: EpochTotals | None) -> None:
        pieces = zip(images.split(micro_batch), labels.split(micro_batch), strict=True)
        for piece, piece_labels in pieces:  # (n, C, H, W), (n,) or (n, K)
            with engine.autocast(recipe.precision):
                logits = forward(piece)
                loss = F.cross_entropy(
                    logits, piece_labels, label_smoothing=recipe.label_smoothing
                )
            (loss * (len(piece) / len(images))).backward()
            if into is not None:
                into.add(loss, logits, piece_labels)

    def take_step(images: Tensor, labels: Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        add_gradients(images, labels, into=totals)
        if recipe.sam_rho > 0:
            add_sharpness(
                model,
                lambda: add_gradients(images, labels, into=None),
                recipe.sam_rho,
                recipe.sam_adaptive,
            )
        optimizer.step()
        if average is not None:
            average.update(model)

    return take_step
