"""Files that are whole or absent: written aside, flushed to disk, then renamed.

A writer holds the lock of the file it writes aside. The kernel releases it when the writer is
killed, so that the next one knows which of these files nobody will finish, and removes them.
"""

from __future__ import annotations

import csv
import glob
import io
import os
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from nas.errors import StorageError
from nas.locks import remove_unheld, take_lock

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIX = ".tmp"  # of a file that is being written aside


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any], mode: int = 0o644) -> None:
    """Write a file so that a crash at any moment leaves the old one or the new one, whole.

    What earlier writers of this file left behind when they were killed is removed first.

    Args:
        path: The file; its folder exists.
        write: Writes the content to a binary file object.
        mode: Who may read and write it.

    Raises:
        StorageError: The disk is full, or the folder is absent or not writable. What stood there
            before still does.
    """
    temporary = None
    try:
        remove_leftovers(path)
        with _open_aside(path) as file:
            temporary = Path(file.name)
            write(file)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(mode)
            temporary.replace(path)  # not later: with its lock it loses its protection
        _flush_folder(path.parent)
    except (OSError, RuntimeError) as error:  # PyTorch's writer reports a full disk as the latter
        raise StorageError(f"{path} could not be written: {error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a text file; see `write_atomically`."""
    write_atomically(path, lambda file: file.write(text.encode()), mode)


def write_table_atomically(
    path: Path, columns: Collection[str], rows: Iterable[Mapping[str, Any]]
) -> None:
    """Write rows as a CSV file with a header; see `write_atomically`."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text_atomically(path, buffer.getvalue())


def write_figure_atomically(path: Path, figure: Figure) -> None:
    """Write a figure of matplotlib as a PNG file; see `write_atomically`."""
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=120))


def make_folder(path: Path) -> None:
    """Make a folder, and those it lies in, where they are absent.

    Raises:
        StorageError: It may not be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"cannot create {path}: {error.strerror}") from error


def remove_leftovers(path: Path) -> None:
    """Remove what killed writers of this file left beside it; what may not be removed stays."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*{SUFFIX}"):
        remove_unheld(leftover)


def _open_aside(path: Path) -> IO[bytes]:
    """Open a new file beside another, locked."""
    while True:
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115  # the caller closes it
            dir=path.parent, prefix=f".{path.name}.", suffix=SUFFIX, delete=False
        )
        with suppress(OSError):  # a file system without locks: there leftovers stay
            take_lock(file.fileno(), path)
        if os.fstat(file.fileno()).st_nlink:  # else taken for a leftover before it was locked
            return file
        file.close()


def _flush_folder(folder: Path) -> None:
    """Make a rename in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
