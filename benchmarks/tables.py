"""Tabular benchmarks as candidate spaces: the samplers of `nas.samplers` drive them unchanged.

A table is JSON in NAS-Bench-Macro's form, one entry per code:

    {"01210012": {"test_acc": [91.2, 91.0, 91.4], "params": 1234567, "flops": 12345678, ...}, ...}

A code is a string of one-character values, or of values separated by `:`, `-`, `_` or `,`.
Accuracies are percent or fractions; counts and accuracies come from the table alone, nothing is
modelled. A table may hold a part of its space: codes that are not in it cannot be proposed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from nas.errors import BudgetError, DataError

CodeKind = Literal["onehot", "ordinal"]
Code = tuple[str, ...]
Choices = dict[str, Any]

_SEPARATORS = re.compile(r"[:\-_,]")


@dataclass(frozen=True)
class Table:
    """A benchmark table.

    Args:
        codes: The codes, split into values, in the order of the file.
        accuracies: Accuracy of each training, in [0, 1].  # (n, s)
        num_params: Parameters.  # (n,)
        macs: Multiply-adds.  # (n,)
        canonical: Row of the entry that stands for the same network.  # (n,)
    """

    codes: tuple[Code, ...]
    accuracies: np.ndarray
    num_params: np.ndarray
    macs: np.ndarray
    canonical: np.ndarray

    @cached_property
    def alphabets(self) -> tuple[tuple[str, ...], ...]:
        """Return the values of each position, numbers in their order."""
        return tuple(
            tuple(sorted(set(values), key=_rank)) for values in zip(*self.codes, strict=True)
        )

    @cached_property
    def row_of(self) -> dict[Code, int]:
        """Return the row of each code."""
        return {code: row for row, code in enumerate(self.codes)}


def load_table(path: Path) -> Table:
    """Read a table.

    Entries are one network when their counts and all their accuracies are equal and one code is a
    permutation of the other (identity layers commute); the lowest code stands for them.

    Raises:
        DataError: The file is no table of that form.
    """
    try:
        entries = json.loads(path.read_text())
        codes = tuple(_split(code) for code in entries)
        accuracies = np.array([entry["test_acc"] for entry in entries.values()], dtype=float)
        num_params = np.array([entry["params"] for entry in entries.values()], dtype=np.int64)
        macs = np.array([entry["flops"] for entry in entries.values()], dtype=np.int64)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            "a table must be JSON {code: {test_acc: [...], params, flops}}, "
            f"but {path} is not: {error!r}"
        ) from error
    if not codes or accuracies.ndim != 2 or len({len(code) for code in codes}) != 1:
        raise DataError(f"codes of a table must have one length and entries, but {path} has not")
    if accuracies.max() > 1.0:
        accuracies = accuracies / 100.0
    signatures = [
        (tuple(sorted(code)), tuple(row_accuracies), int(params), int(row_macs))
        for code, row_accuracies, params, row_macs in zip(
            codes, accuracies, num_params, macs, strict=True
        )
    ]
    first_row: dict[tuple[object, ...], int] = {}
    for row in sorted(range(len(codes)), key=lambda row: [_rank(value) for value in codes[row]]):
        first_row.setdefault(signatures[row], row)
    canonical = np.array([first_row[signature] for signature in signatures])
    return Table(codes, accuracies, num_params, macs, canonical)


class TableSpace:
    """The networks of a table under a parameter budget, as samplers see them.

    Args:
        table: The table.
        budget: Most parameters allowed.
        code_kind: `onehot` reads a value of a code as a name, `ordinal` as a size.

    Raises:
        BudgetError: No network of the table fits.
    """

    def __init__(self, table: Table, budget: int, code_kind: CodeKind) -> None:
        self.table = table
        self.budget = budget
        self._code_kind = code_kind
        rows = np.flatnonzero(table.canonical == np.arange(len(table.codes)))
        self.feasible_rows = rows[table.num_params[rows] <= budget]
        if not len(self.feasible_rows):
            raise BudgetError(
                f"the budget must be at least {table.num_params.min():,}, the smallest network of "
                f"the table, but got {budget:,}"
            )
        self._grid = _as_grid(table)
        self._features = _features(table, self._grid, code_kind)
        self._names = tuple(f"layer_{position}" for position in range(len(table.alphabets)))

    @cached_property
    def distributions(self) -> Mapping[str, BaseDistribution]:
        """Return one categorical per position, or one integer where codes are sizes."""
        return {
            name: CategoricalDistribution(tuple(range(len(alphabet))))
            if self._code_kind == "onehot"
            else IntDistribution(0, len(alphabet) - 1)
            for name, alphabet in zip(self._names, self.table.alphabets, strict=True)
        }

    def row(self, choices: Mapping[str, Any]) -> int | None:
        """Return the row of the network, None where the table has it not."""
        code = tuple(
            alphabet[choices[name]]
            for name, alphabet in zip(self._names, self.table.alphabets, strict=True)
        )
        row = self.table.row_of.get(code)
        return None if row is None else int(self.table.canonical[row])

    def choices(self, row: int) -> Choices:
        """Return the choices of a row."""
        return {name: int(value) for name, value in zip(self._names, self._grid[row], strict=True)}

    def canonical(self, choices: Mapping[str, Any]) -> Choices:
        """Return the choices of the entry that stands for the network."""
        row = self.row(choices)
        return {name: choices[name] for name in self._names} if row is None else self.choices(row)

    def key(self, choices: Mapping[str, Any]) -> str:
        """Return the canonical code."""
        canonical = self.canonical(choices)
        return ":".join(str(canonical[name]) for name in self._names)

    def num_params(self, choices: Mapping[str, Any]) -> int:
        """Return the parameters of a network of the table."""
        return int(self.table.num_params[self._known_row(choices)])

    def macs(self, choices: Mapping[str, Any]) -> int:
        """Return the multiply-adds of a network of the table."""
        return int(self.table.macs[self._known_row(choices)])

    def violation(self, choices: Mapping[str, Any]) -> float:
        """Return the share over the budget; 1 for a code that is not in the table."""
        row = self.row(choices)
        return 1.0 if row is None else float(self.table.num_params[row] / self.budget - 1)

    def is_feasible(self, choices: Mapping[str, Any]) -> bool:
        """Tell whether the network is in the table and fits."""
        return self.violation(choices) <= 0

    def features(self, choices: Mapping[str, Any]) -> np.ndarray:
        """Return the code and the logarithms of parameters and multiply-adds."""
        features: np.ndarray = self._features[self._known_row(choices)]
        return features

    def sample(self, rng: np.random.Generator) -> Choices:
        """Draw uniformly among the distinct feasible networks."""
        return self.choices(int(self.feasible_rows[rng.integers(len(self.feasible_rows))]))

    def mutate(self, choices: Mapping[str, Any], rng: np.random.Generator) -> Choices:
        """Return choices with one value drawn anew."""
        position = int(rng.integers(len(self._names)))
        others = [
            value
            for value in range(len(self.table.alphabets[position]))
            if value != choices[self._names[position]]
        ]
        if not others:
            return dict(choices)
        return {**choices, self._names[position]: others[int(rng.integers(len(others)))]}

    def repair(self, choices: Mapping[str, Any]) -> Choices:
        """Return the feasible network with the fewest changed values, of those the largest."""
        values = np.array([choices[name] for name in self._names])
        distances = np.abs(self._grid[self.feasible_rows] - values)
        if self._code_kind == "onehot":
            distances = distances > 0
        nearest = np.lexsort((-self.table.num_params[self.feasible_rows], distances.sum(axis=1)))
        return self.choices(int(self.feasible_rows[nearest[0]]))

    def num_feasible(self) -> int:
        """Return the number of distinct feasible networks."""
        return len(self.feasible_rows)

    def _known_row(self, choices: Mapping[str, Any]) -> int:
        row = self.row(choices)
        if row is None:
            raise DataError(f"the table has no network {dict(choices)}")
        return row


def _split(code: str) -> Code:
    return tuple(_SEPARATORS.split(code)) if _SEPARATORS.search(code) else tuple(code)


def _rank(value: str) -> tuple[bool, float, str]:
    return (False, float(value), "") if value.isdigit() else (True, 0.0, value)


def _as_grid(table: Table) -> np.ndarray:
    """Return each code as positions within its alphabets."""
    indices = [
        {value: index for index, value in enumerate(alphabet)} for alphabet in table.alphabets
    ]
    return np.array(
        [
            [index[value] for index, value in zip(indices, code, strict=True)]
            for code in table.codes
        ]
    )  # (n, positions)


def _features(table: Table, grid: np.ndarray, code_kind: CodeKind) -> np.ndarray:
    sizes = [len(alphabet) for alphabet in table.alphabets]
    code = (
        np.concatenate([np.eye(size)[grid[:, i]] for i, size in enumerate(sizes)], axis=1)
        if code_kind == "onehot"
        else grid.astype(float)
    )
    counts = np.log(np.stack([table.num_params, np.maximum(table.macs, 1)], axis=1))
    return np.concatenate([code, counts], axis=1)
