"""What several commands share: opening a study, finding a network. Arguments: `arguments`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import StorageError, UsageError
from nas.network.architecture import Architecture
from nas.network.presets import resolve_architecture
from nas.printing import print_lines, program

if TYPE_CHECKING:
    import optuna
    from optuna.storages import BaseStorage

    from nas.results.spending import Spending
    from nas.results.study_rungs import StudyRungs
    from nas.results.summary import Summary
    from nas.study.definition import StudyDefinition
    from nas.study.folder import StudyFolder
    from nas.study.trials import TrialRow


@dataclass(frozen=True)
class OpenedStudy:
    """A study that exists, opened for reading."""

    folder: StudyFolder
    definition: StudyDefinition
    storage: BaseStorage
    study: optuna.Study
    rows: list[TrialRow]

    @cached_property
    def rungs(self) -> StudyRungs:
        """Return the study's rungs, as they stand."""
        from nas.results.study_rungs import read_study_rungs

        return read_study_rungs(self.definition, self.storage, self.study, self.rows)

    @cached_property
    def summary(self) -> Summary:
        """Return the outcome within the study's own budget."""
        return self.rungs.summarise(self.definition.budget)

    @cached_property
    def spending(self) -> Spending:
        """Return what the study and its rungs have spent."""
        from nas.results.study_rungs import spend

        return spend(self.definition, self.storage, self.study)

    def record(self) -> dict[str, Any]:
        """Return what was found and spent, as JSON-ready values."""
        from nas.results.audit import audit
        from nas.results.budgets import budgets_record
        from nas.results.rungs_text import rungs_record
        from nas.results.summary import summary_record

        return {
            **summary_record(self.summary),
            **rungs_record(self.rungs, self.definition.budget),
            "spending": self.spending.to_dict(),
            "study": self.folder.name,
            "targets": budgets_record(self.rows, self.definition),
            "audit": asdict(audit(self.rows)) if self.definition.audit else None,
        }


def open_study(args: argparse.Namespace) -> OpenedStudy:
    """Open the study that the arguments name, or the most recent one, which is then said.

    Raises:
        UsageError: There is no such study.
        StorageError: It is damaged, or may not be read.
    """
    return read_study(find_folder(args), args.storage)


def read_study(folder: StudyFolder, given_url: str | None) -> OpenedStudy:
    """Open a study; nothing is written, and no store is made where there is none.

    Args:
        folder: Its folder.
        given_url: Its store as the command line has it.

    Raises:
        StorageError: It is damaged, may not be read, or is gone from its store.
    """
    from nas.results.study_rungs import make_estimates
    from nas.study.storage import load_study, open_storage, storage_url, store_file

    definition = folder.load()
    url = storage_url(given_url, definition)
    path = store_file(url, folder.journal)
    if path is not None and not path.is_file():
        raise StorageError(
            f"study {folder.name!r} has no trials: {path} is absent; restore it from a copy, "
            "or start a study under another name"
        )
    storage = open_storage(url, folder.journal)
    study = load_study(folder, definition.name, storage)
    rows = make_estimates(definition, storage).read(study)
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
        raise UsageError(f"study {opened.folder.name!r} has no trial {number}; {have}")
    row = rows[number]
    if row.architecture is None:
        raise UsageError(
            f"trial {number} of study {opened.folder.name!r} has no network ({row.word}): "
            "it ended before one was chosen"
        )
    return row


def find_folder(args: argparse.Namespace) -> StudyFolder:
    """Return the folder of the study that the arguments name, or of the most recent one.

    Which one that is stands on standard error.

    Raises:
        UsageError: There is no such study.
    """
    from nas.study.folder import find_study, studies_folder

    folder = find_study(studies_folder(args.studies), args.study)
    if args.study is None:
        print_lines(f"study: {folder.name}", file=sys.stderr)
    return folder


def find_network(
    args: argparse.Namespace,
) -> tuple[Architecture, StudyDefinition | None, Path | None]:
    """Return the network, and definition and folder of the study it or its data come from."""
    if args.arch is not None:
        architecture = resolve_architecture(args.arch, stem_kind=args.stem)
        definition = find_folder(args).load() if args.study is not None else None
        return architecture, definition, None
    opened = open_study(args)
    row = _best_row(args, opened) if args.best else _trial_row(args, opened)
    assert row.architecture is not None
    return Architecture.from_dict(row.architecture), opened.definition, opened.folder.path


def _best_row(args: argparse.Namespace, opened: OpenedStudy) -> TrialRow:
    from nas.results.rungs_text import describe_deciding_rung  # Optuna, which --arch does not need
    from nas.results.summary import name_baseline, nothing_fits, verdict_lines
    from nas.study.attributes import KNOWN

    definition = opened.definition
    budget = min(args.budget or definition.budget, definition.budget)
    summary = opened.rungs.summarise(budget)
    row = summary.better
    if row is None:
        raise UsageError(f"study {opened.folder.name!r}: {nothing_fits(summary)}")
    kind = f"the baseline {name_baseline(row)}" if row.source == KNOWN else "found by the search"
    notes = describe_deciding_rung(opened.rungs, budget) if row is summary.best else []
    text = " ".join([f"best: trial {row.number}, {kind}.", *notes])
    print_lines(verdict_lines(summary)[0], text, file=sys.stderr)
    return row


def _trial_row(args: argparse.Namespace, opened: OpenedStudy) -> TrialRow:
    row = find_trial(opened, args.trial)
    if row.state == "rejected":
        raise UsageError(
            f"trial {row.number} is outside the study's caps ({row.reason}); "
            f"`{program()} show {row.number}` shows it, and --arch trains any network"
        )
    if row.is_broken or row.state == "failed":
        print_lines(f"note: trial {row.number} {row.word}: {row.reason}", file=sys.stderr)
    return row
