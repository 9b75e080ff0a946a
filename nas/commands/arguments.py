"""Arguments that several commands have, and the checks that go with them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import UsageError
from nas.network.blocks import STEMS
from nas.units import list_words, parse_duration

if TYPE_CHECKING:
    from nas.training.recipe import Recipe


def list_names(names: Iterable[str]) -> str:
    """Return the names of a table as a help text has them: ``a, b or c``."""
    return list_words(names, "or")


def add_options(
    group: argparse._ActionsContainer, *options: tuple[str, Callable[[str], Any], str, str]
) -> None:
    """Add options by name, how each is read, what stands for its value in the help, and help."""
    for name, kind, metavar, text in options:
        group.add_argument(name, type=kind, metavar=metavar, help=text)


def add_flags(group: argparse._ActionsContainer, *flags: tuple[str, str]) -> None:
    """Add flags by name and help."""
    for name, text in flags:
        group.add_argument(name, action="store_true", help=text)


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add `--format`; with json, nothing else goes to standard output."""
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="output form (default: text)"
    )


def add_study(parser: argparse.ArgumentParser, default: str = "the most recent") -> None:
    """Add what names a study; `default` says in the help which one is taken."""
    group = parser.add_argument_group("study")
    group.add_argument("--study", metavar="NAME", help=f"the study (default: {default})")
    add_studies(group)
    text = (
        "sqlite:///FILE or postgresql+psycopg2://HOST/DB instead of the study's journal "
        "(default: where the study was begun; for a new one $NAS_STORAGE); user, password and "
        "options belong in $NAS_STORAGE, not here, as no study keeps them"
    )
    group.add_argument("--storage", metavar="URL", help=text)


def add_studies(group: argparse._ActionsContainer) -> None:
    """Add `--studies`."""
    text = "where studies live (default: $NAS_STUDIES, else ./studies)"
    group.add_argument("--studies", metavar="DIR", help=text)


def add_data(group: argparse._ActionsContainer, dataset: str = "cifar10") -> None:
    """Add what says on which data, at what size and where; `dataset` is for the help."""
    from nas.data.datasets import DATASETS, RESIZES

    names = f"{list_names(DATASETS)}; folder is your own images (default: {dataset})"
    where = (
        "where the data are; for folder: train/CLASS/*, and val/, test/ where you have them, or "
        "CLASS/*"
    )
    add_options(
        group,
        ("--dataset", str, "NAME", names),
        ("--data", expand_path, "DIR", where),
        ("--image-size", int, "N", "resize images to N x N pixels"),
        ("--device", str, "D", "auto (default: a GPU where there is one), cpu, cuda, cuda:N"),
    )
    shapes = "how an image of a folder that is not square becomes so: pad (default), crop, squash"
    group.add_argument("--resize", choices=RESIZES, help=shapes)
    grouping = (
        "keep images of a patient, video or site on one side of every split: REGEX finds it in "
        "the file's path below DIR, its group 1 or else all of the match"
    )
    add_options(
        group,
        ("--labels", absolute_path, "FILE", "a CSV or JSON table of file, label and split"),
        ("--group-by", str, "REGEX", grouping),
    )
    for name, text in (
        ("--skip-broken", "leave out files of a folder that cannot be read"),
        ("--strict", "refuse a folder with files that are no images"),
    ):
        group.add_argument(name, action="store_true", default=None, help=text)


def add_training(
    parser: argparse.ArgumentParser, recipe: str | None = "short", dataset: str = "cifar10"
) -> None:
    """Add what says on which data, where and how a network is trained.

    Args:
        parser: The command's parser.
        recipe: Which recipe is the default, for the help; None where none can be chosen.
        dataset: Which data set is the default, for the help.
    """
    from nas.training.recipe import RECIPES

    group = parser.add_argument_group("training")
    add_data(group, dataset)
    group.add_argument("--seed", type=int, metavar="N", help="seed of everything (default: 0)")
    if recipe is not None:
        text = f"how networks are trained: {list_names(RECIPES)} (default: {recipe})"
        group.add_argument("--recipe", dest="recipe_name", metavar="NAME", help=text)
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        dest="overrides",
        help="replace a field of the recipe, for example learning_rate=0.05; repeatable",
    )


def add_track(group: argparse._ActionsContainer) -> None:
    """Add `--track`."""
    from nas.training.tracking import TRACKERS

    group.add_argument(
        "--track",
        action="append",
        default=[],
        metavar="NAME",
        help=f"log every epoch to {list_names(TRACKERS)} too (default: to our own files alone); "
        "repeatable; wandb is offline unless you are logged in",
    )


def add_stem(group: argparse._ActionsContainer) -> None:
    """Add `--stem`."""
    text = f"replace the stem's kind: {list_names(STEMS)}; a notation has conv3x3"
    group.add_argument("--stem", metavar="KIND", help=text)


def add_time_limit(group: argparse._ActionsContainer) -> None:
    """Add `--time-limit`."""
    group.add_argument(
        "--time-limit",
        type=parse_duration,
        dest="time_limit_seconds",
        metavar="2h",
        help="begin no trial that is expected to end after this",
    )


def make_recipe(args: argparse.Namespace, default: str, num_images: int | None = None) -> Recipe:
    """Return the recipe of a training: its row, then what --set gives.

    Args:
        args: The arguments of `add_training`.
        default: The row that is taken where none is given.
        num_images: With it, the batch of the row is fitted to few images first.

    Raises:
        UsageError: There is no such row or field, or a value is out of range.
    """
    from nas.training.fitting import fit_recipe
    from nas.training.recipe import get_recipe

    row = get_recipe(args.recipe_name or default)
    if num_images is None:
        return row.with_overrides(args.overrides)
    return fit_recipe(row, args.overrides, num_images)


def expand_path(text: str) -> Path | None:
    """Return a path; no shell unfolds the home folder in `--data=~/images`. Nothing is None."""
    return Path(os.path.expanduser(text)) if text else None


def absolute_path(text: str) -> str | None:
    """Return a path as a study keeps it. Nothing is None."""
    return os.path.abspath(os.path.expanduser(text)) if text else None


def parse_workers(text: str) -> int | None:
    """Return a number of workers; None is `auto`.

    Raises:
        UsageError: The text is neither.
    """
    if text == "auto":
        return None
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"--workers must be auto or a whole number, but got {text!r}") from None


def require_range(
    args: argparse.Namespace, least: int, *names: str, most: int | None = None
) -> None:
    """Refuse an argument out of its range; None is not given.

    Args:
        args: The arguments.
        least: The least value.
        names: Whose.
        most: The highest value: more would take all there is; None is no limit.

    Raises:
        UsageError: An argument is out of range.
    """
    for name in names:
        value, option = getattr(args, name), f"--{name.replace('_', '-')}"
        if value is not None and value < least:
            raise UsageError(f"{option} must be at least {least}, but got {value}")
        if value is not None and most is not None and value > most:
            raise UsageError(f"{option} must be at most {most}, but got {value}")
