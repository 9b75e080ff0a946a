"""What is timed: the engine's training step, and a plain PyTorch loop as it is usually written.

The plain loop is fixed: the same network, batch, optimizer, schedule and augmentations; a
torchvision folder of decoded PIL images; a DataLoader whose workers live on from epoch to epoch;
float32, eager, NCHW, PyTorch's defaults. An epoch of either is as long as one of CIFAR-10's search
split.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from nas.data.images import Dataset, LabelledImages, Normalisation
from nas.network.architecture import Architecture
from nas.network.model import build_model, scale_branches
from nas.training.batches import eval_loader, make_batches
from nas.training.cuda_graph import WARMUP_STEPS, GraphedStep
from nas.training.engine import Engine, now_of, tf32
from nas.training.evaluate import evaluate
from nas.training.open_training import open_training
from nas.training.optimizer import set_learning_rate, split_by_decay
from nas.training.recipe import Recipe
from nas.training.state import TrainSpec

NUM_CLASSES = 10
TRAIN_IMAGES, VAL_IMAGES = 45_000, 5_000  # CIFAR-10's search split
EPOCHS = 1000  # of the schedule; the bench ends long before


class Pictures:
    """The same training images for all contenders: as files in a folder, and as a tensor.

    Args:
        folder: An empty folder; receives a lossless file for each image.
        part: The images.
        normalisation: Of the images.
        epoch_images: Images of an epoch, the part's own repeated in turn; None takes each once.
    """

    def __init__(
        self,
        folder: Path,
        part: LabelledImages,
        normalisation: Normalisation,
        epoch_images: int | None = None,
    ) -> None:
        self.folder, self.part = folder, part
        self.epoch_images = epoch_images or len(part)
        self.normalisation, self.input_spec = normalisation, part.input_spec
        pixels = part.images.permute(0, 2, 3, 1).numpy()
        for index, (image, label) in enumerate(zip(pixels, part.labels.tolist(), strict=True)):
            path = folder / f"{label:04d}" / f"{index:05d}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(image).save(path, compress_level=0)

    def place(self, engine: Engine, resident: bool) -> Dataset:
        """Return the images of an epoch where the engine's batches are made from them."""
        placed = self.part.to(engine.device, None if resident else 0)
        indices = torch.tensor(self.epoch_indices())
        images = placed.images[indices.to(placed.images.device)]
        epoch = replace(placed, images=images, labels=placed.labels[indices.to(placed.device)])
        return Dataset(epoch, None, self.normalisation, flip_is_lawful=True)

    def epoch_indices(self) -> list[int]:
        """Return which image stands at each place of an epoch, before it is shuffled."""
        return [index % len(self.part) for index in range(self.epoch_images)]


