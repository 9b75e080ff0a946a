"""What the smoke test's checks work with: a device, and trainings without epochs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from nas.data.images import Dataset, LabelledImages, Normalisation
from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.training.batches import feed_epoch, make_batches
from nas.training.cuda_graph import GraphedStep, with_graph
from nas.training.engine import Engine
from nas.training.optimizer import set_learning_rate
from nas.training.recipe import Recipe
from nas.training.state import TrainSpec, make_state
from nas.training.step import EpochTotals, Step, make_step

SPEC = InputSpec()
SMALL_NET = Architecture(
    Stem("conv3x3", 16),
    (
        Stage("basic", 1, 16, 1, dropout=0.2),
        Stage("bottleneck", 1, 32, 2, dropout=0.2),
    ),
)
ENDLESS_EPOCHS = 1000  # of a training that is never ended: its schedule hardly moves

Found = Iterator[tuple[str, Any]]


@dataclass
class Lab:
    """The device, and how large a check is on it: on a CPU the checks only have to run.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        warnings: What `nas` has logged since `listen`.
    """

    device: str
    warnings: list[str] = field(default_factory=list)

    @property
    def is_cuda(self) -> bool:
        """Tell whether this is a GPU."""
        return torch.device(self.device).type == "cuda"

    @property
    def engine(self) -> Engine:
        """Return the engine with all its tricks; on a CPU with the thread that is surely free."""
        return Engine(self.device, num_threads=None if self.is_cuda else 1)

    @property
    def batch_size(self) -> int:
        """Return the images of a step where the check does not say."""
        return 128 if self.is_cuda else 8

    def sync(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.is_cuda:
            torch.cuda.synchronize()

    def listen(self) -> None:
        """Keep what `nas` logs in `warnings` from now on."""
        handler = logging.Handler()
        handler.emit = lambda record: self.warnings.append(record.getMessage())  # type: ignore[method-assign]  # a list is all it takes
        logging.getLogger("nas").addHandler(handler)

    def parts(self, num_images: int, resident: bool = True) -> Dataset:
        """Return random images of ten classes, a training and a validation part.

        Args:
            num_images: Images of each part.
            resident: Keep the training part on the device.
        """
        generator = torch.Generator().manual_seed(0)
        shape = (num_images, SPEC.channels, SPEC.image_size, SPEC.image_size)
        images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        names = tuple(str(number) for number in range(SPEC.num_classes))
        part = LabelledImages(images, torch.arange(num_images) % SPEC.num_classes, names)
        train = part.to(self.device, None if resident else 0)
        normalisation = Normalisation((0.5,) * 3, (0.25,) * 3)
        return Dataset(train, part.to(self.device), normalisation, flip_is_lawful=True)


class Loop:
    """A training without epochs: its state, its step (captured where it can be), endless batches.

    The first five steps, capture included, are run in the constructor; `setup_seconds` is what
    all of it took.

    Args:
        lab: Where.
        net: What is trained.
        recipe: How; its batch size is replaced.
        engine: With which tricks; None takes the lab's.
        batch_size: Images a step; None takes the lab's.
        resident: Keep the images on the device.
        wrap: What the step becomes before it is captured.
    """

    def __init__(
        self,
        lab: Lab,
        net: Architecture,
        recipe: Recipe,
        *,
        engine: Engine | None = None,
        batch_size: int | None = None,
        resident: bool = True,
        wrap: Callable[[Step], Step] = lambda step: step,
    ) -> None:
        started = time.perf_counter()
        self.lab, self.engine = lab, engine or lab.engine
        self.batch_size = batch_size or lab.batch_size
        self.recipe = replace(recipe, batch_size=self.batch_size)
        num_images = max(2048, 2 * self.batch_size) if lab.is_cuda else 64
        batches = make_batches(lab.parts(num_images, resident), self.recipe, 0)
        spec = TrainSpec(net, SPEC, self.recipe, ENDLESS_EPOCHS, 0)
        self.state = make_state(spec, self.engine, len(batches.train), self.batch_size)
        self.totals = EpochTotals(self.engine.device)
        state = (self.state.model, self.state.optimizer, self.state.average, self.totals)
        step = make_step(*state, self.recipe, self.engine, self.batch_size)
        self.step = with_graph(wrap(step), self.engine, recipe)
        self.batches = self._endless(batches.train)
        self.run(5)
        lab.sync()
        self.setup_seconds = time.perf_counter() - started

    def _endless(self, loader: Any) -> Iterator[tuple[Tensor, Tensor, float]]:
        epoch = 0
        while True:
            yield from feed_epoch(loader, self.recipe, epoch, ENDLESS_EPOCHS, 0)
            epoch += 1

    def run(self, num_steps: int, rate: float | None = None) -> None:
        """Train on the next batches.

        Args:
            num_steps: How many.
            rate: The learning rate; None takes the recipe's.
        """
        for _ in range(num_steps):
            images, targets, progress = next(self.batches)
            self.train_on(
                images, targets, self.recipe.learning_rate_at(progress) if rate is None else rate
            )

    def train_on(
        self, images: Tensor, targets: Tensor, rate: float, seed: int | None = None
    ) -> None:
        """Train on one batch, with the generators seeded where a seed is given."""
        with self.engine.applied():
            if seed is not None:
                self.engine.seed_generators(seed)
            set_learning_rate(self.state.optimizer, rate)
            self.step(images.contiguous(memory_format=self.engine.memory_format), targets)

    @property
    def is_captured(self) -> bool:
        """Tell whether the step is replayed, or need not be: without CUDA, or without graphs."""
        if not self.lab.is_cuda or not self.engine.cuda_graph:
            return True
        return isinstance(self.step, GraphedStep) and self.step.is_captured

    def milliseconds(self, num_steps: int = 20, repeats: int = 3) -> float:
        """Return the time of a step, batches included: the least of the repeats."""
        least = math.inf
        if not self.lab.is_cuda:
            num_steps = repeats = 1
        for _ in range(repeats):
            self.lab.sync()
            started = time.perf_counter()
            self.run(num_steps)
            self.lab.sync()
            least = min(least, (time.perf_counter() - started) / num_steps)
        return 1000 * least

    def weights(self) -> list[Tensor]:
        """Return a copy of the weights, in float32 on the host."""
        return [weight.detach().float().cpu().clone() for weight in self.state.model.parameters()]


def distance(these: list[Tensor], others: list[Tensor]) -> float:
    """Return the largest difference of two lists of weights, relative to each tensor's largest."""
    pairs = zip(these, others, strict=True)
    return max(float((a - b).abs().max() / (b.abs().max() + 1e-8)) for a, b in pairs)
