"""Small changes of a network within its space: neighbours, and the smallest change that fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from nas.space.choices import Choice, Choices, Value
from nas.space.record import SearchSpace

LONG_LIST = 16  # values; a list as long is also crossed in steps of a sixth of it
LEAP_PARTS = 6

Move = tuple[str, dict[str, Value]]  # what it changes ("depth", "width", ...), canonical choices


def moves(space: SearchSpace, choices: Choices) -> Iterator[Move]:
    """Yield every one-step change: another network each, in a fixed order.

    Numbers go one step up or down their sorted list (on a long one also a sixth of it), names to
    every other one. A stage that is added is as the last one, one block deep.
    """
    current = space.canonical(choices)
    absent = space.absent(current)
    for choice in space.choices:
        if choice.name in absent:
            continue
        for value in _steps(choice, current[choice.name]):
            changed = current | {choice.name: value}
            if choice.name == "num_stages":
                changed |= _grown_stages(space, current, int(value))
            changed = space.canonical(changed)
            if changed != current:
                yield choice.name.rpartition("_")[2], changed


def repair(
    space: SearchSpace, choices: Choices, violation: Callable[[Choices], float]
) -> dict[str, Value] | None:
    """Return the nearest choices that fit, or None where no step leads there.

    Steps down depths and widths first, then changes kinds and stem, then drops stages. Each time
    the step that lowers the excess most is taken, but where a single one is enough, the one that
    stays closest to the caps. Deterministic; what fits already comes back as it is.

    Args:
        space: The space.
        choices: Where to start.
        violation: Relative excess of choices; at most 0 where they fit.
    """
    current = space.canonical(choices)
    excess = violation(current)
    while excess > 0:
        better: list[tuple[float, dict[str, Value]]] = []
        ranked = [(_rank(name), changed) for name, changed in moves(space, current)]
        for rank in range(3):
            tried = [(violation(changed), changed) for r, changed in ranked if r == rank]
            better = [entry for entry in tried if entry[0] < excess]
            if better:
                break
        if not better:
            return None
        enough = [entry for entry in better if entry[0] <= 0]
        pick = max if enough else min
        excess, current = pick(enough or better, key=lambda entry: entry[0])
    return current


def _rank(name: str) -> int:
    return {"depth": 0, "width": 0, "stages": 2}.get(name, 1)


def _steps(choice: Choice, value: Value) -> list[Value]:
    if any(isinstance(entry, str) for entry in choice.values):
        return [entry for entry in choice.values if entry != value]
    ordered = sorted(choice.values)
    place = ordered.index(value)
    strides = {1, len(ordered) // LEAP_PARTS} if len(ordered) >= LONG_LIST else {1}
    places = [place + sign * stride for stride in sorted(strides) for sign in (-1, 1)]
    return [ordered[i] for i in places if 0 <= i < len(ordered)]


def _grown_stages(
    space: SearchSpace, current: dict[str, Value], num_stages: int
) -> dict[str, Value]:
    """Return the choices of the stages that are added: as the last one, one block deep."""
    before = int(space.num_stages_choice.read(current))
    values: dict[str, Value] = {}
    last = {c.name.partition("_")[2]: c.read(current) for c in space.stage_choices[before - 1]}
    for row in space.stage_choices[before:num_stages]:
        for choice in row:
            part = choice.name.partition("_")[2]
            wanted = min(choice.values) if part == "depth" else last[part]
            values[choice.name] = wanted if wanted in choice.positions else choice.values[0]
    return values
