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


def balanced_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Return n / (K n_c) of each class c: on the mean over the images (N,) a weight is 1.

    Source: King and Zeng 2001, Logistic regression in rare events data; scikit-learn's
    ``class_weight="balanced"``.
    """
    counts = torch.bincount(labels, minlength=num_classes).clamp(min=1)
    return len(labels) / (num_classes * counts.float())  # (K,)


def mean_loss(
    logits: Tensor, labels: Tensor, label_smoothing: float, class_weights: Tensor | None = None
) -> Tensor:
    """Return the mean cross-entropy of a batch, each image with the weight of its class.

    NOTE: `cross_entropy(weight=...)` weighs the target's entries. Label smoothing gives an entry
    to every class, so that beside a rare class of weight 25 the smoothing of all other images
    would outweigh what they are. An image has one weight here; a mixed one that of its parts, by
    their shares. The sum is divided by the images, not by their weights: so pieces of a batch add
    up to it, and batches to the training split, whose mean weight is 1.

    Args:
        logits: (N, K).
        labels: (N,), or probabilities (N, K), not smoothed.
        label_smoothing: Fraction of the target spread over all classes.
        class_weights: (K,); None weighs each image 1.
    """
    if class_weights is None:
        return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
    losses = F.cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="none")
    weights = class_weights[labels] if labels.ndim == 1 else (labels * class_weights).sum(1)
    return (losses * weights).mean()


def make_step(
    model: nn.Module,
    optimizer: Optimizer,
    average: WeightAverage | None,
    totals: EpochTotals,
    recipe: Recipe,
    engine: Engine,
    micro_batch: int,
    class_weights: Tensor | None = None,
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
        class_weights: As for `mean_loss`, on the device; a capture keeps its address.
    """
    forward = torch.compile(model) if engine.compile else model

    def add_gradients(images: Tensor, labels: Tensor, into: EpochTotals | None) -> None:
        pieces = zip(images.split(micro_batch), labels.split(micro_batch), strict=True)
        for piece, piece_labels in pieces:  # (n, C, H, W), (n,) or (n, K)
            with engine.autocast(recipe.precision):
                logits = forward(piece)
                loss = mean_loss(logits, piece_labels, recipe.label_smoothing, class_weights)
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
