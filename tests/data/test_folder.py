import os
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data.datasets import Reading, load_test, load_training
from nas.errors import DataError, UsageError

TRAIN, SOME = {"cat": 10, "dog": 10}, {"cat": 4, "dog": 4}


@pytest.fixture
def folder(make_folder):
    return make_folder(train=TRAIN, test=SOME)


def snapshot(root):
    return {
        str(path.relative_to(root)): (path.lstat().st_mtime_ns, path.is_file())
        for path in sorted(root.rglob("*"))
    }


def spoil(path):
    path.write_bytes(b"\x89PNG but nothing more")


def shades(part):
    return {image.numpy().tobytes() for image in part.images}


def test_a_folder_is_read_by_class_in_the_order_of_names(folder):
    data = load_training("folder", folder)
    assert data.train.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == [0] * 10 + [1] * 10
    with Image.open(folder / "train" / "dog" / "003.png") as image:
        expected = np.asarray(image).transpose(2, 0, 1)
    assert (data.train.images[13].numpy() == expected).all()
    assert data.val is None
    spec = data.input_spec
    assert (spec.channels, spec.image_size, spec.num_classes) == (3, 12, 2)


def test_mean_and_deviation_are_those_of_the_training_images(folder):
    data = load_training("folder", folder)
    values = data.train.images.numpy() / 255
    np.testing.assert_allclose(data.normalisation.mean, values.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(data.normalisation.std, values.std((0, 2, 3)), rtol=1e-12)


def test_the_size_that_was_chosen_is_told(folder):
    assert "12x12" in load_training("folder", folder).notes[0]
    assert load_training("folder", folder, reading=Reading(12)).notes == ()
    assert load_training("folder", folder, reading=Reading(8)).input_spec.image_size == 8
    assert load_test("folder", folder, reading=Reading(8)).input_spec.image_size == 8


def test_grayscale_images_have_one_channel_in_every_part(make_folder):
    root = make_folder(train=TRAIN, test=SOME, mode="L")
    Image.new("RGB", (12, 12), (200, 0, 0)).save(root / "test" / "cat" / "red.png")
    assert load_training("folder", root).input_spec.channels == 1
    assert load_test("folder", root).input_spec.channels == 1


def test_a_folders_own_validation_split_is_used(make_folder):
    data = load_training("folder", make_folder(train=TRAIN, val=SOME, test=SOME))
    assert (len(data.train), len(data.val)) == (20, 8)
    assert not shades(data.train) & shades(data.val)


def test_without_a_test_split_a_fifth_of_each_class_is_set_aside(make_folder):
    root = make_folder(train={"cat": 20, "dog": 10})
    train, test = load_training("folder", root).train, load_test("folder", root)
    assert Counter(test.labels.tolist()) == {0: 4, 1: 2}
    assert Counter(train.labels.tolist()) == {0: 16, 1: 8}
    assert not shades(train) & shades(test)
    again = load_test("folder", root)
    assert again.fingerprint == test.fingerprint


def test_training_opens_nothing_of_the_test_split(folder, own_cache):
    for path in folder.glob("test/*/*"):
        spoil(path)
    load_training("folder", folder)
    assert not list(own_cache.rglob("*-test.*"))
    with pytest.raises(DataError, match="8 of 8"):
        load_test("folder", folder)


def test_training_reads_no_cache_of_what_was_set_aside(make_folder, own_cache):
    root = make_folder(train=TRAIN)
    first = load_training("folder", root)
    (kept,) = own_cache.rglob("*-test.*")
    kept.write_bytes(b"damaged")
    assert load_training("folder", root).fingerprint == first.fingerprint
    assert kept.read_bytes() == b"damaged", "nothing was decoded again"
    assert len(load_test("folder", root)) == 4, "the damaged cache was made anew"


def test_files_are_decoded_once_and_the_folder_is_only_read(folder, own_cache):
    before = snapshot(folder)
    first = load_training("folder", folder), load_test("folder", folder)
    written = snapshot(own_cache)
    second = load_training("folder", folder), load_test("folder", folder)
    assert snapshot(own_cache) == written
    assert snapshot(folder) == before
    assert [part.fingerprint for part in first] == [part.fingerprint for part in second]


def test_a_damaged_cache_is_made_anew(folder, own_cache):
    expected = load_training("folder", folder).fingerprint
    for path in own_cache.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-100])
    assert load_training("folder", folder).fingerprint == expected


def test_a_changed_folder_is_read_anew_and_replaces_its_cache(folder, own_cache):
    before = load_training("folder", folder)
    num_files = len(list(own_cache.rglob("*.safetensors")))
    Image.new("RGB", (12, 12), (1, 2, 3)).save(folder / "train" / "cat" / "new.png")
    after = load_training("folder", folder)
    assert len(after.train) == len(before.train) + 1
    assert after.fingerprint != before.fingerprint
    assert len(list(own_cache.rglob("*.safetensors"))) == num_files


