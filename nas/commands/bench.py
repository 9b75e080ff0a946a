"""Time the training engine against the plain loop that everybody writes first.

The ratio is seconds of the plain loop over ours, for the same steps, as the median of interleaved
pairs with its 95% interval; warm-up is not timed. The plain loop: a torchvision folder of decoded
PIL images, the fastest number of DataLoader workers, float32, eager, NCHW, PyTorch's defaults.
`without` is what our own loop loses with one of its tricks off.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from nas.commands.arguments import add_format
from nas.commands.common import print_json, print_table

NETS = ("final", "resnet20", "basic-443")
NUM_SAMPLED = 2
BUDGET = 5_000_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench`."""
    parser.add_argument(
        "nets", nargs="*", metavar="NAME", help=f"presets (default: {' '.join(NETS)} and a sample)"
    )
    parser.add_argument(
        "--quick", action="store_true", help="small batches and fewer steps: under a minute"
    )
    parser.add_argument("--device", metavar="D", help="auto (default), cpu, cuda or cuda:N")
    parser.add_argument("--batch", type=int, metavar="N", help="images a step")
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Time the networks and print the table."""
    import tempfile
    from dataclasses import replace
    from pathlib import Path

    import torch

    from nas.bench.contenders import noise_pictures
    from nas.bench.run import bench_network
    from nas.bench.separate_process import SeparateProcess
    from nas.device import Engine, choose_device, hardware
    from nas.recipe import get_recipe

    engine = Engine(choose_device(args.device or "auto"))
    engine = replace(engine, num_threads=torch.get_num_threads())
    plan = _plan(args, engine.is_cuda)
    nets = _networks(args)
    results = []
    with tempfile.TemporaryDirectory() as folder, SeparateProcess() as separate:
        num_images = (40 if args.quick else 100) * plan.batch_size
        pictures = noise_pictures(Path(folder), min(num_images, 50_000))
        for name, architecture in nets.items():
            print(f"timing {name}", file=sys.stderr)
            with_tricks = not args.quick or name == "resnet20"
            results.append(
                bench_network(
                    name,
                    architecture,
                    get_recipe("short"),
                    engine,
                    pictures,
                    plan,
                    with_tricks,
                    separate,
                )
            )
    record = {
        "hardware": hardware(engine),
        "torch": torch.__version__,
        "nets": results,
    }
    if args.format == "json":
        print_json(record)
    else:
        _print(record)
    return 0


def _plan(args: argparse.Namespace, is_cuda: bool) -> Any:
    from nas.bench.run import Plan

    if is_cuda:
        return Plan(args.batch or 256, 7, 0.3 if args.quick else 1.0, (0, 4, 8, 16))
    if args.quick:
        return Plan(args.batch or 8, 7, 0.05, (0,))
    return Plan(args.batch or 128, 7, 1.0, (0, 1, 2))


def _networks(args: argparse.Namespace) -> dict[str, Any]:
    """Return the named presets, or the default ones and a random sample of the space."""
    import numpy as np

    from nas.architecture import InputSpec
    from nas.budget import Caps
    from nas.presets import resolve_architecture
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
    print(f"peak of a matrix product, multiply-adds/s: {', '.join(parts)}\n")
    rows = []
    for net in record["nets"]:
        low, high = net["ratio_interval"]
        rows.append(
            (
                net["name"],
                net["precision"],
                f"{net['images_per_second']:,.0f}",
                f"{net['plain_images_per_second']:,.0f}",
                f"{net['ratio']:.2f} [{low:.2f}, {high:.2f}]",
                _or_dash(net["ratio_channels_last"]),
                f"{100 * net['data_share']:.1f}%",
                f"{100 * net['peak_share']:.0f}%",
                f"{net['setup_seconds']:.2f}",
            )
        )
    header = (
        "net",
        "format",
        "images/s",
        "plain",
        "ratio [95%]",
        "vs channels-last",
        "data share",
        "of peak",
        "set-up s",
    )
    print_table(header, rows, left=(0, 1))
    for net in record["nets"]:
        if net["without"]:
            parts = [f"{trick} {item['slowdown']:.2f}" for trick, item in net["without"].items()]
            print(f"\n{net['name']}, times as slow without: {', '.join(parts)}")


def _or_dash(ratio: float | None) -> str:
    return f"{ratio:.2f}" if ratio is not None else "-"
