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
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from nas.data.cache import cache_dir, read_split, write_split
from nas.data.datasets import Reading
from nas.data.decode import Decoded, decode, describe_files, to_channels
from nas.data.groups import (
    count_groups,
    describe_shared,
    join_groups,
    path_keys,
    pixel_keys,
    require_groups,
)
from nas.data.images import Dataset, LabelledImages, read_dataset, select
from nas.data.layout import Layout, read_layout
from nas.data.listing import Listing, check_counts, check_filled, shorten
from nas.data.pixels import FORMATS, is_stray
from nas.data.split import set_aside
from nas.errors import DataError, StorageError


def training_splits(name: str, data_dir: Path | None, reading: Reading) -> Dataset:
    """Return `train/`, less what is set aside where there is no `test/`, and `val/` if present.

    Costs a listing of the folder and a read of the cache; the first time a decoding of all files.

    Args:
        name: ``"folder"``.
        data_dir: The folder.
        reading: How files are read; a size of None takes what all share up to 64, else 32.

    Raises:
        DataError: As `read_layout`; a class has too few groups to split, an image cannot be read
            or its path has no group; or, where `reading` is strict, there are other files.
    """
    layout = read_layout(data_dir, reading)
    splits, notes = _read(layout, layout.listings, reading)
    train = splits["train"]
    data = read_dataset(train, splits.get("val"), (*layout.notes, *train.notes, *notes))
    return replace(data, test_files=_test_files(layout))


def test_split(name: str, data_dir: Path | None, reading: Reading) -> LabelledImages:
    """Return `test/`, or what was set aside of `train/` where there is none.

    Images get the size, channels and range of values of the training split.

    Raises:
        DataError: As `training_splits`.
    """
    layout = read_layout(data_dir, reading)
    listing = layout.test
    if listing is None:
        return _read(layout, ["test"], reading)[0]["test"]
    train = _read(layout, layout.listings, reading)[0]["train"]
    channels, size = train.input_spec.channels, train.input_spec.image_size
    reading = replace(reading, image_size=size)
    key = _key([listing], f"{channels}/{train.value_range}/{reading}")
    path = _cache_path(layout.root, "test", reading)
    split = read_split(path, key)
    if split is None:
        decoded, listings, left_out, _ = _decode(layout.root, {"test": listing}, reading)
        decoded.scale(train.value_range)
        notes = describe_files(decoded.found, size, reading, train.value_range) + left_out
        split = _as_split(listings["test"], to_channels(decoded.images, channels))
        split = replace(split, value_range=train.value_range, notes=tuple(notes))
        _write(path, key, split)
    return split


def _read(
    layout: Layout, names: Iterable[str], reading: Reading
) -> tuple[dict[str, LabelledImages], list[str]]:
    """Return these splits at least, from the cache or decoded, and notes for the user."""
    splits, key = {}, _layout_key(layout, reading)
    for name in names:
        split = read_split(_cache_path(layout.root, name, reading), key)
        if split is None:
            return _build(layout, reading)
        splits[name] = split
    return splits, []


def _build(layout: Layout, reading: Reading) -> tuple[dict[str, LabelledImages], list[str]]:
    """Decode train and val, set a test split aside where there is none, write the cache."""
    decoded, listings, left_out, num_broken = _decode(layout.root, layout.listings, reading)
    check_counts(layout.root, listings["train"], layout.num_needed)
    files = [file for listing in listings.values() for file in listing.files]
    # by the range of train, so that no image of val/ makes others alike
    decoded.scale(decoded.value_range(range(len(listings["train"].files))))
    equal = pixel_keys(decoded.images)
    named = path_keys(reading.group_by, files) if reading.group_by is not None else files
    groups = join_groups(equal, named)  # one numbering for train and val
    splits, start = {}, 0
    for name, listing in listings.items():
        part = slice(start, start := start + len(listing.files))
        own = None if groups is None else groups[part]
        splits[name] = replace(_as_split(listing, decoded.images[part]), groups=own)
    told = _describe_groups(layout, listings, reading.group_by)
    told += _describe_equal(layout, splits, equal)
    splits = _set_aside(layout, splits, decoded)
    size, value_range = decoded.images.shape[2], splits["train"].value_range
    seen = describe_files(decoded.found, size, reading, value_range) + left_out
    splits["train"] = replace(splits["train"], notes=(*seen, *told), num_broken=num_broken)
    key = _layout_key(layout, reading)
    notes = [
        note
        for name, split in splits.items()
        if (note := _write(_cache_path(layout.root, name, reading), key, split))
    ]
    return splits, notes[:1]


