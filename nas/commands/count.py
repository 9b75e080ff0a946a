"""Count parameters and multiply-adds exactly, without building the network.

NAME is a preset (`cli.py presets`), FILE a JSON architecture, NOTATION the paper's, for example
[[Basic,3,64,0.1],[Bottleneck,26,256,0.1]]. Multiply-adds are those of convolutions and linear
layers for one image.
"""

from __future__ import annotations

import argparse
from dataclasses import fields, replace

from nas.commands.arguments import add_format, add_stem
from nas.network.architecture import InputSpec
from nas.network.complexity import count, count_layers
from nas.network.identity import identify
from nas.network.presets import resolve_architecture
from nas.printing import print_json, print_table

LAYER_FIELDS = ("name", "size", "num_params", "macs", "activations")  # of the JSON


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `count`."""
    parser.add_argument("architecture", metavar="NAME|FILE|NOTATION")
    add_input(parser)
    parser.add_argument("--total", action="store_true", help="only the totals, not the layers")
    add_format(parser)


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add what names a network's stem and input."""
    add_stem(parser)
    for option, name, what in (
        ("--channels", "channels", "image channels"),
        ("--image-size", "image_size", "side of the image in pixels"),
        ("--classes", "num_classes", "classes"),
    ):
        text = f"{what} (default: {getattr(InputSpec(), name)})"
        parser.add_argument(option, type=int, dest=name, metavar="N", help=text)


def input_spec_of(args: argparse.Namespace, default: InputSpec | None = None) -> InputSpec:
    """Return the input that the arguments describe.

    Args:
        args: The arguments of `add_input`.
        default: What is taken where an argument is not given; None is 3x32x32 and 10 classes.
    """
    given = {item.name: getattr(args, item.name) for item in fields(InputSpec)}
    chosen = {name: value for name, value in given.items() if value is not None}
    return replace(default or InputSpec(), **chosen)


def run(args: argparse.Namespace) -> int:
    """Print the counts."""
    architecture = resolve_architecture(args.architecture, stem_kind=args.stem)
    input_spec = input_spec_of(args)
    total = count(architecture, input_spec)
    layers = count_layers(architecture, input_spec) if not args.total else ()
    if args.format == "json":
        record = {**identify(architecture)._asdict(), **total._asdict()}
        if layers:
            record["layers"] = [
                {name: getattr(layer, name) for name in LAYER_FIELDS} for layer in layers
            ]
        print_json(record)
        return 0
    if layers:
        print_table(
            ("layer", "map", "parameters", "multiply-adds"),
            [
                (row.name, f"{row.size}x{row.size}", f"{row.num_params:,}", f"{row.macs:,}")
                for row in layers
                if row.num_params or row.macs
            ],
        )
        print()
    print(f"parameters     {total.num_params:>15,}")
    print(f"multiply-adds  {total.macs:>15,}")
    print(f"activations    {total.activations:>15,}")
    return 0
