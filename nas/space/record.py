"""The record of a search space, and the fixed set of choices that follows from it.

Every choice is asked for in every trial, those of a stage the network does not have included, and
no list depends on another choice: Optuna's TPE models jointly only what is always present. A list
of one value is a constant: it is never asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise, product
from typing import Any

from nas.errors import SpaceError, unknown_name
from nas.network.architecture import MAX_STAGES, Architecture, Stage, Stem, implied_strides
from nas.network.blocks import STEMS, block_layers
from nas.space.choices import (
    Choice,
    Choices,
    StageChoices,
    Trial,
    Value,
    has_block,
    require_list,
    require_positive,
)

STAGE_PARTS = ("kind", "depth", "width", "kernel")  # as choices are named, ``stage1_kind``


@dataclass(frozen=True)
class SearchSpace:
    """A space of residual networks; the stem is as wide as stage 1, strides are 1, 2, 2, ...

    Args:
        stems: Keys of `nas.network.blocks.STEMS`.
        stages: The lists of each stage, as many as the longest network has stages.
        num_stages: Numbers of stages to choose from; by default all networks have all stages.
        dropouts: Probabilities; one for the whole network.

    Raises:
        SpaceError: A list breaks the contract; the rule and the value are named.
        UnknownNameError: A stem is in no table.
    """

    stems: tuple[str, ...]
    stages: tuple[StageChoices, ...]
    num_stages: tuple[int, ...] = ()
    dropouts: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        if not self.num_stages and isinstance(self.stages, tuple):
            object.__setattr__(self, "num_stages", (len(self.stages),))
        for name in ("stems", "stages", "num_stages", "dropouts"):
            require_list(name, getattr(self, name), unique=name != "stages")
        for stage in self.stages:
            if type(stage) is not StageChoices:  # a subclass is more than a record
                raise SpaceError(f"stages must hold StageChoices, but got {stage!r}")
        for stem in self.stems:
            if stem not in STEMS:
                raise unknown_name("stem", stem, STEMS)
        for number in self.num_stages:
            require_positive("num_stages", number)
        longest = max(self.num_stages)
        if len(self.stages) != longest or longest > MAX_STAGES:
            raise SpaceError(
                f"stages must have one entry for each stage of the longest network, at most "
                f"{MAX_STAGES}, but there are {len(self.stages)} for num_stages {longest}"
            )
        for dropout in self.dropouts:
            if not isinstance(dropout, (int, float)) or not 0.0 <= dropout < 1.0:
                raise SpaceError(f"dropouts must be in [0, 1), but got {dropout!r}")
        object.__setattr__(self, "dropouts", tuple(float(value) for value in self.dropouts))
        if len(self.dropouts) > 1:
            for stage in self.stages:
                _require_dropout(stage)

    # -- as JSON ------------------------------------------------------------------------------

    def to_lists(self) -> dict[str, list[Value]]:
        """Return the record as JSON-ready values: the list of every choice, by its name."""
        return {choice.name: list(choice.values) for choice in self.all_choices}

    @classmethod
    def from_lists(cls, lists: Mapping[str, Any]) -> SearchSpace:
        """Read what `to_lists` wrote.

        Raises:
            SpaceError: A list is missing or breaks the contract.
            UnknownNameError: A stem or block kind is in no table.
        """
        try:
            rows = {name: tuple(values) for name, values in lists.items()}
            stages = tuple(
                StageChoices(*(rows[f"stage{number}_{part}"] for part in STAGE_PARTS))
                for number in range(1, max(rows["num_stages"]) + 1)
            )
            return cls(rows["stem"], stages, rows["num_stages"], rows["dropout"])
        except (KeyError, TypeError, ValueError) as error:
            raise SpaceError(f"there must be a list for every choice, but {error!r}") from error

    # -- choices ------------------------------------------------------------------------------

    @cached_property
    def all_choices(self) -> tuple[Choice, ...]:
        """Return every choice in a fixed order, constants included."""
        stages = (choice for row in self.stage_choices for choice in row)
        return (self.stem_choice, self.num_stages_choice, self.dropout_choice, *stages)

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """Return the choices a trial is asked for: those with two values or more."""
        return tuple(choice for choice in self.all_choices if len(choice.values) > 1)

    @cached_property
    def stem_choice(self) -> Choice:
        """Return the choice of the stem."""
        return Choice("stem", self.stems)

    @cached_property
    def num_stages_choice(self) -> Choice:
        """Return the choice of the number of stages."""
        return _range_choice("num_stages", self.num_stages)

    @cached_property
    def dropout_choice(self) -> Choice:
        """Return the choice of the network's dropout."""
        return Choice("dropout", self.dropouts)

    @cached_property
    def stage_choices(self) -> tuple[tuple[Choice, Choice, Choice, Choice], ...]:
        """Return the choices (kind, depth, width, kernel) of each stage."""
        return tuple(
            (
                Choice(f"stage{number}_kind", stage.kinds),
                _range_choice(f"stage{number}_depth", stage.depths),
                Choice(f"stage{number}_width", stage.widths),
                Choice(f"stage{number}_kernel", stage.kernels),
            )
            for number, stage in enumerate(self.stages, start=1)
        )

    @property
    def distributions(self) -> dict[str, Any]:
        """Return name -> Optuna distribution, the same for every trial; imports Optuna."""
        return {choice.name: choice.distribution for choice in self.choices}

    def suggest(self, trial: Trial) -> Architecture:
        """Ask a trial for every choice and return the network."""
        return self.decode({choice.name: choice.suggest(trial) for choice in self.choices})

    # -- choices and networks -----------------------------------------------------------------

    def decode(self, choices: Choices) -> Architecture:
        """Return the network that choices describe; those of absent stages are not looked at.

        Raises:
            SpaceError: A choice is missing or not in its list.
        """
        whole = (self.num_stages_choice, self.dropout_choice, self.stem_choice)
        num_stages, dropout, stem = (choice.read(choices) for choice in whole)
        strides = implied_strides(int(num_stages))
        stages = tuple(
            _stage(*(choice.read(choices) for choice in row), stride, float(dropout))
            for row, stride in zip(self.stage_choices, strides, strict=False)
        )
        return Architecture(_stem(str(stem), stages[0].width), stages)

    def canonical(self, choices: Choices) -> dict[str, Value]:
        """Return the choices with those of absent stages set to their lists' first values.

        Two canonical choices are equal exactly when their networks are.

        Raises:
            SpaceError: A choice is missing or not in its list.
        """
        absent = self.absent(choices)
        return {
            choice.name: choice.values[0] if choice.name in absent else choice.read(choices)
            for choice in self.choices
        }

    def absent(self, choices: Choices) -> frozenset[str]:
        """Return the names that belong to stages the network does not have."""
        num_stages = int(self.num_stages_choice.read(choices))
        return self._absent[num_stages]

    @cached_property
    def _absent(self) -> dict[int, frozenset[str]]:
        return {
            number: frozenset(choice.name for row in self.stage_choices[number:] for choice in row)
            for number in self.num_stages
        }

    def encode(self, architecture: Architecture) -> dict[str, Value] | None:
        """Return the canonical choices of a network, or None where the space lacks it.

        Equal adjacent stages, the second with stride 1, are read as one.
        """
        stages = _merge_stages(architecture.stages)
        rows = [(stage.kind, stage.depth, stage.width, stage.kernel) for stage in stages]
        choices = self.name_values(architecture.stem.kind, float(stages[0].dropout), rows)
        try:
            found = self.decode(choices)
        except SpaceError:
            return None
        return choices if found == Architecture(architecture.stem, stages) else None

    def enumerate(self) -> Iterator[dict[str, Value]]:
        """Yield the canonical choices of every network once; for small spaces.

        Stages without a form (an even kernel in a bottleneck) are left out.
        """
        for number in self.num_stages:
            rows = [stage.rows for stage in self.stages[:number]]
            for stages in product(*rows):
                for stem, dropout in product(self.stems, self.dropouts):
                    yield self.name_values(stem, dropout, stages)

    def name_values(
        self, stem: str, dropout: float, stages: Sequence[tuple[Value, ...]]
    ) -> dict[str, Value]:
        """Return canonical choices; `stages` are (kind, depth, width, kernel), in order."""
        named = dict(self._first_values)
        named["stem"], named["num_stages"], named["dropout"] = stem, len(stages), dropout
        for row, values in zip(self.stage_choices, stages, strict=False):
            for choice, value in zip(row, values, strict=True):
                named[choice.name] = value
        for name in self._constants:
            del named[name]
        return named

    @cached_property
    def _first_values(self) -> dict[str, Value]:
        return {choice.name: choice.values[0] for choice in self.all_choices}

    @cached_property
    def _constants(self) -> tuple[str, ...]:
        return tuple(choice.name for choice in self.all_choices if len(choice.values) == 1)


