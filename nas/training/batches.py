"""From a loaded data set and a recipe to the batches of a training, and an epoch of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from random import Random

import torch
import torch.nn.functional as F
from torch import Tensor

from nas.data.augment import Augmentation
from nas.data.images import Dataset, LabelledImages, Normalisation, select
from nas.data.loader import Batch, DeviceLoader, EvalLoader
from nas.data.mixing import MIXERS
from nas.data.split import stratified_subset, train_and_val
from nas.seeds import derive_seed
from nas.training.recipe import Recipe

EVAL_BATCH = 500  # on a CPU; on a GPU as many as fit, at most this:
MOST_EVAL_BATCH = 5_000


def place_search_splits(
    data: Dataset, seed: int, train_images: int, val_images: int, device: str
) -> Dataset:
    """Set the validation split apart, take stratified slices and put both on the device.

    Args:
        data: The training split of a data set.
        seed: Decides the split and the slices.
        train_images: Images of the training slice.
        val_images: Images of the validation slice.
        device: Where batches are wanted.

    Raises:
        DataError: A slice is larger than its split, or smaller than one image a class.
    """
    train, val = train_and_val(data, seed)
    slices = slice_of(train, train_images, seed), slice_of(val, val_images, seed)
    return data.with_splits(*slices).to(device)


def require_subsets(
    data: Dataset, seed: int, train_sizes: Iterable[int], val_images: int
) -> list[int]:
    """Draw what `place_search_splits` will, of the labels alone: what cannot be is refused early.

    Args:
        data: The training split of a data set.
        seed: Decides the split and the slices.
        train_sizes: Images of each training slice.
        val_images: Images of the validation slice.

    Returns:
        How many of these each class has.

    Raises:
        DataError: A slice is larger than its split, or smaller than one image a class.
    """
    own_val = data.val and replace(data.val, images=data.val.labels)
    data = data.with_splits(replace(data.train, images=data.train.labels), own_val)
    train, val = train_and_val(data, seed)
    counts = slice_of(val, val_images, seed).class_counts
    for size in train_sizes:
        slice_of(train, size, seed)
    return counts


def place_all(data: Dataset, device: str, seed: int, holdout: bool) -> Dataset:
    """Put all that may be trained on upon the device: training and validation split merged.

    Args:
        data: The training split of a data set.
        device: Where batches are wanted.
        seed: Seed of the split that `holdout` keeps.
        holdout: Keep the validation split out and measure on it after every epoch.
    """
    splits = train_and_val(data, seed) if holdout else (merge(data), None)
    return data.with_splits(*splits).to(device)


def merge(data: Dataset) -> LabelledImages:
    """Return the training split with the data set's own validation split, if it has one."""
    if data.val is None:
        return data.train
    train, val = data.train, data.val
    groups = [part.groups for part in (train, val) if part.groups is not None]
    return LabelledImages(
        torch.cat([train.images, val.images]),
        torch.cat([train.labels, val.labels]),
        train.class_names,
        groups=torch.cat(groups) if groups else None,
    )


def slice_of(split: LabelledImages, size: int, seed: int) -> LabelledImages:
    """Return a stratified slice of `size` images; of as many as there are, the split itself."""
    if size == len(split):
        return split
    return select(split, stratified_subset(split.labels, size, seed))


def make_batches(data: Dataset, recipe: Recipe, seed: int) -> Batches:
    """Return the batches of one training.

    Args:
        data: The images on the device.
        recipe: Batch size and augmentation; a flip that would change a class is left out.
        seed: Decides order and augmentation, with the epoch's number.
    """
    side = data.input_spec.image_size
    augmentation = Augmentation(
        rotation_degrees=recipe.rotation_degrees,
        flip=recipe.flip and data.flip_is_lawful,
        crop_padding=recipe.crop_padding(side),
        cutout_size=recipe.cutout_size(side),
        policy=recipe.policy,
    )
    return Batches(
        DeviceLoader(data.train, data.normalisation, recipe.batch_size, augmentation, seed),
        eval_loader(data.val, data.normalisation) if data.val is not None else None,
    )


def eval_loader(split: LabelledImages, normalisation: Normalisation) -> EvalLoader:
    """Return the batches that a network is measured on; `evaluate` makes them fit in memory."""
    size = MOST_EVAL_BATCH if split.device.type == "cuda" else EVAL_BATCH
    return EvalLoader(split, normalisation, size)


@dataclass(frozen=True, eq=False)
class Batches:
    """What a training sees of the data: never the test split.

    Args:
        train: The training batches.
        val: The validation batches, gone through once an epoch; None where all is trained on.
    """

    train: DeviceLoader
    val: Iterable[Batch] | None


def feed_epoch(
    loader: DeviceLoader, recipe: Recipe, epoch: int, epochs: int, seed: int
) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Yield an epoch's images, their labels, and the progress of the whole training.

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
    num_classes = loader.split.input_spec.num_classes
    num_steps = len(loader)
    for step, (images, labels) in enumerate(loader.epoch(epoch)):
        progress = (epoch * num_steps + step + 0.5) / (epochs * num_steps)
        if recipe.mixing == "none":
            yield images, labels, progress
            continue
        labels = F.one_hot(labels, num_classes).float()
        is_on = progress < 1.0 - recipe.mixing_off_share
        if is_on and rng.random() < recipe.mixing_probability:
            images, labels = MIXERS[recipe.mixing](images, labels, recipe.mixing_alpha, rng)
        yield images, labels, progress
