"""A folder as people have it: its own splits are read by their names, and never split anew."""

import shutil
from collections import Counter

import pytest
import torch

from nas.data.datasets import load_test, load_training
from nas.errors import DataError

TRAIN, SOME = {"cat": 10, "dog": 10}, {"cat": 4, "dog": 4}


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train", "valid", "test"),  # as Roboflow exports
        ("Train", "Validation", "Test"),
        ("training", "dev", "testing"),
        ("TRAIN", "VAL", "tests"),
    ],
)
def test_splits_go_by_the_names_that_people_give_them(make_folder, train, val, test):
    plain = make_folder(train=TRAIN, val=SOME, test=SOME, name="plain")
    named = make_folder(**{train: TRAIN, val: SOME, test: SOME}, name="named")
    expected, data = load_training("folder", plain), load_training("folder", named)
    assert (len(data.train), len(data.val)) == (20, 8)
    assert data.fingerprint == expected.fingerprint
    assert data.train.num_set_aside == 0
    assert load_test("folder", named).fingerprint == load_test("folder", plain).fingerprint


@pytest.mark.parametrize(
    "same", [("val", "dev"), ("test", "tests"), ("train", "Train"), ("valid", "validation")]
)
def test_two_directories_of_one_split_are_refused(make_folder, same):
    root = make_folder(**{"train": TRAIN, same[0]: TRAIN, same[1]: TRAIN})
    with pytest.raises(DataError, match="one directory for each split") as caught:
        load_training("folder", root)
    assert all(f"{name}/" in str(caught.value) for name in same)


def test_what_lies_beside_train_and_may_be_a_split_is_named(make_folder):
    root = make_folder(train=TRAIN, test=SOME, holdout=SOME, test_images=SOME, notes={"pdf": 1})
    (root / "scripts").mkdir()
    (note,) = [note for note in load_training("folder", root).notes if "beside" in note]
    assert "holdout/, test_images/ may be meant" in note
    assert "notes" not in note
    assert "scripts" not in note


def test_a_split_with_other_classes_is_refused_by_its_own_name(make_folder):
    root = make_folder(train=TRAIN, valid={"cat": 4, "cow": 4})
    with pytest.raises(DataError, match=r"valid/ must have .*missing: dog; not in train/: cow"):
        load_training("folder", root)


def test_a_folder_of_classes_is_split_and_it_is_told_how(make_folder, tmp_path):
    root = make_folder(train={"cat": 20, "dog": 10}, name="with_train")
    flat = shutil.copytree(root / "train", tmp_path / "flat")
    data, test = load_training("folder", flat), load_test("folder", flat)
    assert data.fingerprint == load_training("folder", root).fingerprint
    assert Counter(test.labels.tolist()) == {0: 4, 1: 2}  # a fifth of 20 and of 10
    assert data.train.num_set_aside == 6
    (note,) = [note for note in data.notes if "no train/" in note]
    assert "2 directories are the classes" in note
    assert "20% of the images are set aside for test, 10% of the others validate" in note


def test_a_folder_that_holds_a_data_folder_is_no_folder_of_classes(make_folder):
    root = make_folder(training=TRAIN, test=SOME)
    (root.parent / "other").mkdir(exist_ok=True)
    with pytest.raises(DataError, match=f"--data {root}"):
        load_training("folder", root.parent)


def test_a_test_split_without_train_is_not_taken_for_a_class(make_folder):
    with pytest.raises(DataError, match="has no train/"):
        load_training("folder", make_folder(test=SOME, learn=TRAIN))


def test_a_split_that_is_there_is_not_made_anew_from_the_cache(make_folder):
    root = make_folder(train=TRAIN)
    assert load_training("folder", root).train.num_set_aside == 4
    (root / "train").rename(root / "kept")
    shutil.copytree(root / "kept", root / "train")
    (root / "kept").rename(root / "Test")
    data = load_training("folder", root)
    assert (len(data.train), data.train.num_set_aside) == (20, 0)
    assert torch.equal(load_test("folder", root).images, data.train.images)


@pytest.mark.parametrize(
    "names", [("training_set", "test_set"), ("seg_train", "seg_test"), ("site1", "site2")]
)
def test_directories_that_look_like_splits_are_not_taken_for_classes(make_folder, names):
    root = make_folder(train={"cat": 4, "dog": 4})
    for name in names:
        shutil.copytree(root / "train", root.parent / "kag" / name)
    with pytest.raises(DataError, match=r"look like splits.*name them train, val and test"):
        load_training("folder", root.parent / "kag")
