import subprocess
import sys
from collections import Counter
from importlib import import_module

import pytest
from sklearn.datasets import load_digits

from nas.data.datasets import DATASETS, Reading, load_test, load_training
from nas.errors import DataError, UnknownNameError


def shades(part):
    return Counter(image.numpy().tobytes() for image in part.images)


FLIP_IS_LAWFUL = {  # digits have a side
    "cifar10": True,
    "cifar100": True,
    "svhn": False,
    "fashion-mnist": True,
    "digits": False,
    "folder": True,
}


def test_the_table_names_what_the_readme_promises():
    found = {name: DATASETS[name].flip_is_lawful for name in FLIP_IS_LAWFUL}
    assert found == FLIP_IS_LAWFUL


@pytest.mark.parametrize("name", DATASETS)
def test_every_row_names_a_source_that_reads_both_parts(name):
    source = import_module(f"nas.data.{DATASETS[name].source}")
    assert callable(source.training_splits)
    assert callable(source.test_split)


def test_digits_are_scikit_learns_parted_once_and_for_all():
    data, test = load_training("digits"), load_test("digits")
    raw = load_digits()
    spec = data.input_spec
    assert (spec.channels, spec.image_size, spec.num_classes) == (1, 8, 10)
    assert (len(data.train), len(test)) == (1438, 359)
    expected = Counter(
        (image * 255 / 16).round().astype("uint8").tobytes() for image in raw.images
    )
    assert shades(data.train) + shades(test) == expected
    share = {label: count / 5 for label, count in Counter(raw.target.tolist()).items()}
    counts = Counter(test.labels.tolist())
    assert all(abs(counts[label] - share[label]) < 1 for label in range(10))
    assert not data.flip_is_lawful


def test_digits_show_what_their_labels_say():
    data = load_training("digits")
    raw = load_digits()
    label_by_image = {
        (image * 255 / 16).round().astype("uint8").tobytes(): int(label)
        for image, label in zip(raw.images, raw.target, strict=True)
    }
    for image, label in zip(data.train.images, data.train.labels.tolist(), strict=True):
        assert label_by_image[image.numpy().tobytes()] == label


def test_another_image_size_is_another_data_set_of_the_same_images():
    data = load_training("digits", reading=Reading(16))
    assert data.input_spec.image_size == 16
    assert data.train.labels.tolist() == load_training("digits").train.labels.tolist()
    assert data.fingerprint != load_training("digits").fingerprint


def test_an_unknown_name_proposes_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'cifar10'"):
        load_training("cifar-10")


@pytest.mark.parametrize("image_size", [0, -32, 1025])
def test_an_image_size_out_of_range_is_refused(image_size):
    with pytest.raises(DataError, match="image size"):
        load_training("digits", reading=Reading(image_size))


def test_names_need_the_standard_library_alone():
    program = "import sys; sys.path.insert(0, '.'); from nas.data.datasets import DATASETS"
    subprocess.run([sys.executable, "-S", "-c", program], check=True)
