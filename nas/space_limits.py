"""The ends of a space: a network that keeps the caps, the smallest, the largest."""

from __future__ import annotations

import math

from nas.architecture import Architecture, InputSpec
from nas.complexity import Complexity
from nas.errors import BudgetError, InfeasibleError
from nas.space_choices import Value
from nas.space_costs import choices_of, fitting, largest, smallest
from nas.space_record import SearchSpace

COSTS = (
    ("budget", "parameters"),
    ("max_macs", "multiply-adds"),
    ("max_activations", "activations"),
)


def find_fitting(
    space: SearchSpace,
    input_spec: InputSpec,
    caps: tuple[float, float, float],
    name: str,
) -> dict[str, Value]:
    """Return the choices of a network that keeps every cap, the smallest of them.

    Args:
        space: The space.
        input_spec: The input the networks take.
        caps: Most parameters, multiply-adds and activations; `math.inf` is no cap.
        name: The space's name, for messages.

    Raises:
        BudgetError: There is none; what the smallest network costs is named.
        InfeasibleError: No network of the space can be built at this input size.
    """
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
    space: SearchSpace, input_spec: InputSpec, is_largest: bool
) -> tuple[Architecture, Complexity]:
    """Return the network with the fewest or the most parameters, and what it costs.

    Raises:
        InfeasibleError: No network of the space can be built at this input size.
    """
    path = (largest if is_largest else smallest)(space, input_spec)
    if path is None:
        size = input_spec.image_size
        raise InfeasibleError(f"no network of the space can be built at {size}x{size} pixels")
    return space.decode(choices_of(space, path.codes)), path.cost


def _nothing_buildable(name: str, input_spec: InputSpec) -> InfeasibleError:
    size = input_spec.image_size
    return InfeasibleError(
        f"no network of space {name!r} can be built at {size}x{size} pixels; choose another "
        "--image-size, or another space"
    )


def _spell(caps: tuple[float, float, float]) -> str:
    named = zip(COSTS, caps, strict=True)
    return ", ".join(f"{name} {int(cap):,}" for (name, _), cap in named if cap != math.inf)
