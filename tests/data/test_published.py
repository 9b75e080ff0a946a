"""Each reader against torchvision's own classes, on small archives of the published form.

The archives are made here and torchvision's table of checksums is set to theirs.
"""

import gzip
import hashlib
import io
import pickle
import tarfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from scipy.io import savemat
from torchvision import datasets as torchvision_datasets

from nas.data import published
from nas.data.datasets import load_test, load_training
from nas.errors import DataError

RANDOM = np.random.default_rng(0)


def md5(content):
    return hashlib.md5(content).hexdigest()


def cifar_files(kind, key):
    """The files of a CIFAR archive with random images, by name."""
    names = [name for name, _ in [*kind.train_list, *kind.test_list]]
    files = {}
    for name in names:
        pixels = RANDOM.integers(256, size=(20, 3072), dtype=np.uint8)
        files[name] = pickle.dumps({"data": pixels, key: [i % 10 for i in range(20)]})
    class_names = [f"class {i}" for i in range(10)]
    files[kind.meta["filename"]] = pickle.dumps({kind.meta["key"]: class_names})
    return files


def packed(folder, files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(params=["cifar10", "cifar100"])
def cifar(request, tmp_path, monkeypatch):
    """A small archive of the published form: name, torchvision's class, directory."""
    name = request.param
    kind = getattr(torchvision_datasets, name.upper())
    files = cifar_files(kind, "labels" if name == "cifar10" else "fine_labels")
    archive = packed(kind.base_folder, files)
    for table in ("train_list", "test_list"):
        listed = [[file, md5(files[file])] for file, _ in getattr(kind, table)]
        monkeypatch.setattr(kind, table, listed)
    meta = kind.meta["filename"]
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(files[meta])})
    monkeypatch.setattr(kind, "tgz_md5", md5(archive))
    directory = tmp_path / "own"
    directory.mkdir()
    (directory / kind.filename).write_bytes(archive)
    return name, kind, directory


def unpack(kind, directory):
    with tarfile.open(directory / kind.filename) as tar:
        tar.extractall(directory, filter="data")


def assert_same(part, reference, labels):
    assert (part.images.permute(0, 2, 3, 1).numpy() == reference.data).all()
    assert part.labels.tolist() == list(labels)


