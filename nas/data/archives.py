"""Files of published data sets: found where the user has them, else downloaded.

Looked for in this order: `--data DIR`, the cache. Only then a download is tried, from `NAS_MIRROR`
where that is set; it goes to the cache. Each file is checked against its published checksum,
wherever it was found.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nas.data.cache import cache_dir, make_directory
from nas.data.download import fetch, md5_of
from nas.errors import DataError, DownloadError, StorageError
from nas.locks import locked


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Args:
        dataset: The data set it belongs to.
        name: Its file name.
        url: Its own host's address.
        md5: Published checksum.
        size_bytes: Its size, for projecting a download whose host does not tell.
    """

    dataset: str
    name: str
    url: str
    md5: str
    size_bytes: int


def download_dir(dataset: str) -> Path:
    """Return where files of a data set are kept; may not exist yet."""
    return cache_dir() / "downloads" / dataset


def user_dirs(data_dir: Path | None, inner: Iterable[str]) -> list[Path]:
    """Return the directories of the user's to look in: DIR and DIR/INNER for each inner name.

    Raises:
        DataError: `data_dir` is given and is no directory.
    """
    if data_dir is None:
        return []
    root = Path(data_dir).expanduser()
    if not root.is_dir():
        raise DataError(f"--data names a directory, but there is none at {root}")
    return [root, *(root / name for name in inner)]


def find(name: str, md5: str, directories: Sequence[Path]) -> Path | None:
    """Return the first file of a name, checked; None where there is none.

    Args:
        name: Its file name.
        md5: Its checksum.
        directories: Where to look, in this order.

    Raises:
        DataError: A file by this name has another content.
    """
    for path in (directory / name for directory in directories):
        if path.is_file():
            _require_md5(path, md5)
            return path
    return None


def obtain(remote: RemoteFile, data_dir: Path | None) -> Path:
    """Return the file from the cache, or download it there.

    Args:
        remote: The file.
        data_dir: Where the user's files were looked for in vain; for the message.

    Raises:
        DataError: NAS_MIRROR is no http or https address.
        DownloadError: The download failed; the text names the other ways.
        StorageError: The cache cannot be written.
    """
    path = download_dir(remote.dataset) / remote.name
    if path.is_file() and md5_of(path) == remote.md5:
        return path
    mirror = os.environ.get("NAS_MIRROR")
    url = f"{mirror.rstrip('/')}/{remote.name}" if mirror else remote.url
    try:
        fetch(url, path, remote.md5, remote.size_bytes)
    except DownloadError as error:
        looked = f"{data_dir} or " if data_dir else ""
        raise DownloadError(
            f"{remote.dataset} is not in {looked}{path.parent}, and its download failed: "
            f"{error}\n"
            f"  --data DIR         a directory with {remote.name} (md5 {remote.md5}) in it\n"
            "  NAS_MIRROR=URL     a mirror that serves this file; the checksum is verified\n"
            "  --dataset digits   needs no download"
        ) from error
    return path


def unpacked(
    remote: RemoteFile, folder: str, files: Mapping[str, str], data_dir: Path | None
) -> Path:
    """Return a directory that holds the files of an archive, each checked.

    An archive of the user's is unpacked into the cache; the user's directory is only read.

    Args:
        remote: The archive, a compressed tar file.
        folder: The directory in it that holds the files.
        files: Names of the wanted files with their MD5; no other is opened.
        data_dir: The user's directory, looked at first.

    Raises:
        DataError: A file of the user's has another content, or NAS_MIRROR is no address.
        DownloadError: The archive is absent and its download failed.
        StorageError: The cache cannot be written.
    """
    own = user_dirs(data_dir, [folder])
    for directory in own:
        if all((directory / name).is_file() for name in files):
            for name, md5 in files.items():
                _require_md5(directory / name, md5)
            return directory
    archive = find(remote.name, remote.md5, own)
    place = download_dir(remote.dataset)
    kept = place / folder
    if _has_all(kept, files):
        return kept
    downloaded = archive is None
    archive = archive or obtain(remote, data_dir)
    with _turn(place):
        if not _has_all(kept, files):  # else another process was faster
            _extract(archive, folder, place)
    if downloaded:
        archive.unlink(missing_ok=True)
    return kept


def _has_all(directory: Path, files: Mapping[str, str]) -> bool:
    paths = {directory / name: md5 for name, md5 in files.items()}
    return all(path.is_file() and md5_of(path) == md5 for path, md5 in paths.items())


@contextmanager
def _turn(place: Path) -> Iterator[None]:
    """Keep other processes from unpacking here; what a killed one left behind is removed."""
    make_directory(place)
    try:
        with locked(place):
            for leftover in place.glob(".unpack-*"):
                shutil.rmtree(leftover, ignore_errors=True)
            yield
    except OSError as error:
        raise StorageError(
            f"archives are unpacked in {place}, but {error}; name another directory: NAS_CACHE=DIR"
        ) from error


def _extract(archive: Path, folder: str, place: Path) -> None:
    """Unpack one directory of an archive to place/folder; whole or not at all."""
    try:
        with tempfile.TemporaryDirectory(dir=place, prefix=".unpack-") as temporary:
            with tarfile.open(archive) as tar:
                tar.extractall(temporary, filter="data")
            shutil.rmtree(place / folder, ignore_errors=True)
            (Path(temporary) / folder).replace(place / folder)
    except OSError as error:
        raise StorageError(
            f"{archive.name} is unpacked into the cache, but {error}; "
            "free space or name another directory: NAS_CACHE=DIR"
        ) from error


def _require_md5(path: Path, md5: str) -> None:
    try:
        found = md5_of(path)
    except OSError as error:
        raise DataError(f"a data file must be readable, but {path}: {error.strerror}") from error
    if found != md5:
        raise DataError(
            f"{path.name} must have the published checksum md5 {md5}, but {path} has {found}; "
            "replace or remove it"
        )
