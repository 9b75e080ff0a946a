"""The data set `folder`: the user's own images in `train/CLASS/*`, optional `val/` and `test/`.

Files are decoded once, into the cache directory; the folder itself is only read. What lies under
`test/` is opened by `test_split` alone; a training looks at the names of its classes. Without
`test/`, 20% of `train/` are set aside first: they are decoded in the same pass, so that a broken
file is found before the first training, and go to a cache file that a training does not open.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nas.data.cache import cache_dir, read_split, write_split
from nas.data.datasets import Reading
from nas.data.decode import FORMATS, decode, to_channels
from nas.data.images import Dataset, LabelledImages, read_dataset, select
from nas.data.listing import (
    Listing,
    check_counts,
    check_same_classes,
    class_folders,
    has_split,
    require_root,
    scan,
)
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
        DataError: The folder is absent or unreadable, has no `train/`, fewer than two classes, a
            class with too few images to split, other classes in `val/` or `test/`, or files that
            are no images.
    """
    layout, image_size = _read_layout(data_dir), reading.image_size
    splits, notes = _read(layout, layout.listings, image_size)
    if image_size is None:
        size = splits["train"].input_spec.image_size
        notes = [f"images are read as {size}x{size}; --image-size N changes it", *notes]
    return read_dataset(splits["train"], splits.get("val"), tuple(notes))


def test_split(name: str, data_dir: Path | None, reading: Reading) -> LabelledImages:
    """Return `test/`, or what was set aside of `train/` where there is none.

    Images get the size and channels of the training split.

    Raises:
        DataError: As `training_splits`.
    """
    layout, image_size = _read_layout(data_dir), reading.image_size
    if not layout.has_test:
        return _read(layout, ["test"], image_size)[0]["test"]
    spec = _read(layout, layout.listings, image_size)[0]["train"].input_spec
    listing = scan(layout.root, "test")
    key = _key([listing], f"{spec.channels}x{spec.image_size}")
    path = _cache_path(layout.root, "test", spec.image_size)
    split = read_split(path, key)
    if split is None:
        images = to_channels(_decode(layout.root, [listing], spec.image_size), spec.channels)
        split = _as_split(listing, images)
        _write(path, key, split)
    return split


@dataclass(frozen=True)
class _Layout:
    root: Path
    listings: dict[str, Listing]  # of train, and of val where there is one
    has_test: bool

    def key(self, image_size: int | None) -> str:
        return _key(self.listings.values(), f"{self.has_test}/{image_size}")


def _read_layout(data_dir: Path | None) -> _Layout:
    root = require_root(data_dir)
    names = ["train", "val"] if has_split(root, "val") else ["train"]
    listings = {name: scan(root, name) for name in names}
    train, has_test = listings["train"], has_split(root, "test")
    if "val" in listings:
        check_same_classes(root, "val", listings["val"].class_names, train.class_names)
    if has_test:
        check_same_classes(root, "test", class_folders(root, "test"), train.class_names)
    check_counts(root, train, needed=1 + ("val" not in listings) + (not has_test))
    return _Layout(root, listings, has_test)


def _read(
    layout: _Layout, names: Iterable[str], image_size: int | None
) -> tuple[dict[str, LabelledImages], list[str]]:
    """Return these splits at least, from the cache or decoded, and notes for the user."""
    splits = {}
    for name in names:
        path = _cache_path(layout.root, name, image_size)
        split = read_split(path, layout.key(image_size))
        if split is None:
            return _build(layout, image_size)
        splits[name] = split
    return splits, []


def _build(layout: _Layout, image_size: int | None) -> tuple[dict[str, LabelledImages], list[str]]:
    """Decode `train/` and `val/`, set a test split aside where there is none, write the cache."""
    listings = layout.listings
    images = _decode(layout.root, listings.values(), image_size)
    parts = torch.split(images, [len(listing.files) for listing in listings.values()])
    splits = {
        name: _as_split(listings[name], part) for name, part in zip(listings, parts, strict=True)
    }
    if not layout.has_test:
        rest, test = set_aside(splits["train"].labels)
        splits |= {"train": select(splits["train"], rest), "test": select(splits["train"], test)}
    key = layout.key(image_size)
    notes = [
        note
        for name, split in splits.items()
        if (note := _write(_cache_path(layout.root, name, image_size), key, split))
    ]
    return splits, notes[:1]


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
    return LabelledImages(images, labels, listing.class_names)


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
