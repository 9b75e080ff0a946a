from collections import Counter
from random import Random

import pytest
import torch
from torchvision.transforms import InterpolationMode, TrivialAugmentWide
from torchvision.transforms.autoaugment import _apply_op

from nas.data.policy import POLICIES, TRIVIAL_OPERATIONS, trivial_augment
from nas.recipe import POLICIES as RECIPE_POLICIES

SPACE = TrivialAugmentWide()._augmentation_space(31)


def batch(channels, num_images=5, size=32):
    generator = torch.Generator().manual_seed(channels)
    return torch.randint(
        256, (num_images, channels, size, size), generator=generator, dtype=torch.uint8
    )


def test_the_space_is_torchvisions():
    assert list(TRIVIAL_OPERATIONS) == list(SPACE)
    for name, (magnitudes, is_signed) in SPACE.items():
        operation = TRIVIAL_OPERATIONS[name]
        scale = 32.0 if "Translate" in name else 1.0  # ours are shares of the image
        ours = scale * torch.tensor(operation.magnitudes)
        torch.testing.assert_close(ours, magnitudes.float().reshape(-1), rtol=1e-5, atol=1e-5)
        assert operation.is_signed == is_signed


@pytest.mark.parametrize("name", TRIVIAL_OPERATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_operation_on_a_batch_equals_torchvisions_on_each_image(name, channels):
    images, operation = batch(channels), TRIVIAL_OPERATIONS[name]
    scale = 32.0 if "Translate" in name else 1.0
    for magnitude in operation.magnitudes[::7]:
        for signed in (magnitude, -magnitude) if operation.is_signed else (magnitude,):
            found = operation.apply(images, signed)
            for image, ours in zip(images, found, strict=True):
                theirs = _apply_op(
                    image, name, signed * scale, InterpolationMode.NEAREST, fill=None
                )
                assert torch.equal(ours, theirs)


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


def test_equal_seeds_augment_equally_and_spare_the_input():
    images = batch(3)
    before = images.clone()
    assert torch.equal(trivial_augment(images, Random(3)), trivial_augment(images, Random(3)))
    assert torch.equal(images, before)
    assert not torch.equal(trivial_augment(images, Random(3)), trivial_augment(images, Random(4)))


def test_a_recipe_names_every_policy():
    assert set(RECIPE_POLICIES) == {"none", *POLICIES}