def names_below(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_cifar_from_the_users_archive_is_what_torchvision_reads(cifar):
    name, kind, directory = cifar
    data, test = load_training(name, directory), load_test(name, directory)
    assert names_below(directory) == [kind.filename], "the user's directory is only read"
    unpack(kind, directory)
    for part, is_train in ((data.train, True), (test, False)):
        reference = kind(directory, train=is_train)
        assert_same(part, reference, reference.targets)
        assert part.class_names == tuple(reference.classes)


def test_cifar_unpacked_is_read_where_it_lies(cifar, own_cache):
    name, kind, directory = cifar
    unpack(kind, directory)
    (directory / kind.filename).unlink()
    expected = load_training(name, directory).fingerprint
    assert load_training(name, directory / kind.base_folder).fingerprint == expected
    assert not own_cache.exists()


def test_training_on_cifar_opens_no_test_file(cifar):
    name, kind, directory = cifar
    unpack(kind, directory)
    for file, _ in kind.test_list:
        (directory / kind.base_folder / file).write_bytes(b"damaged")
    load_training(name, directory)
    with pytest.raises(DataError, match=f"{kind.test_list[0][0]} must have .* md5"):
        load_test(name, directory)


def test_a_file_of_other_content_is_refused_and_not_replaced(cifar, own_cache):
    name, kind, directory = cifar
    archive = directory / kind.filename
    archive.write_bytes(archive.read_bytes() + b"more")
    with pytest.raises(DataError, match=f"{kind.tgz_md5}.*replace or remove"):
        load_training(name, directory)
    assert not own_cache.exists()


def test_a_directory_that_does_not_exist_is_told(cifar, tmp_path):
    with pytest.raises(DataError, match="--data names a directory"):
        load_training(cifar[0], tmp_path / "nowhere")


@pytest.fixture
def mirror(cifar, monkeypatch):
    """A web server with the archive, set as NAS_MIRROR."""
    handler = partial(_Quiet, directory=cifar[2])
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("NAS_MIRROR", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()
    thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_what_is_absent_comes_from_the_mirror_once(cifar, mirror, own_cache):
    name, kind, directory = cifar
    empty = directory.parent / "empty"
    empty.mkdir()
    downloaded = load_training(name, empty).fingerprint
    (directory / kind.filename).rename(directory / "moved")
    assert load_training(name).fingerprint == downloaded, "the second time from the cache"
    assert names_below(empty) == []
    (place,) = (own_cache / "downloads").iterdir()
    assert [path.name for path in place.iterdir()] == [kind.base_folder]
    (directory / "moved").rename(directory / kind.filename)
    assert load_training(name, directory).fingerprint == downloaded


def test_a_damaged_download_is_fetched_again(cifar, mirror, own_cache):
    name, kind, _ = cifar
    expected = load_training(name).fingerprint
    (batch, *_) = own_cache.rglob(kind.train_list[0][0])
    batch.write_bytes(b"damaged")
    assert load_training(name).fingerprint == expected


def test_what_a_process_left_that_was_killed_while_it_unpacked_is_removed(cifar, own_cache):
    name, kind, directory = cifar
    place = own_cache / "downloads" / name
    (place / ".unpack-abc123" / kind.base_folder).mkdir(parents=True)
    load_training(name, directory)
    assert [path.name for path in place.iterdir()] == [kind.base_folder]


def test_svhn_is_what_torchvision_reads(tmp_path, monkeypatch):
    kind = torchvision_datasets.SVHN
    listed = {}
    for split in ("train", "test"):
        url, file, _ = kind.split_list[split]
        pixels = RANDOM.integers(256, size=(32, 32, 3, 30), dtype=np.uint8)
        labels = np.arange(30, dtype=np.uint8)[:, None] % 10 + 1  # 1..10, ten is the digit 0
        savemat(tmp_path / file, {"X": pixels, "y": labels})
        listed[split] = [url, file, md5((tmp_path / file).read_bytes())]
    monkeypatch.setattr(kind, "split_list", listed)
    for part, split in (
        (load_training("svhn", tmp_path).train, "train"),
        (load_test("svhn", tmp_path), "test"),
    ):
        reference = kind(tmp_path, split=split)
        assert (part.images.numpy() == reference.data).all()
        assert part.labels.tolist() == reference.labels.tolist()
    assert not load_training("svhn", tmp_path).flip_is_lawful


def idx(array):
    """The form of MNIST's files: 0, 0, type 8 (bytes), rank; then the sizes; then the bytes."""
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    return header + array.tobytes()


@pytest.fixture
def fashion_mnist(tmp_path, monkeypatch):
    """A directory with four small files of the published form, not packed."""
    directory = tmp_path / "FashionMNIST" / "raw"
    directory.mkdir(parents=True)
    checksums = {}
    for prefix in ("train", "t10k"):
        images = RANDOM.integers(256, size=(30, 28, 28), dtype=np.uint8)
        labels = (np.arange(30) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            name = f"{prefix}-{kind}-ubyte"
            (directory / name).write_bytes(idx(array))
            checksums[name] = md5(idx(array))
    monkeypatch.setattr(published, "_FASHION_MD5", checksums)
    return directory


def test_fashion_mnist_is_what_torchvision_reads(fashion_mnist):
    root = fashion_mnist.parent.parent
    for part, is_train in (
        (load_training("fashion-mnist", root).train, True),
        (load_test("fashion-mnist", root), False),
    ):
        reference = torchvision_datasets.FashionMNIST(root, train=is_train)
        assert (part.images[:, 0].numpy() == reference.data.numpy()).all()
        assert part.labels.tolist() == reference.targets.tolist()
        assert part.class_names == tuple(reference.classes)


def test_fashion_mnist_packed_is_the_same(fashion_mnist, tmp_path):
    expected = load_training("fashion-mnist", fashion_mnist).fingerprint
    directory = tmp_path / "packed"
    directory.mkdir()
    for path in fashion_mnist.iterdir():
        (directory / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert load_training("fashion-mnist", directory).fingerprint == expected


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(b"other")], ids=["bare", "gzip"])
def test_a_damaged_fashion_mnist_file_is_refused(fashion_mnist, content):
    name = "train-images-idx3-ubyte"
    (fashion_mnist / name).unlink()
    (fashion_mnist / f"{name}.gz").write_bytes(content)
    with pytest.raises(DataError, match=name):
        load_training("fashion-mnist", fashion_mnist)
