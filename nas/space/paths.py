"""What the stages of a space cost, by the map they start from; its smallest and largest networks.

A network is a path: a stem, then one run of blocks per stage. The state between two stages is
(width, side of the map in pixels), and costs add up along the path, so that the extremes are
shortest paths: found stage by stage, no network enumerated. Standard library only.

    stem          stage 1              stage 2              end
    (16, 32) ---> (16, 32) --+-------> (32, 16) -------->   classifier of 32
    (32, 32) ---> (32, 32) --+--+----> (64, 16) -------->   classifier of 64
                                |
                                +----> ...      what follows depends on the state alone, so
                                                only the best paths into a state are kept
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from typing import NamedTuple

from nas.errors import ArchitectureError, BudgetError, InfeasibleError
from nas.network.architecture import InputSpec
from nas.network.caps import CAP_NAMES, Caps
from nas.network.complexity import Complexity, Part, block_cost, head_cost, stage_costs, stem_cost
from nas.space.choices import StageChoices, Value
from nas.space.record import SearchSpace

NO_BLOCK = Part(0, 0, 0, 0)


class StageRun(NamedTuple):
    """Stages of one block kind, kernel and width, of the depths that leave one map size.

    `codes` number (kind, kernel, width, depth) within the stage's lists, from 1; 0 is "no stage".
    """

    codes: tuple[int, ...]
    depths: tuple[int, ...]
    costs: tuple[Part, ...]  # of the stage at each of the depths
    width: int
    size: int  # side of the map after the stage


class Path(NamedTuple):
    """A network: its cost, the stem's position, one code per stage."""

    cost: Complexity
    codes: tuple[int, ...]


State = tuple[int, int]  # (width, side of the map)


def stem_states(space: SearchSpace, input_spec: InputSpec) -> list[tuple[int, State, Part]]:
    """Return (stem's position, state, cost) of every stem at every width of stage 1."""
    states = []
    for position, kind in enumerate(space.stems):
        for width in space.stages[0].widths:
            with suppress(ArchitectureError):
                cost = stem_cost(kind, width, input_spec.channels, input_spec.image_size)
                states.append((position, (width, cost.size), cost))
    return states


def stage_runs(space: SearchSpace, index: int, state: State) -> tuple[StageRun, ...]:
    """Return the runs a stage can be, from a state; those whose map vanishes are left out.

    Args:
        space: The space.
        index: The stage, from 0; stage 0 is as wide as the stem and has stride 1.
        state: Width and map before the stage.
    """
    w_in, size = state
    runs = _stage_runs(space.stages[index], w_in, 1 if index == 0 else 2, size)
    return tuple(run for run in runs if run.width == w_in) if index == 0 else runs


def find_fitting(
    space: SearchSpace, input_spec: InputSpec, caps: Caps, name: str
) -> dict[str, Value]:
    """Return the choices of the network with the fewest parameters that keeps every cap.

    Exact: a network is dropped on the way only where it is over a cap, or where another one in the
    same state is at least as cheap in every capped cost.

    Args:
        space: The space.
        input_spec: The input the networks take.
        caps: The caps.
        name: The space's name, for messages.

    Raises:
        BudgetError: There is none; what the smallest network costs is named.
        InfeasibleError: No network of the space can be built at this input size.
    """
    capped = list(caps.bounds)

    # costs only grow along a path: one that is over a cap stays over it, and one that is beaten
    # in every capped cost by another into the same state stays beaten
    def keep(paths: list[Path]) -> list[Path]:
        return _undominated((path for path in paths if caps.fits(path.cost)), capped)

    found = _walk(space, input_spec, keep, 0)
    if not found:
        raise _refusal(space, input_spec, caps, name)
    return choices_of(space, min(found, key=lambda path: path.cost.num_params).codes)


def find_extreme(
    space: SearchSpace, input_spec: InputSpec, field: int = 0, is_largest: bool = False
) -> Path | None:
    """Return the network that costs least, or most; None where none can be built.

    Args:
        space: The space.
        input_spec: The input the networks take.
        field: Which cost: 0 parameters, 1 multiply-adds, 2 activations.
        is_largest: Whether the one that costs most is wanted.
    """
    pick, end = (max, -1) if is_largest else (min, 0)
    found = _walk(space, input_spec, lambda paths: [pick(paths, key=lambda p: p.cost[field])], end)
    return found[0] if found else None