def test_a_copy_of_a_folder_has_the_same_fingerprint(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy", copy_function=shutil.copyfile)
    assert load_training("folder", copy).fingerprint == load_training("folder", folder).fingerprint


def test_without_a_place_for_a_cache_the_data_load_and_it_is_told(folder, own_cache):
    own_cache.write_text("a file where the directory should be")
    assert "NAS_CACHE" in load_training("folder", folder).notes[-1]


def test_what_systems_leave_behind_is_no_image_and_no_class(folder):
    (folder / "train" / ".ipynb_checkpoints").mkdir()
    (folder / "train" / "README.txt").write_text("")
    (folder / "train" / "cat" / ".DS_Store").write_text("")
    (folder / "train" / "cat" / "Thumbs.db").write_text("")
    assert len(load_training("folder", folder).train) == 20


def test_images_in_directories_of_a_class_count(folder):
    inner = folder / "train" / "cat" / "images"
    inner.mkdir()
    (folder / "train" / "cat" / "000.png").rename(inner / "000.png")
    assert Counter(load_training("folder", folder).train.labels.tolist()) == {0: 10, 1: 10}


def _one_class(root):
    shutil.rmtree(root / "train" / "dog")


def _empty_class(root):
    (root / "train" / "eel").mkdir()


def _broken_file(root):
    spoil(root / "train" / "cat" / "004.png")


def _text_file(root):
    (root / "train" / "dog" / "notes.txt").write_text("no image")


def _no_train(root):
    (root / "train").rename(root / "learn")


def _missing_test_class(root):
    shutil.rmtree(root / "test" / "dog")


def _extra_val_class(root):
    shutil.copytree(root / "train", root / "val")
    (root / "val" / "dog").rename(root / "val" / "dingo")


def _too_few(root):
    for path in sorted((root / "train" / "dog").iterdir())[1:]:
        path.unlink()


def _absent(root):
    shutil.rmtree(root)


def _a_file(root):
    shutil.rmtree(root)
    root.write_text("")


def _constant(root):
    shutil.copytree(root / "train", root / "val")
    for path in root.glob("train/*/*"):
        Image.new("RGB", (12, 12), (9, 9, 9)).save(path)


def _all_equal(root):
    for number in range(1, 10):
        shutil.copyfile(root / "train/dog/000.png", root / f"train/dog/{number:03d}.png")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_one_class, "at least two classes|has 1 (cat)"),
        (_empty_class, "train/eel|add images"),
        (_broken_file, "1 of 20|train/cat/004.png|replace or remove"),
        (_text_file, "1 of 21|train/dog/notes.txt (not an image)|replace or remove"),
        (_no_train, "no train/|train/CLASS/|learn"),
        (_missing_test_class, "test/ must have|missing: dog"),
        (_extra_val_class, "val/ must have|missing: dog|not in train/: dingo"),
        (_too_few, "needs 2 per class|dog (1)|add images"),
        (_all_equal, "each needs 2 images or groups that are apart|dog (1)|add images"),
        (_absent, "directory|no such file"),
        (_a_file, "directory|not a directory"),
        (_constant, "must differ|9"),
    ],
)
def test_unusable_data_are_refused_in_one_message_and_nothing_is_written(
    folder, own_cache, damage, words
):
    damage(folder)
    before = snapshot(folder) if folder.is_dir() else None
    with pytest.raises(UsageError) as caught:
        load_training("folder", folder)
    assert isinstance(caught.value, DataError)
    message = str(caught.value)
    assert all(word in message for word in words.split("|")), message
    assert str(folder) in message or damage in (_constant, _all_equal)
    assert (snapshot(folder) if folder.is_dir() else None) == before
    assert damage is _constant or not own_cache.exists()


def test_many_broken_files_are_counted_and_a_few_named(folder):
    for path in folder.glob("train/*/*"):
        spoil(path)
    with pytest.raises(DataError, match="20 of 20") as caught:
        load_training("folder", folder)
    assert str(caught.value).count(".png") == 5
    assert "and 15 more" in str(caught.value)


def test_a_folder_one_level_too_high_is_told(folder):
    with pytest.raises(DataError, match=f"--data {folder}"):
        load_training("folder", folder.parent)


def test_no_folder_given_asks_for_one():
    with pytest.raises(DataError, match="--data DIR"):
        load_training("folder")


@pytest.mark.skipif(os.geteuid() != 0, reason="giving up root's rights needs them")
def test_a_folder_without_permission_is_told(folder, tmp_path):
    (folder / "train" / "cat").chmod(0)
    os.seteuid(65534)
    try:
        with pytest.raises(DataError, match="permission denied"):
            load_training("folder", folder)
    finally:
        os.seteuid(0)


@pytest.mark.realdata
def test_real_photos_load_as_their_folder_says(real_data_dir):
    data = load_training("folder", real_data_dir)
    num_files = sum(1 for _ in real_data_dir.glob("train/*/*.jpg"))
    assert len(data.train) == num_files
    assert data.train.class_names == tuple(
        sorted(path.name for path in (real_data_dir / "train").iterdir())
    )
    # CIFAR-10's published mean is 0.491, 0.482, 0.447; a slice and JPEG differ by a little
    if "airplane" in data.train.class_names:
        assert (
            torch.tensor(data.normalisation.mean)
            .sub(torch.tensor([0.491, 0.482, 0.447]))
            .abs()
            .max()
            < 0.01
        )
