"""What a `search` command line asks for, and the name of the study it means."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from nas.errors import UsageError
from nas.study.folder import default_name, require_name
from nas.study.rungs import RungSpec

DEFAULT_SPACE, DEFAULT_DATASET, DEFAULT_RECIPE, DEFAULT_TRIALS = "resnet", "cifar10", "short", 200


@dataclass(frozen=True)
class Request:
    """What the command line asks for; None is "not given"."""

    study: str | None = None
    studies: str | None = None
    storage: str | None = None
    space: str | None = None
    budget: int | None = None
    targets: tuple[int, ...] | None = None
    max_macs: int | None = None
    max_activations: int | None = None
    dataset: str | None = None
    data: str | None = None
    image_size: int | None = None
    device: str | None = None
    seed: int | None = None
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    epochs: int | None = None
    pruner: str | None = None
    over_budget: str | None = None
    audit: float | None = None
    known: bool | None = None
    sampler: str | None = None
    trials: int | None = None
    rungs: tuple[RungSpec, ...] | None = None
    workers: int | None = None  # None: as many as train most in total
    time_limit_seconds: float | None = None
    device_hours: float | None = None  # `math.inf` lifts the study's limit
    track: tuple[str, ...] = ()
    command: str = ""


def study_name(request: Request) -> str:
    """Return the name of the study that a request means.

    Raises:
        UsageError: Neither a name nor a budget is given, or the name is no plain folder name.
    """
    if request.study is not None:
        return require_name(request.study)
    if request.budget is None:
        raise UsageError("a new study needs a budget; give --budget 5e6, or --study to resume one")
    return require_name(
        default_name(
            request.space or DEFAULT_SPACE, request.budget, request.dataset or DEFAULT_DATASET
        )
    )


def quote_command(words: Sequence[str]) -> str:
    """Return a command line as it can be typed again, without the password of a storage URL."""
    from nas.study.storage import without_password

    shown = []
    for before, word in zip(("", *words), words, strict=False):
        option, equals, value = word.partition("=")
        if before == "--storage":
            shown.append(without_password(word))
        elif option == "--storage" and equals:
            shown.append(f"{option}={without_password(value)}")
        else:
            shown.append(word)
    return "python cli.py " + " ".join(shlex.quote(word) for word in shown)
