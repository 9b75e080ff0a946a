"""What belongs together stays on one side of every split; what users parted is counted."""

import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nas.data.datasets import Reading, load_test, load_training
from nas.data.groups import join_groups
from nas.data.images import Dataset, LabelledImages, Normalisation
from nas.data.split import num_train, set_aside, split_folds, stratified_split, train_and_val
from nas.errors import DataError
from tests.data.conftest import random_image

# groups of images of one class each, at least three of them a class: all can be parted
group_sizes = st.lists(st.lists(st.integers(1, 8), min_size=3, max_size=9), min_size=2, max_size=5)


def tensors(sizes):
    labels = [label for label, groups in enumerate(sizes) for size in groups for _ in range(size)]
    flat = [size for groups in sizes for size in groups]
    groups = [group for group, size in enumerate(flat) for _ in range(size)]
    return torch.tensor(labels), torch.tensor(groups)


def data_of(labels, groups):
    """Images whose only pixel is their number."""
    pixels = torch.arange(len(labels), dtype=torch.int16).view(-1, 1, 1, 1)
    names = tuple(map(str, range(int(labels.max()) + 1)))
    split = LabelledImages(pixels, labels, names, groups=groups)
    return Dataset(split, None, Normalisation((0.5,), (0.5,)))


def numbers(split):
    return split.images.flatten().tolist()


@given(group_sizes, st.sampled_from([0.1, 0.2, 0.5]), st.integers(0, 999))
def test_a_split_parts_no_group_and_has_every_class_on_both_sides(sizes, fraction, seed):
    labels, groups = tensors(sizes)
    first, second = stratified_split(labels, fraction, seed, groups=groups)
    assert sorted(first.tolist() + second.tolist()) == list(range(len(labels)))
    assert not set(groups[first].tolist()) & set(groups[second].tolist())
    for part in (first, second):
        assert set(labels[part].tolist()) == set(range(len(sizes)))


@given(st.lists(st.integers(2, 40), min_size=2, max_size=8), st.integers(0, 999))
def test_groups_of_one_image_are_split_as_images_are(sizes, seed):
    labels = torch.tensor([label for label, size in enumerate(sizes) for _ in range(size)])
    alone = torch.arange(len(labels))
    for with_groups, without in zip(
        stratified_split(labels, 0.2, seed, groups=alone),
        stratified_split(labels, 0.2, seed),
        strict=True,
    ):
        assert torch.equal(with_groups, without)


def test_patients_of_ten_images_give_a_tenth_of_each_class():
    labels, groups = tensors([[10] * 20, [10] * 10])
    for seed in range(20):
        _, val = stratified_split(labels, 0.1, seed, groups=groups)
        assert Counter(labels[val].tolist()) == {0: 20, 1: 10}


def test_every_patient_is_validated_on_about_equally_often():
    labels, groups = tensors([[10] * 10, [10] * 10])
    counts = Counter()
    for seed in range(500):
        counts.update(set(groups[stratified_split(labels, 0.1, seed, groups=groups)[1]].tolist()))
    # one of 10 patients a class: binomial of 500 with 1/10, mean 50, standard deviation 6.7
    assert len(counts) == 20
    assert all(abs(count - 50) < 4.5 * 6.7 for count in counts.values())


def test_what_is_set_aside_leaves_groups_to_validate_on():
    labels, groups = tensors([[1, 1, 18], [1, 1, 18]])  # a fifth would be both small ones
    rest, test = set_aside(labels, groups, keep=2)
    assert len(test) == 2
    assert len(stratified_split(labels[rest], 0.1, 0, groups=groups[rest])[1]) == 2


def test_a_group_of_several_classes_stays_whole():
    labels = torch.tensor([0, 1] * 30)  # ten patients, each with three images of both classes
    groups = torch.arange(10).repeat_interleave(6)
    _, val = stratified_split(labels, 0.1, 0, groups=groups)
    assert Counter(labels[val].tolist()) == {0: 3, 1: 3}


def test_classes_that_no_groups_can_part_are_refused():
    labels, groups = torch.tensor([0, 0, 1, 1, 1]), torch.tensor([7, 7, 8, 8, 9])
    with pytest.raises(DataError, match="class 0"):
        stratified_split(labels, 0.5, 0, groups=groups)


