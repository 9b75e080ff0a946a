"""Count parameters and multiply-adds exactly, without building the network.

NAME is a preset (`cli.py presets`), FILE a JSON architecture, NOTATION the paper's, for example
[[Basic,3,64,0.1],[Bottleneck,26,256,0.1]]. Multiply-adds are those of convolutions and linear
layers for one image.
"""

from __future__ import annotations

import argparse

from nas.architecture import InputSpec
from nas.commands.common import add_format, print_json, print_table
from nas.complexity import count, count_layers
from nas.identity import identify
from nas.presets import resolve_architecture


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `count`."""
    parser.add_argument("architecture", metavar="NAME|FILE|NOTATION")
    add_input(parser)
    parser.add_argument("--total", action="store_true", help="only the totals, not the layers")
    add_format(parser)


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add what names a network's stem and input."""
    parser.add_argument(
        "--stem", metavar="KIND", help="stem of a notation: conv3x3 (default), conv5x5, imagenet"
    )
    parser.add_argument("--channels", type=int, default=3, help="image channels (default: 3)")
    parser.add_argument(
        "--image-size", type=int, default=32, help="side of the image in pixels (default: 32)"
    )
    parser.add_argument("--classes", type=int, default=10, help="classes (default: 10)")


def input_spec_of(args: argparse.Namespace) -> InputSpec:
    """Return the input that the arguments describe."""
    return InputSpec(args.channels, args.image_size, args.classes)


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
