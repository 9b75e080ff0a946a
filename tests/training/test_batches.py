"""From a data set to the batches of a training: which images go where."""

from dataclasses import replace

import pytest
import torch

from nas.data.datasets import load_training
from nas.data.images import Dataset, LabelledImages, Normalisation
from nas.training.batches import make_batches, merge, place_all, place_search_splits
from nas.training.recipe import RECIPES


@pytest.fixture(scope="module")
def digits():
    return load_training("digits")


def numbered(count, first, size=4):
    """Images whose first two pixels are their number."""
    images = torch.zeros(count, 1, size, size, dtype=torch.uint8)
    numbers = torch.arange(first, first + count)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = numbers // 256, numbers % 256
    return LabelledImages(images, numbers % 2, ("even", "odd"))


def numbers(placed):
    return {int(image[0, 0, 0]) * 256 + int(image[0, 0, 1]) for image in placed.images}


def data_of(train, val=None):
    return Dataset(train, val, Normalisation((0.5,), (0.5,)), "mine")


def test_a_searchs_slices_are_disjoint_and_the_same_whenever_asked():
    data = data_of(numbered(400, 0))
    first = place_search_splits(data, 3, 100, 20, "cpu")
    again = place_search_splits(data, 3, 100, 20, "cpu")
    assert (len(numbers(first.train)), len(numbers(first.val))) == (100, 20)
    assert not numbers(first.train) & numbers(first.val)
    assert numbers(first.train) == numbers(again.train)
    assert numbers(first.val) == numbers(again.val)
    assert numbers(place_search_splits(data, 4, 100, 20, "cpu").val) != numbers(first.val)


def test_holdout_keeps_out_exactly_the_images_that_a_search_validated_on():
    data = data_of(numbered(400, 0))
    searched = place_search_splits(data, 3, 360, 40, "cpu")
    held = place_all(data, "cpu", 3, holdout=True)
    assert numbers(held.val) == numbers(searched.val)
    assert numbers(held.train) | numbers(held.val) == set(range(400))


def test_all_is_trained_on_without_holdout_an_own_validation_split_included():
    data = data_of(numbered(40, 0), numbered(10, 1_000))
    merged = place_all(data, "cpu", 0, holdout=False)
    assert numbers(merged.train) == {*range(40), *range(1_000, 1_010)}
    assert merged.val is None
    assert torch.equal(merge(data).labels, torch.cat([data.train.labels, data.val.labels]))
    held = place_all(data, "cpu", 0, holdout=True)
    assert numbers(held.val) == set(range(1_000, 1_010))


def test_a_flip_that_would_change_a_class_is_left_out(digits):
    recipe = replace(RECIPES["short"], flip=True)
    parts = place_all(digits, "cpu", 0, holdout=False)
    assert not make_batches(parts, recipe, 0).train.augmentation.flip
    lawful = replace(parts, flip_is_lawful=True)
    assert make_batches(lawful, recipe, 0).train.augmentation.flip


def test_without_a_validation_split_nothing_is_measured(digits):
    parts = place_all(digits, "cpu", 0, holdout=False)
    batches = make_batches(parts, RECIPES["short"], 0)
    assert batches.val is None
    assert len(batches.train) == len(digits.train) // RECIPES["short"].batch_size
