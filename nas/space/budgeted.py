"""A space under its caps: all that a sampler may know of the candidates.

NumPy and Optuna are imported only by what needs them; refusing a budget needs neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.errors import ArchitectureError
from nas.network.architecture import Architecture, InputSpec
from nas.network.caps import Caps
from nas.network.complexity import Complexity, count
from nas.network.identity import identify
from nas.space.choices import Choices, Value
from nas.space.features import FeatureLayout
from nas.space.moves import moves, repair
from nas.space.paths import choices_of, find_extreme, find_fitting
from nas.space.record import SearchSpace

if TYPE_CHECKING:
    import numpy as np

    from nas.space.feasible import FeasibleSet

UNBUILDABLE = 1e9  # the violation of a network whose map vanishes; finite, so that JSON holds it
MEMO_SIZE = 2**16  # networks


class _Measured(NamedTuple):
    architecture: Architecture
    complexity: Complexity | None  # None: cannot be built at this input size
    violation: float


@dataclass(frozen=True)
class BudgetedSpace:
    """The candidates of a search: a space, the input its networks take, and the caps.

    Args:
        space: The space.
        input_spec: The input; a map that vanishes at this size is like being over the budget.
        caps: The most a network may cost.
        name: The space's name, for messages.

    Raises:
        BudgetError: No network of the space keeps the caps; the smallest one is named.
    """

    space: SearchSpace
    input_spec: InputSpec
    caps: Caps
    name: str = "given"
    _memo: dict[tuple[Value | None, ...], _Measured] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _keys: dict[tuple[Value | None, ...], str] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _indexes: dict[int, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _ = self._fallback  # refuses caps that no network keeps

    def under(self, budget: int) -> BudgetedSpace:
        """Return the space under another budget; what it knows of itself is shared.

        Raises:
            BudgetError: No network of the space keeps it.
        """
        other = replace(self, caps=replace(self.caps, budget=budget))
        object.__setattr__(other, "_indexes", self._indexes)
        return other

    # -- one candidate ------------------------------------------------------------------------

    @cached_property
    def distributions(self) -> dict[str, Any]:
        """Return name -> Optuna distribution, the same for every trial; imports Optuna."""
        return self.space.distributions

    def decode(self, choices: Choices) -> Architecture:
        """Return the network that choices describe.

        Raises:
            SpaceError: A choice is missing or not in its list.
        """
        return self._measure(choices).architecture

    def encode(self, architecture: Architecture) -> dict[str, Value] | None:
        """Return the canonical choices of a network, or None where the space lacks it."""
        return self.space.encode(architecture)

    def canonical(self, choices: Choices) -> dict[str, Value]:
        """Return the one form of the choices of this network: absent stages neutralised."""
        return self.space.canonical(choices)

    def key(self, choices: Choices) -> str:
        """Return the identity of the network."""
        memo_key = self._memo_key(choices)
        if memo_key not in self._keys:
            if len(self._keys) >= MEMO_SIZE:
                self._keys.clear()
            try:
                self._keys[memo_key] = identify(self.decode(choices)).id
            except ArchitectureError:
                self._keys[memo_key] = "no form"  # an even kernel in a bottleneck
        return self._keys[memo_key]

    def complexity(self, choices: Choices) -> Complexity:
        """Return what the network costs.

        Raises:
            ArchitectureError: It cannot be built at this input size.
        """
        measured = self._measure(choices)
        if measured.complexity is None:
            return count(measured.architecture, self.input_spec)  # raises, with the stage named
        return measured.complexity

    def num_params(self, choices: Choices) -> int:
        """Return the number of parameters; raises as `complexity`."""
        return self.complexity(choices).num_params

    def violation(self, choices: Choices) -> float:
        """Return the worst of cost / cap - 1: at most 0 where the network fits.

        A network that cannot be built at this input size has `UNBUILDABLE`.
        """
        return self._measure(choices).violation

    def is_feasible(self, choices: Choices) -> bool:
        """Tell whether the network can be built and keeps every cap."""
        return self._measure(choices).violation <= 0

    def features(self, choices: Choices) -> np.ndarray:
        """Return what describes the network to a surrogate; raises as `complexity`."""
        import numpy as np

        complexity = self.complexity(choices)
        row = self.layout.columns(self.decode(choices), complexity)
        return np.array(list(row.values()))  # (d,)

    @cached_property
    def layout(self) -> FeatureLayout:
        """Return the columns of `features`."""
        stages, stems = self.space.stages, self.space.stems
        kinds = tuple(dict.fromkeys(kind for stage in stages for kind in stage.kinds))
        kernels = tuple(dict.fromkeys(size for stage in stages for size in stage.kernels))
        return FeatureLayout(
            len(stages),
            kinds,
            kernels if len(kernels) > 1 else (),
            stems if len(stems) > 1 else (),
        )

    # -- near a candidate ---------------------------------------------------------------------

    def neighbours(self, choices: Choices) -> tuple[dict[str, Value], ...]:
        """Return all one-step changes, within the budget or not."""
        return tuple(changed for _, changed in moves(self.space, choices))

    def mutate(self, choices: Choices, rng: np.random.Generator) -> dict[str, Value]:
        """Return a random one-step change, within the budget wherever there is one."""
        near = self.neighbours(choices)
        order = [near[index] for index in rng.permutation(len(near))]
        chosen = next((entry for entry in order if self.is_feasible(entry)), None)
        return chosen or (order[0] if order else self.canonical(choices))

    def repair(self, choices: Choices) -> dict[str, Value]:
        """Return the nearest choices that fit; what fits already comes back canonical."""
        near = repair(self.space, choices, self.violation)
        return near if near is not None else dict(self._fallback)

    # -- all candidates -----------------------------------------------------------------------

    def sample(self, rng: np.random.Generator) -> dict[str, Value]:
        """Draw uniformly among the distinct feasible networks.

        Exact wherever `FeasibleSet.draw` finds one; where fewer than some 1 in 5,000 proposals
        fits, one is repaired, which is not uniform.
        """
        drawn = self.feasible_set.draw(rng)
        return drawn if drawn is not None else self.repair(self.feasible_set.propose(rng))

    def num_feasible(self) -> int | None:
        """Return how many distinct networks keep the caps, or None where it is estimated."""
        counted = self.feasible_set.count()
        return counted.value if counted.is_exact else None

    def extreme(self, is_largest: bool) -> tuple[Architecture, Complexity]:
        """Return the network with the most parameters, or the fewest, caps aside."""
        path = find_extreme(self.space, self.input_spec, is_largest=is_largest)
        assert path is not None  # a space of which nothing can be built was refused
        return self.space.decode(choices_of(self.space, path.codes)), path.cost

    @cached_property
    def feasible_set(self) -> FeasibleSet:
        """Return the networks that fit, as a whole; imports NumPy."""
        from nas.space.feasible import FeasibleSet

        return FeasibleSet(self, self._indexes)

    # -- how ----------------------------------------------------------------------------------

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return tuple(choice.name for choice in self.space.choices)

    def _memo_key(self, choices: Choices) -> tuple[Value | None, ...]:
        return tuple([choices.get(name) for name in self._names])

    def _measure(self, choices: Choices) -> _Measured:
        memo_key = self._memo_key(choices)
        measured = self._memo.get(memo_key)
        if measured is None:
            if len(self._memo) >= MEMO_SIZE:
                self._memo.clear()
            measured = self._memo[memo_key] = self._count(self.space.decode(choices))
        return measured

    def _count(self, architecture: Architecture) -> _Measured:
        try:
            complexity = count(architecture, self.input_spec)
        except ArchitectureError:
            return _Measured(architecture, None, UNBUILDABLE)
        return _Measured(architecture, complexity, self.caps.violation(complexity))

    @cached_property
    def _fallback(self) -> dict[str, Value]:
        """Return the choices of a network that keeps the caps."""
        return find_fitting(self.space, self.input_spec, self.caps, self.name)
