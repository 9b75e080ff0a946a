"""Stratified splits and subsets that a seed decides and nothing else.

The order of images comes from `random.Random(text).random()`, whose sequence Python guarantees
across versions: a study resumed after an upgrade keeps its split. Torch's and NumPy's global
generators are neither read nor moved. scikit-learn's `train_test_split` is not used: it promises
no split that outlives an upgrade.
"""

from __future__ import annotations

import random
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor

from nas.data.groups import deal_groups, pick_groups
from nas.data.images import Dataset, LabelledImages, select
from nas.errors import DataError

VAL_FRACTION = 0.1
TEST_FRACTION = 0.2


def stratified_split(
    labels: Tensor,
    fraction: float,
    seed: int,
    purpose: str = "val",
    groups: Tensor | None = None,
    keep: int = 1,
) -> tuple[Tensor, Tensor]:
    """Split indices in two so that both have every class in the same proportion.

    The second has `fraction` of all images, rounded; each class gives its share within one
    image, at least one, and keeps at least one. With groups that holds as well as they allow.

    Args:
        labels: int64, (N,).
        fraction: Of all images, what the second split gets, in (0, 1), both exclusive.
        seed: Any whole number; splits of different seeds are independent.
        purpose: What the split is for; splits for different purposes are independent.
        groups: int64, (N,): images of equal numbers stay together; None is each alone.
        keep: With groups, how many of each class the first split has at least.

    Returns:
        Two int64 tensors of ascending indices, disjoint, together all of 0..N-1.

    Raises:
        DataError: `fraction` is out of range, or a class has fewer than two images or groups.
    """
    if not 0.0 < fraction < 1.0:
        raise DataError(f"a split's fraction must be in (0, 1), but got {fraction!r}")
    counts = _splittable_counts(labels)
    total = round(Fraction(str(fraction)) * len(labels))
    limits = {label: count - 1 for label, count in counts.items()}
    shares, key = _allocate(counts, limits, total), f"split/{purpose}/{seed}"
    if groups is None:
        second = _pick(labels, shares, key)
    else:
        second = pick_groups(labels, groups, shares, _draws(len(labels), key), keep)
    mask = torch.zeros(len(labels), dtype=torch.bool)
    mask[second] = True
    return (~mask).nonzero().flatten(), second


def stratified_subset(labels: Tensor, size: int, seed: int) -> Tensor:
    """Pick `size` images with every class in proportion, within one image, at least one each.

    Args:
        labels: int64, (N,).
        size: Images to pick, from the number of classes to N.
        seed: Any whole number. A larger subset of the same seed contains the smaller one up to
            the rounding of the classes' shares.

    Returns:
        int64, (size,), ascending indices.

    Raises:
        DataError: `size` is below the number of classes or above N.
    """
    counts = _class_counts(labels)
    if not len(counts) <= size <= len(labels):
        raise DataError(
            f"a subset has at least one image of every class, so {len(counts):,} to "
            f"{len(labels):,} images here, but it is to have {size:,}; ask for as many, add "
            "images or leave classes out"
        )
    return _pick(labels, _allocate(counts, counts, size), f"subset/{seed}")


