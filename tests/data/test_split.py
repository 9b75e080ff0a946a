import random
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.data.images import Dataset, LabelledImages, Normalisation
from nas.data.split import (
    num_train,
    set_aside,
    split_folds,
    stratified_split,
    stratified_subset,
)
from nas.errors import DataError

BALANCED = torch.arange(10).repeat(100)  # 100 images in each of 10 classes
class_sizes = st.lists(st.integers(2, 40), min_size=2, max_size=12)


def labels_of(sizes, seed=0):
    labels = [label for label, size in enumerate(sizes) for _ in range(size)]
    random.Random(seed).shuffle(labels)
    return torch.tensor(labels)


@given(class_sizes, st.sampled_from([0.05, 0.1, 0.2, 0.5, 0.9]), st.integers(0, 1000))
def test_a_split_parts_all_images_and_keeps_every_class_in_both(sizes, fraction, seed):
    labels = labels_of(sizes)
    first, second = stratified_split(labels, fraction, seed)
    assert sorted(first.tolist() + second.tolist()) == list(range(len(labels)))
    for part in (first, second):
        assert part.tolist() == sorted(part.tolist())
        assert set(labels[part].tolist()) == set(range(len(sizes)))


def test_a_balanced_data_set_gives_each_class_its_exact_share():
    _, val = stratified_split(BALANCED, 0.1, seed=3)
    assert Counter(BALANCED[val].tolist()) == dict.fromkeys(range(10), 10)


@given(class_sizes, st.integers(0, 1000))
def test_a_class_gives_its_share_within_one_image(sizes, seed):
    labels = labels_of(sizes)
    _, val = stratified_split(labels, 0.3, seed)
    taken = Counter(labels[val].tolist())
    for label, size in enumerate(sizes):
        assert abs(taken[label] - 0.3 * size) <= 1 or taken[label] == 1


@given(class_sizes, st.data())
def test_a_subset_has_its_size_and_every_class(sizes, data):
    labels = labels_of(sizes)
    size = data.draw(st.integers(len(sizes), len(labels)))
    subset = stratified_subset(labels, size, seed=0)
    assert len(set(subset.tolist())) == size
    assert set(labels[subset].tolist()) == set(range(len(sizes)))


def test_the_seed_decides_and_global_generators_do_not():
    torch.manual_seed(0)
    random.seed(0)
    before = torch.get_rng_state(), random.getstate()
    one = stratified_split(BALANCED, 0.1, seed=1)[1]
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    torch.manual_seed(99)
    assert torch.equal(one, stratified_split(BALANCED, 0.1, seed=1)[1])
    assert not torch.equal(one, stratified_split(BALANCED, 0.1, seed=2)[1])


def test_a_split_and_a_subset_of_one_seed_are_independent():
    val = set(stratified_split(BALANCED, 0.5, seed=1)[1].tolist())
    subset = set(stratified_subset(BALANCED, 500, seed=1).tolist())
    # hypergeometric, 1000 images, 500 and 500 drawn: mean 250, standard deviation 7.9
    assert abs(len(val & subset) - 250) < 40


def test_images_are_picked_uniformly():
    counts = torch.zeros(1000)
    for seed in range(400):
        counts[stratified_split(BALANCED, 0.1, seed)[1]] += 1
    # each image is in a split with probability 1/10: binomial mean 40, variance 36;
    # chi-squared with 990 degrees of freedom (each class's sum is fixed) has deviation 44.5
    statistic = float(((counts - 40).square() / 36).sum()) * 990 / 1000
    assert abs(statistic - 990) < 5 * 44.5


def data_of(labels, val=None):
    """Images whose only pixel is their number."""
    pixels = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1)
    names = tuple(map(str, range(int(labels.max()) + 1)))
    split = LabelledImages(pixels, labels, names)
    return Dataset(split, val and split, Normalisation((0.5,), (0.5,)))


def numbers(split):
    return split.images.flatten().tolist()


@given(class_sizes.filter(lambda sizes: sum(sizes) <= 256), st.integers(2, 12), st.integers(0, 99))
def test_folds_validate_on_every_image_once_and_train_on_the_others(sizes, folds, seed):
    labels = labels_of(sizes)
    folds = min(folds, len(labels))
    splits = split_folds(data_of(labels), seed, folds)
    assert len(splits) == folds
    validated = [number for fold in splits for number in numbers(fold.val)]
    assert sorted(validated) == list(range(len(labels)))
    for fold in splits:
        assert sorted(numbers(fold.train) + numbers(fold.val)) == list(range(len(labels)))
        assert torch.equal(labels[numbers(fold.val)], fold.val.labels)
        assert set(fold.train.labels.tolist()) == set(range(len(sizes)))
        assert fold.fingerprint == splits[0].fingerprint
    by_class = [Counter(fold.val.labels.tolist()) for fold in splits]
    for label in range(len(sizes)):
        counts = [counter[label] for counter in by_class]
        assert max(counts) - min(counts) <= 1
    assert len({len(fold.val) for fold in splits}) <= 2
    assert min(len(fold.train) for fold in splits) == num_train(data_of(labels), folds, seed)


def test_the_seed_decides_the_folds():
    data = data_of(torch.arange(4).repeat(50))
    first, again, other = (split_folds(data, seed, 5) for seed in (1, 1, 2))
    assert [numbers(fold.val) for fold in first] == [numbers(fold.val) for fold in again]
    assert [numbers(fold.val) for fold in first] != [numbers(fold.val) for fold in other]


def test_one_fold_is_the_data_as_they_are():
    data = data_of(torch.tensor([0, 0, 1]))
    assert split_folds(data, 0, 1) == [data]


@pytest.mark.parametrize(
    ("labels", "folds", "val", "message"),
    [
        ([0, 0, 1, 1], 5, None, "needs 5 of them or more (here 4)"),
        ([0, 0, 1], 2, None, "at least 2 images in every class"),
        ([0, 0, 1, 1], 2, True, "no validation split beside them"),
    ],
)
def test_folds_that_cannot_be_are_refused(labels, folds, val, message):
    with pytest.raises(DataError) as refused:
        split_folds(data_of(torch.tensor(labels), val), 0, folds)
    assert message in str(refused.value)


def test_what_is_set_aside_is_a_fifth_and_always_the_same():
    rest, test = set_aside(BALANCED)
    assert (len(rest), len(test)) == (800, 200)
    assert torch.equal(test, set_aside(BALANCED)[1])


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_outside_its_range_is_refused(fraction):
    with pytest.raises(DataError, match="fraction"):
        stratified_split(BALANCED, fraction, seed=0)


def test_a_class_of_one_image_cannot_be_split():
    with pytest.raises(DataError, match="at least 2 images"):
        stratified_split(torch.tensor([0, 0, 1]), 0.5, seed=0)


@pytest.mark.parametrize("size", [0, 9, 1001])
def test_a_subset_below_the_classes_or_above_the_images_is_refused(size):
    with pytest.raises(DataError, match="10 to 1,000"):
        stratified_subset(BALANCED, size, seed=0)
