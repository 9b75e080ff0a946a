"""The caps on a network: how they are read, checked and shown. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from nas.errors import BudgetError
from nas.fields import POSITIVE, checked_field, validate_fields
from nas.network.complexity import Complexity

MAX_COUNT = POSITIVE.high

_SCALES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_COUNT_PATTERN = re.compile(r"(\d+(?:_\d+)*(?:\.\d+)?(?:e[+-]?\d{1,4})?)([kmg]?)", re.ASCII)


CAP_NAMES = (  # of each cap, and of what it bounds, in the order of `Complexity`
    ("budget", "parameters"),
    ("max_macs", "multiply-adds"),
    ("max_activations", "activations"),
)


@dataclass(frozen=True, slots=True)
class Caps:
    """The most a network may cost, and the one judge of what fits.

    A cap is inclusive, None is no cap.

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

    @property
    def bounds(self) -> dict[int, int]:
        """Return the caps there are, by the field of `Complexity` that each bounds."""
        caps = (self.budget, self.max_macs, self.max_activations)
        return {field: cap for field, cap in enumerate(caps) if cap is not None}

    def constraints(self, cost: Complexity) -> dict[str, float]:
        """Return cost / cap - 1 by cap, for `optuna.trial.Trial.set_constraint`: fits if <= 0."""
        return {CAP_NAMES[field][0]: cost[field] / cap - 1 for field, cap in self.bounds.items()}

    def violation(self, cost: Complexity) -> float:
        """Return the worst of cost / cap - 1: at most 0 where the network fits.

        Exact: below 2^52 the quotient of a number and a smaller one is never rounded to 1.
        """
        return max(self.constraints(cost).values())

    def fits(self, cost: Complexity) -> bool:
        """Tell whether no cap is exceeded."""
        return self.violation(cost) <= 0

    def holds(self, num_params: int) -> bool:
        """Tell whether so many parameters keep the budget; the other caps are not looked at."""
        return num_params <= self.budget

    def describe_excess(self, cost: Complexity) -> str | None:
        """Return which caps are exceeded and by how much, or None where all hold."""
        parts = []
        for field, cap in self.bounds.items():
            if cost[field] > cap:
                name, unit = CAP_NAMES[field]
                percent = format_percent(cost[field], cap)
                parts.append(f"{cost[field]:,} {unit} exceed {name} {cap:,} ({percent})")
        return "; ".join(parts) or None

    def describe(self) -> str:
        """Return the caps as a list: ``5,000,000 parameters, 100,000 activations``."""
        return ", ".join(f"{cap:,} {CAP_NAMES[field][1]}" for field, cap in self.bounds.items())


def parse_count(text: str, name: str = "budget") -> int:
    """Read a count: ``5e6``, ``5M``, ``1.5M``, ``300k``, ``5_000_000``, ``5000000``.

    Args:
        text: The count as typed; suffixes k, M and G of either case.
        name: What it counts, for the message.

    Raises:
        BudgetError: The text is no positive whole number, or above `MAX_COUNT`.
    """
    match = _COUNT_PATTERN.fullmatch(text.strip().lower())
    # exact, however many digits
    value = Fraction(Decimal(match[1])) * _SCALES[match[2]] if match else Fraction(0)
    if value > MAX_COUNT:
        raise BudgetError(f"{name} must be at most {MAX_COUNT:.0e}, but got {text!r}")
    if value < 1 or value.denominator != 1:
        is_cap = name in (*dict(CAP_NAMES), "targets")  # the others are small numbers
        how = "write it as 5e6, 5M, 300k, 5_000_000 or 5000000" if is_cap else "give 1 or more"
        raise BudgetError(f"{name} must be a positive whole number, but got {text!r}; {how}")
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
    """Return three significant digits: ``950``, ``272k``, ``5.00M``, ``177M``, ``3.24e+25``."""
    if value < 1000:
        return str(value)
    if value >= 10**21:  # beyond the letters
        return f"{value:.2e}"
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
