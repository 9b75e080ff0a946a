"""Count a space exactly and draw uniformly from what fits, without enumerating it.

A network is cut after one of its stages into a prefix (stem and first stages) and a suffix. All
prefixes and all suffixes that meet at one map are listed, the suffixes sorted by cost; the
networks within a cap are, prefix by prefix, the first so many suffixes, found by bisection. Two
lists of 10^5 to 10^7 rows stand for their product, up to 10^14 networks.

    cap 20     prefix costs   leaves   its suffixes, sorted by cost   of which fit   cumulated
                         10       10   1  2  4  7  9 | 15                        5           5
                         14        6   1  2  4 | 7  9  15                        3           8
                         19        1   1 | 2  4  7  9  15                        1           9

Nine networks fit. Number 6, counted from 0, is the second prefix (5 stand before it) with its
suffix number 1, which costs 2: a uniform number below 9 is a uniform network.

Optuna's random sampler is not used: it draws choices, of which several may mean one network, and
under a tight budget nearly all that it draws is over it.
"""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from nas.network.architecture import InputSpec
from nas.network.complexity import head_cost
from nas.space.choices import Value
from nas.space.paths import State, choices_of, stage_runs, stem_states
from nas.space.record import SearchSpace
from nas.space.suffixes import Ints, Rows, SuffixGraph, cross, join, make_rows, run_costs

MAX_ROWS = 16_000_000  # of one list: 128 MB
MAX_CAPS = 8  # whose cumulated counts are kept, as long as the list of prefixes each


class TooLargeError(ValueError):
    """The lists of a space would not fit in memory; caught in `feasible`, never shown."""


class _Group(NamedTuple):
    """Prefixes that meet one list of suffixes."""

    prefixes: Rows
    suffixes: Ints  # (n,) sorted; cost << shift | code
    start: int  # position of the first prefix in the whole list


