"""The caps on a network: how they are read, checked and shown. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from nas.errors import BudgetError
from nas.fields import POSITIVE, checked_field, validate_fields
from nas.network.complexity import Complexity

MAX_COUNT = 10**18  # beyond any network; keeps a mistyped exponent out of every later sum

_SCALES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_COUNT_PATTERN = re.compile(r"(\d+(?:_\d+)*(?:\.\d+)?(?:e[+-]?\d{1,4})?)([kmg]?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Caps:
    """The most a network may cost; a cap is inclusive, None is no cap.

    Args:
        budget: Parameters.
        max_macs: Multiply-adds for one image.
        max_activations: Output elements of all convolutions for one image.

    Raises:
        BudgetError: A cap is no positive whole number.
    """

    budget: int = checked_field(POSITIVE)
    max_macs: int | None = checked_field(POSITIVE, None)
    max_activations: int | None = checked_field(POSITIVE, None)

    def __post_init__(self) -> None:
        validate_fields(self, BudgetError)

    def fits(self, complexity: Complexity) -> bool:
        """Return whether no cap is exceeded."""
        return (
            complexity.num_params <= self.budget
            and (self.max_macs is None or complexity.macs <= self.max_macs)
            and (self.max_activations is None or complexity.activations <= self.max_activations)
        )

    def constraints(self, complexity: Complexity) -> dict[str, float]:
        """Return cost / cap - 1 by cap, for `optuna.trial.Trial.set_constraint`: fits if <= 0."""
        return {name: value / cap - 1 for name, _, value, cap in self._pairs(complexity)}

    def describe_excess(self, complexity: Complexity) -> str | None:
        """Return which caps are exceeded and by how much, or None where all hold."""
        parts = [
            f"{value:,} {unit} exceed {name} {cap:,} ({format_percent(value, cap)})"
            for name, unit, value, cap in self._pairs(complexity)
            if value > cap
        ]
        return "; ".join(parts) or None

    def _pairs(self, complexity: Complexity) -> list[tuple[str, str, int, int]]:
        rows = (
            ("budget", "parameters", complexity.num_params, self.budget),
            ("max_macs", "multiply-adds", complexity.macs, self.max_macs),
            ("max_activations", "activations", complexity.activations, self.max_activations),
        )
        return [(name, unit, value, cap) for name, unit, value, cap in rows if cap is not None]


def parse_count(text: str, name: str = "budget") -> int:
    """Read a count: ``5e6``, ``5M``, ``1.5M``, ``300k``, ``5_000_000``, ``5000000``.

    Args:
        text: The count as typed; suffixes k, M and G of either case.
        name: What it counts, for the message.

    Raises:
        BudgetError: The text is no positive whole number, or above `MAX_COUNT`.
    """
    match = _COUNT_PATTERN.fullmatch(text.strip().lower())
    if match is None:
        raise _refusal(name, text)
    value = Decimal(match[1]) * _SCALES[match[2]]
    if value > MAX_COUNT:
        raise BudgetError(f"{name} must be at most {MAX_COUNT:.0e}, but got {text!r}")
    if value < 1 or value % 1 != 0:
        raise _refusal(name, text)
    return int(value)


def parse_budgets(text: str) -> tuple[int, ...]:
    """Read several budgets, ``300k,1e6,5M``; the smallest comes first.

    Raises:
        BudgetError: One is no count as `parse_count` reads it, or there are not two or more
            different ones.
    """
    budgets = tuple(parse_count(part, "targets") for part in text.split(","))
    require_budgets(budgets)
    return tuple(sorted(budgets))


def require_budgets(budgets: Sequence[int]) -> None:
    """Refuse budgets that are not two or more different ones.

    Raises:
        BudgetError: There are fewer than two, or two are equal.
    """
    if len(budgets) < 2 or len(set(budgets)) < len(budgets):
        shown = ",".join(map(str, budgets))
        raise BudgetError(
            f"targets must be two or more different budgets, but got {shown!r}; "
            "write them as 0.3e6,1e6,5e6; for a single one give --budget"
        )


def format_count(value: int) -> str:
    """Return three significant digits: ``950``, ``272k``, ``5.00M``, ``177M``."""
    if value < 1000:
        return str(value)
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    thousands, digits_before = divmod(int(exponent), 3)
    scaled = Decimal(mantissa).scaleb(digits_before)
    return f"{scaled:.{2 - digits_before}f}{' kMGTPE'[thousands]}"


def format_percent(value: int, cap: int) -> str:
    """Return the fraction of a cap in percent, never rounded across the cap.

    4,999,999 of 5,000,000 is ``99.9%`` and 5,000,001 is ``100.1%``.
    """
    tenths = value * 1000 // cap if value <= cap else -(-value * 1000 // cap)
    return f"{tenths // 10}.{tenths % 10}%"


def _refusal(name: str, value: object) -> BudgetError:
    return BudgetError(
        f"{name} must be a positive whole number, but got {value!r}; "
        "write it as 5e6, 5M, 300k, 5_000_000 or 5000000"
    )
