"""Parts of networks as lists of numbers: what a suffix costs, and which it is.

A suffix is what follows some stage: further stages and the classifier. Maps of different size
often have the same suffixes (parameters do not depend on the map), so equal ones are listed once.

    state (width, map)    node                    its suffixes
    (16, 32) --+          end: classifier of 16   the classifier alone
               +--------> run: width 32, ------>  each depth of the run, with each suffix
    (16, 16) --+               depths 1..4        of the node behind it
                          run: width 64, ...
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nas.network.architecture import InputSpec
from nas.network.complexity import head_cost
from nas.space.paths import StageRun, State, stage_runs
from nas.space.record import SearchSpace

Ints = NDArray[np.int64]


class Rows(NamedTuple):
    """Parts of networks: what each costs, and which it is."""

    costs: Ints  # (n,)
    codes: Ints  # (n,)


@dataclass(frozen=True)
class Node:
    """All suffixes that start from a state.

    Nodes with equal suffixes are one: maps of different size often cost the same parameters.

    Args:
        end: What the classifier costs if the network may end here.
        runs: (cost and code of every depth, the node behind) of every run of the next stage.
        rows: Number of suffixes.
    """

    end: int | None
    runs: tuple[tuple[tuple[int, ...], tuple[int, ...], int], ...]
    rows: int


class SuffixGraph:
    """The nodes of a space, by stage and state."""

    def __init__(self, space: SearchSpace, input_spec: InputSpec, field: int) -> None:
        self.space, self.input_spec, self.field = space, input_spec, field
        self.nodes: list[Node] = []
        self._ids: dict[object, int] = {}
        self._by_state: dict[tuple[int, State], int | None] = {}

    def node(self, index: int, state: State) -> int | None:
        """Return the node before stage `index`, or None where no network goes on from there."""
        if (index, state) not in self._by_state:
            self._by_state[index, state] = self._make(index, state)
        return self._by_state[index, state]

    def _make(self, index: int, state: State) -> int | None:
        end = None
        if index in self.space.num_stages:
            end = head_cost(state[0], self.input_spec.num_classes)[self.field]
        runs = []
        if index < len(self.space.stages):
            for run in stage_runs(self.space, index, state):
                child = self.node(index + 1, (run.width, run.size))
                if child is not None:  # else nothing that starts with this run ends anywhere
                    runs.append((run_costs(run, self.field), run.codes, child))
        if end is None and not runs:
            return None
        # children are numbered by what they hold, so that comparing a run's costs, codes and
        # child's number compares whole lists; the stage is part of it, as it says what codes mean
        key = (index, end, tuple(runs))
        if key not in self._ids:
            rows = int(end is not None) + sum(
                len(codes) * self.nodes[child].rows for _, codes, child in runs
            )
            self._ids[key] = len(self.nodes)
            self.nodes.append(Node(end, tuple(runs), rows))
        return self._ids[key]

    def empty_suffix(self) -> int:
        """Return a new node of one suffix: nothing follows, and it costs nothing."""
        self.nodes.append(Node(0, (), 1))
        return len(self.nodes) - 1

    def suffixes(self, node_id: int, index: int) -> Rows:
        """List the suffixes of a node; a code is that of the first stage plus `base` the rest."""
        node = self.nodes[node_id]
        lists = [] if node.end is None else [make_rows((node.end,), (0,))]
        base = self.space.stages[index].num_codes if node.runs else 1
        behind: dict[int, Rows] = {}  # of each child, its suffixes with their codes moved up
        for run_cost, run_codes, child in node.runs:
            if child not in behind:
                rest = self.suffixes(child, index + 1)
                behind[child] = Rows(rest.costs, base * rest.codes)
            lists.append(cross(make_rows(run_cost, run_codes), behind[child]))
        return join(lists)


def run_costs(run: StageRun, field: int) -> tuple[int, ...]:
    """Return what a run costs at each of its depths."""
    return tuple(cost[field] for cost in run.costs)


def make_rows(costs: tuple[int, ...], codes: tuple[int, ...]) -> Rows:
    """Return the rows of these values."""
    return Rows(np.array(costs, dtype=np.int64), np.array(codes, dtype=np.int64))


def cross(one: Rows, other: Rows) -> Rows:
    """Return the sums of each row of the one with each of the other."""
    return Rows(
        np.add.outer(one.costs, other.costs).ravel(), np.add.outer(one.codes, other.codes).ravel()
    )


def join(lists: list[Rows]) -> Rows:
    """Return the rows of all lists, one after the other."""
    return Rows(
        np.concatenate([rows.costs for rows in lists]),
        np.concatenate([rows.codes for rows in lists]),
    )