def choices_of(space: SearchSpace, codes: tuple[int, ...]) -> dict[str, Value]:
    """Return the canonical choices of a path, with the first of the dropouts."""
    stages = []
    for stage, code in zip(space.stages, codes[1:], strict=False):
        option, depth = divmod(code - 1, len(stage.depths))
        kind, kernel, width = stage.options[option]
        stages.append((kind, stage.depths[depth], width, kernel))
    return space.name_values(space.stems[codes[0]], space.dropouts[0], stages)


def _walk(
    space: SearchSpace,
    input_spec: InputSpec,
    keep: Callable[[list[Path]], list[Path]],
    end: int,
) -> list[Path]:
    """Return what `keep` leaves of the whole networks; each stage has its first or last depth."""
    states: dict[State, list[Path]] = {}
    for position, state, cost in stem_states(space, input_spec):
        states.setdefault(state, []).append(Path(Complexity(*cost[:3]), (position,)))
    whole: list[Path] = []
    for index in range(len(space.stages)):
        after: dict[State, list[Path]] = {}
        for state, paths in states.items():
            kept = keep(paths)
            for run in stage_runs(space, index, state):
                # every depth of a run ends in the same state, and a deeper one costs more of
                # everything: only the run's shallowest, or deepest, can be extreme
                depths = sorted(zip(run.depths, run.codes, run.costs, strict=True))
                _, code, step = depths[end]
                after.setdefault((run.width, run.size), []).extend(
                    Path(_add(path.cost, step), (*path.codes, code)) for path in kept
                )
        states = after
        if index + 1 in space.num_stages:
            for (width, _), paths in states.items():
                head = head_cost(width, input_spec.num_classes)
                whole += [Path(_add(path.cost, head), path.codes) for path in keep(paths)]
    return keep(whole) if whole else []


def _undominated(paths: Iterable[Path], fields: list[int]) -> list[Path]:
    kept: list[Path] = []
    # in this order a path can be beaten only by one that comes before it
    for path in sorted(paths, key=lambda path: tuple(path.cost[field] for field in fields)):
        if not any(all(k.cost[f] <= path.cost[f] for f in fields) for k in kept):
            kept.append(path)
    return kept


@lru_cache(maxsize=2**14)
def _stage_runs(stage: StageChoices, w_in: int, stride: int, size: int) -> tuple[StageRun, ...]:
    runs = []
    for option, (kind, kernel, width) in enumerate(stage.options):
        codes = {d: option * len(stage.depths) + i + 1 for i, d in enumerate(stage.depths)}
        try:
            #   size --first block--> first.size --second--> rest.size --third, ...--> rest.size
            first = block_cost(kind, w_in, width, stride, kernel, size)
        except ArchitectureError:
            continue
        rest = NO_BLOCK  # where there is no second block, only depth 1 is left below
        with suppress(ArchitectureError):
            rest = block_cost(kind, width, width, 1, kernel, first.size)
        by_size: dict[int, list[int]] = {}
        for depth in stage.depths:
            by_size.setdefault((first if depth == 1 else rest).size, []).append(depth)
        for after, depths in by_size.items():  # one size, or that of depth 1 and of the rest
            if after:
                taken = tuple(codes[depth] for depth in depths)
                costs = stage_costs(first, rest, depths)
                runs.append(StageRun(taken, tuple(depths), costs, width, after))
    return tuple(runs)


def _add(one: Complexity, other: Part) -> Complexity:
    return Complexity(one[0] + other[0], one[1] + other[1], one[2] + other[2])


def _refusal(
    space: SearchSpace, input_spec: InputSpec, caps: Caps, name: str
) -> BudgetError | InfeasibleError:
    """Return why no network of the space keeps the caps."""
    for field, cap in caps.bounds.items():
        path = find_extreme(space, input_spec, field)
        if path is None:
            size = input_spec.image_size
            return InfeasibleError(
                f"no network of space {name!r} can be built at {size}x{size} pixels; choose "
                "another --image-size, or another space"
            )
        (cap_name, unit), least = CAP_NAMES[field], path.cost[field]
        if caps.constraints(path.cost)[cap_name] > 0:
            return BudgetError(
                f"the smallest network of space {name!r} has {least:,} {unit}, and {cap_name} is "
                f"{cap:,}; set {cap_name} to {least:,} or more"
            )
    spelled = ", ".join(f"{CAP_NAMES[field][0]} {cap:,}" for field, cap in caps.bounds.items())
    return BudgetError(f"no network of space {name!r} keeps all caps together: {spelled}")
