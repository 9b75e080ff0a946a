"""Count parameters and multiply-adds exactly, without building the network.

NAME is a preset (`cli.py presets`), FILE a JSON architecture, RUN_FOLDER what `retrain` wrote,
NOTATION the paper's, for example [[Basic,3,64,0.1],[Bottleneck,26,256,0.1]]. A run is counted at
its own input, everything else at --channels, --image-size and --classes. Multiply-adds are those
of convolutions and linear layers for one image.
"""

from __future__ import annotations

import argparse
import os
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path

from nas.commands.arguments import add_format, add_stem
from nas.errors import NasError
from nas.fields import read_fields
from nas.network.architecture import InputSpec
from nas.network.complexity import count, count_layers
from nas.network.identity import identify
from nas.network.presets import PRESETS, resolve_architecture
from nas.printing import print_json, print_lines, print_table
from nas.retraining.run_folder import RunFolder
from nas.units import list_words, plural

LAYER_FIELDS = ("name", "size", "num_params", "macs", "activations")  # of the JSON
INPUT_OPTIONS = {
    "channels": "--channels",
    "image_size": "--image-size",
    "num_classes": "--classes",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `count`."""
    parser.add_argument("architecture", metavar="NAME|FILE|RUN_FOLDER|NOTATION")
    add_input(parser)
    parser.add_argument("--total", action="store_true", help="only the totals, not the layers")
    add_format(parser)


def add_input(parser: argparse.ArgumentParser) -> None:
    """Add what names a network's stem and input."""
    add_stem(parser)
    whats = ("image channels", "side of the image in pixels", "classes")
    for (name, option), what in zip(INPUT_OPTIONS.items(), whats, strict=True):
        text = f"{what} (default: a run's or a study's own, else {getattr(InputSpec(), name)})"
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


def run_input_spec(text: str) -> InputSpec | None:
    """Return the input of the run whose folder, or architecture in it, a text names, else None."""
    path = Path(os.path.expanduser(text))
    folder = path.parent if path.name == RunFolder(path.parent).architecture.name else path
    found = None
    if text not in PRESETS and os.path.isdir(folder):
        with suppress(NasError):  # the metrics are damaged: the input is assumed, and that is said
            record = (RunFolder(folder).read() or {}).get("input_spec")
            found = InputSpec(**read_fields(InputSpec, "input_spec", record, NasError))
    return found


def describe_assumed(
    args: argparse.Namespace, input_spec: InputSpec, default: InputSpec | None
) -> str:
    """Return what of the input was assumed; empty where all was given, or known as `default`."""
    options = [option for name, option in INPUT_OPTIONS.items() if getattr(args, name) is None]
    if default is not None or not options:
        return ""
    size, classes = input_spec.image_size, plural(input_spec.num_classes, "class", "classes")
    return (
        f"counted at {input_spec.channels}x{size}x{size} and {classes}; "
        f"{list_words(options)} {'was' if len(options) == 1 else 'were'} not given, but assumed"
    )


def run(args: argparse.Namespace) -> int:
    """Print the counts."""
    architecture = resolve_architecture(args.architecture, stem_kind=args.stem)
    default = run_input_spec(args.architecture)
    input_spec = input_spec_of(args, default)
    assumed = describe_assumed(args, input_spec, default)
    total = count(architecture, input_spec)
    layers = count_layers(architecture, input_spec) if not args.total else ()
    if args.format == "json":
        record = {**identify(architecture)._asdict(), **total._asdict()}
        record |= {"input_spec": asdict(input_spec), "assumed": assumed or None}
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
    if assumed:
        print_lines(f"note: {assumed}", indent=6)
    return 0
