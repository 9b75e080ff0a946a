"""Images that belong together: equal pixels, or one group by their paths; and splits of groups.

A group is a patient, a video, a site: images that resemble each other more than those that the
network will meet. No split that is made here parts a group.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from itertools import chain, zip_longest

import numpy as np
import torch
from torch import Tensor

from nas.data.images import LabelledImages
from nas.data.listing import shorten
from nas.errors import DataError, shown

Keyed = tuple[bytes, str | None]  # an image's pixels, hashed, and its file


def pixel_keys(images: Tensor) -> list[bytes]:
    """Return a hash of each image's bytes; equal ones are equal to a network too.

    Args:
        images: uint8, (N, C, H, W).
    """
    rows = images.cpu().contiguous().flatten(1).numpy()
    return [hashlib.blake2b(row.data, digest_size=16).digest() for row in rows]


def path_keys(pattern: str, files: Sequence[str]) -> list[str]:
    """Return the group of each file: what the pattern's group 1, else all of it, finds first.

    Args:
        pattern: A regular expression, searched anywhere in the path.
        files: Paths relative to the folder, ``train/cat/p07_2.png``.

    Raises:
        DataError: It is no regular expression, or a file has nothing that it matches.
    """
    try:
        regex = re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        text = f"--group-by must be a regular expression, but got {shown(pattern)}: {error}"
        raise DataError(f"{text}; correct it") from error
    keys = []
    for file in files:
        match = regex.search(file)
        key = match[min(regex.groups, 1)] if match else None
        if key is None:
            text = f"--group-by {shown(pattern)} must find a group in the path of every image"
            raise DataError(f"{text}, but finds none in {file}; change it, or rename the file")
        keys.append(key)
    return keys


def join_groups(*keyings: Sequence[Hashable]) -> Tensor | None:
    """Number images so that those whose keys are equal in any keying have one number.

    Args:
        keyings: Of each, the key of every image.

    Returns:
        int64, (N,); None where no two images belong together.
    """
    numbers, before = list(range(len(keyings[0]))), [-1]
    while numbers != before:  # the least number of a group spreads, until none changes
        before = numbers
        for keys in keyings:
            least: dict[Hashable, int] = {}
            for key, number in zip(keys, numbers, strict=True):
                least[key] = min(number, least.get(key, number))
            numbers = [least[key] for key in keys]
    return torch.tensor(numbers) if len(set(numbers)) < len(numbers) else None


def keyed_files(split: LabelledImages) -> list[Keyed]:
    """Return of each image the hash of its bytes, and its file where it has one."""
    return list(zip_longest(pixel_keys(split.images), split.files))


def describe_shared(
    part: Sequence[Keyed], name: str, others: Mapping[str, Sequence[Keyed]]
) -> tuple[int, list[str]]:
    """Count the images of a split whose pixels other splits have too.

    Args:
        part: The split's images, as `keyed_files` has them.
        name: Its name.
        others: Those of the other splits, by name.

    Returns:
        How many, and a sentence for the user; none where there are none.
    """
    known: dict[bytes, str | None] = {}
    for key, file in chain.from_iterable(others.values()):
        known.setdefault(key, file)
    pairs = [(file, known[key]) for key, file in part if key in known]
    if not pairs:
        return 0, []
    named = shorten([f"{file} is {same}" for file, same in pairs if file and same])
    where = " or ".join(f"{other}/" for other in others)
    text = f"{len(pairs):,} of {len(part):,} {name} images are also in {where}, by their pixels"
    return len(pairs), [text + (f" ({named})" if named else "")]


def count_groups(labels: Tensor, groups: Tensor) -> Counter[int]:
    """Return how many groups have images of a class, by class; both are int64, (N,)."""
    return Counter(label for label, _ in set(zip(labels.tolist(), groups.tolist(), strict=True)))


def require_groups(
    labels: Tensor, groups: Tensor, class_names: tuple[str, ...], needed: int
) -> None:
    """Check that each class has groups for all splits that are taken from its images.

    Args:
        labels: int64, (N,).
        groups: int64, (N,).
        class_names: The classes.
        needed: How many groups each must have.

    Raises:
        DataError: A class has fewer.
    """
    counts = count_groups(labels, groups)
    poor = [f"{n} ({counts[i]})" for i, n in enumerate(class_names) if counts[i] < needed]
    if poor:
        text = "equal images and those of one group stay together and every split has every class"
        text += f", so each needs {needed} images or groups that are apart, but {len(poor)} have"
        fix = "add images that differ (transparent ones lie on white), or change --group-by"
        raise DataError(f"{text} fewer: {shorten(poor)}; {fix}")


def pick_groups(
    labels: Tensor, groups: Tensor, shares: Mapping[int, int], draws: np.ndarray, keep: int
) -> Tensor:
    """Pick whole groups by lot, as long as each brings the classes nearer to their shares.

    Of groups of one image these are the images with the lowest draws of each class.

    Args:
        labels: int64, (N,).
        groups: int64, (N,).
        shares: How many images of each class are wanted.
        draws: The lot of each image, (N,); that of a group is its first image's.
        keep: How many groups of each class are left at least.

    Returns:
        int64, ascending indices; every class is among them, and among those left.

    Raises:
        DataError: No group with a class can be picked.
    """
    units = _units(labels, groups, draws)
    sizes = Counter(labels.tolist())
    left = Counter(label for counts, _ in units for label in counts)  # groups
    have: Counter[int] = Counter()  # images
    picked: list[int] = []

    def gain(counts: Counter[int]) -> float:
        """Return by how much nearer a group brings the classes, each in parts of its size."""
        return sum(
            (abs(shares[c] - have[c]) - abs(shares[c] - have[c] - n)) / sizes[c]
            for c, n in counts.items()
        )

    def is_free(counts: Counter[int]) -> bool:
        return all(left[label] > keep for label in counts)

    def take(counts: Counter[int], images: list[int]) -> None:
        picked.extend(images)
        have.update(counts)
        left.subtract(counts.keys())

    for counts, images in units:
        if gain(counts) > 1e-12 and is_free(counts):
            take(counts, images)
    for label in sorted(shares, key=left.__getitem__):
        if not have[label]:  # all its groups are too large: the one that does the least harm
            fitting = [unit for unit in units if label in unit[0] and is_free(unit[0])]
            if not fitting:
                text = "every split has every class, but each group that could be moved for class"
                raise DataError(f"{text} {label} is the last of one; give more or smaller groups")
            take(*max(fitting, key=lambda unit: gain(unit[0])))
    return torch.tensor(sorted(picked))


def deal_groups(labels: Tensor, groups: Tensor, draws: np.ndarray, folds: int) -> Tensor:
    """Deal whole groups to folds, the largest first, each to where its classes are fewest.

    Args:
        labels: int64, (N,).
        groups: int64, (N,).
        draws: The lot of each image, (N,), which decides among equals.
        folds: How many.

    Returns:
        int64, (N,): the fold of each image; no fold is empty or has all of a class.

    Raises:
        DataError: There are fewer groups than folds, or a class that they cannot be dealt with.
    """
    units = sorted(_units(labels, groups, draws), key=lambda unit: -len(unit[1]))
    sizes = Counter(labels.tolist())
    have: list[Counter[int]] = [Counter() for _ in range(folds)]
    fold_of = torch.empty(len(labels), dtype=torch.int64)
    for counts, images in units:
        fullness = [
            (sum(n * own[c] / sizes[c] ** 2 for c, n in counts.items()), own.total())
            for own in have
        ]
        fold = fullness.index(min(fullness))
        have[fold].update(counts)
        fold_of[images] = fold
    if not all(have) or any(own[c] == sizes[c] for own in have for c in sizes):
        text = f"--folds {folds} needs as many groups of images, and two with each class that can"
        raise DataError(f"{text} be parted, but has {len(units):,} groups; give fewer folds")
    return fold_of


def _units(
    labels: Tensor, groups: Tensor, draws: np.ndarray
) -> list[tuple[Counter[int], list[int]]]:
    """Return the groups in the order of their lots: images by class, and their indices."""
    members: dict[int, list[int]] = {}
    for index, group in enumerate(groups.tolist()):
        members.setdefault(group, []).append(index)
    ordered = sorted(members.values(), key=lambda images: draws[images[0]])
    classes = labels.tolist()
    return [(Counter(classes[index] for index in images), images) for images in ordered]
