import threading

import pytest
import torch

from nas.data.augment import Augmentation
from nas.data.images import LabelledImages, Normalisation
from nas.data.loader import DeviceLoader, EvalLoader, epoch_generator

CPU = torch.device("cpu")
EVERYTHING = Augmentation(flip=True, crop_padding=2, cutout_size=4)
BYTES = Normalisation((0.0,) * 3, (1 / 255,) * 3)  # a normalised pixel is its byte


def numbered(num_images=100, size=8):
    """Images of one colour each: their own number, up to 255."""
    images = torch.arange(num_images, dtype=torch.uint8).view(-1, 1, 1, 1)
    labels = torch.arange(num_images) % 10
    return LabelledImages(images.repeat(1, 3, size, size), labels, tuple("abcdefghij"))


def placed(part=None, limit=None, device=CPU):
    return (part or numbered()).to(device, limit)


def train_loader(split, batch_size, augmentation, seed):
    return DeviceLoader(split, BYTES, batch_size, augmentation, seed)


def eval_loader(split, batch_size):
    return EvalLoader(split, BYTES, batch_size)


def random_split(num_images=100):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (num_images, 3, 8, 8), dtype=torch.uint8, generator=generator)
    return LabelledImages(images, torch.arange(num_images) % 10, tuple("abcdefghij"))


def numbers(batches):
    """The numbers of the images in batches that only normalise, with mean 0 and std 1/255."""
    return [round(float(image[0, 0, 0])) for batch in batches for image in batch.images]


def batches_equal(first, second):
    return all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels)
        for a, b in zip(first, second, strict=True)
    )


def test_an_epoch_shows_each_image_at_most_once_with_its_own_label():
    loader = train_loader(placed(), 32, Augmentation(), seed=0)
    batches = list(loader.epoch(0))
    seen = numbers(batches)
    assert len(loader) == len(batches) == 3
    assert [len(batch.labels) for batch in batches] == [32, 32, 32]
    assert len(set(seen)) == 96
    assert [number % 10 for number in seen] == torch.cat([b.labels for b in batches]).tolist()


def test_fewer_images_than_a_batch_are_one_batch():
    loader = train_loader(placed(numbered(20)), 32, Augmentation(), seed=0)
    assert [len(batch.labels) for batch in loader.epoch(0)] == [20]


def test_every_place_in_the_order_takes_every_image():
    loader = train_loader(placed(numbered(10)), 10, Augmentation(), seed=0)
    counts = torch.zeros(10, 10)
    for epoch in range(500):
        counts[torch.arange(10), torch.tensor(numbers(loader.epoch(epoch)))] += 1
    # 100 cells of mean 50, rows and columns fixed: chi-squared with 81 degrees of freedom
    assert float((counts - 50).square().sum() / 50) < 81 + 5 * (2 * 81) ** 0.5


def test_a_policy_acts_between_the_crop_and_the_normalising_and_is_the_seeds():
    plain, trivial = (
        train_loader(placed(random_split()), 50, Augmentation(flip=True, policy=policy), seed=3)
        for policy in ("none", "trivial")
    )
    assert batches_equal(trivial.epoch(1), trivial.epoch(1))
    assert not batches_equal(trivial.epoch(1), trivial.epoch(2))
    kept = changed = 0
    for before, after in zip(plain.epoch(1), trivial.epoch(1), strict=True):
        assert torch.equal(before.labels, after.labels)
        same = (before.images == after.images).flatten(1).all(1)
        kept, changed = kept + int(same.sum()), changed + int((~same).sum())
        assert torch.equal(after.images, after.images.round().clamp(0, 255))  # still bytes
    assert changed > kept > 0  # some operations leave an image as it is


def test_epochs_and_seeds_give_other_orders():
    orders = [
        tuple(numbers(train_loader(placed(), 100, Augmentation(), seed).epoch(epoch)))
        for seed in range(3)
        for epoch in range(3)
    ]
    assert len(set(orders)) == 9
    draws = [float(torch.rand(1, generator=epoch_generator(s, e))) for s, e in ((0, 1), (1, 0))]
    assert draws[0] != draws[1]


