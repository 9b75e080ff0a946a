from collections import Counter
from random import Random

import pytest
import torch
from scipy.stats import chisquare
from torchvision.transforms import AutoAugment, AutoAugmentPolicy, InterpolationMode
from torchvision.transforms.autoaugment import _apply_op
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from nas.data.auto_augment import (
    POLICIES,
    apply_operation,
    apply_sub_policies,
    auto_augment,
    auto_space,
    draw_sub_policy,
    trivial_augment,
    trivial_space,
)
from nas.training.recipe import POLICY_NAMES as RECIPE_POLICIES

AUTO = AutoAugment(AutoAugmentPolicy.CIFAR10)


SPACES = (trivial_space(32), auto_space(32))


def batch(channels, num_images=5, size=32):
    generator = torch.Generator().manual_seed(channels)
    return torch.randint(
        256, (num_images, channels, size, size), generator=generator, dtype=torch.uint8
    )


@pytest.mark.parametrize("size", [8, 28, 32, 64])
def test_translations_go_up_to_the_same_part_of_an_image_of_any_size(size):
    for space, most in ((trivial_space, 1.0), (auto_space, 150 / 331)):
        for name in ("TranslateX", "TranslateY"):
            assert max(space(size)[name].magnitudes) == pytest.approx(most * size)


def strengths(name, every=7):
    """Some magnitudes of TrivialAugment, all of AutoAugment's, with their signs."""
    for space, step in zip(SPACES, (every, 1), strict=True):
        if name in space:
            for magnitude in space[name].magnitudes[::step]:
                yield from (magnitude, -magnitude) if space[name].is_signed else (magnitude,)


@pytest.mark.parametrize("name", SPACES[0] | SPACES[1])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_operation_on_a_batch_is_that_on_each_image(name, channels):
    images = batch(channels)
    for magnitude in strengths(name):
        found = apply_operation(images, name, magnitude)
        for image, ours in zip(images, found, strict=True):
            theirs = _apply_op(image, name, magnitude, InterpolationMode.NEAREST, fill=None)
            assert torch.equal(ours, theirs)


USED = sorted({(name, level) for policy in AUTO.policies for name, _, level in policy}, key=str)


@pytest.mark.parametrize(("name", "level"), USED)
def test_an_operation_of_the_cifar10_policy_is_within_one_of_pils(name, level):
    images, strengths = batch(3), auto_space(32)[name]
    highest = strengths.magnitudes[level] if level is not None else 0.0
    for magnitude in (highest, -highest) if strengths.is_signed else (highest,):
        for image, ours in zip(images, apply_operation(images, name, magnitude), strict=True):
            pil = _apply_op(
                to_pil_image(image), name, magnitude, InterpolationMode.NEAREST, fill=None
            )
            assert (pil_to_tensor(pil).int() - ours.int()).abs().max() <= 1


class GivenDraws(AutoAugment):
    """torchvision's AutoAugment with what chance decided given from outside."""

    def get_params(self, transform_num):
        draw = self.draw
        return draw.number, list(draw.chances), [0 if negated else 1 for negated in draw.negated]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 32])
def test_autoaugment_on_a_batch_equals_torchvisions_image_by_image_given_the_same_draws(
    channels, size
):
    images, rng = batch(channels, 200, size), Random(0)
    draws = [draw_sub_policy(rng) for _ in images]
    assert {draw.number for draw in draws} == set(range(25))
    theirs = GivenDraws(AutoAugmentPolicy.CIFAR10)
    found = apply_sub_policies(images, draws)
    for image, ours, theirs.draw in zip(images, found, draws, strict=True):
        assert torch.equal(ours, theirs(image))


def test_sub_policies_their_chances_and_signs_are_drawn_independently_and_uniformly():
    rng = Random(0)
    draws = [draw_sub_policy(rng) for _ in range(20_000)]
    cells = Counter(
        (draw.number, *(chance < 0.5 for chance in draw.chances), *draw.negated) for draw in draws
    )
    assert len(cells) == 25 * 2**4
    assert chisquare(list(cells.values())).pvalue > 1e-3


def test_operations_and_strengths_are_drawn_uniformly():
    # a ramp of brightness tells operations apart: count how often an image stays as it is
    images = batch(3, num_images=14)
    kept = Counter()
    for seed in range(400):
        augmented = trivial_augment(images, Random(seed))
        kept.update(index for index in range(14) if torch.equal(augmented[index], images[index]))
    # Identity: 1 in 14. Of the rest these leave noise as it is: strength 0 of 9 signed
    # operations and 3 of 31 steps of Posterize (8 bits), and AutoContrast (full range already)
    expected = (1 + 9 / 31 + 3 / 31 + 1) / 14
    assert sum(kept.values()) / (400 * 14) == pytest.approx(expected, abs=0.02)
    assert len(kept) == 14


@pytest.mark.parametrize("augment", [trivial_augment, auto_augment])
def test_equal_seeds_augment_equally_and_spare_the_input(augment):
    images = batch(3)
    before = images.clone()
    assert torch.equal(augment(images, Random(3)), augment(images, Random(3)))
    assert torch.equal(images, before)
    assert not torch.equal(augment(images, Random(3)), augment(images, Random(4)))


def test_a_recipe_names_every_policy():
    assert set(RECIPE_POLICIES) == {"none", *POLICIES}