def _describe_equal(
    layout: Layout, splits: Mapping[str, LabelledImages], equal: list[bytes]
) -> list[str]:
    """Say which images of train have the pixels of another, there or in val."""
    train, notes = splits["train"], []
    keys = equal[: len(train)]
    num_equal = sum(n for n in Counter(keys).values() if n > 1)
    if layout.num_needed > 1 and num_equal:
        text = f"{num_equal:,} of {len(train):,} images have the pixels of another; equal ones "
        notes = [f"{text}stay on one side of each split that is made of them"]
    labels: dict[bytes, set[int]] = {}
    for key, label in zip(keys, train.labels.tolist(), strict=True):
        labels.setdefault(key, set()).add(label)
    if num_unsure := sum(len(labels[key]) > 1 for key in keys):
        notes.append(
            f"{num_unsure:,} of these images are in several classes: look at their labels"
        )
    if "val" in splits:
        own = list(zip(keys, train.files, strict=True))
        val = list(zip(equal[len(train) :], splits["val"].files, strict=True))
        notes += describe_shared(val, "val", {"train": own})[1]
    return notes


def _set_aside(
    layout: Layout, splits: dict[str, LabelledImages], decoded: Decoded
) -> dict[str, LabelledImages]:
    """Take a test split of train where there is none; scale by the range of what is left."""
    train, needed = splits["train"], layout.num_needed
    free, is_rest = _free_of_val(splits, needed), torch.ones(len(train), dtype=torch.bool)
    labels, groups = train.labels[free], None if train.groups is None else train.groups[free]
    if groups is not None and needed > 1:
        require_groups(labels, groups, train.class_names, needed)
    if layout.test is None:
        is_rest[free[set_aside(labels, groups, keep=needed - 1)[1]]] = False
    # train comes first in what was decoded
    value_range = decoded.value_range(is_rest.nonzero().flatten().tolist())
    decoded.scale(value_range)  # in place, so before `select` copies
    if layout.test is None:
        splits = splits | {"test": select(train, ~is_rest)}
        train = replace(select(train, is_rest), num_set_aside=len(splits["test"]))
    splits = splits | {"train": train}
    return {name: replace(split, value_range=value_range) for name, split in splits.items()}


def _free_of_val(splits: Mapping[str, LabelledImages], needed: int) -> Tensor:
    """Return the images of train that have no like in val/, of which a test split is taken.

    All of them where a class would have too few groups.
    """
    train, val = splits["train"], splits.get("val")
    if val is not None and train.groups is not None and val.groups is not None:
        apart = (~torch.isin(train.groups, val.groups)).nonzero().flatten()
        counts = count_groups(train.labels[apart], train.groups[apart])
        if all(counts[label] >= needed for label in range(len(train.class_names))):
            return apart
    return torch.arange(len(train))


