"""How a folder is laid out: which directories, or which rows of a table, are its splits.

Directories go by the names of `SPLIT_NAMES`, in any case: train/CLASS/*, valid/CLASS/* and
Test/CLASS/*. A folder of classes, CLASS/*, is one split, of which test and val are taken. With
--labels FILE the table decides: `nas.data.labels`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nas.data.datasets import Reading
from nas.data.labels import SPLIT_OF, read_table
from nas.data.listing import (
    Listing,
    check_counts,
    check_same_classes,
    class_folders,
    scan,
    shorten,
)
from nas.data.split import TEST_FRACTION, VAL_FRACTION
from nas.errors import DataError


@dataclass(frozen=True)
class Layout:
    """The files of a folder by split; nothing of them is opened.

    Args:
        root: The folder.
        listings: Of train, and of val where there is one.
        test: Of test where there is one.
        notes: What the user should know, one sentence each.
    """

    root: Path
    listings: dict[str, Listing]
    test: Listing | None
    notes: tuple[str, ...]

    @property
    def num_needed(self) -> int:
        """Return in how many splits each class of `train/` has to be."""
        return 1 + ("val" not in self.listings) + (self.test is None)


def read_layout(data_dir: Path | None, reading: Reading) -> Layout:
    """Find the splits of a folder and list their files.

    Raises:
        DataError: No folder was given, or it is none; it has no training images or several
            directories for one split; a split lacks a class; a class has too few images; the
            table cannot be used.
    """
    if data_dir is None:
        raise DataError(
            "the data set folder reads images from train/CLASS/ of a folder of yours; "
            "name it: --data DIR"
        )
    root = Path(data_dir).expanduser()
    if reading.labels is not None:
        listings, notes = read_table(root, Path(reading.labels))
    else:
        listings, notes = _read_directories(root)
    test, train = listings.pop("test", None), listings["train"]
    layout = Layout(root, listings, test, tuple(notes))
    check_counts(root, train, layout.num_needed)
    return layout


def _read_directories(root: Path) -> tuple[dict[str, Listing], list[str]]:
    splits = _find_splits(root)
    listings = {"train": scan(root, splits["train"])}
    classes = listings["train"].class_names
    for split in ("val", "test"):
        if split in splits:
            check_same_classes(root, splits[split], class_folders(root, splits[split]), classes)
            listings[split] = scan(root, splits[split])
    if not splits["train"]:
        return listings, [
            f"{root} has no train/: its {len(classes)} directories are the classes "
            f"({shorten(classes)}); "
            f"{100 * TEST_FRACTION:.0f}% of the images are set aside for test, "
            f"{100 * VAL_FRACTION:.0f}% of the others validate (with --folds each of them)"
        ]
    others = [name for name in class_folders(root, "") if name not in splits.values()]
    unread = [f"{name}/" for name in others if _is_like_a_split(root / name, classes)]
    text = f"beside {splits['train']}/, {', '.join(unread)} may be meant as a split and is not "
    return listings, [f"{text}read: a split's name is val/ or test/"] if unread else []


def _find_splits(root: Path) -> dict[str, str]:
    """Return the directory of each split that there is; of a folder of classes it is ""."""
    names = class_folders(root, "")
    found: dict[str, list[str]] = {}
    for name in names:
        if split := SPLIT_OF.get(name.lower()):
            found.setdefault(split, []).append(name)
    for split, same in found.items():
        if len(same) > 1:
            text = f"a data folder has one directory for each split, but {root} has several for"
            named = " and ".join(f"{name}/" for name in same)
            raise DataError(f"{text} {split}: {named}; keep one, and rename what is none")
    if "train" in found:
        return {split: same[0] for split, same in found.items()}
    inner = next((name for name in names if _has_train(root / name)), None)
    if inner is None and not found and len(names) > 1:
        _require_classes(root, names)
        return {"train": ""}
    held = f"it holds {shorten(names) or 'no directories'}"
    fix = (
        f"--data {root / inner}" if inner else "move images of two or more classes to train/CLASS/"
    )
    raise DataError(
        f"a data folder has its images in train/CLASS/, but {root} has no train/ ({held}); {fix}"
    )


def _require_classes(root: Path, names: tuple[str, ...]) -> None:
    """Refuse directories that are splits by their names, or by holding the same directories."""
    inner = {class_folders(root, name) for name in names}
    if any(word in name.lower() for name in names for word in ("train", "test")) or (
        len(inner) == 1 and len(inner.pop()) > 1
    ):
        text = f"the directories of {root} look like splits, not like classes: {shorten(names)}"
        raise DataError(f"{text}; name them train, val and test")


def _has_train(directory: Path) -> bool:
    return any(SPLIT_OF.get(name.lower()) == "train" for name in class_folders(directory, ""))


def _is_like_a_split(directory: Path, classes: tuple[str, ...]) -> bool:
    is_named_so = any(word in directory.name.lower() for word in SPLIT_OF)
    return is_named_so or any(os.path.isdir(directory / name) for name in classes)
