"""What is chosen from: one list, and the lists of a stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Protocol

from nas.errors import ArchitectureError, SpaceError, shown, unknown_name
from nas.fields import POSITIVE
from nas.network.blocks import BLOCKS, Layers, block_layers

Value = str | int | float
Choices = Mapping[str, Value]  # choice name -> value, Optuna's `params`


class Trial(Protocol):
    """What a space asks of a trial: Optuna's `Trial`, `FixedTrial` and `FrozenTrial` have it."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of `choices`."""

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> int:
        """Return a whole number from `low` to `high`, both inclusive."""


@dataclass(frozen=True)
class Choice:
    """One thing to choose.

    Args:
        name: Its name in a trial.
        values: The values, at least one, all different.
        step: The distance of values that are evenly spaced whole numbers, which a trial is asked
            for as a range; None for all others.
    """

    name: str
    values: tuple[Value, ...]
    step: int | None = None

    @cached_property
    def positions(self) -> dict[Value, int]:
        """Map each value to its position."""
        return {value: position for position, value in enumerate(self.values)}

    def read(self, choices: Choices) -> Value:
        """Return this choice's value; a constant needs no entry.

        Raises:
            SpaceError: The entry is missing or not among the values.
        """
        try:
            return self.values[self.positions[choices[self.name]]]
        except (KeyError, TypeError):
            if len(self.values) == 1 and self.name not in choices:
                return self.values[0]
            given = choices.get(self.name, "nothing")
            known = list(self.values)
            raise SpaceError(f"{self.name} must be one of {known}, but got {given!r}") from None

    def suggest(self, trial: Trial) -> Value:
        """Ask a trial for the value."""
        if self.step is None:
            value: Value = trial.suggest_categorical(self.name, self.values)
            return value
        low, high = int(self.values[0]), int(self.values[-1])
        return trial.suggest_int(self.name, low, high, step=self.step)

    @property
    def distribution(self) -> Any:
        """Return the Optuna distribution; imports Optuna."""
        from optuna import distributions

        if self.step is None:
            return distributions.CategoricalDistribution(self.values)
        low, high = int(self.values[0]), int(self.values[-1])
        return distributions.IntDistribution(low, high, step=self.step)


def describe_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Return how the lists of two spaces differ, by choice: ``stage1_depth: 1-6 -> 1-8``."""
    return "; ".join(
        f"{name}: {_describe_list(before.get(name))} -> {_describe_list(after.get(name))}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    )


def _describe_list(values: Any) -> str:
    if not isinstance(values, list) or not values:
        return "none"
    first, many = values[0], len(values)
    if many > 2 and isinstance(first, int) and values == [*range(first, first + many)]:
        return f"{first}-{values[-1]}"
    return ", ".join(map(str, values))


@dataclass(frozen=True)
class StageChoices:
    """The lists a stage is chosen from.

    Args:
        kinds: Keys of `nas.network.blocks.BLOCKS`.
        depths: Numbers of blocks.
        widths: Output channels.
        kernels: Kernel sizes of the spatial convolutions.

    Raises:
        SpaceError: A list is empty, repeats a value, or names what does not exist; a kind has no
            block at a width; or two entries make the same block.
    """

    kinds: tuple[str, ...]
    depths: tuple[int, ...]
    widths: tuple[int, ...]
    kernels: tuple[int, ...] = (3,)

    def __post_init__(self) -> None:
        for name in ("kinds", "depths", "widths", "kernels"):
            require_list(name, getattr(self, name))
        for name in ("depths", "widths", "kernels"):
            for value in getattr(self, name):
                require_positive(name, value)
        for kind in self.kinds:
            if kind not in BLOCKS:
                raise unknown_name("block kind", kind, BLOCKS)
        for kind, width in product(self.kinds, self.widths):
            reasons = [_why_no_block(kind, width, kernel) for kernel in self.kernels]
            if all(reasons):
                raise SpaceError(f"kind {kind!r} has no block of width {width}: {reasons[0]}")
        _require_different_blocks(self)

    @cached_property
    def options(self) -> tuple[tuple[str, int, int], ...]:
        """Return (kind, kernel, width) of every block in a fixed order, formless ones too."""
        return tuple(product(self.kinds, self.kernels, self.widths))

    @cached_property
    def num_codes(self) -> int:
        """Return how many codes number the stage: its options at each depth, and 0, no stage."""
        return len(self.options) * len(self.depths) + 1

    @cached_property
    def rows(self) -> tuple[tuple[Value, ...], ...]:
        """Return (kind, depth, width, kernel) of every stage that has a form."""
        return tuple(
            (kind, depth, width, kernel)
            for kind, kernel, width in self.options
            if has_block(kind, width, kernel)
            for depth in self.depths
        )


def has_block(kind: str, width: int, kernel: int) -> bool:
    """Tell whether a kind has a block of this width and kernel, at any input size."""
    return _why_no_block(kind, width, kernel) is None


def _why_no_block(kind: str, width: int, kernel: int) -> str | None:
    try:
        block_layers(kind, width, width, 1, kernel, 0.0)
    except ArchitectureError as error:
        return str(error)
    return None


def require_list(name: str, values: object, unique: bool = True) -> None:
    """Refuse what is no tuple, is empty, or repeats a value where all must differ."""
    if not isinstance(values, tuple) or not values:
        raise SpaceError(f"{name} must be a tuple of at least one value, but got {values!r}")
    repeated = [value for value in values if values.count(value) > 1] if unique else []
    if repeated:
        raise SpaceError(f"{name} must not repeat a value, but {repeated[0]!r} stands twice")


def require_positive(name: str, value: object) -> None:
    """Refuse what is no positive whole number."""
    if not isinstance(value, int) or isinstance(value, bool) or value not in POSITIVE:
        rule = f"positive whole numbers, at most {POSITIVE.high:g}"
        raise SpaceError(f"{name} must hold {rule}, but got {shown(value)}")


def _require_different_blocks(stage: StageChoices) -> None:
    width = stage.widths[0]
    seen: dict[tuple[int, Layers], tuple[str, int]] = {}
    for kind, kernel in product(stage.kinds, stage.kernels):
        if not has_block(kind, width, kernel):
            continue
        for stride in (1, 2):
            layers = block_layers(kind, width, width, stride, kernel, 0.0)
            other = seen.setdefault((stride, layers), (kind, kernel))
            if other != (kind, kernel):
                raise SpaceError(
                    f"two choices must make two blocks, but {kind!r} with kernel {kernel} and "
                    f"{other[0]!r} with kernel {other[1]} make the same; leave one out"
                )
