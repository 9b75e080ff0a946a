"""Which image files a folder holds: names, sizes and times, without opening one."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from posixpath import join

from nas.errors import DataError

_NAMED_CLASSES = 5
# left by file managers, archivers and network storage, like names that begin with a dot
_MACHINES_NAMES = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "__pycache__"),
    *("$recycle.bin", "system volume information", "lost+found"),
    *("@eadir", "#recycle", "#snapshot", "@recycle", "@__thumb"),
}


@dataclass(frozen=True)
class Listing:
    """The files of one split of a folder.

    Args:
        class_names: Sorted; the position is the label.
        files: Paths relative to the folder, sorted within each class.
        labels: The label of each file.
        stamp: Hash of all names, sizes and times of change.
        loose: Files beside the classes, which belong to none.
    """

    class_names: tuple[str, ...]
    files: tuple[str, ...]
    labels: tuple[int, ...]
    stamp: str
    loose: tuple[str, ...] = ()

    def select(self, indices: Sequence[int]) -> Listing:
        """Return the listing of the files at these places, in that order."""
        files, labels = (self.files[i] for i in indices), (self.labels[i] for i in indices)
        return replace(self, files=tuple(files), labels=tuple(labels))


def all_files(root: Path) -> Iterator[tuple[str, int, int]]:
    """Yield path, bytes and nanosecond of change of each file of a folder."""
    return _files(root, "")


def class_folders(root: Path, split: str) -> tuple[str, ...]:
    """Return the names of the classes of a split, sorted; looks at names alone.

    Args:
        root: The folder.
        split: The split's directory; "" is the folder itself.

    Raises:
        DataError: The directory cannot be read.
    """
    entries = _entries(root / split)
    return tuple(sorted(entry.name for entry in entries if entry.is_dir()))


def scan(root: Path, split: str) -> Listing:
    """List a split's files by class, those in sub-directories of a class included.

    Args:
        root: The folder.
        split: The split's directory; "" is the folder itself.

    Raises:
        DataError: A directory cannot be read, there are fewer than two classes, or one is empty.
    """
    class_names = class_folders(root, split)
    if len(class_names) < 2:
        raise DataError(
            f"a data set has at least two classes, each a directory in {split}/, but "
            f"{root / split} has {len(class_names)} ({', '.join(class_names) or 'none'})"
        )
    files: list[str] = []
    labels: list[int] = []
    digest = hashlib.blake2b(digest_size=16)
    for label, class_name in enumerate(class_names):
        found = sorted(_files(root, join(split, class_name)))
        files += [name for name, _, _ in found]
        labels += [label] * len(found)
        digest.update(repr((class_name, found)).encode())
    loose = tuple(sorted(join(split, e.name) for e in _entries(root / split) if not e.is_dir()))
    digest.update(repr(loose).encode())
    listing = Listing(class_names, tuple(files), tuple(labels), digest.hexdigest(), loose)
    check_filled(root, split, listing)
    return listing


def check_filled(root: Path, split: str, listing: Listing) -> None:
    """Check that each class of a split has a file.

    Raises:
        DataError: A class has none.
    """
    filled = set(listing.labels)
    empty = [join(split, name) for i, name in enumerate(listing.class_names) if i not in filled]
    if empty:
        raise DataError(
            f"every class needs images, but {len(empty)} in {root} have none: "
            f"{shorten(empty)}; add images or remove the directory"
        )


def check_same_classes(
    root: Path, split: str, found: tuple[str, ...], wanted: tuple[str, ...]
) -> None:
    """Check that a split has the classes of `train/`.

    Raises:
        DataError: A class is missing or extra; both are named.
    """
    missing, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or extra:
        differences = [
            f"{verb}: {shorten(names)}"
            for verb, names in (("missing", missing), ("not in train/", extra))
            if names
        ]
        raise DataError(
            f"{split}/ must have the classes of train/, but in {root} it differs "
            f"({'; '.join(differences)}); make them equal, or rename what is no split"
        )


def check_counts(root: Path, train: Listing, needed: int) -> None:
    """Check that each class can give an image to each split that is taken from `train/`.

    Raises:
        DataError: A class has fewer than `needed` images.
    """
    counts = Counter(train.labels)
    poor = [
        f"{name} ({counts[label]})"
        for label, name in enumerate(train.class_names)
        if counts[label] < needed
    ]
    if poor:
        raise DataError(
            f"training, validation and test take at least one image each of every class, so "
            f"train/ needs {needed} per class, but in {root} {len(poor)} classes have fewer: "
            f"{shorten(poor)}; add images or leave the class out"
        )


def shorten(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = len(names) - _NAMED_CLASSES
    return ", ".join(names[:_NAMED_CLASSES]) + (f" and {more:,} more" if more > 0 else "")


def _files(root: Path, relative: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, bytes and nanosecond of change of each file; links to directories are left."""
    for entry in _entries(root / relative):
        name = join(relative, entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _files(root, name)
        else:
            try:
                stat = entry.stat()
            except OSError:  # a dangling link: listed, so that decoding names it
                yield name, 0, 0
            else:
                yield name, stat.st_size, stat.st_mtime_ns


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    """Return what the user put into a directory; what machines put there is left out."""
    with _readable(directory), os.scandir(directory) as entries:
        return [
            entry
            for entry in entries
            if not entry.name.startswith(".") and entry.name.lower() not in _MACHINES_NAMES
        ]


@contextmanager
def _readable(directory: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(
            f"a data folder must be a directory that can be read, but {directory}: {reason}; "
            "make it so, or give the folder where it is now: --data DIR"
        ) from error