def noise_pictures(folder: Path, num_images: int, image_size: int = 32) -> Pictures:
    """Return random colour images of ten classes: they are only there to be timed.

    They are repeated until an epoch has `TRAIN_IMAGES`.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (num_images, 3, image_size, image_size)
    part = LabelledImages(
        torch.randint(256, shape, dtype=torch.uint8, generator=generator),
        torch.arange(num_images) % NUM_CLASSES,
        tuple(str(number) for number in range(NUM_CLASSES)),
    )
    return Pictures(folder, part, Normalisation((0.5,) * 3, (0.25,) * 3), TRAIN_IMAGES)


class OurLoop:
    """The engine's step on the engine's batches, as `nas.training.loop` runs them.

    It is captured when this returns, where it can be: `setup_seconds` are what a trial takes up to
    its first replayed step, the images' placing left out.

    Args:
        architecture: The network.
        recipe: How it is trained.
        engine: With which tricks.
        pictures: On what.
        resident: Keep the images on the device.
    """

    def __init__(
        self,
        architecture: Architecture,
        recipe: Recipe,
        engine: Engine,
        pictures: Pictures,
        resident: bool = True,
    ) -> None:
        self.engine, self.data = engine, pictures.place(engine, resident)
        batches = make_batches(self.data, recipe, seed=0)
        placed_at = time.perf_counter()
        spec = TrainSpec(architecture, pictures.input_spec, recipe, EPOCHS, seed=0)
        self.training = open_training(spec, batches, engine, recipe.batch_size)
        self.step, self.batches = self.training.step, self.training.feed_on()
        self.run(WARMUP_STEPS + 1 if isinstance(self.step, GraphedStep) else 1)
        self.setup_seconds = time.perf_counter() - placed_at

    @property
    def is_captured(self) -> bool:
        """Tell whether the step is replayed from a capture."""
        return isinstance(self.step, GraphedStep) and self.step.is_captured

    def time_steps(self, num_steps: int) -> float:
        """Return the seconds of a few steps after one that is not timed.

        In that one kernels are chosen and memory is taken. The contenders of a process drive each
        other's kernels out of oneDNN's cache, which a training alone does not suffer.
        """
        self.run(1)
        return self.run(num_steps)

    def run(self, num_steps: int) -> float:
        """Train a few steps and return their seconds."""
        return self._time(lambda: self.training.take_step(*next(self.batches)), num_steps)

    def time_data(self, num_steps: int) -> float:
        """Return the seconds of making a few batches, after one that is not timed."""
        self._time(lambda: next(self.batches), 1)
        return self._time(lambda: next(self.batches), num_steps)

    def time_evaluation(self, num_images: int) -> float:
        """Return the seconds of measuring the network on so many images, the median of three.

        One before them is not timed.
        """
        train, precision = self.data.train, self.training.spec.recipe.precision
        val = replace(train, images=train.images[:num_images], labels=train.labels[:num_images])
        batches = eval_loader(val, self.data.normalisation)
        model = self.training.state.result_model
        seconds = [
            self._time(lambda: evaluate(model, batches, self.engine, precision), 1)  # sync
            for _ in range(4)
        ]
        return statistics.median(seconds[1:])

    def _time(self, launch: Callable[[], object], number: int) -> float:
        with self.engine.applied():
            started = now_of(self.engine)
            for _ in range(number):
                launch()
            return now_of(self.engine) - started


class PlainLoop:
    """The plain loop.

    Args:
        architecture: The network.
        recipe: Its optimizer, schedule and batch; flip and crop.
        engine: Names the device and the threads, nothing else.
        pictures: On what.
        num_workers: Of the DataLoader.
        channels_last: Whether the model is in channels-last, the one trick that takes one line.
        epochs: Of the schedule.
    """

    def __init__(
        self,
        architecture: Architecture,
        recipe: Recipe,
        engine: Engine,
        pictures: Pictures,
        num_workers: int,
        channels_last: bool = False,
        epochs: int = EPOCHS,
    ) -> None:
        self.engine, self.recipe, self.epochs = engine, recipe, epochs
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.loader = DataLoader(
            Subset(_image_folder(pictures, recipe), pictures.epoch_indices()),
            recipe.batch_size,
            shuffle=True,
            num_workers=num_workers,
            drop_last=True,
            persistent_workers=num_workers > 0,
        )
        model: nn.Module = build_model(architecture, pictures.input_spec)
        if recipe.scaled_branches:
            scale_branches(model)
        self.model = model.to(engine.device, memory_format=self.memory_format).train()  # type: ignore[call-overload]  # torch's stubs
        decayed, others = split_by_decay(self.model)
        self.optimizer = torch.optim.SGD(
            [
                {"params": decayed, "weight_decay": recipe.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=True,
        )
        self.batches = self._endless()
        self.num_done = 0

    def time_steps(self, num_steps: int) -> float:
        """Return the seconds of a few steps after one that is not timed.

        The batches that the workers made while other contenders were timed are thrown away first:
        a training on its own would have had to wait for them.
        """
        for _ in range((self.loader.prefetch_factor or 0) * self.loader.num_workers):
            next(self.batches)
        self.run(1)
        return self.run(num_steps)

    def run(self, num_steps: int) -> float:
        """Train a few steps and return their seconds."""
        engine = replace(self.engine, channels_last=False)
        with engine.applied(), tf32(True):  # TF32 is PyTorch's default; ours leaves it out
            started = now_of(self.engine)
            for _ in range(num_steps):
                images, labels = next(self.batches)
                images = images.to(self.engine.device, memory_format=self.memory_format)
                labels = labels.to(self.engine.device)
                progress = (self.num_done + 0.5) / (self.epochs * len(self.loader))
                set_learning_rate(self.optimizer, self.recipe.learning_rate_at(progress))
                self.optimizer.zero_grad()
                loss = F.cross_entropy(
                    self.model(images), labels, label_smoothing=self.recipe.label_smoothing
                )
                loss.backward()
                self.optimizer.step()
                self.num_done += 1
            return now_of(self.engine) - started

    def _endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            yield from self.loader


def _image_folder(pictures: Pictures, recipe: Recipe) -> ImageFolder:
    """Return the pictures' folder as a data set of decoded images, flipped and cropped."""
    decoded = {
        str(path): Image.open(path).convert("RGB")
        for path in sorted(pictures.folder.glob("*/*.png"))
    }
    size = pictures.input_spec.image_size
    transform = transforms.Compose(
        [
            transforms.RandomCrop(size, padding=recipe.crop_padding(size)),
            *([transforms.RandomHorizontalFlip()] if recipe.flip else []),
            transforms.ToTensor(),
            transforms.Normalize(*pictures.normalisation),
        ]
    )
    return ImageFolder(str(pictures.folder), transform, loader=decoded.__getitem__)


@cache
def peak_macs_per_second(engine: Engine) -> float:
    """Return the multiply-adds a second of a large matrix product, in the engine's format.

    The matrices are random: a GPU that multiplies ones draws less power and keeps a higher clock.
    """
    size = 8192 if engine.is_cuda else 2048
    dtype = torch.bfloat16 if engine.prefers_bfloat16 else torch.float32
    with engine.applied():
        left = torch.randn(size, size, device=engine.device, dtype=dtype)
        right = torch.randn(size, size, device=engine.device, dtype=dtype)
        torch.mm(left, right)
        seconds = []
        for _ in range(12):
            started = now_of(engine)
            torch.mm(left, right)
            seconds.append(now_of(engine) - started)
    return float(size**3 / min(seconds))
