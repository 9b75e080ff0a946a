"""The rungs of a study: how many of the best are trained again, and how long. Standard library.

``24x30,6x100`` trains the 24 best of the search again for 30 epochs, then the 6 best of these for
100. Each rung trains fewer networks than the one below it, for longer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from nas.errors import UsageError

NO_RUNGS = "none"
LOWEST_FIRST = "write the lowest rung first, for example 24x30,6x100"
RULE = "--rungs is COUNTxEPOCHS, the lowest first, for example 24x30,6x100, or none"
_RUNG_PATTERN = re.compile(r"([1-9]\d{0,5})\s*x\s*([1-9]\d{0,5})", re.ASCII)


@dataclass(frozen=True)
class RungSpec:
    """One rung.

    Args:
        count: How many of the best of the rung below are trained again, from scratch.
        epochs: Epochs of each training, over which its schedule is annealed.
    """

    count: int
    epochs: int

    def __str__(self) -> str:
        """Return the rung as it is typed."""
        return f"{self.count}x{self.epochs}"


def parse_rungs(text: str) -> tuple[RungSpec, ...]:
    """Read ``24x30,6x100``; ``none`` is no rungs.

    Raises:
        UsageError: The text is no list of rungs, or one does not train fewer networks for longer
            than the one below it.
    """
    if text.strip().lower() == NO_RUNGS:
        return ()
    rungs = []
    for part in text.strip().lower().split(","):
        match = _RUNG_PATTERN.fullmatch(part.strip())
        if match is None:
            raise UsageError(f"{RULE}; got {part.strip()!r} in {text!r}")
        rungs.append(RungSpec(int(match[1]), int(match[2])))
    for below, rung in pairwise(rungs):
        if rung.count >= below.count:
            raise UsageError(
                f"a rung trains fewer networks than the one below it, but {rung} has "
                f"{rung.count} after the {below.count} of {below}; {LOWEST_FIRST}"
            )
        if rung.epochs <= below.epochs:
            raise UsageError(
                f"a rung trains longer than the one below it, but {rung} has {rung.epochs} epochs "
                f"after the {below.epochs} of {below}; {LOWEST_FIRST}"
            )
    return tuple(rungs)


def format_rungs(rungs: Sequence[RungSpec]) -> str:
    """Return the rungs as `parse_rungs` reads them."""
    return ",".join(map(str, rungs)) or NO_RUNGS


def check_rungs(rungs: Sequence[RungSpec], trials: int, epochs: int) -> None:
    """Refuse rungs that do not train fewer networks for longer than the search itself.

    Args:
        rungs: The rungs, the lowest first.
        trials: The trials that the search is to have.
        epochs: Epochs of each of them.

    Raises:
        UsageError: The lowest rung trains as many, or no longer.
    """
    if not rungs:
        return
    first = rungs[0]
    if first.count >= trials:
        raise UsageError(
            f"a rung trains fewer networks than the search, but {first} has {first.count} of "
            f"{trials} trials; give --rungs a lower count, or --trials more"
        )
    if first.epochs <= epochs:
        raise UsageError(
            f"a rung trains longer than the search, but {first} has {first.epochs} epochs and a "
            f"trial of this study {epochs}; give --rungs more epochs"
        )


def rung_study(name: str, epochs: int) -> str:
    """Return the name of the Optuna study that holds a rung: ``NAME@30``."""
    return f"{name}@{epochs}"
