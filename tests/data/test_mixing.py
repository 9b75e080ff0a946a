from random import Random

import pytest
import torch

from nas.data.mixing import MIXERS

SIZE, CLASSES = 16, 8


def constant_images():
    """Image i has the value i everywhere and the label i: a pixel tells where it is from."""
    images = torch.arange(CLASSES).float().view(-1, 1, 1, 1).expand(-1, 3, SIZE, SIZE)
    return images.contiguous(memory_format=torch.channels_last), torch.eye(CLASSES)


@pytest.mark.parametrize("name", MIXERS)
@pytest.mark.parametrize("seed", range(20))
def test_targets_are_the_shares_of_the_pixels(name, seed):
    images, labels = constant_images()
    mixed, mixed_labels = MIXERS[name](images, labels, 1.0, Random(seed))
    for image, target in zip(mixed, mixed_labels, strict=True):
        counts = torch.bincount(image[0].flatten().long(), minlength=CLASSES)
        torch.testing.assert_close(target, counts / SIZE**2)
    assert mixed.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, constant_images()[0])


@pytest.mark.parametrize("seed", range(20))
def test_ricap_pastes_connected_crops(seed):
    # pixel (y, x) has the value 100 y + x, so a crop keeps its differences
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    images = (100.0 * rows + columns).expand(CLASSES, 1, SIZE, SIZE)
    mixed, _ = MIXERS["ricap"](images, torch.eye(CLASSES), 0.3, Random(seed))
    across = (mixed[0, 0].diff(dim=1) != 1).any(dim=0).sum()
    down = (mixed[0, 0].diff(dim=0) != 100).any(dim=1).sum()
    assert across <= 1  # one boundary each way
    assert down <= 1


def test_cutmix_keeps_on_average_what_its_beta_says():
    # Beta(1, 1) is uniform: E[cut area] = 1/2 before the box is clipped at the border; the box of
    # side r at a uniform centre covers E = r^2 (1 - r/4)^2 of the image; r = sqrt(1 - lambda)
    images = torch.zeros(2, 1, 64, 64)
    images[1] = 1.0
    rng = Random(0)
    pasted = []
    for _ in range(3000):
        mixed, labels = MIXERS["cutmix"](images, torch.eye(2), 1.0, rng)
        if labels[0, 0] < 1 or mixed[0].any():
            pasted.append(mixed[0].mean().item())
    # integral over u = r^2 in (0, 1) of u (1 - sqrt(u)/4)^2 = 1/2 - 1/5 + 1/48; a roll by 0 of
    # 2 images pastes an image on itself and is left out; flooring to even pixels loses a little
    expected = 1 / 2 - 1 / 5 + 1 / 48
    assert sum(pasted) / len(pasted) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("name", MIXERS)
def test_equal_seeds_mix_equally(name):
    images, labels = constant_images()
    first, second = (MIXERS[name](images, labels, 0.3, Random(5)) for _ in range(2))
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])
