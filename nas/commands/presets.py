"""List the named networks with their exact counts on 3x32x32 images and 10 classes."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from nas.commands.arguments import add_format
from nas.network.complexity import count
from nas.network.presets import PRESETS
from nas.printing import print_json, print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `presets`."""
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    counted = [(preset, count(preset.architecture)) for preset in PRESETS.values()]
    if args.format == "json":
        print_json([asdict(preset) | total._asdict() for preset, total in counted])
        return 0
    print_table(
        ("name", "parameters", "multiply-adds", "blocks", "what"),
        [
            (
                preset.name,
                f"{total.num_params:,}",
                f"{total.macs:,}",
                str(preset.architecture.depth),
                preset.title,
            )
            for preset, total in counted
        ],
        left=(0, 4),
    )
    return 0