def train_and_val(data: Dataset, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Return the images to train on and to validate on: the data set's own, else 10% split off.

    Args:
        data: As it was loaded.
        seed: Seed of the split; without effect where the data set has a validation split.

    Raises:
        DataError: A class has fewer than two images to split.
    """
    if data.val is not None:
        return data.train, data.val
    train, val = _split_val(data, seed)
    return select(data.train, train), select(data.train, val)


def split_folds(data: Dataset, seed: int, folds: int) -> list[Dataset]:
    """Split a data set several times, so that each image is validated on in one split.

    Of any two splits, the validation images differ in number by one at most, in all and of each
    class, or as little as groups allow. Every class is trained on in each.

    Args:
        data: As it was loaded.
        seed: Any whole number; it decides all splits.
        folds: How many; 1 gives the data set as it is, which `train_and_val` splits.

    Raises:
        DataError: There are more folds than images, a class has fewer than two, or the data set
            has a validation split of its own.
    """
    if folds == 1:
        return [data]
    labels = data.train.labels
    if data.val is not None or folds > len(labels):
        raise DataError(
            f"--folds {folds} splits the training images itself: it needs {folds} of them or more "
            f"(here {len(labels):,}) and no validation split beside them (val/)"
        )
    fold_of = _deal(data, seed, folds)
    return [
        data.with_splits(select(data.train, fold_of != fold), select(data.train, fold_of == fold))
        for fold in range(folds)
    ]


def num_train(data: Dataset, folds: int, seed: int) -> int:
    """Return the fewest images that a split gives to train on; only groups let the seed matter."""
    if data.val is not None:
        return len(data.train)
    if folds > 1:
        return len(data.train) - int(torch.bincount(_deal(data, seed, folds)).max())
    return len(_split_val(data, seed)[0])


def set_aside(
    labels: Tensor, groups: Tensor | None = None, keep: int = 1
) -> tuple[Tensor, Tensor]:
    """Set aside the test split of a data set that comes without one: 20%, seed 0, always the same.

    Args:
        labels: int64, (N,).
        groups: As for `stratified_split`.
        keep: As for `stratified_split`.

    Returns:
        Indices of the rest, and of the test split.

    Raises:
        DataError: A class has fewer than two images or groups.
    """
    return stratified_split(labels, TEST_FRACTION, 0, "test", groups, keep)


def _split_val(data: Dataset, seed: int) -> tuple[Tensor, Tensor]:
    return stratified_split(data.train.labels, VAL_FRACTION, seed, groups=data.train.groups)


def _deal(data: Dataset, seed: int, folds: int) -> Tensor:
    """Return the fold of each training image."""
    labels, groups = data.train.labels, data.train.groups
    _splittable_counts(labels)
    draws = _draws(len(labels), f"folds/{seed}")
    if groups is not None:
        return deal_groups(labels, groups, draws, folds)
    order = torch.from_numpy(np.lexsort((draws, labels.numpy())))  # by class, then by lot
    fold_of = torch.empty(len(labels), dtype=torch.int64)
    fold_of[order] = torch.arange(len(labels)) % folds  # dealt out like cards
    return fold_of


def _class_counts(labels: Tensor) -> dict[int, int]:
    values, counts = torch.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _splittable_counts(labels: Tensor) -> dict[int, int]:
    counts = _class_counts(labels)
    poor = [label for label, count in counts.items() if count < 2]
    if poor:
        raise DataError(
            f"a stratified split needs at least 2 images in every class, but class {poor[0]} has "
            f"1 ({len(poor)} such classes); add images or leave the class out"
        )
    return counts


def _allocate(counts: dict[int, int], limits: dict[int, int], total: int) -> dict[int, int]:
    """Share `total` among classes by largest remainder, at least 1 and at most its limit each."""
    num_images = sum(counts.values())
    quotas = {label: total * count for label, count in counts.items()}  # in 1/num_images images
    shares = {
        label: min(max(quota // num_images, 1), limits[label]) for label, quota in quotas.items()
    }
    total = min(max(total, len(counts)), sum(limits.values()))
    while missing := total - sum(shares.values()):
        step = 1 if missing > 0 else -1
        movable = [label for label in counts if 1 <= shares[label] + step <= limits[label]]
        shares[
            max(movable, key=lambda key: (step * (quotas[key] - shares[key] * num_images), -key))
        ] += step
    return shares


def _pick(labels: Tensor, shares: dict[int, int], key: str) -> Tensor:
    """Return, for each class, the images with the lowest draws; ascending indices."""
    order = torch.from_numpy(np.argsort(_draws(len(labels), key), kind="stable"))
    ordered_labels = labels[order]
    picked = [order[ordered_labels == label][:share] for label, share in shares.items()]
    return torch.cat(picked).sort().values


def _draws(num: int, key: str) -> np.ndarray:
    generator = random.Random(key)
    return np.array([generator.random() for _ in range(num)])
