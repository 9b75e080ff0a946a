"""A search space given as a function `suggest(trial) -> Architecture`.

The function may ask for whatever it likes, under conditions too, as long as every choice is
finite. What follows for such a space is drawn and estimated, never counted.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from nas.architecture import Architecture
from nas.errors import NasError, SpaceError
from nas.space_choices import Choice, Choices, Value

NUM_PROBES = 500  # random calls that find the names `suggest` asks for


@dataclass(frozen=True)
class FunctionSpace:
    """A space of which only the function is known.

    Args:
        function: `suggest(trial) -> Architecture`; the trial has `suggest_categorical`,
            `suggest_int` and `suggest_float` (with `step`).
    """

    function: Callable[[Any], Architecture]

    @cached_property
    def all_choices(self) -> tuple[Choice, ...]:
        """Return every choice that 500 random calls asked for, constants included.

        Raises:
            SpaceError: The function fails, returns something else, or asks for one name twice
                with different lists.
        """
        found: dict[str, Choice] = {}
        for seed in range(NUM_PROBES):
            rng = random.Random(seed)

            def answer(choice: Choice, rng: random.Random = rng) -> Value:
                if found.setdefault(choice.name, choice) != choice:
                    raise SpaceError(f"suggest asks for {choice.name!r} with two different lists")
                return rng.choice(choice.values)

            self._call(_FiniteTrial(answer))
        return tuple(found.values())

    @cached_property
    def choices(self) -> tuple[Choice, ...]:
        """Return the choices with two values or more."""
        return tuple(choice for choice in self.all_choices if len(choice.values) > 1)

    @property
    def distributions(self) -> dict[str, Any]:
        """Return name -> Optuna distribution; imports Optuna."""
        return {choice.name: choice.distribution for choice in self.choices}

    def suggest(self, trial: Any) -> Architecture:
        """Ask a trial for every choice, those the network does not need too; return the network.

        Raises:
            SpaceError: The function fails or returns something else.
        """
        return self.decode({choice.name: choice.suggest(trial) for choice in self.choices})

    def decode(self, choices: Choices) -> Architecture:
        """Return the network that choices describe.

        Raises:
            SpaceError: A choice is missing or not in its list, or the function fails.
        """
        return self._call(_FiniteTrial(lambda choice: choice.read(choices)))

    def absent(self, choices: Choices) -> frozenset[str]:
        """Return the names the function does not ask for, given the others."""
        asked: set[str] = set()

        def answer(choice: Choice) -> Value:
            asked.add(choice.name)
            return choice.read(choices)

        self._call(_FiniteTrial(answer))
        return frozenset(choice.name for choice in self.choices if choice.name not in asked)

    def canonical(self, choices: Choices) -> dict[str, Value]:
        """Return the choices with those not asked for set to their lists' first values."""
        absent = self.absent(choices)
        return {
            choice.name: choice.values[0] if choice.name in absent else choice.read(choices)
            for choice in self.choices
        }

    def encode(self, architecture: Architecture) -> None:
        """Return None: what a function can return is not known."""
        return None

    def contains(self, architecture: Architecture) -> bool:
        """Return False: what a function can return is not known."""
        return False

    def enumerate(self) -> Iterator[dict[str, Value]]:
        """Yield every combination of values, canonical; two may be one network."""
        names = [choice.name for choice in self.choices]
        for values in product(*(choice.values for choice in self.choices)):
            choices = dict(zip(names, values, strict=True))
            if self.canonical(choices) == choices:
                yield choices

    def _call(self, trial: _FiniteTrial) -> Architecture:
        try:
            architecture = self.function(trial)
        except NasError:
            raise
        except Exception as error:
            raise SpaceError(f"suggest failed: {type(error).__name__}: {error}") from error
        if not isinstance(architecture, Architecture):
            raise SpaceError(f"suggest must return an Architecture, but returned {architecture!r}")
        return architecture


@dataclass(frozen=True)
class _FiniteTrial:
    """A trial that turns each question into a finite list, and hands it to `answer`."""

    answer: Callable[[Choice], Any]

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        return self._ask(Choice(name, tuple(choices)))

    def suggest_int(
        self, name: str, low: int, high: int, *, step: int = 1, log: bool = False
    ) -> Any:
        options = (("low", low), ("high", high), ("step", step), ("log", log))
        return self._ask(Choice(name, tuple(range(low, high + 1, step)), "int", options))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None = None, log: bool = False
    ) -> Any:
        if step is None:
            raise SpaceError(f"{name}: a space has finite lists; give suggest_float a step")
        number = int((high - low) / step + 1e-9) + 1
        values = tuple(low + index * step for index in range(number))
        options = (("low", low), ("high", high), ("step", step), ("log", log))
        return self._ask(Choice(name, values, "float", options))

    def _ask(self, choice: Choice) -> Any:
        if not choice.values:
            raise SpaceError(f"{choice.name}: a list must have at least one value")
        return self.answer(choice)
