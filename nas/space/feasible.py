"""All the networks of a space that fit: how many there are, and drawing one of them.

    whole space  ⊇  within the tightest cap  ⊇  within all caps
                    drawn uniformly             kept; the others are rejected

An index of one cost draws uniformly within one cap. What is drawn uniformly from a set and then
kept only where it fits is uniform among what fits; the tightest cap rejects least. Where the
lists of every index would be too large, draws come from the whole space.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nas.errors import ArchitectureError
from nas.space.choices import Value
from nas.space.index import FeasibleIndex, TooLargeError
from nas.statistics import standard_error

if TYPE_CHECKING:
    from nas.space.budgeted import BudgetedSpace

NUM_ESTIMATE_DRAWS = 20_000
NUM_REJECTED_DRAWS = 5_000
MAX_ENUMERATED = 20_000  # networks; below, counts under several caps are exact


class Count(NamedTuple):
    """A number of networks; exact where the standard error is 0."""

    value: int
    standard_error: float

    @property
    def is_exact(self) -> bool:
        """Tell whether it was counted, not estimated."""
        return self.standard_error == 0.0


@dataclass(frozen=True)
class FeasibleSet:
    """The distinct networks of a space that keep its caps.

    Args:
        candidates: The space under its caps.
        indexes: The indexes of the space by the cost they are of, None where too large; built
            when asked for, and shared with the same space under other caps.
    """

    candidates: BudgetedSpace
    indexes: dict[int, FeasibleIndex | None]

    def draw(self, rng: np.random.Generator) -> dict[str, Value] | None:
        """Draw uniformly, or return None after 5,000 rejected draws.

        Under one cap of an indexed space nothing is rejected (some 20 microseconds a draw);
        under several, draws within the tightest are rejected until one keeps all.
        """
        if self._is_indexed:
            return self.propose(rng)
        for _ in range(NUM_REJECTED_DRAWS):
            choices = self.propose(rng)
            if self.candidates.is_feasible(choices):
                return choices
        return None

    def count(self) -> Count:
        """Return how many networks keep the caps.

        Exact under one cap of an indexed space and in small spaces; else from 20,000 draws.
        """
        if self._is_indexed:
            return Count(self._num_proposable, 0.0)
        if self.num_distinct() <= MAX_ENUMERATED:
            return Count(sum(1 for _ in self.enumerate()), 0.0)
        return self._estimate

    def num_distinct(self) -> int:
        """Return the number of distinct networks, caps aside."""
        space = self.candidates.space
        per_stage = [len(stage.rows) for stage in space.stages]
        shapes = sum(math.prod(per_stage[:number]) for number in space.num_stages)
        return shapes * len(space.stems) * len(space.dropouts)

    def enumerate(self) -> Iterator[dict[str, Value]]:
        """Return the canonical choices of every network that keeps the caps, each once."""
        return filter(self.candidates.is_feasible, self.candidates.space.enumerate())

    def histogram(self, edges: list[int]) -> list[int]:
        """Return how many networks have ``edges[i] < num_params <= edges[i + 1]``, caps aside."""
        index = self._index(0)
        if index is not None:
            num_dropouts = len(self.candidates.space.dropouts)
            return [number * num_dropouts for number in index.histogram(edges)]
        rng = np.random.default_rng(0)
        sizes = []
        for _ in range(NUM_ESTIMATE_DRAWS):
            with suppress(ArchitectureError):  # it cannot be built
                sizes.append(self.candidates.num_params(self._draw_any(rng)))
        # place i holds edges[i - 1] < number <= edges[i]; the first and the last lie outside
        placed = np.searchsorted(np.array(edges), np.array(sizes, dtype=np.int64), side="left")
        drawn = np.bincount(placed, minlength=len(edges) + 1)[1 : len(edges)]
        fraction = drawn / NUM_ESTIMATE_DRAWS
        return [round(float(part) * self.num_distinct()) for part in fraction]

    def propose(self, rng: np.random.Generator) -> dict[str, Value]:
        """Draw uniformly within the tightest cap, or from the whole space without an index."""
        if self._tightest is None:
            return self._draw_any(rng)
        index, cap = self._tightest
        choices = index.draw(cap, rng)
        dropouts = self.candidates.space.dropouts  # they cost nothing: the index leaves them out
        if len(dropouts) > 1:
            choices["dropout"] = dropouts[int(rng.integers(len(dropouts)))]
        return choices

    # -- how ----------------------------------------------------------------------------------

    @cached_property
    def _is_indexed(self) -> bool:
        """Tell whether an index holds just the networks that fit."""
        return self._tightest is not None and len(self.candidates.caps.bounds) == 1

    @cached_property
    def _tightest(self) -> tuple[FeasibleIndex, int] | None:
        """Return the index that the fewest networks pass, with its cap; None if too large."""
        found = []
        for field, cap in self.candidates.caps.bounds.items():
            index = self._index(field)
            if index is not None:
                found.append((index.count(cap), field, index, cap))
        return min(found, key=lambda entry: entry[:2])[2:] if found else None

    @cached_property
    def _num_proposable(self) -> int:
        if self._tightest is None:
            return self.num_distinct()
        index, cap = self._tightest
        return index.count(cap) * len(self.candidates.space.dropouts)

    def _index(self, field: int) -> FeasibleIndex | None:
        if field not in self.indexes:
            try:
                space, input_spec = self.candidates.space, self.candidates.input_spec
                self.indexes[field] = FeasibleIndex(space, input_spec, field)
            except TooLargeError:
                self.indexes[field] = None
        return self.indexes[field]

    def _draw_any(self, rng: np.random.Generator) -> dict[str, Value]:
        """Draw uniformly from the whole space."""
        space = self.candidates.space
        rows = [stage.rows for stage in space.stages]
        weights = [math.prod(map(len, rows[:number])) for number in space.num_stages]
        fractions = np.array(weights, dtype=float) / sum(weights)
        num_stages = space.num_stages[int(rng.choice(len(fractions), p=fractions))]
        stem = space.stems[int(rng.integers(len(space.stems)))]
        dropout = space.dropouts[int(rng.integers(len(space.dropouts)))]
        stages = [row[int(rng.integers(len(row)))] for row in rows[:num_stages]]
        return space.name_values(stem, dropout, stages)

    @cached_property
    def _estimate(self) -> Count:
        rng, fits = np.random.default_rng(0), self.candidates.is_feasible
        hits = sum(fits(self.propose(rng)) for _ in range(NUM_ESTIMATE_DRAWS))
        fraction = hits / NUM_ESTIMATE_DRAWS
        error = standard_error(fraction, NUM_ESTIMATE_DRAWS)
        return Count(round(fraction * self._num_proposable), error * self._num_proposable)
