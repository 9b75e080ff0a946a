"""The data set `folder`: the user's own images, by class and split as `nas.data.layout` has it.

Files are decoded once, into the cache directory; the folder itself is only read. What lies under
`test/` is opened by `test_split` alone; a training looks at the names of its classes. Without
`test/`, 20% of `train/` are set aside first: they are decoded in the same pass, so that a broken
file is found before the first training, and go to a cache file that a training does not open.
Images of equal pixels, or of one group, are on one side of each split that is made here or later.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from nas.data.cache import cache_dir, read_split, write_split
from nas.data.datasets import Reading
from nas.data.decode import FORMATS, decode, to_channels
from nas.data.groups import describe_shared, join_groups, path_keys, pixel_keys, require_groups
from nas.data.images import Dataset, LabelledImages, read_dataset, select
from nas.data.layout import Layout, read_layout
from nas.data.listing import Listing
from nas.data.split import set_aside
from nas.errors import DataError, StorageError

_NAMED_FAILURES = 5


def training_splits(name: str, data_dir: Path | None, reading: Reading) -> Dataset:
    """Return `train/`, less what is set aside where there is no `test/`, and `val/` if present.

    Costs a listing of the folder and a read of the cache; the first time a decoding of all files.

    Args:
        name: ``"folder"``.
        data_dir: The folder.
        reading: How files are read; a size of None takes what all share up to 64, else 32.

    Raises:
        DataError: As `read_layout`; a class has too few groups to split, a file is no image, or
            its path has no group.
    """
    layout = read_layout(data_dir, reading)
    group_notes = _describe_groups(layout, reading.group_by)
    splits, notes = _read(layout, layout.listings, reading)
    train = splits["train"]
    notes = [*layout.notes, *group_notes, *train.notes, *notes]
    if reading.image_size is None:
        size = train.input_spec.image_size
        notes = [f"images are read as {size}x{size}; --image-size N changes it", *notes]
    return read_dataset(train, splits.get("val"), tuple(notes))


def test_split(name: str, data_dir: Path | None, reading: Reading) -> LabelledImages:
    """Return `test/`, or what was set aside of `train/` where there is none.

    Images get the size and channels of the training split.

    Raises:
        DataError: As `training_splits`.
    """
    layout = read_layout(data_dir, reading)
    listing = layout.test
    if listing is None:
        return _read(layout, ["test"], reading)[0]["test"]
    spec = _read(layout, layout.listings, reading)[0]["train"].input_spec
    key = _key([listing], f"{spec.channels}x{spec.image_size}")
    path = _cache_path(layout.root, "test", spec.image_size)
    split = read_split(path, key)
    if split is None:
        images = to_channels(_decode(layout.root, [listing], spec.image_size), spec.channels)
        split = _as_split(listing, images)
        _write(path, key, split)
    return split


def _read(
    layout: Layout, names: Iterable[str], reading: Reading
) -> tuple[dict[str, LabelledImages], list[str]]:
    """Return these splits at least, from the cache or decoded, and notes for the user."""
    splits, key = {}, _layout_key(layout, reading)
    for name in names:
        split = read_split(_cache_path(layout.root, name, reading.image_size), key)
        if split is None:
            return _build(layout, reading)
        splits[name] = split
    return splits, []


def _build(layout: Layout, reading: Reading) -> tuple[dict[str, LabelledImages], list[str]]:
    """Decode train and val, set a test split aside where there is none, write the cache."""
    listings = layout.listings
    images = _decode(layout.root, listings.values(), reading.image_size)
    files = [file for listing in listings.values() for file in listing.files]
    equal = pixel_keys(images)
    named = path_keys(reading.group_by, files) if reading.group_by is not None else files
    groups = join_groups(equal, named)  # one numbering for train and val
    splits, start = {}, 0
    for name, listing in listings.items():
        part = slice(start, start := start + len(listing.files))
        own = None if groups is None else groups[part]
        splits[name] = replace(_as_split(listing, images[part]), groups=own)
    splits = _set_aside(layout, splits, equal)
    key = _layout_key(layout, reading)
    notes = [
        note
        for name, split in splits.items()
        if (note := _write(_cache_path(layout.root, name, reading.image_size), key, split))
    ]
    return splits, notes[:1]


def _set_aside(
    layout: Layout, splits: dict[str, LabelledImages], equal: list[bytes]
) -> dict[str, LabelledImages]:
    """Take a test split of train where there is none; say which images are equal."""
    train, notes, num_aside = splits["train"], [], 0
    counts = Counter(equal[: len(train)])
    num_equal = sum(count for count in counts.values() if count > 1)
    if layout.num_needed > 1 and num_equal:
        text = f"{num_equal:,} of {len(train):,} images have the pixels of another; equal ones "
        notes = [f"{text}stay on one side of each split that is made of them"]
    if "val" in splits:
        notes += describe_shared(splits["val"], "val", {"train": train})[1]
    require_groups(train, layout.num_needed)
    if layout.test is None:
        rest, test = set_aside(train.labels, train.groups, keep=layout.num_needed - 1)
        splits, num_aside = splits | {"test": select(train, test)}, len(test)
        train = select(train, rest)
    return splits | {"train": replace(train, notes=tuple(notes), num_set_aside=num_aside)}


def _describe_groups(layout: Layout, pattern: str | None) -> list[str]:
    """Say how many groups the paths have, and how many of them lie in several splits."""
    if pattern is None:
        return []
    listings = layout.listings | ({} if layout.test is None else {"test": layout.test})
    found = {name: set(path_keys(pattern, item.files)) for name, item in listings.items()}
    groups = Counter(group for own in found.values() for group in own)
    num_images = sum(len(listing.files) for listing in listings.values())
    notes = [f"--group-by: {num_images:,} images in {len(groups):,} groups, such as {min(groups)}"]
    parted = sorted(group for group, count in groups.items() if count > 1)
    if parted:
        notes.append(
            f"{len(parted):,} of these groups, such as {parted[0]}, have images in more than one "
            f"of {' and '.join(f'{name}/' for name in found)}, which are read as they are"
        )
    return notes


def _decode(root: Path, listings: Iterable[Listing], image_size: int | None) -> Tensor:
    files = [file for listing in listings for file in listing.files]
    decoded = decode([root / file for file in files], image_size)
    if decoded.failures:
        named = [f"{files[index]} ({why})" for index, why in decoded.failures[:_NAMED_FAILURES]]
        more = len(decoded.failures) - len(named)
        raise DataError(
            f"every file of a class must be a readable image ({', '.join(FORMATS)}), but "
            f"{len(decoded.failures)} of {len(files)} in {root} are not: {', '.join(named)}"
            + (f" and {more} more" if more else "")
            + "; convert, shrink, replace or remove them"
        )
    return decoded.images


def _as_split(listing: Listing, images: Tensor) -> LabelledImages:
    labels = torch.tensor(listing.labels, dtype=torch.int64)
    return LabelledImages(images, labels, listing.class_names, files=listing.files)


def _layout_key(layout: Layout, reading: Reading) -> str:
    options = f"{layout.test is not None}/{reading.image_size}/{reading.group_by}"
    return _key(layout.listings.values(), options)


def _key(listings: Iterable[Listing], options: str) -> str:
    text = json.dumps([options, *(listing.stamp for listing in listings)])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _cache_path(root: Path, split: str, image_size: int | None) -> Path:
    """Return one file per folder, size and split: a changed folder replaces its old cache."""
    place = hashlib.blake2b(str(root.resolve()).encode(), digest_size=6).hexdigest()
    return cache_dir() / "folder" / f"{place}-{image_size or 'own'}-{split}.safetensors"


def _write(path: Path, key: str, split: LabelledImages) -> str | None:
    try:
        write_split(path, key, split)
    except StorageError as error:
        return f"decoded images are not kept for the next time: {error}"
    return None
