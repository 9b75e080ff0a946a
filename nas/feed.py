"""What the loop is fed: an epoch's batches, mixed where the recipe mixes, and the progress."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random

import torch.nn.functional as F
from torch import Tensor

from nas.data.loader import Batch, DeviceLoader
from nas.data.mixing import MIXERS
from nas.recipe import Recipe
from nas.seeds import derive_seed


@dataclass(frozen=True, eq=False)
class Batches:
    """What a training sees of the data: never the test part.

    Args:
        train: The training batches.
        val: The validation batches, gone through once an epoch; None where all is trained on.
    """

    train: DeviceLoader
    val: Iterable[Batch] | None


def feed_epoch(
    loader: DeviceLoader, recipe: Recipe, epoch: int, epochs: int, seed: int
) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Yield an epoch's images, their targets, and the progress of the whole training.

    Progress is taken at the middle of each step, so that neither the warm-up's first nor the
    annealing's last step is spent at rate 0.

    Args:
        loader: The training batches.
        recipe: What is mixed, how often, and for how long.
        epoch: The epoch, from 0.
        epochs: Epochs of the whole training.
        seed: Decides the mixing.

    Yields:
        Images (N, C, H, W); labels (N,), or, where the recipe mixes at all, probabilities (N, K);
        progress in (0, 1).
    """
    rng = Random(derive_seed(seed, "mixing", epoch))
    num_classes = loader.placed.input_spec.num_classes
    num_steps = len(loader)
    for step, (images, labels) in enumerate(loader.epoch(epoch)):
        progress = (epoch * num_steps + step + 0.5) / (epochs * num_steps)
        if recipe.mixing == "none":
            yield images, labels, progress
            continue
        targets = F.one_hot(labels, num_classes).float()
        is_on = progress < 1.0 - recipe.mixing_off_share
        if is_on and rng.random() < recipe.mixing_probability:
            images, targets = MIXERS[recipe.mixing](images, targets, recipe.mixing_alpha, rng)
        yield images, targets, progress
