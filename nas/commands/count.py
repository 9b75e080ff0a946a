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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `count`."""
    parser.add_argument("architecture", metavar="NAME|FILE|RUN_FOLDER|NOTATION")
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
        text = f"{what} (default: a run's or a study's own, else {getattr(InputSpec(), name)})"
        parser.add_argument(option, type=int, dest=name, metavar="N", help=text)


def read_input(
    args: argparse.Namespace, what: str = "", known: InputSpec | None = None
) -> tuple[InputSpec, str]:
    """Return the input that a network is counted at, and what of it was assumed, in words.

    Args:
        args: The arguments of `add_input`.
        what: How the network was given; a run has its own input.
        known: The input that goes before a run's, and before 3x32x32 and 10 classes.
    """
    given = {item.name: getattr(args, item.name) for item in fields(InputSpec)}
    known = known or _read_run_input(what)
    spec = replace(known or InputSpec(), **{k: v for k, v in given.items() if v is not None})
    lacking = [name.removeprefix("num_") for name, value in given.items() if value is None]
    if known is not None or not lacking:
        return spec, ""
    options = list_words(f"--{name.replace('_', '-')}" for name in lacking)
    return spec, (
        f"counted at {spec.channels}x{spec.image_size}x{spec.image_size} and "
        f"{plural(spec.num_classes, 'class', 'classes')}; {options} "
        f"{'was' if len(lacking) == 1 else 'were'} not given, but assumed"
    )


def _read_run_input(what: str) -> InputSpec | None:
    """Return the input of the run whose folder, or architecture in it, was given, else None."""
    path = Path(os.path.expanduser(what))
    folder = RunFolder(path if os.path.isdir(path) else path.parent)
    if what in PRESETS or path not in (folder.path, folder.architecture):
        return None
    with suppress(NasError):  # damaged metrics: the input is assumed, and that is said
        record = (folder.read() or {}).get("input_spec")
        return InputSpec(**read_fields(InputSpec, "input_spec", record, NasError))
    return None


def run(args: argparse.Namespace) -> int:
    """Print the counts."""
    architecture = resolve_architecture(args.architecture, stem_kind=args.stem)
    input_spec, assumed = read_input(args, args.architecture)
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
