"""A table that says the class and the split of each image: `--labels FILE`, CSV or JSON.

    file,label,split             [{"file": "a/1.png", "label": "cat", "split": "train"}, ...]
    a/1.png,cat,train            {"a/1.png": "cat", "b/2.png": {"label": "dog", "split": "val"}}

Paths are relative to the folder. A split is one of `SPLIT_NAMES`, in any case; without one it is
train.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from nas.data.listing import Listing, all_files, check_same_classes, shorten
from nas.errors import DataError, shown

SPLIT_NAMES = {  # as people and programs name them
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "tests", "testing"),
}
SPLIT_OF = {name: split for split, names in SPLIT_NAMES.items() for name in names}


def read_table(root: Path, path: Path) -> tuple[dict[str, Listing], list[str]]:
    """Return the files of each split that the table has, and notes for the user.

    Costs a look at every file's size and time, and a listing of the folder.

    Args:
        root: The folder that the paths are relative to.
        path: The table; JSON where its name ends so, else CSV with a header.

    Raises:
        DataError: The table cannot be read, a row cannot be used, a file is absent, there are
            fewer than two classes, or a split lacks a class.
    """
    splits: dict[str, list[tuple[str, str]]] = {}
    places: dict[str, str] = {}
    for place, row in _rows(path):
        file, label, split = _checked(row, f"{path}, {place}")
        if file in places:
            text = f"{path}, {place}: a file has one row, but {file} is in {places[file]} too"
            raise DataError(f"{text}; remove one of them")
        places[file] = place
        splits.setdefault(split, []).append((label, file))
    if missing := [file for file in places if not os.path.exists(root / file)]:
        text = f"every file of {path} must be in {root}, but {len(missing):,} are not"
        raise DataError(f"{text}: {shorten(missing)}; give paths relative to --data")
    classes = tuple(sorted({label for label, _ in splits.get("train", ())}))
    if len(classes) < 2:
        text = f"{path}: the rows of train must have at least two labels, but have"
        raise DataError(f"{text} {len(classes)} ({', '.join(classes) or 'none'}); add some")
    for split, rows in splits.items():
        check_same_classes(path, split, tuple({label for label, _ in rows}), classes)
    own = os.path.relpath(path.resolve(), root.resolve())
    num_others = sum(name != own and name not in places for name, _, _ in all_files(root))
    note = f"files of {root} that {path.name} does not name are left out: {num_others:,}"
    in_order = {split: splits[split] for split in SPLIT_NAMES if split in splits}  # train first
    listings = {split: _list(root, classes, sorted(rows)) for split, rows in in_order.items()}
    return listings, [note] if num_others else []


def _list(root: Path, classes: tuple[str, ...], rows: list[tuple[str, str]]) -> Listing:
    """Return the files of a split, stamped with the content of the table and their looks."""
    stats = [(root / file).stat() for _, file in rows]
    stamp = repr([(*row, s.st_size, s.st_mtime_ns) for row, s in zip(rows, stats, strict=True)])
    numbers = {name: number for number, name in enumerate(classes)}
    return Listing(
        classes,
        tuple(file for _, file in rows),
        tuple(numbers[label] for label, _ in rows),
        hashlib.blake2b(stamp.encode(), digest_size=16).hexdigest(),
    )


def _rows(path: Path) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    """Yield where a row stands and what it says."""
    kind, read = ("JSON", _json_rows) if path.suffix.lower() == ".json" else ("CSV", _csv_rows)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from read(path, file)
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        text = f"--labels must be a table, {kind} in UTF-8, but {path}: {reason}"
        raise DataError(f"{text}; correct it, or give its path") from error


def _csv_rows(path: Path, file: IO[str]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    reader = csv.DictReader(file)
    header = [name.strip().lower() for name in reader.fieldnames or ()]
    if not {"file", "label"} <= set(header):
        raise DataError(
            f"{path}, line 1: the columns must be named file, label and, where there are splits, "
            f"split, with commas between them, but got {shown(','.join(header))}; add a header"
        )
    reader.fieldnames = header
    for row in reader:
        if None in row:
            text = f"{path}, line {reader.line_num}: a row has {len(header)} values, but got more"
            raise DataError(f"{text}; put one with a comma in it into quotes")
        yield f"line {reader.line_num}", row


def _json_rows(path: Path, file: IO[str]) -> Iterator[tuple[str, Mapping[Any, Any]]]:
    content = json.load(file, object_pairs_hook=_unique)
    if isinstance(content, dict):
        content = [
            {**(value if isinstance(value, dict) else {"label": value}), "file": name}
            for name, value in content.items()
        ]
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        text = f"{path}: a JSON table is a list of objects with file, label and split"
        raise DataError(f"{text}, or one object of labels by file; write it so")
    yield from ((f"entry {number}", row) for number, row in enumerate(content, 1))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object that names nothing twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, number in Counter(n for n, _ in pairs).items() if number > 1)
        raise ValueError(f"{shown(twice)} is in one object twice")
    return found


def _checked(row: Mapping[Any, Any], where: str) -> tuple[str, str, str]:
    """Return file, label and split of a row."""
    values = [row.get(name) for name in ("file", "label", "split")]
    file, label, split = ("" if value is None else str(value).strip() for value in values)
    for name, text, value in (("file", file, values[0]), ("label", label, values[1])):
        if not text or isinstance(value, list | dict):
            raise DataError(f"{where}: {name} must be a text, but got {shown(value)}; fill it in")
    file = os.path.normpath(file)
    if os.path.isabs(file) or file.split("/")[0] == "..":
        raise DataError(f"{where}: file must be relative to --data, but got {shown(file)}")
    if split.lower() not in ("", *SPLIT_OF):
        text = f"{where}: split must be train, val or test, but got {shown(split)}"
        raise DataError(f"{text}; correct it, or leave it empty for train")
    return file, label, SPLIT_OF.get(split.lower(), "train")
