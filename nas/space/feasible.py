"""All the networks of a space that fit: how many there are, and drawing one of them.

    whole space  ⊇  within the tightest cap  ⊇  within all caps
                    drawn uniformly             kept; the others are rejected

An index of one cost draws uniformly within one cap. What is drawn uniformly from a set and then
kept only where it fits is uniform among what fits; the tightest cap rejects least. Where the
lists of every index would be too large, draws come from the whole space.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from nas.network.architecture import InputSpec
from nas.space.choices import Choices, Value
from nas.space.index import FeasibleIndex, TooLargeError
from nas.space.record import SearchSpace

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
    """The distinct networks of a space that keep some caps.

    Args:
        space: The space.
        input_spec: The input the networks take.
        caps: Most parameters, multiply-adds, activations; `math.inf` is no cap.
        fits: Whether choices keep the caps.
        key: The identity of the network of choices.
        indexes: The indexes of the space by the cost they are of, None where too large; built
            when asked for, and shared with the same space under other caps.
    """

    space: SearchSpace
    input_spec: InputSpec
    caps: tuple[float, float, float]
    fits: Callable[[Choices], bool]
    key: Callable[[Choices], str]
    indexes: dict[int, FeasibleIndex | None] = dataclasses.field(default_factory=dict)

    def draw(self, rng: np.random.Generator) -> dict[str, Value] | None:
        """Draw uniformly, or return None after 5,000 rejected draws.

        Under one cap of an indexed space nothing is rejected (some 20 microseconds a draw);
        under several, draws within the tightest are rejected until one keeps all.
        """
        if self._capped_index is not None and self._num_caps == 1:
            return self.propose(rng)
        for _ in range(NUM_REJECTED_DRAWS):
            choices = self.propose(rng)
            if self.fits(choices):
                return choices
        return None

    def count(self) -> Count:
        """Return how many networks keep the caps.

        Exact under one cap of an indexed space and in small spaces; else from 20,000 draws.
        """
        if self._capped_index is not None and self._num_caps == 1:
            return Count(self._num_proposable, 0.0)
        if self.num_distinct() <= MAX_ENUMERATED:
            return Count(sum(1 for _ in self.enumerate()), 0.0)
        return self._estimate

    def num_distinct(self) -> int:
        """Return the number of distinct networks, caps aside."""
        per_stage = [len(stage.rows) for stage in self.space.stages]
        shapes = sum(math.prod(per_stage[:number]) for number in self.space.num_stages)
        return shapes * len(self.space.stems) * len(self.space.dropouts)

    def enumerate(self) -> Iterator[dict[str, Value]]:
        """Yield the canonical choices of every network that keeps the caps, once."""
        seen: set[str] = set()
        for choices in self.space.enumerate():
            if self.fits(choices) and self.key(choices) not in seen:
                seen.add(self.key(choices))
                yield choices

    def histogram(
        self, edges: list[int], num_params: Callable[[Choices], int | None]
    ) -> list[int]:
        """Return how many networks have ``edges[i] < num_params <= edges[i + 1]``, caps aside.

        Args:
            edges: Ascending numbers of parameters.
            num_params: Counts a drawn network, for the estimate; None where it cannot be built.
        """
        if self._params_index is not None:
            counts = self._params_index.histogram(edges)
            return [number * len(self.space.dropouts) for number in counts]
        rng = np.random.default_rng(0)
        drawn = [num_params(self._draw_any(rng)) for _ in range(NUM_ESTIMATE_DRAWS)]
        built = np.array([number for number in drawn if number is not None], dtype=np.int64)
        # place i holds edges[i - 1] < number <= edges[i]; the first and the last lie outside
        placed = np.searchsorted(np.array(edges), built, side="left")
        fraction = np.bincount(placed, minlength=len(edges) + 1)[1 : len(edges)] / len(drawn)
        return [round(float(part) * self.num_distinct()) for part in fraction]

    # -- how ----------------------------------------------------------------------------------

    @cached_property
    def _num_caps(self) -> int:
        return sum(cap != math.inf for cap in self.caps)

    @cached_property
    def _params_index(self) -> FeasibleIndex | None:
        return self._build(0)

    @cached_property
    def _capped_index(self) -> tuple[FeasibleIndex, int] | None:
        """Return the index whose cap the fewest networks keep, and the cap; None if too large."""
        found = []
        for field, cap in enumerate(self.caps):
            if cap != math.inf:
                index = self._params_index if field == 0 else self._build(field)
                if index is not None:
                    found.append((index.count(int(cap)), field, index, int(cap)))
        return min(found, key=lambda entry: entry[:2])[2:] if found else None

    @cached_property
    def _num_proposable(self) -> int:
        if self._capped_index is None:
            return self.num_distinct()
        index, cap = self._capped_index
        return index.count(cap) * len(self.space.dropouts)

    def _build(self, field: int) -> FeasibleIndex | None:
        if field not in self.indexes:
            try:
                self.indexes[field] = FeasibleIndex(self.space, self.input_spec, field)
            except TooLargeError:
                self.indexes[field] = None
        return self.indexes[field]

    def propose(self, rng: np.random.Generator) -> dict[str, Value]:
        """Draw uniformly within the tightest cap, or from the whole space without an index."""
        if self._capped_index is None:
            return self._draw_any(rng)
        index, cap = self._capped_index
        choices = index.draw(cap, rng)
        dropouts = self.space.dropouts  # they cost nothing, so that the index leaves them out
        if len(dropouts) > 1:
            choices["dropout"] = dropouts[int(rng.integers(len(dropouts)))]
        return choices

    def _draw_any(self, rng: np.random.Generator) -> dict[str, Value]:
        """Draw uniformly from the whole space."""
        space, rows = self.space, [stage.rows for stage in self.space.stages]
        # a number of stages is as likely as it has networks; stems and dropouts go with each
        weights = [math.prod(map(len, rows[:number])) for number in space.num_stages]
        fractions = np.array(weights, dtype=float) / sum(weights)
        num_stages = space.num_stages[int(rng.choice(len(fractions), p=fractions))]
        stem = space.stems[int(rng.integers(len(space.stems)))]
        dropout = space.dropouts[int(rng.integers(len(space.dropouts)))]
        stages = [row[int(rng.integers(len(row)))] for row in rows[:num_stages]]
        return space.name_values(stem, dropout, stages)

    @cached_property
    def _estimate(self) -> Count:
        rng = np.random.default_rng(0)
        hits = sum(self.fits(self.propose(rng)) for _ in range(NUM_ESTIMATE_DRAWS))
        fraction = hits / NUM_ESTIMATE_DRAWS
        # NOTE: one hit and one miss are added, so that the error is not 0 where nothing was hit
        smoothed = (hits + 1) / (NUM_ESTIMATE_DRAWS + 2)
        error = math.sqrt(smoothed * (1 - smoothed) / NUM_ESTIMATE_DRAWS)
        return Count(round(fraction * self._num_proposable), error * self._num_proposable)
