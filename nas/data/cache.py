"""Decoded images on disk, in the user's cache directory and nowhere else.

A file is written under another name, flushed, then renamed: it is whole or absent. Its content
hash is checked on every read; a file that is truncated, altered or of another version reads as
absent and is written anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from nas.data.images import LabelledImages
from nas.errors import StorageError
from nas.files import write_atomically

VERSION = 2  # raise it when decoding changes


def cache_dir() -> Path:
    """Return where caches and downloads lie; the directory may not exist yet.

    It is NAS_CACHE, else XDG_CACHE_HOME/nas, else ~/.cache/nas.
    """
    if own := os.environ.get("NAS_CACHE"):
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "nas"


def read_split(path: Path, key: str) -> LabelledImages | None:
    """Return what `write_split` wrote under this key; None where that is not there, whole.

    The images are mapped, not copied, and hashed once (0.2 s for 150 MB).

    Args:
        path: The file.
        key: What the content was made from; another key's content counts as absent.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            if (meta.get("version"), meta.get("key")) != (str(VERSION), key):
                return None
            class_names = tuple(json.loads(meta["class_names"]))
            images, labels = file.get_tensor("images"), file.get_tensor("labels")
            low_high, notes, num_set_aside, num_broken = json.loads(meta["reading"])
            split = LabelledImages(
                images,
                labels,
                class_names,
                value_range=(low_high[0], low_high[1]) if low_high else None,
                groups=file.get_tensor("groups") if "groups" in list(file.keys()) else None,
                files=tuple(json.loads(meta["files"])),
                notes=tuple(notes),
                num_set_aside=num_set_aside,
                num_broken=num_broken,
            )
            is_intact = _digest(split) == meta["digest"]
    except Exception:  # whatever is wrong with it, what it was made from is there
        return None
    return split if is_intact else None


def write_split(path: Path, key: str, split: LabelledImages) -> None:
    """Write a split so that `read_split` finds it; atomic.

    Args:
        path: The file; its directory is made where absent.
        key: What the content was made from.
        split: The images.

    Raises:
        StorageError: The directory cannot be written or the disk is full; nothing is left behind.
    """
    from safetensors.torch import save

    meta = {
        "version": str(VERSION),
        "key": key,
        "digest": _digest(split),
        "class_names": json.dumps(split.class_names),
        "reading": json.dumps(
            [split.value_range, split.notes, split.num_set_aside, split.num_broken]
        ),
        "files": json.dumps(split.files),
    }
    tensors = {"images": split.images, "labels": split.labels, "groups": split.groups}
    content = save({name: item for name, item in tensors.items() if item is not None}, meta)
    make_directory(path.parent)
    write_atomically(path, lambda file: file.write(content))


def _digest(split: LabelledImages) -> str:
    own = (split.fingerprint, split.groups_hash, split.files, split.value_range)
    text = repr((*own, split.notes, split.num_set_aside, split.num_broken))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def make_directory(path: Path) -> None:
    """Make a directory of the cache where it is absent.

    Raises:
        StorageError: It cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"decoded and downloaded data need a directory that can be written, but {error}; "
            "name another one: NAS_CACHE=DIR"
        ) from error
