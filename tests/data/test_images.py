import numpy as np
import pytest
import torch
from PIL import Image

from nas.data.images import LabelledImages, fingerprint, mean_and_std, resize, select
from nas.errors import DataError

NAMES = ("cat", "dog")


def random_images(num_images=6, channels=3, size=16):
    generator = torch.Generator().manual_seed(0)
    shape = (num_images, channels, size, size)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("size", [8, 24])
def test_resizing_is_pillows_bilinear_within_one(size):
    images = random_images()
    for image, resized in zip(images, resize(images, size), strict=True):
        original = Image.fromarray(image.permute(1, 2, 0).numpy())
        expected = np.asarray(original.resize((size, size), Image.Resampling.BILINEAR))
        result = resized.permute(1, 2, 0).numpy()
        assert np.abs(result.astype(int) - expected).max() <= 1


def test_images_of_the_wanted_size_are_not_copied():
    images = random_images()
    assert resize(images, 16) is images


def test_mean_and_deviation_are_numpys():
    images = random_images(5000)  # more than one chunk
    values = images.numpy() / 255
    mean, std = mean_and_std(images)
    np.testing.assert_allclose(mean, values.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, values.std((0, 2, 3)), rtol=1e-12)


def test_a_constant_channel_is_refused_with_its_value():
    images = random_images()
    images[:, 1] = 7
    with pytest.raises(DataError, match="the value 7 in every pixel"):
        mean_and_std(images)


def test_a_fingerprint_depends_on_pixels_labels_names_and_shape_alone():
    images, labels = random_images(), torch.arange(6) % 2
    first = fingerprint(images, labels, NAMES)
    assert fingerprint(images.clone(), labels.clone(), NAMES) == first
    strided = images.to(memory_format=torch.channels_last)
    assert fingerprint(strided, labels, NAMES) == first
    altered = images.clone()
    altered[5, 2, 15, 15] ^= 1
    others = {
        fingerprint(altered, labels, NAMES),
        fingerprint(images, labels.flip(0), NAMES),
        fingerprint(images, labels, ("cat", "dig")),
        fingerprint(images.view(6, 1, 48, 16), labels, NAMES),
    }
    assert len(others | {first}) == 5


def test_selected_images_keep_their_labels_and_the_order_asked_for():
    part = LabelledImages(random_images(), torch.arange(6) % 2, NAMES)
    chosen = select(part, torch.tensor([5, 0, 2]))
    assert torch.equal(chosen.images, part.images[[5, 0, 2]])
    assert chosen.labels.tolist() == [1, 0, 0]
    assert chosen.class_names == NAMES
    assert chosen.fingerprint != part.fingerprint