def _describe_groups(
    layout: Layout, listings: Mapping[str, Listing], pattern: str | None
) -> list[str]:
    """Say how many groups the images have, and how many of them lie in several splits."""
    if pattern is None:
        return []
    found = {name: set(path_keys(pattern, item.files)) for name, item in listings.items()}
    own = set.union(*found.values())
    num_images = sum(len(item.files) for item in listings.values())
    if layout.test is not None:  # by name alone; which of its files are images is not known yet
        found["test"] = set()
        for file in layout.test.files:
            with suppress(DataError):
                found["test"].update(path_keys(pattern, [file]))
    groups = Counter(group for split in found.values() for group in split)
    notes = [f"--group-by: {num_images:,} images in {len(own):,} groups, such as {min(own)}"]
    parted = sorted(group for group, count in groups.items() if count > 1)
    if parted:
        notes.append(
            f"{len(parted):,} of these groups, such as {parted[0]}, have images in more than one "
            f"of {' and '.join(f'{name}/' for name in found)}, which are read as they are"
        )
    return notes


def _decode(
    root: Path, listings: Mapping[str, Listing], reading: Reading
) -> tuple[Decoded, dict[str, Listing], list[str], int]:
    """Read the files of splits.

    Returns:
        The images, the listings of these, what is left out in words, and how many are broken.
    """
    files = [file for listing in listings.values() for file in listing.files]
    decoded = decode([root / file for file in files], reading.image_size, reading.resize)
    failed = {files[index]: why for index, why in decoded.failures}
    broken = [f"{name} ({why})" for name, why in failed.items() if not is_stray(name, why)]
    strays = [name for name, why in failed.items() if is_stray(name, why)]
    strays += [name for listing in listings.values() for name in listing.loose]
    if broken and not reading.skip_broken:
        raise DataError(
            f"every image of a class must be readable ({', '.join(FORMATS)}), but "
            f"{len(broken)} of {len(files)} files in {root} are not: {shorten(broken)}; "
            "convert, shrink, replace or remove them, or leave them out: --skip-broken"
        )
    if strays and reading.strict:
        raise DataError(
            f"with --strict there are only images, each in a class, but {len(strays)} files in "
            f"{root} are none: {shorten(strays)}; remove them, or leave --strict out"
        )
    kept, start, selected = [i for i, name in enumerate(files) if name not in failed], 0, {}
    for split, listing in listings.items():
        stop = start + len(listing.files)
        selected[split] = listing.select([i - start for i in kept if start <= i < stop])
        check_filled(root, split, selected[split])
        start = stop
    left_out = [("are no images of a class", strays), ("cannot be read", broken)]
    notes = [f"files left out that {why} ({len(n):,}): {shorten(n)}" for why, n in left_out if n]
    return decoded.select(kept) if failed else decoded, selected, notes, len(broken)


def _as_split(listing: Listing, images: Tensor) -> LabelledImages:
    labels = torch.tensor(listing.labels, dtype=torch.int64)
    return LabelledImages(images, labels, listing.class_names, files=listing.files)


def _test_files(layout: Layout) -> str:
    """Return a hash of the names, labels and sizes of test files; none of them is opened."""
    if layout.test is None:
        return ""
    sizes = [(layout.root / name).lstat().st_size for name in layout.test.files]
    text = json.dumps([layout.test.files, layout.test.labels, sizes])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _layout_key(layout: Layout, reading: Reading) -> str:
    return _key(layout.listings.values(), f"{layout.test is not None}/{reading}")


def _key(listings: Iterable[Listing], options: str) -> str:
    text = json.dumps([options, *(listing.stamp for listing in listings)])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _cache_path(root: Path, split: str, reading: Reading) -> Path:
    """Return one file per folder, size, shape and split: a changed folder replaces its old one."""
    place = hashlib.blake2b(str(root.resolve()).encode(), digest_size=6).hexdigest()
    how = f"{reading.image_size or 'own'}-{reading.resize}"
    return cache_dir() / "folder" / f"{place}-{how}-{split}.safetensors"


def _write(path: Path, key: str, split: LabelledImages) -> str | None:
    try:
        write_split(path, key, split)
    except StorageError as error:
        return f"decoded images are not kept for the next time: {error}"
    return None
