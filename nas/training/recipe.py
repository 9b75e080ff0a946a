"""How a network is trained, as data: one flat record, one table row per recipe.

To add a recipe, add one row to `RECIPES`; to add a field, add one line to `Recipe`, its range
beside it. Durations are fractions of the training, lengths of the image, so that a recipe
fits any number of epochs and any image size. What only makes a training faster (device, threads,
graphs) is no part of it: see `nas.training.engine.Engine`. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from nas.errors import RecipeError, unknown_name
from nas.fields import (
    FRACTION,
    OneOf,
    Range,
    checked_field,
    parse_value,
    read_fields,
    validate_fields,
)
from nas.training.schedule import SCHEDULES

OPTIMIZERS = ("sgd", "adam", "adamw")
MIXINGS = ("none", "cutmix", "ricap")
POLICY_NAMES = ("none", "trivial", "autoaugment")
PRECISIONS = ("auto", "float32", "bfloat16")
CLASS_WEIGHTS = ("none", "balanced")

# what others call a field; of any other name the nearest is proposed
ALIASES = {
    **{"lr": "learning_rate", "min_lr": "floor_learning_rate", "wd": "weight_decay"},
    **{"bs": "batch_size", "opt": "optimizer", "ema": "ema_half_life_share", "amp": "precision"},
    **{"epochs": "--epochs", "seed": "--seed"},
}

POSITIVE_RATE = Range(0, 100, low_included=False)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything beside the network, the data, the seed and the epochs that decides a result.

    Args:
        name: The row of `RECIPES` it came from.
        optimizer: ``sgd`` (Nesterov) or ``adam``, both with weight decay inside the gradient, or
            ``adamw`` (decoupled).
        learning_rate: The highest rate of the schedule.
        floor_learning_rate: The lowest rate of the schedule after the warm-up.
        schedule: A key of `nas.training.schedule.SCHEDULES`.
        warmup_share: Fraction of the training over which the rate rises from 0.
        cycles: Triangles of the schedule ``cyclic``.
        momentum: SGD's Nesterov momentum, or the first beta of Adam and AdamW.
        momentum_dip: Cycled momentum: by how much it is lower where the schedule ``cyclic`` or
            ``one_cycle`` is at its highest rate; 0 is off.
        weight_decay: On the weights of convolutions and linear layers only.
        batch_size: Images a step.
        label_smoothing: Fraction of the target spread over all classes.
        dropout: Probability of dropout in every block, in place of what the network's stages
            say; None leaves them.
        rotation_degrees: Largest angle of a random rotation to either side; 0 is off.
        flip: Mirror each image with probability 1/2, where the data set allows it.
        crop_share: Padding of the random crop, as a fraction of the image size (4 of 32: 0.125).
        cutout_share: Side of the erased square, as a fraction of the image size; 0 is off.
        policy: ``none``; ``trivial``: TrivialAugment, one random operation on each image; or
            ``autoaugment``: AutoAugment's policy for CIFAR-10, up to two.
        mixing: ``none``, ``cutmix`` or ``ricap``.
        mixing_alpha: Both parameters of the beta distribution that draws the cut.
        mixing_probability: Fraction of the batches that are mixed.
        mixing_off_share: Fraction of the training, at its end, that mixes nothing.
        ema_half_life_share: Half-life of the weight average, as a fraction of the training; 0 is
            off. With it, the average is the result.
        sam_rho: Radius of sharpness-aware minimisation; 0 is off. Doubles the cost of a step.
        sam_adaptive: Scale the radius by the weights (ASAM).
        scaled_branches: Begin with residual branches that are the smaller the more there are;
            see `nas.network.model.scale_branches`.
        class_weights: Of an image's loss: ``balanced`` weighs each class alike; see
            `nas.training.step.balanced_weights`.
        precision: ``auto`` is bfloat16 autocast on CUDA, and on a CPU where it measures faster;
            see `nas.training.engine.Engine.autocast`.

    Raises:
        RecipeError: A value is of the wrong type or out of its range; both are named.
    """

    name: str = "custom"
    optimizer: str = checked_field(OneOf(OPTIMIZERS), "sgd")
    learning_rate: float = checked_field(POSITIVE_RATE, 0.1)
    floor_learning_rate: float = checked_field(Range(0, 100), 0.0)
    schedule: str = checked_field(OneOf(tuple(SCHEDULES)), "cosine")
    warmup_share: float = checked_field(FRACTION, 0.1)
    cycles: int = checked_field(Range(1, 1000), 1)
    momentum: float = checked_field(Range(0, 1, False, False), 0.9)
    momentum_dip: float = checked_field(FRACTION, 0.0)
    weight_decay: float = checked_field(Range(0, 10), 5e-4)
    batch_size: int = checked_field(Range(2, 65536), 128)
    label_smoothing: float = checked_field(FRACTION, 0.0)
    dropout: float | None = checked_field(FRACTION, None)
    rotation_degrees: float = checked_field(Range(0, 180), 0.0)
    flip: bool = True
    crop_share: float = checked_field(Range(0, 0.5), 0.125)
    cutout_share: float = checked_field(Range(0, 1), 0.0)
    policy: str = checked_field(OneOf(POLICY_NAMES), "none")
    mixing: str = checked_field(OneOf(MIXINGS), "none")
    mixing_alpha: float = checked_field(Range(0, 100, low_included=False), 1.0)
    mixing_probability: float = checked_field(Range(0, 1), 1.0)
    mixing_off_share: float = checked_field(Range(0, 1), 0.0)
    ema_half_life_share: float = checked_field(Range(0, 1), 0.0)
    sam_rho: float = checked_field(Range(0, 10), 0.0)
    sam_adaptive: bool = False
    scaled_branches: bool = False
    class_weights: str = checked_field(OneOf(CLASS_WEIGHTS), "none")
    precision: str = checked_field(OneOf(PRECISIONS), "auto")

    def __post_init__(self) -> None:
        """Check every field against its rule."""
        validate_fields(self, RecipeError)
        if self.floor_learning_rate > self.learning_rate:
            raise RecipeError(
                "floor_learning_rate must be at most learning_rate, but got "
                f"floor_learning_rate={self.floor_learning_rate:g}, "
                f"learning_rate={self.learning_rate:g}"
            )
        self._check_cycled_momentum()

    def learning_rate_at(self, progress: float) -> float:
        """Return the learning rate at a point of the training.

        Over the first `warmup_share` of it the rate rises on a straight line from 0 to what the
        schedule starts from; over the rest the schedule runs once from its beginning to its end,
        between floor and peak. At progress 1 the annealing schedules are exactly at the floor.

        Args:
            progress: Fraction of the training that is done, in [0, 1].
        """
        shape = SCHEDULES[self.schedule].rate
        floor, height = self.floor_learning_rate, self.learning_rate - self.floor_learning_rate
        if progress < self.warmup_share:
            start = floor + height * shape(0.0, self.cycles)
            return start * progress / self.warmup_share
        return floor + height * shape(self._after_warmup(progress), self.cycles)

    def momentum_at(self, progress: float) -> float:
        """Return the momentum at a point of the training: the higher the rate, the lower it is.

        During the warm-up, and where the schedule moves no momentum, it is `momentum`.

        Args:
            progress: Fraction of the training that is done, in [0, 1].

        Source: Smith 2018, A disciplined approach to neural network hyper-parameters, section 4.3.
        """
        shape = SCHEDULES[self.schedule].momentum
        if shape is None or progress < self.warmup_share:
            return self.momentum
        dip = self.momentum_dip * shape(self._after_warmup(progress), self.cycles)
        return self.momentum - dip

    def _after_warmup(self, progress: float) -> float:
        """Return the fraction of the schedule that is done when the warm-up is over."""
        return (progress - self.warmup_share) / (1.0 - self.warmup_share)

    def crop_padding(self, image_size: int) -> int:
        """Return the padding of the random crop in pixels; 0 is no crop."""
        return round(self.crop_share * image_size)

    def cutout_size(self, image_size: int) -> int:
        """Return the side of the erased square in pixels; 0 is no cutout."""
        return round(self.cutout_share * image_size)

    def with_overrides(self, overrides: Iterable[str]) -> Recipe:
        """Return the recipe with fields replaced, as the command line's ``--set`` gives them.

        Args:
            overrides: Texts ``field=value``; of two for one field the later holds.

        Raises:
            RecipeError: A text has another form, names no field, or has a value of the wrong
                type or out of range.
        """
        names = {item.name: item for item in fields(self) if item.name != "name"}
        values: dict[str, Any] = {}
        for text in overrides:
            name, equals, value = (part.strip() for part in text.partition("="))
            if not equals:
                raise RecipeError(
                    f"an override is field=value, as learning_rate=0.05, but got {text!r}"
                )
            if name not in names:
                raise RecipeError(str(unknown_name("recipe field", name, names, ALIASES)))
            values[name] = parse_value(names[name], value)
        return replace(self, **values)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values."""
        return asdict(self)

    def _check_cycled_momentum(self) -> None:
        """Refuse cycled momentum that no schedule takes, or that leaves no momentum."""
        if not self.momentum_dip:
            return
        moving = [name for name, schedule in SCHEDULES.items() if schedule.momentum is not None]
        if self.schedule not in moving:
            raise RecipeError(
                f"momentum_dip goes with a schedule that cycles ({' or '.join(moving)}), but got "
                f"momentum_dip={self.momentum_dip:g}, schedule={self.schedule}"
            )
        if self.momentum_dip >= self.momentum:
            raise RecipeError(
                "momentum_dip must be below momentum, but got "
                f"momentum_dip={self.momentum_dip:g}, momentum={self.momentum:g}"
            )

    @classmethod
    def from_dict(cls, record: Any) -> Recipe:
        """Read what `to_dict` wrote; an absent field takes its default.

        Raises:
            RecipeError: The record is no object, or a field is unknown or out of range.
        """
        return cls(**read_fields(cls, "a recipe", record, RecipeError))


# what a row leaves out is the field's default
RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # a search's: everything annealed within a few epochs
        Recipe("short", schedule="linear", label_smoothing=0.1, scaled_branches=True),
        # a retraining's, at 200 epochs: 5 of warm-up, half-life 1 epoch
        Recipe(
            name="modern",
            warmup_share=0.025,
            label_smoothing=0.1,
            mixing="ricap",
            mixing_alpha=0.3,
            mixing_off_share=0.1,
            ema_half_life_share=0.005,
            scaled_branches=True,
        ),
        # The paper's, for 100 to 400 epochs. It states AdamW, cyclic rates, batch 256 and the
        # transformations for most of its models. Ours: the angle; the weight decay (AdamW's
        # default in PyTorch); the cycles (4,000 steps each at 200 epochs, the default of
        # PyTorch's CyclicLR); both rates, as the paper gives none for AdamW: `lr-range-test
        # resnet20` found 0.0014 and 0.00012 at batch 64 on 2,000 images of CIFAR-10, and batch
        # 256 has twice that by the square root. No momentum is cycled: PyTorch could not with
        # Adam then.
        Recipe(
            name="paper",
            optimizer="adamw",
            learning_rate=0.003,
            floor_learning_rate=0.0003,
            schedule="cyclic",
            warmup_share=0.0,
            cycles=10,
            weight_decay=0.01,
            batch_size=256,
            rotation_degrees=15.0,
            crop_share=0.0625,  # 2 of 32 pixels
        ),
    )
}


def overridden_fields(overrides: Iterable[str]) -> frozenset[str]:
    """Return the fields that texts ``field=value`` name."""
    return frozenset(text.partition("=")[0].strip() for text in overrides)


def get_recipe(name: str) -> Recipe:
    """Return a row of `RECIPES`.

    Raises:
        UnknownNameError: There is no such row; the nearest name is proposed.
    """
    if name not in RECIPES:
        raise unknown_name("recipe", name, RECIPES)
    return RECIPES[name]