@given(group_sizes, st.integers(2, 3), st.integers(0, 99))
def test_folds_part_no_group_and_validate_on_every_image_once(sizes, folds, seed):
    labels, groups = tensors(sizes)
    data = data_of(labels, groups)
    splits = split_folds(data, seed, folds)
    assert sorted(n for fold in splits for n in numbers(fold.val)) == list(range(len(labels)))
    for fold in splits:
        assert not set(fold.train.groups.tolist()) & set(fold.val.groups.tolist())
        assert set(fold.train.labels.tolist()) == set(range(len(sizes)))
    assert min(len(fold.train) for fold in splits) == num_train(data, folds, seed)


def test_folds_of_equal_patients_are_equal():
    data = data_of(*tensors([[10] * 10, [5] * 20]))
    for fold in split_folds(data, 3, 5):
        assert Counter(fold.val.labels.tolist()) == {0: 20, 1: 20}


def test_more_folds_than_groups_are_refused():
    with pytest.raises(DataError, match=r"--folds 8 needs .* has 6 groups"):
        split_folds(data_of(*tensors([[4] * 3, [4] * 3])), 0, 8)


def test_keys_join_across_keyings():
    # 0-1 by the first, 1-2 by the second, 4-5 by the first; 3 is alone
    groups = join_groups("aabcdd", "vwwxyz").tolist()
    assert [groups[i] == groups[0] for i in range(6)] == [True, True, True, False, False, False]
    assert groups[4] == groups[5] != groups[3]
    assert join_groups("abc", "xyz") is None


def shades(split):
    return {image.numpy().tobytes() for image in split.images}


def test_copies_stay_on_one_side_of_every_split_that_is_made(make_folder):
    root = make_folder(train={"cat": 20, "dog": 20})
    for number in range(0, 20, 2):  # under other names, one in the other class
        shutil.copyfile(root / f"train/cat/{number:03d}.png", root / f"train/cat/copy{number}.png")
    shutil.copyfile(root / "train/dog/000.png", root / "train/cat/dog.png")
    data, test = load_training("folder", root), load_test("folder", root)
    assert not shades(data.train) & shades(test)
    for seed in range(5):
        train, val = train_and_val(data, seed)
        assert not shades(train) & shades(val)
        assert all(not shades(f.train) & shades(f.val) for f in split_folds(data, seed, 4))
    assert any("22 of 51 images have the pixels of another" in note for note in data.notes)
    cached = load_training("folder", root)
    assert (cached.notes, cached.fingerprint) == (data.notes, data.fingerprint)
    assert torch.equal(cached.train.groups, data.train.groups)
    assert cached.train.files == data.train.files


def test_without_copies_the_splits_know_of_no_groups(make_folder):
    data = load_training("folder", make_folder(train={"cat": 10, "dog": 10}))
    assert data.train.groups is None
    assert not any("pixels" in note for note in data.notes)


def test_copies_in_a_validation_split_of_the_users_are_counted_and_named(make_folder):
    root = make_folder(
        train={"cat": 10, "dog": 10}, val={"cat": 4, "dog": 4}, test={"cat": 2, "dog": 2}
    )
    before = load_training("folder", root)
    random_image(1).save(
        root / "val/cat/000.png", compress_level=0
    )  # train/cat/000.png, otherwise
    data = load_training("folder", root)
    text = "1 of 8 val images are also in train/, by their pixels (val/cat/000.png is train/cat/"
    assert any(note.startswith(text + "000.png)") for note in data.notes)
    assert not any("are also in" in note for note in before.notes)
    assert len(data.val) == 8


def test_copies_change_no_fingerprint_where_the_splits_are_the_users(make_folder):
    parts = {"cat": 3, "dog": 3}
    root = make_folder(train=parts, val=parts, test=parts)
    shutil.copyfile(root / "train/cat/000.png", root / "train/cat/001.png")
    data = load_training("folder", root)
    plain = [
        LabelledImages(part.images, part.labels, part.class_names).fingerprint
        for part in (data.train, data.val)
    ]
    assert data.train.groups is not None
    assert data.fingerprint == "+".join(plain)


