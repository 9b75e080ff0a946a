import itertools
import os
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from nas.data.datasets import Reading, early_input_spec, load_test, load_training
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


MACHINES_FOLDERS = [
    *("@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found"),
    *("__pycache__", "#recycle", ".ipynb_checkpoints"),
]


def test_what_machines_leave_behind_is_no_image_and_no_class(folder):
    before = load_training("folder", folder)
    image = folder / "train" / "cat" / "000.png"
    for place in ("", "train", "test", "train/cat", "train/cat/@eaDir/000.png", "test/dog"):
        for name in MACHINES_FOLDERS:
            (folder / place / name).mkdir(parents=True)
            shutil.copy(image, folder / place / name / "SYNOPHOTO_THUMB_M.jpg")
        for name in (".DS_Store", "._000.png", "Thumbs.db", "desktop.ini"):
            (folder / place / name).write_text("")
    after = load_training("folder", folder)
    assert (after.fingerprint, after.notes) == (before.fingerprint, before.notes)
    assert len(load_test("folder", folder)) == 8
    assert early_input_spec("folder", folder, None).num_classes == 2


def add_strays(root):
    for number in range(10):
        (root / "train" / "cat" / f"{number:03d}.xml").write_text("<annotation/>")
    (root / "train" / "dog" / "empty").write_text("")
    (root / "train" / "classes.json").write_text("{}")
    return 12


def test_stray_files_are_left_out_counted_and_named_and_strict_refuses_them(folder):
    before = load_training("folder", folder).fingerprint
    num_strays = add_strays(folder)
    for _ in range(2):  # decoded, then from the cache
        data = load_training("folder", folder)
        assert data.fingerprint == before
        (note,) = (note for note in data.notes if "left out" in note)
        assert f"left out that are no images of a class ({num_strays}): " in note
        assert "train/cat/000.xml" in note
        assert "and 7 more" in note
    with pytest.raises(DataError, match=f"{num_strays} files .* train/cat/000.xml"):
        load_training("folder", folder, reading=Reading(strict=True))


def test_an_image_is_known_by_its_content_under_any_name(folder):
    before = load_training("folder", folder)
    for name in ("no_suffix", "picture.jpg_large", "wrong.xml"):
        shutil.copy(folder / "train" / "cat" / "000.png", folder / "train" / "cat" / name)
    assert len(load_training("folder", folder).train) == len(before.train) + 3


def test_broken_images_are_left_out_where_that_is_asked_for(folder):
    before = load_training("folder", folder)
    spoil(folder / "train" / "cat" / "004.png")
    (folder / "train" / "dog" / "007.png").write_bytes(b"")
    spoil(folder / "test" / "dog" / "001.png")
    reading = Reading(skip_broken=True)
    for _ in range(2):
        data = load_training("folder", folder, reading=reading)
        kept = [index for index in range(20) if index not in (4, 17)]
        assert torch.equal(data.train.images, before.train.images[kept])
        assert torch.equal(data.train.labels, before.train.labels[kept])
        (note,) = (note for note in data.notes if "left out" in note)
        assert all(word in note for word in ("read (2): ", "cat/004.png (", "dog/007.png (not an"))
        test = load_test("folder", folder, reading=reading)
        assert Counter(test.labels.tolist()) == {0: 4, 1: 3}
        assert "left out that cannot be read (1): test/dog/001.png" in test.notes[-1]
    with pytest.raises(DataError, match=r"2 of 20 .*--skip-broken"):
        load_training("folder", folder)


def test_a_class_that_loses_its_images_to_what_is_left_out_is_refused(folder):
    for path in folder.glob("train/dog/*"):
        spoil(path)
    with pytest.raises(DataError, match="have none: train/dog"):
        load_training("folder", folder, reading=Reading(skip_broken=True))