def test_an_epoch_is_the_same_whatever_ran_before():
    whole = train_loader(placed(random_split()), 32, EVERYTHING, seed=5)
    for epoch in range(3):
        list(whole.epoch(epoch))
        torch.rand(7)
    resumed = train_loader(placed(random_split()), 32, EVERYTHING, seed=5)
    assert batches_equal(list(whole.epoch(3)), list(resumed.epoch(3)))


def test_images_that_do_not_fit_give_the_same_batches():
    part = random_split()
    resident, fetched = placed(part), placed(part, limit=part.images.nbytes - 1)
    assert resident.is_resident
    assert not fetched.is_resident
    assert placed(part, limit=part.images.nbytes).is_resident
    for epoch in range(2):
        loaders = (train_loader(p, 32, EVERYTHING, seed=1) for p in (resident, fetched))
        assert batches_equal(*(list(loader.epoch(epoch)) for loader in loaders))
    assert batches_equal(list(eval_loader(resident, 32)), list(eval_loader(fetched, 32)))


def test_an_epoch_left_early_leaves_no_thread_behind():
    epoch = train_loader(placed(limit=0), 10, Augmentation(), seed=0).epoch(0)
    next(epoch)
    epoch.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("fetch")]


def test_training_batches_are_normalised_floats_channels_last():
    loader = train_loader(placed(random_split()), 32, EVERYTHING, seed=0)
    for batch in loader.epoch(0):
        assert batch.images.dtype == torch.float32
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.labels.dtype == torch.int64


def test_batches_of_a_normalised_data_set_have_mean_0_and_deviation_1():
    part = random_split(1000)
    values = part.images.double() / 255
    mean = tuple(values.mean((0, 2, 3)).tolist())
    std = tuple(values.std((0, 2, 3)).tolist())
    images = torch.cat([b.images for b in EvalLoader(part, Normalisation(mean, std), 300)])
    assert images.mean((0, 2, 3)).abs().max() < 1e-4
    assert (images.std((0, 2, 3)) - 1).abs().max() < 1e-4


def test_evaluation_shows_every_image_in_order_the_ragged_last_batch_too():
    loader = eval_loader(placed(), 32)
    batches = list(loader)
    assert [len(batch.labels) for batch in batches] == [32, 32, 32, 4]
    assert numbers(batches) == list(range(100))
    assert batches_equal(batches, list(loader)), "a second pass is the same"


def test_trainings_share_the_images_without_a_copy():
    part = numbered()
    images = placed(part)
    assert images.images.data_ptr() == part.images.data_ptr()
    loaders = [train_loader(images, 32, Augmentation(), seed) for seed in range(2)]
    assert all(loader.split.images is images.images for loader in loaders)


@pytest.mark.gpu
@pytest.mark.parametrize("limit", [None, 0])
def test_a_gpu_gets_the_batches_of_the_cpu_without_waiting(limit):
    part = random_split()
    gpu = torch.device("cuda")
    loader = train_loader(placed(part, limit, gpu), 32, EVERYTHING, seed=0)
    list(loader.epoch(0))  # the first use sets up memory pools
    torch.cuda.set_sync_debug_mode("error")
    try:
        batches = list(loader.epoch(1))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    on_cpu = list(train_loader(placed(part), 32, EVERYTHING, seed=0).epoch(1))
    for batch, expected in zip(batches, on_cpu, strict=True):
        torch.testing.assert_close(batch.images.cpu(), expected.images, rtol=1e-6, atol=1e-5)
        assert torch.equal(batch.labels.cpu(), expected.labels)


def test_near_seeds_and_epochs_draw_unrelated_numbers():
    rows = torch.stack(
        [torch.rand(1000, generator=epoch_generator(s, e)) for s in range(3) for e in range(3)]
    )
    correlations = torch.corrcoef(rows) - torch.eye(9)
    assert correlations.abs().max() < 5 / 1000**0.5
