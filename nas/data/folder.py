"""The data set `folder`: the user's own images in `train/CLASS/*`, optional `val/` and `test/`.

Files are decoded once, into the cache directory; the folder itself is only read. What lies under
`test/` is opened by `test_split` alone; a training looks at the names of its classes. Without
`test/`, 20% of `train/` are set aside first: they are decoded in the same pass, so that a broken
file is found before the first training, and go to a cache file that a training does not open.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from nas.data.cache import cache_dir, read_split, write_split
from nas.data.datasets import Reading
from nas.data.decode import Decoded, decode, describe_files, to_channels
from nas.data.images import Dataset, LabelledImages, read_dataset, select
from nas.data.listing import (
    Listing,
    check_counts,
    check_filled,
    check_same_classes,
    class_folders,
    has_split,
    require_root,
    scan,
    shorten,
)
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
        DataError: The folder is absent or unreadable, has no `train/`, fewer than two classes, a
            class with too few images to split, other classes in `val/` or `test/`, or images that
            cannot be read; or, where `reading` is strict, files that are no images.
    """
    layout = _read_layout(data_dir)
    splits, notes = _read(layout, layout.listings, reading)
    train = splits["train"]
    return read_dataset(train, splits.get("val"), (*train.notes, *notes))


def test_split(name: str, data_dir: Path | None, reading: Reading) -> LabelledImages:
    """Return `test/`, or what was set aside of `train/` where there is none.

    Images get the size and channels of the training split, and the range of its values.

    Raises:
        DataError: As `training_splits`.
    """
    layout = _read_layout(data_dir)
    if not layout.has_test:
        return _read(layout, ["test"], reading)[0]["test"]
    train = _read(layout, layout.listings, reading)[0]["train"]
    channels, size = train.input_spec.channels, train.input_spec.image_size
    listing = scan(layout.root, "test")
    reading = replace(reading, image_size=size)
    key = _key([listing], f"{channels}/{train.value_range}/{reading}")
    path = _cache_path(layout.root, "test", reading)
    split = read_split(path, key)
    if split is None:
        decoded, listings, left_out = _decode(layout.root, {"test": listing}, reading)
        decoded.scale(train.value_range)
        notes = describe_files(decoded.found, size, reading, train.value_range) + left_out
        split = _as_split(listings["test"], to_channels(decoded.images, channels))
        split = replace(split, value_range=train.value_range, notes=tuple(notes))
        _write(path, key, split)
    return split


@dataclass(frozen=True)
class _Layout:
    root: Path
    listings: dict[str, Listing]  # of train, and of val where there is one
    has_test: bool

    def key(self, reading: Reading) -> str:
        return _key(self.listings.values(), f"{self.has_test}/{reading}")

    def needed(self) -> int:
        """Return how many images a class needs in `train/`."""
        return 1 + ("val" not in self.listings) + (not self.has_test)


def _read_layout(data_dir: Path | None) -> _Layout:
    root = require_root(data_dir)
    names = ["train", "val"] if has_split(root, "val") else ["train"]
    listings = {name: scan(root, name) for name in names}
    train, has_test = listings["train"], has_split(root, "test")
    if "val" in listings:
        check_same_classes(root, "val", listings["val"].class_names, train.class_names)
    if has_test:
        check_same_classes(root, "test", class_folders(root, "test"), train.class_names)
    layout = _Layout(root, listings, has_test)
    check_counts(root, train, layout.needed())
    return layout


def _read(
    layout: _Layout, names: Iterable[str], reading: Reading
) -> tuple[dict[str, LabelledImages], list[str]]:
    """Return these splits at least, from the cache or decoded, and notes for the user."""
    splits = {}
    for name in names:
        path = _cache_path(layout.root, name, reading)
        split = read_split(path, layout.key(reading))
        if split is None:
            return _build(layout, reading)
        splits[name] = split
    return splits, []


def _build(layout: _Layout, reading: Reading) -> tuple[dict[str, LabelledImages], list[str]]:
    """Decode `train/` and `val/`, set a test split aside where there is none, write the cache."""
    decoded, listings, left_out = _decode(layout.root, layout.listings, reading)
    check_counts(layout.root, listings["train"], layout.needed())
    parts = torch.split(decoded.images, [len(listing.files) for listing in listings.values()])
    splits = {
        name: _as_split(listings[name], part) for name, part in zip(listings, parts, strict=True)
    }
    rest = torch.arange(len(splits["train"]))  # train comes first in what was decoded
    if not layout.has_test:
        rest, test = set_aside(splits["train"].labels)
    value_range = decoded.value_range(rest.tolist())
    decoded.scale(value_range)  # in place, so before the images are copied
    if not layout.has_test:
        splits |= {"train": select(splits["train"], rest), "test": select(splits["train"], test)}
    size = decoded.images.shape[2]
    told = tuple(describe_files(decoded.found, size, reading, value_range) + left_out)
    splits = {n: replace(s, value_range=value_range, notes=told) for n, s in splits.items()}
    key = layout.key(reading)
    notes = [
        note
        for name, split in splits.items()
        if (note := _write(_cache_path(layout.root, name, reading), key, split))
    ]
    return splits, notes[:1]


def _decode(
    root: Path, listings: Mapping[str, Listing], reading: Reading
) -> tuple[Decoded, dict[str, Listing], list[str]]:
    """Read the files of splits; return the images, the listings of these, and what is left out."""
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
    return decoded.select(kept) if failed else decoded, selected, notes


def _as_split(listing: Listing, images: Tensor) -> LabelledImages:
    labels = torch.tensor(listing.labels, dtype=torch.int64)
    return LabelledImages(images, labels, listing.class_names)


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
