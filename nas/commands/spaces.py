"""List the search spaces; with a name and a budget, say how much of it fits.

Beside the budget stand the baselines nearest to it, and what a search would compute: the
multiply-adds of a training step (three times those of an average network that fits) over all
images, epochs and trials, nothing pruned. How long that takes on a machine is measured there by
`search --dry-run`.
"""

from __future__ import annotations

import argparse
import shlex
from dataclasses import asdict
from functools import partial

from nas.commands.arguments import (
    add_format,
    add_options,
    expand_path,
    list_names,
    require_range,
)
from nas.data.datasets import DATASETS, early_input_spec
from nas.errors import UsageError
from nas.network.caps import Caps, format_count, format_percent, parse_count
from nas.printing import (
    print_json,
    print_lines,
    print_table,
    print_titles,
    program,
    terminal_columns,
)
from nas.space import BudgetedSpace, list_spaces, load_space
from nas.space.baselines import Baseline, SearchCost, nearest_baselines, search_cost
from nas.units import plural

DEFAULT_TRIALS, DEFAULT_EPOCHS, DEFAULT_IMAGES = 200, 10, 45_000  # CIFAR-10 on a GPU
NUM_BINS = 12
BAR_COLUMNS = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `spaces`."""
    parser.add_argument(
        "name", nargs="?", metavar="NAME|FILE", help="a shipped space, or a FILE.py, which is run"
    )
    add_options(parser, ("--budget", parse_count, "N", "most parameters: 5e6, 5M, 300k"))
    text = "the data set whose channels, size and classes are counted with: "
    text += f"{list_names(DATASETS)} (default: cifar10)"
    parser.add_argument("--dataset", default="cifar10", metavar="NAME", help=text)
    add_options(
        parser,
        ("--data", expand_path, "DIR", "the folder, with --dataset folder"),
        ("--image-size", int, "N", "side in pixels"),
    )
    for option, default, what in (
        ("trials", DEFAULT_TRIALS, "trials of the search whose cost is shown"),
        ("epochs", DEFAULT_EPOCHS, "epochs of each trial"),
        ("images", DEFAULT_IMAGES, "training images of an epoch"),
    ):
        kind, text = partial(parse_count, name=option), f"{what} (default: {default:,})"
        parser.add_argument(f"--{option}", type=kind, default=default, metavar="N", help=text)
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the list, or the preflight of one space."""
    require_range(args, 1, "image_size")
    if args.name is None:
        if args.budget is not None:
            raise UsageError("--budget needs the NAME of a space: how much of it fits?")
        print_titles(list_spaces(), "name", "what", args.format)
        return 0
    loaded = load_space(args.name)
    spec = early_input_spec(args.dataset, args.data, args.image_size)
    budget = args.budget if args.budget is not None else 10**18
    space = BudgetedSpace(loaded.space, spec, Caps(budget), loaded.name)
    (_, small), (_, large) = space.extreme(is_largest=False), space.extreme(is_largest=True)
    total, fitting = space.feasible_set.num_distinct(), space.feasible_set.count()
    edges = _edges(small.num_params, large.num_params)
    bins = space.feasible_set.histogram(edges)
    baselines, cost = [], None
    if args.budget is not None:
        baselines = nearest_baselines(space, loaded.baseline)
        cost = search_cost(space, args.trials, args.epochs, args.images)
    if args.format == "json":
        print_json(
            {
                "name": loaded.name,
                "title": loaded.title,
                "budget": args.budget,
                "num_networks": total,
                "num_fitting": fitting.value,
                "num_fitting_standard_error": fitting.standard_error,
                "smallest_num_params": small.num_params,
                "largest_num_params": large.num_params,
                "histogram": {"edges": edges, "counts": bins},
                "nearest_known": [asdict(network) for network in baselines],
                "search_cost": asdict(cost) if cost is not None else None,
            }
        )
        return 0
    size = f"{spec.channels}x{spec.image_size}x{spec.image_size}"
    print_lines(f"{loaded.name}: {loaded.title}", "", indent=0)
    print(f"input      {size}, {plural(spec.num_classes, 'class', 'classes')} ({args.dataset})")
    print(f"networks   {total:,}")
    if args.budget is not None:
        error = "" if fitting.is_exact else f" ± {fitting.standard_error:,.0f} (estimated)"
        print_lines(
            f"fitting    {fitting.value:,}{error} within {args.budget:,} parameters "
            f"({format_percent(fitting.value, total)})",
            indent=11,
        )
    print(f"smallest   {small.num_params:,} parameters")
    print(f"largest    {large.num_params:,} parameters\n")
    if cost is not None:
        _print_baselines(baselines, args.budget)
        _print_cost(args, cost)
    widest, most = max(max(bins), 1), min(BAR_COLUMNS, terminal_columns() - 40)
    for low, high, number in zip(edges, edges[1:], bins, strict=False):
        bar = "█" * round(most * number / widest)
        print(f"{low:>13,} to {high:>13,}  {number / max(total, 1):>6.1%}  {bar}".rstrip())
    return 0


def _print_baselines(baselines: list[Baseline], budget: int) -> None:
    rows = [
        (
            network.name,
            f"{network.num_params:,}",
            format_percent(network.num_params, budget),
            f"{network.macs:,}",
            "yes" if network.is_in_space else "no",
        )
        for network in baselines
    ]
    print_table(
        ("baseline", "parameters", "budget", "multiply-adds", "in this space"), rows, (0, 4)
    )
    print()


def _print_cost(args: argparse.Namespace, cost: SearchCost) -> None:
    words = ["search", "--space", args.name, "--budget", str(args.budget)]
    words += ["--dataset", args.dataset, *(["--data", str(args.data)] if args.data else [])]
    print_lines(
        f"cost       {format_count(round(cost.total_macs))} multiply-adds: "
        f"{plural(args.trials, 'trial')} of {plural(args.epochs, 'epoch')} of "
        f"{plural(args.images, 'image')}, nothing pruned",
        f"           3 x {format_count(round(cost.mean_macs))} "
        f"± {format_count(round(cost.standard_error))} an image, the mean of what fits",
        indent=11,
    )
    command = f"{program()} {shlex.join([*words, '--dry-run'])}"
    print_lines("time       measured on this machine by:", f"  {command}", "")


def _edges(low: int, high: int) -> list[int]:
    """Return the edges of equal steps on a logarithmic scale, both ends covered."""
    ratio = (high / low) ** (1 / NUM_BINS)
    inner = [round(low * ratio**step) for step in range(1, NUM_BINS)]
    return sorted({low - 1, *inner, high})
