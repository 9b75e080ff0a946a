"""The network that `--best`, `--trial N` or `--arch NAME|FILE` names."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nas.commands.common import OpenedStudy, find_definition, find_trial, open_study
from nas.errors import UsageError
from nas.network.architecture import Architecture
from nas.network.presets import resolve_architecture

if TYPE_CHECKING:
    from nas.study.folder import StudyDefinition
    from nas.study.trials import TrialRow


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
    from nas.results.ladder_text import describe_level  # Optuna, which --arch does not need
    from nas.results.summary import nothing_fits

    definition = opened.definition
    budget = min(args.budget or definition.budget, definition.budget)
    ladder = opened.ladder()
    summary = ladder.summarise(budget)
    if summary.best is None:
        raise UsageError(f"study {definition.name!r}: {nothing_fits(summary)}")
    notes = describe_level(ladder, budget)
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
