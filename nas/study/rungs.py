"""The rungs of a study: how many of the best are trained again, and how long. Standard library.

``24x30,6x100`` trains 24 of the best of the search again for 30 epochs, then 6 of the best of
these for 100; ``27x1x30000,9x3x45000`` says on how many images as well. Each rung trains fewer
networks than the one below it, in longer trainings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from nas.errors import UsageError
from nas.units import plural

NO_RUNGS = "none"
NONE_YET = "none yet"  # by the plan of a study with few trials; more may have some
LOWEST_FIRST = "write the lowest rung first, for example 24x30,6x100"
RULE = (
    "--rungs is COUNTxEPOCHS or COUNTxEPOCHSxIMAGES, the lowest first, for example 24x30,6x100 "
    "or 27x1x30000,9x3x45000, or none"
)
_RUNG_PATTERN = re.compile(
    r"([1-9]\d{0,5})\s*x\s*([1-9]\d{0,5})(?:\s*x\s*([1-9]\d{0,8}))?", re.ASCII
)


@dataclass(frozen=True)
class RungSpec:
    """One rung.

    Args:
        count: How many of the best of the rung below are trained again, from scratch.
        epochs: Epochs of each training, over which its schedule is annealed.
        images: Training images of each training; None is the plan's slice.
    """

    count: int
    epochs: int
    images: int | None = None

    def __str__(self) -> str:
        """Return the rung as it is typed."""
        return f"{self.count}x{self.label}"

    @property
    def label(self) -> str:
        """Return what tells it from the other rungs of its study: ``30`` or ``3x45000``."""
        return f"{self.epochs}" + (f"x{self.images}" if self.images is not None else "")

    @property
    def training(self) -> str:
        """Return the length of one training in words."""
        return describe_training(self.epochs, self.images)


def parse_rungs(text: str) -> tuple[RungSpec, ...]:
    """Read ``24x30,6x100`` or ``27x1x30000,9x3x45000``; ``none`` is no rungs.

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
        images = int(match[3]) if match[3] is not None else None
        rungs.append(RungSpec(int(match[1]), int(match[2]), images))
    for below, rung in pairwise(rungs):
        if rung.count >= below.count:
            raise UsageError(
                f"a rung trains fewer networks than the one below it, but {rung} has "
                f"{rung.count} after the {below.count} of {below}; {LOWEST_FIRST}"
            )
        if (below.images is None) == (rung.images is None):  # else the plan says which is longer
            _require_longer(below, rung)
    return tuple(rungs)


def format_rungs(rungs: Sequence[RungSpec]) -> str:
    """Return the rungs as `parse_rungs` reads them."""
    return ",".join(map(str, rungs)) or NO_RUNGS


def check_rungs(
    rungs: Sequence[RungSpec], trials: int, epochs: int, images: int, num_train: int
) -> None:
    """Refuse rungs that do not train fewer networks for longer than the search itself.

    Args:
        rungs: The rungs, the lowest first.
        trials: The trials that the search is to have.
        epochs: Epochs of each of them.
        images: Training images of each of them.
        num_train: Images that there are to train on.

    Raises:
        UsageError: The lowest rung trains as many, or no longer; or a rung has too many images.
    """
    if not rungs:
        return
    first = rungs[0]
    if first.count >= trials:
        raise UsageError(
            f"a rung trains fewer networks than the search, but {first} has {first.count} of "
            f"{plural(trials, 'trial')}; give --rungs a lower count, or --trials more"
        )
    if first.epochs * (first.images or images) <= epochs * images:
        own = describe_training(epochs, images if first.images is not None else None)
        raise UsageError(
            f"a rung trains longer than the search, but {first} has {first.training} and a "
            f"trial of this study {own}; give --rungs more"
        )
    for below, rung in pairwise(replace(rung, images=rung.images or images) for rung in rungs):
        _require_longer(below, rung)
    most = max(rung.images or images for rung in rungs)
    if most > num_train:
        raise UsageError(
            f"a rung asks for {most:,} training images, but there are {num_train:,}; give --rungs "
            "fewer"
        )


def _require_longer(below: RungSpec, rung: RungSpec) -> None:
    """Refuse a rung whose trainings see no more images in sum than those of the one below it."""
    if rung.epochs * (rung.images or 1) <= below.epochs * (below.images or 1):
        raise UsageError(
            f"a rung trains longer than the one below it, but {rung} has {rung.training} after "
            f"the {below.training} of {below}; {LOWEST_FIRST}"
        )


def describe_training(epochs: int, images: int | None) -> str:
    """Return the length of a training in words; its images where they are to be said."""
    return plural(epochs, "epoch") + (f" on {images:,} images" if images is not None else "")


def rung_study(name: str, spec: RungSpec) -> str:
    """Return the name of the Optuna study that holds a rung: ``NAME@30``, ``NAME@3x45000``."""
    return f"{name}@{spec.label}"
