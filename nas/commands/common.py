"""What several commands share: opening a study, finding a network. Arguments: `arguments`."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.errors import StorageError, UsageError, unknown_name
from nas.network.architecture import Architecture
from nas.network.presets import resolve_architecture

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

    from nas.results.spending import Spending
    from nas.results.study_rungs import StudyRungs
    from nas.study.folder import StudyDefinition, StudyFolder
    from nas.study.trials import TrialRow


@dataclass(frozen=True)
class OpenedStudy:
    """A study that exists, opened for reading."""

    folder: StudyFolder
    definition: StudyDefinition
    storage: BaseStorage
    study: optuna.Study
    rows: list[TrialRow]

    def study_rungs(self) -> StudyRungs:
        """Read the study's rungs, as they stand."""
        from nas.results.study_rungs import read_study_rungs

        return read_study_rungs(self.definition, self.storage, self.study, self.rows)

    def spending(self) -> Spending:
        """Return what the study and its rungs have spent."""
        from nas.results.study_rungs import spend

        return spend(self.definition, self.storage, self.study)


def find_definition(args: argparse.Namespace) -> StudyDefinition:
    """Read the definition of the study that the arguments name, or of the most recent one.

    Raises:
        UsageError: There is no such study.
        StorageError: It is damaged, or may not be read.
    """
    return find_folder(args).load()


def storage_url(args: argparse.Namespace, definition: StudyDefinition | None) -> str | None:
    """Return the store that a command opens, as --storage says; None is the study's journal.

    A study stays where it was begun, whatever $NAS_STORAGE says. The variable is for new studies;
    for a study that is kept in the same database it supplies the password.

    Args:
        args: The arguments of `add_study`.
        definition: The study; None for a new one.
    """
    from nas.study.folder import STORAGE_VARIABLE

    given: str | None = args.storage
    if given is not None:
        return given
    own = os.environ.get(STORAGE_VARIABLE) or None
    if definition is None:
        return own
    if definition.storage is None or own is None:
        return definition.storage
    from nas.study.storage import canonical_url

    return own if canonical_url(own) == definition.storage else definition.storage


def open_study(args: argparse.Namespace) -> OpenedStudy:
    """Open the study that the arguments name, or the most recent one, which is then said.

    Nothing is written, and no store is made where there is none.

    Raises:
        UsageError: There is no such study.
        StorageError: It is damaged, or may not be read.
    """
    from nas.results.estimates import EstimateReader
    from nas.study.storage import load_study, open_storage, store_file

    folder = find_folder(args)
    definition = folder.load()
    url = storage_url(args, definition)
    path = store_file(url, folder.journal)
    if path is not None and not path.is_file():
        raise StorageError(
            f"study {definition.name!r} has no trials: {path} is absent; restore it from a copy, "
            "or start a study under another name"
        )
    storage = open_storage(url, folder.journal)
    study = load_study(definition.name, storage)
    rows = EstimateReader(definition.input_spec).read(study)
    return OpenedStudy(folder, definition, storage, study, rows)


def find_trial(opened: OpenedStudy, number: int) -> TrialRow:
    """Return a trial that has a network.

    Raises:
        UsageError: The study has no trial of that number, or it was stopped before its network
            was chosen.
    """
    rows = {row.number: row for row in opened.rows}
    if number not in rows:
        have = f"they are 0 to {max(rows)}" if rows else "it has none yet"
        raise UsageError(f"study {opened.definition.name!r} has no trial {number}; {have}")
    row = rows[number]
    if row.architecture is None:
        raise UsageError(
            f"trial {number} of study {opened.definition.name!r} has no network ({row.state}): "
            "it ended before one was chosen"
        )
    return row


def find_folder(args: argparse.Namespace) -> StudyFolder:
    """Return the folder of the study that the arguments name, or of the most recent one.

    Which one that is stands on standard error.

    Raises:
        UsageError: There is no such study.
    """
    from nas.study.folder import find_study, list_studies, studies_folder

    parent = studies_folder(args.studies)
    if args.study is not None:
        known = [study.name for study in list_studies(parent)]
        if known and args.study not in known:
            raise unknown_name("study", args.study, known)
    folder = find_study(parent, args.study)
    if args.study is None:
        print(f"study: {folder.name}", file=sys.stderr)
    return folder


def find_network(
    args: argparse.Namespace,
) -> tuple[Architecture, StudyDefinition | None, Path | None]:
    """Return the network, and definition and folder of the study it or its data come from."""
    if args.arch is not None:
        architecture = resolve_architecture(args.arch, stem_kind=args.stem)
        definition = find_definition(args) if args.study is not None else None
        return architecture, definition, None
    opened = open_study(args)
    row = _best_row(args, opened) if args.best else _trial_row(args, opened)
    assert row.architecture is not None
    return Architecture.from_dict(row.architecture), opened.definition, opened.folder.path


def _best_row(args: argparse.Namespace, opened: OpenedStudy) -> TrialRow:
    from nas.results.rungs_text import describe_deciding_rung  # Optuna, which --arch does not need
    from nas.results.summary import nothing_fits

    definition = opened.definition
    budget = min(args.budget or definition.budget, definition.budget)
    study_rungs = opened.study_rungs()
    summary = study_rungs.summarise(budget)
    if summary.best is None:
        raise UsageError(f"study {definition.name!r}: {nothing_fits(summary)}")
    notes = describe_deciding_rung(study_rungs, budget)
    if notes:
        print(f"best: trial {summary.best.number}. {' '.join(notes)}", file=sys.stderr)
    return summary.best


def _trial_row(args: argparse.Namespace, opened: OpenedStudy) -> TrialRow:
    row = find_trial(opened, args.trial)
    if row.state == "rejected":
        raise UsageError(
            f"trial {row.number} is outside the study's caps ({row.reason}); "
            f"`python cli.py show {row.number}` shows it, and --arch trains any network"
        )
    if row.state in ("broken", "failed"):
        print(f"note: trial {row.number} {row.state}: {row.reason}", file=sys.stderr)
    return row
