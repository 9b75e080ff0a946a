"""Time the training engine against a plain PyTorch loop as it is usually written.

The ratio is seconds of the plain loop over ours, for the same steps, as the median of interleaved
pairs with its 95% interval; warm-up is not timed. The plain loop: a torchvision folder of decoded
PIL images, the fastest number of DataLoader workers (and, in a second ratio, none), float32,
eager, NCHW, PyTorch's defaults. `without` is what our own loop loses with one of its tricks off.
Seconds of a trial are those of a training of 10 epochs on 45,000 images (CIFAR-10's search split)
that is measured on 5,000 others after each, on a CPU too, with its set-up.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.commands.arguments import add_flags, add_format, add_options
from nas.printing import print_json, print_table

if TYPE_CHECKING:
    from nas.bench.run import BenchPlan
    from nas.network.architecture import Architecture
    from nas.training.engine import Engine

NETS = ("final", "resnet20", "basic-443")
NUM_SAMPLED = 2
BUDGET = 5_000_000
HEADER = (
    "net",
    "format",
    "images/s",
    "plain",
    "ratio [95%]",
    "no workers",
    "ratio [95%]",
    "vs channels-last",
    "data share",
    "of peak",
    "set-up s",
    "trial s",
)
NUM_PICTURES = 1_000  # files; they are repeated until an epoch is as long as a real one


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench`."""
    parser.add_argument(
        "nets", nargs="*", metavar="NAME", help=f"presets (default: {' '.join(NETS)} and a sample)"
    )
    add_flags(parser, ("--quick", "small batches and fewer steps: under a minute"))
    add_options(
        parser,
        ("--device", str, "D", "auto (default), cpu, cuda or cuda:N"),
        ("--batch", int, "N", "images a step"),
        ("--out", Path, "FILE", "write the JSON record here too, again after every network"),
    )
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Time the networks and print the table."""
    from dataclasses import replace

    import torch

    from nas.machine import usable_cores
    from nas.training.engine import Engine, choose_device, hardware

    engine = Engine(choose_device(args.device or "auto"))
    engine = replace(engine, num_threads=min(torch.get_num_threads(), usable_cores()))
    nets = _networks(args)
    results: list[dict[str, Any]] = []
    record = {"hardware": hardware(engine), "torch": torch.__version__, "nets": results}
    _write(args.out, record)  # a file that cannot be written is refused before anything is timed
    for figures in _bench(args, engine, nets):
        results.append(figures)
        _write(args.out, record)
    if args.format == "json":
        print_json(record)
    else:
        _print(record)
    return 0


def _bench(
    args: argparse.Namespace, engine: Engine, nets: dict[str, Architecture]
) -> Iterator[dict[str, Any]]:
    """Yield the figures of each network as soon as they are known."""
    import tempfile

    from nas.bench.contenders import noise_pictures
    from nas.bench.run import bench_network
    from nas.training.recipe import get_recipe

    plan, recipe = _plan(args, engine.is_cuda), get_recipe("short")
    with tempfile.TemporaryDirectory() as folder:
        pictures = noise_pictures(Path(folder), NUM_PICTURES)
        for name, architecture in nets.items():
            print(f"timing {name}", file=sys.stderr)
            with_tricks = not args.quick or name == "resnet20"
            yield bench_network(name, architecture, recipe, engine, pictures, plan, with_tricks)


def _write(path: Path | None, record: dict[str, Any]) -> None:
    if path is not None:
        from nas.files import write_text_atomically

        write_text_atomically(path, json.dumps(record, indent=2, allow_nan=False) + "\n")


def _plan(args: argparse.Namespace, is_cuda: bool) -> BenchPlan:
    from nas.bench.run import BenchPlan

    if is_cuda:
        workers = (0, 8) if args.quick else (0, 4, 8, 16)  # each number takes seconds to start
        return BenchPlan(args.batch or 256, 7, 0.3 if args.quick else 1.0, workers)
    if args.quick:
        return BenchPlan(args.batch or 8, 7, 0.05, (0,))
    return BenchPlan(args.batch or 128, 7, 1.0, (0, 1, 2))


def _networks(args: argparse.Namespace) -> dict[str, Architecture]:
    """Return the named presets, or the default ones and a random sample of the space."""
    import numpy as np

    from nas.network.architecture import InputSpec
    from nas.network.caps import Caps
    from nas.network.presets import resolve_architecture
    from nas.space import BudgetedSpace, load_space

    if args.nets:
        return {name: resolve_architecture(name) for name in args.nets}
    found = {name: resolve_architecture(name) for name in NETS}
    space = BudgetedSpace(load_space("resnet").space, InputSpec(), Caps(BUDGET), "resnet")
    rng = np.random.default_rng(0)
    for number in range(1 if args.quick else NUM_SAMPLED):
        found[f"sampled-{number}"] = space.decode(space.sample(rng))
    return found


def _print(record: dict[str, Any]) -> None:
    print(f"{record['hardware']}, torch {record['torch']}")
    peaks = {net["precision"]: net["peak_macs_per_second"] for net in record["nets"]}
    parts = [f"{peak:.3g} in {precision}" for precision, peak in peaks.items()]
    print(f"peak of a matrix product, multiply-adds/s: {', '.join(parts)}")
    print("trial s: seconds of a training of 10 epochs on 45,000 + 5,000 images\n")
    rows = [
        (
            net["name"],
            net["precision"],
            f"{net['images_per_second']:,.0f}",
            f"{net['plain_images_per_second']:,.0f}",
            _ratio(net, "ratio"),
            f"{net['plain_no_workers_images_per_second']:,.0f}",
            _ratio(net, "ratio_no_workers"),
            _ratio(net, "ratio_channels_last"),
            f"{100 * net['data_share']:.1f}%",
            f"{100 * net['peak_share']:.0f}%",
            f"{net['setup_seconds']:.2f}",
            f"{net['seconds_per_trial']:,.0f}",
        )
        for net in record["nets"]
    ]
    print_table(HEADER, rows, left=(0, 1))
    for net in record["nets"]:
        if net["without"]:
            parts = [f"{trick} {item['slowdown']:.2f}" for trick, item in net["without"].items()]
            print(f"\n{net['name']}, times as slow without: {', '.join(parts)}")


def _ratio(net: dict[str, Any], key: str) -> str:
    """Return a ratio with its 95% interval; a dash is one that was not timed."""
    if net[key] is None:
        return "-"
    low, high = net[f"{key}_interval"]
    return f"{net[key]:.2f} [{low:.2f}, {high:.2f}]"
