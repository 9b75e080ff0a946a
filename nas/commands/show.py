"""Show a network: its stages, identity, counts and picture.

TRIAL is the number of a trial of a study, NAME a preset (`cli.py presets`), FILE a JSON
architecture; the paper's notation is taken too.
"""

from __future__ import annotations

import argparse

from nas.architecture import Architecture, InputSpec
from nas.commands.common import add_format, print_json, print_table
from nas.commands.count import add_input, input_spec_of
from nas.complexity import count
from nas.describe import draw, stage_rows
from nas.identity import identify
from nas.presets import PRESETS, resolve_architecture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `show`."""
    parser.add_argument("what", metavar="TRIAL|NAME|FILE")
    add_input(parser)
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the network."""
    architecture = resolve_architecture(args.what, stem_kind=args.stem)
    note = PRESETS[args.what].note if args.what in PRESETS else ""
    print_network(architecture, input_spec_of(args), args.format, note)
    return 0


def print_network(
    architecture: Architecture, input_spec: InputSpec, form: str, note: str = ""
) -> None:
    """Print a network as text or JSON."""
    total, identity = count(architecture, input_spec), identify(architecture)
    rows = stage_rows(architecture, input_spec)
    if form == "json":
        print_json(
            {
                **identity._asdict(),
                **total._asdict(),
                "architecture": architecture.to_dict(),
                "stages": [
                    {name: getattr(row, name) for name in row.__slots__} for row in rows
                ],
            }
        )
        return
    print("\n".join(draw(architecture, input_spec)))
    print()
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
    print(f"id {identity.id}   shape {identity.shape_id}   {architecture.depth} blocks")
    print(f"{total.num_params:,} parameters, {total.macs:,} multiply-adds for one image")
    if note:
        print(f"note: {note}")
