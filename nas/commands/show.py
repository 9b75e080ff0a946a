"""Show a network: its stages, identity, counts and picture.

TRIAL is the number of a trial of a study, NAME a preset (`cli.py presets`), FILE a JSON
architecture, RUN_FOLDER what `retrain` wrote; the paper's notation is taken too. A trial is
counted at its study's input and a run at its own, everything else at --channels, --image-size and
--classes.

  cli.py show 17
  cli.py show final
  cli.py show studies/resnet-5M-cifar10/retrain/0123456789ab-seed0
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nas.commands.arguments import add_format, add_study
from nas.commands.common import find_folder, find_trial, open_study
from nas.commands.count import add_input, read_input
from nas.errors import UsageError
from nas.network.architecture import Architecture, InputSpec
from nas.network.blocks import STEM_NOTES
from nas.network.complexity import count
from nas.network.describe import PICTURE_COLUMNS, draw_network, stage_rows
from nas.network.identity import identify
from nas.network.presets import PRESETS, resolve_architecture
from nas.printing import print_json, print_lines, print_table, terminal_columns
from nas.units import plural

PICTURE_TEXT = 36  # columns of a picture's line beside its bars
# of the JSON
TRIAL_FIELDS = ["num_epochs", "source", "known_name", "reason"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `show`."""
    parser.add_argument("what", metavar="TRIAL|NAME|FILE|RUN_FOLDER")
    add_input(parser)
    add_study(parser)
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the network."""
    if args.what.strip().isdecimal() and len(args.what) < 20:  # Python reads no endless numbers
        return _show_trial(args, int(args.what))
    architecture = resolve_architecture(args.what, stem_kind=args.stem)
    known = find_folder(args).load().input_spec if args.study is not None else None
    input_spec, assumed = read_input(args, args.what, known)
    notes = [PRESETS[args.what].note] if args.what in PRESETS else []
    notes.append(STEM_NOTES.get(architecture.stem.kind, ""))
    print_network(architecture, input_spec, args.format, notes, assumed=assumed)
    return 0


def print_network(
    architecture: Architecture,
    input_spec: InputSpec,
    form: str,
    notes: Sequence[str] = (),
    trial: Mapping[str, Any] | None = None,
    assumed: str = "",
) -> None:
    """Print a network as text or JSON.

    Args:
        architecture: The network.
        input_spec: What it is counted at.
        form: ``text`` or ``json``.
        notes: Lines for the reader of the text; empty ones are left out.
        trial: The trial it comes from, for the JSON.
        assumed: What of the input was assumed.
    """
    total, identity = count(architecture, input_spec), identify(architecture)
    rows = stage_rows(architecture, input_spec)
    if form == "json":
        print_json(
            {
                **({"trial": trial} if trial is not None else {}),
                **identity._asdict(),
                **total._asdict(),
                "input_spec": asdict(input_spec),
                "assumed": assumed or None,
                "architecture": architecture.to_dict(),
                "stages": [asdict(row) for row in rows],
            }
        )
        return
    columns = min(PICTURE_COLUMNS, terminal_columns() - PICTURE_TEXT)
    print_lines(*draw_network(architecture, input_spec, columns), "")
    print_table(
        ("", "kind", "blocks", "width", "kernel", "dropout", "map", "parameters", "share"),
        [
            (
                row.name,
                row.kind,
                str(row.depth),
                str(row.width),
                str(row.kernel or ""),
                f"{row.dropout:g}" if row.dropout else "",
                f"{row.size}x{row.size}",
                f"{row.num_params:,}",
                f"{100 * row.num_params / total.num_params:.1f}%",
            )
            for row in rows
        ],
        left=(0, 1),
    )
    print()
    print(f"id {identity.id}   shape {identity.shape_id}   {plural(architecture.depth, 'block')}")
    counts = f"{total.num_params:,} parameters, {total.macs:,} multiply-adds for one image"
    print_lines(counts, indent=2)
    for note in filter(None, (*notes, assumed)):
        print_lines(f"note: {note}", indent=6)


def _show_trial(args: argparse.Namespace, number: int) -> int:
    """Print a trial of a study: how it ended, then its network at the study's own input."""
    if args.stem is not None:
        raise UsageError("--stem is for a notation; a trial has its own stem")
    opened = open_study(args)
    row, definition = find_trial(opened, number), opened.definition
    assert row.architecture is not None
    if args.format == "text":
        from nas.results.summary import describe_trial

        val_images, metric = definition.plan.val_images, definition.metric
        print_lines(*describe_trial(row, opened.folder.name, val_images, metric), "")
    trial = {"study": opened.folder.name, "number": row.number, "state": row.word}
    trial[f"val_{definition.metric}"] = row.val_accuracy
    trial |= {name: getattr(row, name) for name in TRIAL_FIELDS}
    spec, _ = read_input(args, known=definition.input_spec)
    print_network(Architecture.from_dict(row.architecture), spec, args.format, trial=trial)
    return 0
