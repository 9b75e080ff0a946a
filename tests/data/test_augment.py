import numpy as np
import pytest
import torch
from scipy.stats import binomtest, chisquare, kstest, uniform
from torchvision.transforms import functional as tv

from nas.data.augment import Augmentation, augment, crop, cutout, draw, flip, normalise, rotate

EVERYTHING = Augmentation(rotation_degrees=15, flip=True, crop_padding=4, cutout_size=8)
MEAN, STD = (0.49, 0.48, 0.45), (0.25, 0.24, 0.26)


def random_images(num_images=64, channels=3, size=32):
    shape = (num_images, channels, size, size)
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


def draws_of(num_images, augmentation=EVERYTHING, size=32, seed=0):
    return draw(augmentation, num_images, size, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("size", "padding"), [(32, 4), (28, 2), (8, 1)])
def test_a_crop_is_torchvisions_crop_of_the_padded_image_at_the_drawn_offset(size, padding):
    images = random_images(size=size)
    offsets = draws_of(len(images), Augmentation(crop_padding=padding), size).crop_offsets
    cropped = crop(images, offsets, padding)
    for image, result, top, left in zip(images, cropped, *offsets.tolist(), strict=True):
        assert torch.equal(result, tv.crop(tv.pad(image, padding), top, left, size, size))


def test_an_offset_of_the_padding_is_the_image_itself():
    images = random_images()
    assert torch.equal(crop(images, torch.full((2, len(images)), 4), 4), images)


def test_a_flip_is_torchvisions_and_only_where_drawn():
    images = random_images()
    flips = draws_of(len(images)).flips
    for image, result, flipped in zip(images, flip(images, flips), flips.tolist(), strict=True):
        assert torch.equal(result, tv.hflip(image) if flipped else image)


@pytest.mark.parametrize("size", [8, 28, 32, 33])
def test_a_rotation_is_torchvisions_by_the_drawn_angle(size):
    images = random_images(size=size)
    angles = draws_of(len(images), Augmentation(rotation_degrees=180), size).angles
    for image, result, angle in zip(images, rotate(images, angles), angles.tolist(), strict=True):
        assert torch.equal(result, tv.rotate(image, angle))


def test_a_rotation_by_nothing_is_the_image_itself():
    images = random_images()
    assert torch.equal(rotate(images, torch.zeros(len(images))), images)


def test_angles_are_uniform_to_both_sides():
    angles = draws_of(50_000, Augmentation(rotation_degrees=15)).angles
    assert kstest(angles.numpy(), uniform(-15, 30).cdf).pvalue > 1e-3


def test_normalising_is_torchvisions():
    images = random_images()
    expected = tv.normalize(images.float() / 255, MEAN, STD)
    scale, shift = scale_and_shift()
    result = normalise(images, scale, shift)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)
    assert result.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("size", [1, 5, 8])
def test_a_cutout_is_one_square_cut_off_at_the_border(size):
    images = torch.ones(32 * 32, 2, 32, 32)
    centers = torch.cartesian_prod(torch.arange(32), torch.arange(32)).T
    result = cutout(images, centers, size)
    for image, row, column in zip(result, *centers.tolist(), strict=True):
        expected = np.ones((32, 32))
        top, left = row - size // 2, column - size // 2
        expected[max(top, 0) : top + size, max(left, 0) : left + size] = 0
        assert (image.numpy() == expected).all()
    assert images.min() == 1, "the input is left alone"


def test_crop_offsets_are_uniform_over_rows_and_columns_together():
    offsets = draws_of(81 * 500).crop_offsets
    counts = torch.bincount(offsets[0] * 9 + offsets[1], minlength=81)
    assert len(counts) == 81
    assert chisquare(counts.numpy()).pvalue > 1e-3


def test_cutout_centers_are_uniform_over_the_image():
    centers = draws_of(64 * 500, size=8).cutout_centers
    counts = torch.bincount(centers[0] * 8 + centers[1], minlength=64)
    assert len(counts) == 64
    assert chisquare(counts.numpy()).pvalue > 1e-3


def test_half_of_the_images_are_flipped_whatever_their_crop():
    draws = draws_of(50_000)
    assert binomtest(int(draws.flips.sum()), 50_000, 0.5).pvalue > 1e-3
    rows = draws.crop_offsets[0]
    flipped_rows = torch.bincount(rows[draws.flips], minlength=9).numpy()
    assert chisquare(flipped_rows, np.full(9, flipped_rows.sum() / 9)).pvalue > 1e-3


def test_the_generator_decides_all_draws_and_the_global_one_is_left_alone():
    state = torch.get_rng_state()
    one, same, other = draws_of(100), draws_of(100), draws_of(100, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(one.crop_offsets, same.crop_offsets)
    assert torch.equal(one.flips, same.flips)
    assert not torch.equal(one.cutout_centers, other.cutout_centers)


def test_a_batch_of_an_epochs_draws_is_what_the_whole_gives():
    images = random_images()
    draws = draws_of(len(images))
    scale, shift = scale_and_shift()
    whole = augment(images, draws, EVERYTHING, scale, shift)
    part = augment(images[16:48], draws.batch(16, 48), EVERYTHING, scale, shift)
    assert torch.equal(part, whole[16:48])
    assert whole.is_contiguous(memory_format=torch.channels_last)


def test_without_augmentation_images_are_only_normalised():
    images = random_images()
    plain = Augmentation()
    scale, shift = scale_and_shift()
    result = augment(images, draws_of(len(images), plain), plain, scale, shift)
    assert torch.equal(result, normalise(images, scale, shift))


def scale_and_shift():
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (MEAN, STD))
    return 1 / (255 * std), -mean / std
