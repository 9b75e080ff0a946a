"""CIFAR-10, CIFAR-100, SVHN and Fashion-MNIST: torchvision's addresses and checksums, our reading.

torchvision's own classes open the test files to construct the training split (CIFAR) or check
nothing but names (Fashion-MNIST); here a split opens its own files alone, and all are checked.
"""

from __future__ import annotations

import gzip
import hashlib
import pickle
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nas.data.archives import RemoteFile, find, obtain, unpacked, user_dirs
from nas.data.datasets import Reading
from nas.data.images import Dataset, LabelledImages, read_dataset, resize
from nas.errors import DataError

# uint8 (N, C, H, W) and labels (N,) as the files have them, and the names of the classes
Raw = tuple[NDArray[np.uint8], NDArray[np.integer], Sequence[str]]

# MD5 of the unpacked files; the published checksums are of the packed ones
_FASHION_MD5 = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
_SIZE_BYTES = {
    "cifar-10-python.tar.gz": 170_498_071,
    "cifar-100-python.tar.gz": 169_001_437,
    "train_32x32.mat": 182_040_794,
    "test_32x32.mat": 64_275_384,
    "train-images-idx3-ubyte.gz": 26_421_880,
    "train-labels-idx1-ubyte.gz": 29_515,
    "t10k-images-idx3-ubyte.gz": 4_422_102,
    "t10k-labels-idx1-ubyte.gz": 5_148,
}


def training_splits(name: str, data_dir: Path | None, reading: Reading) -> Dataset:
    """Return the training split; no file of the test split is opened.

    Args:
        name: ``"cifar10"``, ``"cifar100"``, ``"svhn"`` or ``"fashion-mnist"``.
        data_dir: Where to look first.
        reading: The size wanted; the rest is for folders.

    Raises:
        DataError: A file found has another content than the published one.
        DownloadError: The data are absent and the download failed.
        StorageError: The cache cannot be written.
    """
    return read_dataset(_read(name, "train", data_dir, reading.image_size))


def test_split(name: str, data_dir: Path | None, reading: Reading) -> LabelledImages:
    """Return the test split.

    Raises:
        DataError: A file found has another content than the published one.
        DownloadError: The data are absent and the download failed.
        StorageError: The cache cannot be written.
    """
    return _read(name, "test", data_dir, reading.image_size)


def _read(name: str, split: str, data_dir: Path | None, image_size: int | None) -> LabelledImages:
    pixels, labels, class_names = _READERS[name](name, split, data_dir)
    images = torch.from_numpy(np.array(pixels, order="C"))
    resized = resize(images, image_size or images.shape[2])
    return LabelledImages(resized, torch.from_numpy(labels.astype(np.int64)), tuple(class_names))


def _read_cifar(name: str, split: str, data_dir: Path | None) -> Raw:
    from torchvision.datasets import CIFAR10, CIFAR100

    kind = CIFAR100 if name == "cifar100" else CIFAR10
    files = dict(kind.train_list if split == "train" else kind.test_list)
    meta = kind.meta["filename"]
    remote = _remote(name, kind.filename, kind.url, kind.tgz_md5)
    directory = unpacked(remote, kind.base_folder, files | {meta: kind.meta["md5"]}, data_dir)
    entries = [_unpickle(directory / file) for file in files]
    pixels = np.concatenate([entry["data"] for entry in entries]).reshape(-1, 3, 32, 32)
    key = "labels" if name == "cifar10" else "fine_labels"
    labels = np.concatenate([np.asarray(entry[key]) for entry in entries])
    return pixels, labels, _unpickle(directory / meta)[kind.meta["key"]]


def _read_svhn(name: str, split: str, data_dir: Path | None) -> Raw:
    from scipy.io import loadmat
    from torchvision.datasets import SVHN

    url, file, md5 = SVHN.split_list[split]
    path = find(file, md5, user_dirs(data_dir, ["svhn", "SVHN"]))
    raw = loadmat(path or obtain(_remote(name, file, url, md5), data_dir))
    pixels = raw["X"].transpose(3, 2, 0, 1)  # (H, W, C, N) -> (N, C, H, W)
    labels = raw["y"].reshape(-1) % 10  # the file calls the digit 0 "10"
    return pixels, labels, "0123456789"


def _read_fashion_mnist(name: str, split: str, data_dir: Path | None) -> Raw:
    from torchvision.datasets import FashionMNIST

    prefix = "train" if split == "train" else "t10k"
    directories = user_dirs(data_dir, ["FashionMNIST/raw", "raw", "fashion-mnist"])
    packed_md5 = dict(FashionMNIST.resources)
    arrays = []
    for kind, rank in (("images-idx3", 3), ("labels-idx1", 1)):
        file = f"{prefix}-{kind}-ubyte"
        content = _find_unpacked(file, directories)
        if content is None:
            url = FashionMNIST.mirrors[0] + f"{file}.gz"
            remote = _remote(name, f"{file}.gz", url, packed_md5[f"{file}.gz"])
            content = gzip.decompress(obtain(remote, data_dir).read_bytes())
        shape = np.frombuffer(content, ">i4", count=rank, offset=4)
        arrays.append(np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape))
    images, labels = arrays
    return images[:, None], labels, FashionMNIST.classes


def _find_unpacked(file: str, directories: Sequence[Path]) -> bytes | None:
    """Return a file's content from where it lies, packed or not; None where it is absent."""
    for path in (directory / f"{file}{end}" for directory in directories for end in ("", ".gz")):
        if not path.is_file():
            continue
        try:
            raw = path.read_bytes()
            content = gzip.decompress(raw) if path.suffix == ".gz" else raw
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"a data file must be readable, but {path}: {error}") from error
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != _FASHION_MD5[file]:
            raise DataError(
                f"the content of {file} must have md5 {_FASHION_MD5[file]}, but {path} has "
                f"{found}; replace or remove it"
            )
        return content
    return None


def _remote(dataset: str, name: str, url: str, md5: str) -> RemoteFile:
    return RemoteFile(dataset, name, url, md5, _SIZE_BYTES[name])


def _unpickle(path: Path) -> dict[str, Any]:
    """Read a file whose checksum was found right: unpickling runs what is in it."""
    with path.open("rb") as file:
        content: dict[str, Any] = pickle.load(file, encoding="latin1")
    return content


_READERS: dict[str, Callable[[str, str, Path | None], Raw]] = {
    "cifar10": _read_cifar,
    "cifar100": _read_cifar,
    "svhn": _read_svhn,
    "fashion-mnist": _read_fashion_mnist,
}
