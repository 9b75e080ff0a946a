"""No split of a folder is hashed twice in one start: 45,000 images are 140 MB."""

import shutil

import pytest

import nas.data.images
from nas.commands import main
from tests.support.searching import words

TRAIN, TEST = 48, 12  # of the sixty images: a fifth is set aside


@pytest.fixture
def hashed(monkeypatch):
    """How many images each call of the hash function saw, since this was last cleared."""
    sizes, fingerprint = [], nas.data.images.fingerprint

    def count_and_hash(images, labels, class_names):
        sizes.append(len(images))
        return fingerprint(images, labels, class_names)

    monkeypatch.setattr(nas.data.images, "fingerprint", count_and_hash)
    return sizes


@pytest.fixture
def own_images(images, tmp_path, folder, monkeypatch):
    """A folder of images that no test has decoded yet."""
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    shutil.copytree(images / "train", tmp_path / "images" / "train")
    return tmp_path / "images"


def test_a_search_hashes_each_split_once_a_start(own_images, hashed):
    starts = {
        "the images are decoded": ((), [TEST, TRAIN]),  # the cache file of each has its hash
        "a new study, decoded images": (("--study", "another"), [TRAIN]),
        "resumed": (("--study", "another", "--trials", "2"), [TRAIN]),
        "resumed, nothing to do": (("--study", "another", "--trials", "2"), [TRAIN]),
    }
    for start, (more, expected) in starts.items():
        hashed.clear()
        assert main(words(own_images, *more, trials=1)) == 0
        assert sorted(hashed) == expected, start


def test_a_validation_split_of_its_own_is_hashed_once_too(own_images, hashed):
    shutil.copytree(own_images / "train", own_images / "val")
    for _ in range(2):
        hashed.clear()
        assert main(words(own_images, "--dry-run")) == 0
    assert sorted(hashed) == [TRAIN, TRAIN + TEST]


def test_a_full_training_hashes_each_split_once(own_images, hashed):
    argv = ["retrain", "--arch", "[[Basic,1,8]]", "--dataset", "folder", "--epochs", "1"]
    argv += ["--data", str(own_images), "--image-size", "8"]
    assert main(argv) == 0  # decodes the images
    hashed.clear()
    assert main([*argv, "--restart"]) == 0
    assert sorted(hashed) == [TEST, TRAIN]