def write_deep(path, low, high):
    """Write 16 bits, 12x12: a ramp from low to high."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.linspace(low, high, 144).round().reshape(12, 12).astype(np.uint16)
    Image.fromarray(array).save(path)
    return array


def as_bytes(array, low, high):
    return np.rint((array.astype(float).clip(low, high) - low) * 255 / (high - low))


def test_sixteen_bits_are_scaled_by_the_range_of_the_training_split_alone(tmp_path):
    root = tmp_path / "deep"
    for split, low, high in (("train", 9, 199), ("val", 0, 150), ("test", 0, 400)):
        for name, number in itertools.product(("cat", "dog"), range(5)):
            array = write_deep(root / split / name / f"{number}.png", low, high - number)
    for _ in range(2):  # decoded, then from the cache
        data, test = load_training("folder", root), load_test("folder", root)
        assert data.value_range == test.value_range == (9, 199)
        assert any("values 9 to 199 become 0 to 255" in note for note in data.notes)
        assert len(np.unique(data.train.images)) > 100, "more than a high byte, which is 0 here"
        assert data.val.images.max() == round((150 - 9) * 255 / 190)
        assert (test.images[-1, 0].numpy() == as_bytes(array, 9, 199)).all()


def test_images_that_are_set_aside_do_not_set_the_range(tmp_path):
    places = [tmp_path / "deep" / "train" / name / f"{i}.png" for name in "ab" for i in range(10)]
    for number, place in enumerate(places):
        write_deep(place, 9, 180 + number)
    before = shades(load_test("folder", tmp_path / "deep"))
    low, high = load_training("folder", tmp_path / "deep").value_range
    changed = []
    for place in places:
        if as_bytes(np.asarray(Image.open(place)), low, high).astype(np.uint8).tobytes() in before:
            changed.append(write_deep(place, 0, 400 + len(changed)))
    assert len(changed) == 4
    assert load_training("folder", tmp_path / "deep").value_range == (low, high)
    expected = {as_bytes(array, low, high).astype(np.uint8).tobytes() for array in changed}
    assert shades(load_test("folder", tmp_path / "deep")) == expected


def test_among_eight_bit_images_those_of_sixteen_alone_are_scaled(folder):
    before = load_training("folder", folder).train
    array = write_deep(folder / "train" / "dog" / "z.png", 5, 105)
    data = load_training("folder", folder)
    assert torch.equal(data.train.images[:-1], before.images)
    assert (data.train.images[-1].numpy() == as_bytes(array, 5, 105)).all()
    assert any(
        note.startswith("images of more than 8 bits a channel (1 of 21)") for note in data.notes
    )


def test_the_sizes_found_and_what_is_done_with_them_are_told(make_folder):
    root = make_folder(train=TRAIN)
    Image.new("RGB", (48, 40)).save(root / "train" / "cat" / "a.png")
    Image.new("RGB", (400, 300)).save(root / "train" / "dog" / "b.jpg")
    first, second = load_training("folder", root).notes
    assert "12x12 to 400x300" in first
    assert "32x32" in first
    assert second.startswith("images that are not square (2 of 22): padded with white")
    assert "--resize crop or squash" in second
    for resize in ("crop", "squash"):
        data = load_training("folder", root, reading=Reading(resize=resize))
        assert resize in data.notes[1].split(";")[0]


def test_images_with_alpha_or_several_frames_are_counted(folder):
    see_through = Image.new("RGBA", (12, 12), (0, 0, 0, 0))
    see_through.save(folder / "train" / "cat" / "x.png")
    frames = [Image.new("RGB", (12, 12), shade) for shade in ("red", "blue")]
    frames[0].save(folder / "train" / "dog" / "y.gif", save_all=True, append_images=frames[1:])
    data = load_training("folder", folder)
    assert (data.train.images[10] == 255).all()
    assert data.train.images[-1, :, 0, 0].tolist() == [255, 0, 0]
    assert any("transparent in places (1 of 22)" in note for note in data.notes)
    assert any("several frames or pages (1 of 22)" in note for note in data.notes)


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
