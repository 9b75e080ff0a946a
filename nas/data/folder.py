"""The data set `folder`: the user's own images in `train/CLASS/*`, optional `val/` and `test/`.

Files are decoded once, into the cache directory; the folder itself is only read. What lies under
`test/` is opened by `test_part` alone; a training looks at the names of its classes. Without
`test/`, 20% of `train/` are set aside first: they are decoded in the same pass, so that a broken
file is found before the first training, and go to a cache file that a training does not open.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nas.data.cache import cache_dir, read_part, write_part
from nas.data.decode import decode, to_channels
from nas.data.images import LabelledImages, Parts, labelled_images, select
from nas.data.listing import (
    Listing,
    check_counts,
    check_same_classes,
    class_folders,
    has_part,
    require_root,
    scan,
)
from nas.data.split import set_aside
from nas.errors import DataError, StorageError

_NAMED_FAILURES = 5


def training_parts(name: str, data_dir: Path | None, image_size: int | None) -> Parts:
    """Return `train/`, less what is set aside where there is no `test/`, and `val/` if present.

    Costs a listing of the folder and a read of the cache; the first time a decoding of all files.

    Args:
        name: ``"folder"``.
        data_dir: The folder.
        image_size: Height and width wanted; None takes what all files share up to 64, else 32.

    Raises:
        DataError: The folder is absent or unreadable, has no `train/`, fewer than two classes, a
            class with too few images to split, other classes in `val/` or `test/`, or files that
            are no images.
    """
    layout = _read_layout(data_dir)
    names = ["train"] if layout.val is None else ["train", "val"]
    notes: list[str] = []
    parts = _cached(layout, names, image_size)
    if parts is None:
        parts, notes = _build(layout, image_size)
    if image_size is None:
        size = parts["train"].input_spec.image_size
        notes = [f"images are read as {size}x{size}; --image-size N changes it", *notes]
    return Parts(parts["train"], parts.get("val"), tuple(notes))


def test_part(name: str, data_dir: Path | None, image_size: int | None) -> LabelledImages:
    """Return `test/`, or what was set aside of `train/` where there is none.

    Images get the size and channels of the training part.

    Raises:
        DataError: As `training_parts`.
    """
    layout = _read_layout(data_dir)
    if not layout.has_test:
        parts = _cached(layout, ["test"], image_size) or _build(layout, image_size)[0]
        return parts["test"]
    spec = training_parts(name, data_dir, image_size).train.input_spec
    listing = scan(layout.root, "test")
    key = _key([listing], f"{spec.channels}x{spec.image_size}")
    path = _cache_path(layout.root, "test", spec.image_size)
    part = read_part(path, key)
    if part is None:
        images = to_channels(_decode(layout.root, [listing], spec.image_size), spec.channels)
        part = _part(listing, images)
        _write(path, key, part)
    return part


@dataclass(frozen=True)
class _Layout:
    root: Path
    train: Listing
    val: Listing | None
    has_test: bool

    @property
    def listings(self) -> list[Listing]:
        return [self.train] if self.val is None else [self.train, self.val]


def _read_layout(data_dir: Path | None) -> _Layout:
    root = require_root(data_dir)
    train = scan(root, "train")
    val = scan(root, "val") if has_part(root, "val") else None
    has_test = has_part(root, "test")
    if val is not None:
        check_same_classes(root, "val", val.class_names, train.class_names)
    if has_test:
        check_same_classes(root, "test", class_folders(root, "test"), train.class_names)
    check_counts(root, train, needed=1 + (val is None) + (not has_test))
    return _Layout(root, train, val, has_test)


def _cached(
    layout: _Layout, names: Sequence[str], image_size: int | None
) -> dict[str, LabelledImages] | None:
    key = _key(layout.listings, f"{layout.has_test}/{image_size}")
    parts = {}
    for name in names:
        part = read_part(_cache_path(layout.root, name, image_size), key)
        if part is None:
            return None
        parts[name] = part
    return parts


def _build(layout: _Layout, image_size: int | None) -> tuple[dict[str, LabelledImages], list[str]]:
    """Decode `train/` and `val/`, set a test part aside where there is none, write the cache."""
    images = _decode(layout.root, layout.listings, image_size)
    num_train = len(layout.train.files)
    parts = {"train": _part(layout.train, images[:num_train])}
    if layout.val is not None:
        parts["val"] = _part(layout.val, images[num_train:])
    if not layout.has_test:
        rest, test = set_aside(parts["train"].labels)
        parts |= {"train": select(parts["train"], rest), "test": select(parts["train"], test)}
    key = _key(layout.listings, f"{layout.has_test}/{image_size}")
    notes = [
        note
        for name, part in parts.items()
        if (note := _write(_cache_path(layout.root, name, image_size), key, part))
    ]
    return parts, notes[:1]


def _decode(root: Path, listings: Sequence[Listing], image_size: int | None) -> Tensor:
    files = [file for listing in listings for file in listing.files]
    decoded = decode([root / file for file in files], image_size)
    if decoded.failures:
        named = [f"{files[index]} ({why})" for index, why in decoded.failures[:_NAMED_FAILURES]]
        more = len(decoded.failures) - len(named)
        raise DataError(
            f"every file of a class must be a readable image, but {len(decoded.failures)} of "
            f"{len(files)} in {root} are not: {', '.join(named)}"
            + (f" and {more} more" if more else "")
            + "; replace or remove them"
        )
    return decoded.images


def _part(listing: Listing, images: Tensor) -> LabelledImages:
    labels = torch.tensor(listing.labels, dtype=torch.int64)
    return labelled_images(images, labels, listing.class_names)


def _key(listings: Sequence[Listing], options: str) -> str:
    text = json.dumps([options, *(listing.stamp for listing in listings)])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _cache_path(root: Path, part: str, image_size: int | None) -> Path:
    """Return one file per folder, size and part: a changed folder replaces its old cache."""
    place = hashlib.blake2b(str(root.resolve()).encode(), digest_size=6).hexdigest()
    return cache_dir() / "folder" / f"{place}-{image_size or 'own'}-{part}.safetensors"


def _write(path: Path, key: str, part: LabelledImages) -> str | None:
    try:
        write_part(path, key, part)
    except StorageError as error:
        return f"decoded images are not kept for the next time: {error}"
    return None
