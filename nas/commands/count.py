"""Count parameters and multiply-adds exactly, without building the network.

NAME is a preset (`cli.py presets`), FILE a JSON architecture, NOTATION the paper's, for example
[[Basic,3,64,0.1],[Bottleneck,26,256,0.1]]. Multiply-adds are those of convolutions and linear
layers for one image.
"""

from __future__ import annotations

import argparse

from nas.commands.arguments import add_format, list_names
from nas.network.architecture import InputSpec
from nas.network.blocks import STEMS
from nas.network.complexity import count, count_layers
from nas.network.identity import identify
from nas.network.presets import resolve_architecture
from nas.printing import print_json, print_table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `count`."""
    parser.add_argument("architecture", metavar="NAME|FILE|NOTATION")
    add_input(parser)
    parser.add_argument("--total", action="store_true", help="only the totals, not the layers")
    add_format(parser)


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add what names a network's stem and input."""
    parser.add_argument(
        "--stem",
        metavar="KIND",
        help=f"replace the stem's kind: {list_names(STEMS)}; a notation has conv3x3",
    )
    default = InputSpec()
    for option, what, value in (
        ("--channels", "image channels", default.channels),
        ("--image-size", "side of the image in pixels", default.image_size),
        ("--classes", "classes", default.num_classes),
    ):
        parser.add_argument(option, type=int, metavar="N", help=f"{what} (default: {value})")


def input_spec_of(args: argparse.Namespace, default: InputSpec | None = None) -> InputSpec:
    """Return the input that the arguments describe.

    Args:
        args: The arguments of `add_input`.
        default: What is taken where an argument is not given; None is 3x32x32 and 10 classes.
    """
    default = default or InputSpec()
    return InputSpec(
        default.channels if args.channels is None else args.channels,
        default.image_size if args.image_size is None else args.image_size,
        default.num_classes if args.classes is None else args.classes,
    )


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
                {
                    "name": layer.name,
                    "size": layer.size,
                    "num_params": layer.num_params,
                    "macs": layer.macs,
                    "activations": layer.activations,
                }
                for layer in layers
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
