"""The ends of a space: a network that keeps the caps, the smallest, the largest.

Exact for a record; of a space given by a function only what 1,000 random calls meet is known.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from nas.architecture import Architecture, InputSpec
from nas.complexity import Complexity, count
from nas.errors import ArchitectureError, BudgetError, InfeasibleError
from nas.space_choices import Value
from nas.space_costs import choices_of, fitting, largest, smallest
from nas.space_function import FunctionSpace
from nas.space_record import SearchSpace

NUM_PROBES = 1_000
COSTS = (
    ("budget", "parameters"),
    ("max_macs", "multiply-adds"),
    ("max_activations", "activations"),
)


def find_fitting(
    space: SearchSpace | FunctionSpace,
    input_spec: InputSpec,
    caps: tuple[float, float, float],
    name: str,
) -> dict[str, Value]:
    """Return the choices of a network that keeps every cap, of the smallest one if that is known.

    Args:
        space: The space.
        input_spec: The input the networks take.
        caps: Most parameters, multiply-adds and activations; `math.inf` is no cap.
        name: The space's name, for messages.

    Raises:
        BudgetError: There is none; what the smallest network costs is named.
        InfeasibleError: No network of the space can be built at this input size.
    """
    if isinstance(space, FunctionSpace):
        return _find_by_probing(space, input_spec, caps, name)
    found = fitting(space, input_spec, caps)
    if found is not None:
        return choices_of(space, found.codes)
    for position, (cap_name, unit) in enumerate(COSTS):
        path = smallest(space, input_spec, position)
        if path is None:
            raise _nothing_buildable(name, input_spec)
        least, cap = path.cost[position], caps[position]
        if least > cap:
            raise BudgetError(
                f"the smallest network of space {name!r} has {least:,} {unit}, and {cap_name} is "
                f"{int(cap):,}; set {cap_name} to {least:,} or more"
            )
    raise BudgetError(f"no network of space {name!r} keeps all caps together: {_spell(caps)}")


def find_extreme(
    space: SearchSpace | FunctionSpace, input_spec: InputSpec, is_largest: bool
) -> tuple[Architecture, Complexity]:
    """Return the network with the fewest or the most parameters, and what it costs.

    Raises:
        InfeasibleError: No network of the space can be built at this input size.
    """
    pick = max if is_largest else min
    if isinstance(space, FunctionSpace):
        met = [(architecture, cost) for _, architecture, cost in _probe(space, input_spec)]
        if met:
            return pick(met, key=lambda entry: entry[1].num_params)
    else:
        path = (largest if is_largest else smallest)(space, input_spec)
        if path is not None:
            return space.decode(choices_of(space, path.codes)), path.cost
    size = input_spec.image_size
    raise InfeasibleError(f"no network of the space can be built at {size}x{size} pixels")


def _find_by_probing(
    space: FunctionSpace, input_spec: InputSpec, caps: tuple[float, float, float], name: str
) -> dict[str, Value]:
    least = math.inf
    for choices, _, cost in _probe(space, input_spec):
        if all(value <= cap for value, cap in zip(cost, caps, strict=True)):
            return space.canonical(choices)
        least = min(least, cost.num_params)
    if least == math.inf:
        raise _nothing_buildable(name, input_spec)
    raise BudgetError(
        f"none of {NUM_PROBES:,} random networks of space {name!r} keeps the caps "
        f"({_spell(caps)}); the smallest of them has {least:,} parameters"
    )


def _probe(
    space: FunctionSpace, input_spec: InputSpec
) -> Iterator[tuple[dict[str, Value], Architecture, Complexity]]:
    """Yield 1,000 random networks, those that cannot be built left out."""
    rng = random.Random(0)
    for _ in range(NUM_PROBES):
        choices = {choice.name: rng.choice(choice.values) for choice in space.choices}
        architecture = space.decode(choices)
        try:
            yield choices, architecture, count(architecture, input_spec)
        except ArchitectureError:
            continue


def _nothing_buildable(name: str, input_spec: InputSpec) -> InfeasibleError:
    size = input_spec.image_size
    return InfeasibleError(
        f"no network of space {name!r} can be built at {size}x{size} pixels; choose another "
        "--image-size, or another space"
    )


def _spell(caps: tuple[float, float, float]) -> str:
    named = zip(COSTS, caps, strict=True)
    return ", ".join(f"{name} {int(cap):,}" for (name, _), cap in named if cap != math.inf)