class FeasibleIndex:
    """The networks of a space by cost, dropout left out.

    Args:
        space: The space.
        input_spec: The input the networks take; those whose map vanishes are not in the index.
        field: Which cost: 0 parameters, 1 multiply-adds, 2 activations.

    Raises:
        TooLargeError: The lists would have more than `MAX_ROWS` rows, however the space is cut.
    """

    def __init__(self, space: SearchSpace, input_spec: InputSpec, field: int = 0) -> None:
        self.space = space
        self._graph = SuffixGraph(space, input_spec, field)
        self.cut = self._choose_cut(input_spec)
        prefixes = self._list_prefixes(input_spec)
        num_suffixes = math.prod(stage.num_codes for stage in space.stages[self.cut :])
        self._shift = num_suffixes.bit_length()
        self._groups: list[_Group] = []
        start = 0
        for node_id, rows in prefixes.items():
            order = np.argsort(rows.costs)
            rows = Rows(rows.costs[order], rows.codes[order])
            self._groups.append(_Group(rows, self._pack_suffixes(node_id), start))
            start += len(rows.costs)
        self._starts = np.array([group.start for group in self._groups], dtype=np.int64)
        self._cuts: dict[int, Ints] = {}

    def count(self, cap: int) -> int:
        """Return how many networks cost at most `cap`; exact."""
        cumulative = self._cumulative(cap)
        return int(cumulative[-1]) if len(cumulative) else 0

    def histogram(self, edges: list[int]) -> list[int]:
        """Return the number of networks with ``edges[i] < cost <= edges[i + 1]``; exact."""
        counts = [sum(int(c.sum()) for c in self._counts(edge)) for edge in edges]
        return [after - before for before, after in pairwise(counts)]

    def draw(self, cap: int, rng: np.random.Generator) -> dict[str, Value]:
        """Draw uniformly among the networks that cost at most `cap`; the first dropout.

        Raises:
            ValueError: There is none.
        """
        cumulative = self._cumulative(cap)
        rank = int(rng.integers(cumulative[-1]))  # number of the network among those that fit
        row = int(cumulative.searchsorted(rank, side="right"))  # its prefix
        before = int(cumulative[row - 1]) if row else 0  # networks of the prefixes before
        group = self._groups[int(self._starts.searchsorted(row, side="right")) - 1]
        prefix = int(group.prefixes.codes[row - group.start])
        # the suffixes of one prefix stand by cost: those that fit are the first, without a gap
        suffix = int(group.suffixes[rank - before]) & ((1 << self._shift) - 1)
        return self._decode(prefix, suffix)

    def _counts(self, cap: int) -> list[Ints]:
        """Return, by group, how many suffixes each prefix may have."""
        counts = []
        for group in self._groups:
            # the cost is above the code in a packed suffix, so that cost <= cap - prefix means
            # packed < (cap - prefix + 1) << shift, whatever the code; the minimum keeps the
            # shift within int64
            left = np.maximum(cap - group.prefixes.costs + 1, 0)
            limit = np.minimum(left, (1 << (63 - self._shift)) - 1) << self._shift
            counts.append(group.suffixes.searchsorted(limit, side="left").astype(np.int64))
        return counts

    def _cumulative(self, cap: int) -> Ints:
        # NOTE: at most MAX_ROWS ** 2 < 2 ** 63 networks, so int64 holds every sum
        if cap not in self._cuts:
            if len(self._cuts) >= MAX_CAPS:
                self._cuts.clear()
            counts = self._counts(cap)
            self._cuts[cap] = (
                np.cumsum(np.concatenate(counts)) if counts else np.zeros(0, dtype=np.int64)
            )
        return self._cuts[cap]

    # -- building -----------------------------------------------------------------------------

    def _choose_cut(self, input_spec: InputSpec) -> int:
        """Return after how many stages to cut, for the fewest rows."""
        sizes = []  # (rows of the longer list, cut)
        states: dict[State, int] = defaultdict(int)  # how many prefixes end in a state
        for _, state, _ in stem_states(self.space, input_spec):
            states[state] += 1
        ended = 0  # whole networks that are shorter than the prefixes
        for index in range(len(self.space.stages)):
            after: dict[State, int] = defaultdict(int)
            for state, rows in states.items():
                for run in stage_runs(self.space, index, state):
                    after[run.width, run.size] += rows * len(run.codes)
            states = after
            # states that share a node share its list, which is then there once
            nodes = {self._graph.node(index + 1, state) for state in states} - {None}
            suffixes = sum(self._graph.nodes[node].rows for node in nodes if node is not None)
            prefixes = ended + sum(states.values())
            sizes.append((max(prefixes, suffixes), index + 1))
            if index + 1 in self.space.num_stages:
                ended += sum(states.values())
        rows, cut = min(sizes)
        if rows > MAX_ROWS:
            raise TooLargeError(f"{rows:,} rows, at most {MAX_ROWS:,}")
        return cut

    def _list_prefixes(self, input_spec: InputSpec) -> dict[int, Rows]:
        """List the prefixes by the node they meet; whole shorter networks meet an empty suffix."""
        field = self._graph.field
        parts: dict[int, list[Rows]] = defaultdict(list)
        states: dict[State, list[Rows]] = defaultdict(list)
        for position, state, cost in stem_states(self.space, input_spec):
            states[state].append(make_rows((cost[field],), (position,)))
        # a prefix's code, in a mixed base: stem + stems x (stage 1 + base 1 x (stage 2 + ...))
        base = len(self.space.stems)  # what the next stage's code is multiplied by
        for index in range(self.cut):
            after: dict[State, list[Rows]] = defaultdict(list)
            for state, lists in states.items():
                rows = join(lists)
                for run in stage_runs(self.space, index, state):
                    step = make_rows(run_costs(run, field), tuple(base * c for c in run.codes))
                    after[run.width, run.size].append(cross(step, rows))
            base *= self.space.stages[index].num_codes
            states = after
            # a network that ends at the cut itself is a prefix whose suffix is the classifier
            if index + 1 < self.cut and index + 1 in self.space.num_stages:
                ended = parts[self._graph.empty_suffix()]
                for (width, _), lists in states.items():
                    rows, head = join(lists), head_cost(width, input_spec.num_classes)
                    ended.append(Rows(rows.costs + head[field], rows.codes))
        for state, lists in states.items():
            node = self._graph.node(self.cut, state)
            if node is not None:
                parts[node] += lists
        return {node: join(lists) for node, lists in parts.items()}

    def _pack_suffixes(self, node_id: int) -> Ints:
        rows = self._graph.suffixes(node_id, self.cut)
        # bits 63, 62 | 61 ..... shift | shift - 1 ..... 0
        #        0, 0 | cost           | code               one int64: sorting sorts by cost
        if int(rows.costs.max()) >> (62 - self._shift):
            raise TooLargeError("a suffix costs too much to be packed with its code")
        packed = (rows.costs << self._shift) | rows.codes
        packed.sort()
        return packed

    def _decode(self, prefix: int, suffix: int) -> dict[str, Value]:
        prefix, stem = divmod(prefix, len(self.space.stems))
        codes = [stem]
        for index in range(len(self.space.stages)):
            base = self.space.stages[index].num_codes
            if index < self.cut:
                prefix, code = divmod(prefix, base)
            else:
                suffix, code = divmod(suffix, base)
            if not code:  # no stage: the network has ended
                break
            codes.append(code)
        return choices_of(self.space, tuple(codes))
