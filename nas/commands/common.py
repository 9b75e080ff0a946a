"""What several commands share: argument groups, opening a study, printing."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

    from nas.study import StudyDefinition, StudyFolder
    from nas.trials import TrialRow

STORAGE_VARIABLE = "NAS_STORAGE"


@dataclass(frozen=True)
class OpenedStudy:
    """A study that exists, opened for reading."""

    folder: StudyFolder
    definition: StudyDefinition
    storage: BaseStorage
    study: optuna.Study
    rows: list[TrialRow]


def add_format(parser: argparse.ArgumentParser) -> None:
    """Add `--format`; with json, nothing else goes to standard output."""
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="output form (default: text)"
    )


def add_study(parser: argparse.ArgumentParser) -> None:
    """Add what names a study."""
    group = parser.add_argument_group("study")
    group.add_argument("--study", metavar="NAME", help="the study (default: the most recent)")
    group.add_argument(
        "--studies",
        metavar="DIR",
        help="where studies live (default: $NAS_STUDIES, else ./studies)",
    )
    group.add_argument(
        "--storage",
        metavar="URL",
        default=os.environ.get(STORAGE_VARIABLE),
        help="sqlite:///FILE or postgresql+psycopg2://HOST/DB instead of the study's journal; "
        "passwords belong into $NAS_STORAGE or ~/.pgpass, not here",
    )


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add what says on which data, where and how a network is trained."""
    group = parser.add_argument_group("training")
    group.add_argument(
        "--dataset", metavar="NAME", help="cifar10, cifar100, svhn, fashion-mnist, digits, folder"
    )
    group.add_argument(
        "--data", metavar="DIR", help="where the data are; for folder: train/CLASS/*, test/CLASS/*"
    )
    group.add_argument("--image-size", type=int, metavar="N", help="resize images to N x N pixels")
    group.add_argument("--device", metavar="D", help="auto (default), cpu, cuda or cuda:N")
    group.add_argument("--seed", type=int, metavar="N", help="seed of everything (default: 0)")
    group.add_argument("--recipe", metavar="NAME", help="how networks are trained")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        dest="overrides",
        help="replace a field of the recipe; repeatable",
    )


def open_study(args: argparse.Namespace) -> OpenedStudy:
    """Open the study that the arguments name, or the most recent one, which is then said.

    Raises:
        UsageError: There is no such study.
        StorageError: It is damaged, or may not be read.
    """
    from nas.storage import load_study, open_storage
    from nas.study import find_study, studies_folder
    from nas.trials import read_rows

    folder = find_study(studies_folder(args.studies), args.study)
    if args.study is None:
        print(f"study: {folder.name}", file=sys.stderr)
    definition = folder.load()
    storage = open_storage(args.storage or definition.storage, folder.journal)
    study = load_study(definition.name, storage)
    return OpenedStudy(folder, definition, storage, study, read_rows(study))


def print_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    json.dump(value, sys.stdout, indent=2)
    print()


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], left: Iterable[int] = (0,)
) -> None:
    """Print aligned columns to standard output.

    Args:
        header: The column names.
        rows: The cells, already formatted.
        left: The indices of the columns that are aligned to the left; the others to the right.
    """
    cells = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    left = set(left)
    for row in cells:
        line = "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print(line.rstrip())
