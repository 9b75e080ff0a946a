"""A training small enough for a test: a net of 20,000 weights on the digits of scikit-learn."""

from dataclasses import replace
from functools import cache

import torch
from sklearn.datasets import load_digits

from nas.data.augment import Augmentation
from nas.data.images import LabelledImages, Normalisation
from nas.data.loader import DeviceLoader, EvalLoader
from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.training.engine import Engine
from nas.training.loop import Batches, TrainSpec
from nas.training.recipe import RECIPES

NET = Architecture(
    Stem("conv3x3", 16),
    (Stage("basic", 1, 16, 1, dropout=0.1), Stage("bottleneck", 1, 32, 2, dropout=0.1)),
)
SPEC = InputSpec(channels=1, image_size=8, num_classes=10)
CPU = Engine("cpu", num_threads=1)
NORMALISATION = Normalisation((0.3,), (0.37,))


@cache
def digits():
    """All 1,797 digits, shuffled, as bytes."""
    raw = load_digits()
    order = torch.randperm(len(raw.target), generator=torch.Generator().manual_seed(0))
    images = torch.from_numpy(raw.images * 15).to(torch.uint8).unsqueeze(1)[order]
    return images, torch.from_numpy(raw.target).long()[order]


def part(first, last, device="cpu"):
    images, labels = digits()
    part = LabelledImages(images[first:last], labels[first:last], tuple("0123456789"))
    return part.to(device)


def make_train_spec(recipe="short", epochs=4, seed=0, net=NET, **fields):
    fields = {"batch_size": 32, "learning_rate": 0.05, "name": recipe, **fields}
    return TrainSpec(net, SPEC, replace(RECIPES[recipe], **fields), epochs, seed)


def make_batches(spec, num_train=400, num_val=150, seed=0, device="cpu"):
    """The first images to train on, the last ones to validate; their number leaves a rest."""
    augmentation = Augmentation(
        rotation_degrees=spec.recipe.rotation_degrees,
        crop_padding=spec.recipe.crop_padding(8),
        cutout_size=spec.recipe.cutout_size(8),
        policy=spec.recipe.policy,
    )
    train = part(0, num_train, device)
    loader = DeviceLoader(train, NORMALISATION, spec.recipe.batch_size, augmentation, seed)
    val = part(1797 - num_val, 1797, device)
    return Batches(loader, EvalLoader(val, NORMALISATION, 64))