def test_what_has_its_copy_in_the_users_val_is_not_set_aside_for_test(make_folder):
    root = make_folder(train={"cat": 10, "dog": 10}, val={"cat": 2, "dog": 2})
    first = load_test("folder", root)
    for number, file in enumerate(first.files):  # all that was set aside gets a copy in val/
        shutil.copyfile(root / file, root / "val" / file.split("/")[1] / f"copy{number}.png")
    data, test = load_training("folder", root), load_test("folder", root)
    assert len(test) == 3  # a fifth of the 16 that have no copy there
    assert set(test.labels.tolist()) == {0, 1}
    assert not shades(test) & (shades(data.train) | shades(data.val))
    assert any("4 of 8 val images are also in train/" in note for note in data.notes)


@pytest.fixture
def patients(tmp_path):
    """Two classes, ten patients in each, four images of each patient."""
    root = tmp_path / "patients"
    seed = 0
    for name in ("ill", "well"):
        (root / "train" / name).mkdir(parents=True)
        for patient in range(10):
            for image in range(4):
                seed += 1
                random_image(seed).save(root / f"train/{name}/{name}-p{patient}_{image}.png")
    return root


@pytest.mark.parametrize("pattern", [r"/([a-z]+-p\d+)_", r"[a-z]+-p\d+"])
def test_images_of_a_patient_stay_together(patients, pattern):
    reading = Reading(group_by=pattern)
    data, test = load_training("folder", patients, reading), load_test("folder", patients, reading)

    def people(split):
        return {file.split("_")[0] for file in split.files}

    assert Counter(test.labels.tolist()) == {0: 8, 1: 8}  # a fifth of 10 patients a class
    assert not people(data.train) & people(test)
    for seed in range(5):
        train, val = train_and_val(data, seed)
        assert not people(train) & people(val)
    assert any("80 images in 20 groups, such as ill-p0" in note for note in data.notes)
    assert data.fingerprint != load_training("folder", patients).fingerprint


def test_groups_that_the_user_parted_are_counted(patients):
    (patients / "test").mkdir()
    for name in ("ill", "well"):
        (patients / "test" / name).mkdir()
        for patient in (1, 2):
            source = patients / f"train/{name}/{name}-p{patient}_0.png"
            source.rename(patients / f"test/{name}/{source.name}")
    for path in patients.glob("test/*/*"):
        path.write_bytes(b"no search opens it")
    notes = load_training("folder", patients, Reading(group_by=r"[a-z]+-p\d+")).notes
    assert any(
        "4 of these groups, such as ill-p1, have images in more than one" in n for n in notes
    )


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(p", "regular expression|'(p'|unterminated"),
        (r"p(1)", "every image|none in train/ill/ill-p0_0.png|change it"),
        ("p(x)?", "none in train/ill/ill-p0_0.png"),
        ("train", "each needs 3|ill (1), well (1)|change --group-by"),
    ],
)
def test_a_pattern_that_does_not_fit_is_refused_in_one_message(patients, pattern, words):
    with pytest.raises(DataError) as caught:
        load_training("folder", patients, Reading(group_by=pattern))
    message = str(caught.value)
    assert all(word in message for word in words.split("|")), message


def test_one_bright_pixel_in_val_makes_no_two_images_alike(tmp_path):
    for split, count in (("train", 8), ("val", 4)):
        for label in ("a", "b"):
            (tmp_path / split / label).mkdir(parents=True)
            for number in range(count):
                level = 10 * number + (5 if label == "b" else 0) + (2 if split == "val" else 0)
                image = np.full((8, 8), level, dtype=np.uint16)
                if (split, label, number) == ("val", "b", 3):
                    image[0, 0] = 65_535
                Image.fromarray(image).save(tmp_path / split / label / f"{number}.png")
    data = load_training("folder", tmp_path)
    assert data.train.groups is None
    assert not any("pixels" in note and "another" in note for note in data.notes)


def test_what_is_no_image_needs_no_group(make_folder):
    root = make_folder(train={"cat": 10, "dog": 10})
    for path in list(root.glob("train/*/*.png")):
        path.with_suffix(".xml").write_text("about it")
    reading = Reading(group_by=r"/(\d+)\.png$")
    notes = load_training("folder", root, reading).notes
    assert any("--group-by: 20 images in 10 groups" in note for note in notes)


def test_equal_images_of_two_classes_are_told(make_folder):
    root = make_folder(train={"cat": 10, "dog": 10})
    for number in range(2):
        shutil.copy(root / f"train/cat/{number:03d}.png", root / f"train/dog/copy{number}.png")
    notes = load_training("folder", root).notes
    assert any("4 of these images are in several classes" in note for note in notes)