@lru_cache(maxsize=2**16)
def _stage(*values: Any) -> Stage:
    kind, depth, width, kernel, stride, dropout = values
    return Stage(kind, depth, width, stride, kernel, dropout)


@lru_cache(maxsize=2**10)
def _stem(kind: str, width: int) -> Stem:
    return Stem(kind, width)


def _range_choice(name: str, values: tuple[int, ...]) -> Choice:
    steps = {after - before for before, after in pairwise(values)}
    if len(steps) != 1 or min(steps) < 1:
        return Choice(name, values)
    return Choice(name, values, min(steps))


def _merge_stages(stages: tuple[Stage, ...]) -> tuple[Stage, ...]:
    merged: list[Stage] = []
    for stage in stages:
        if merged and stage == replace(merged[-1], depth=stage.depth, stride=1):
            merged[-1] = replace(merged[-1], depth=merged[-1].depth + stage.depth)
        else:
            merged.append(stage)
    return tuple(merged)


def _require_dropout(stage: StageChoices) -> None:
    for kind, kernel, width in stage.options:
        if not has_block(kind, width, kernel):
            continue
        plain, dropped = (block_layers(kind, width, width, 1, kernel, p) for p in (0.0, 0.5))
        if plain == dropped:
            raise SpaceError(
                f"block kind {kind!r} has no dropout, so the space's dropouts must be one value"
            )
