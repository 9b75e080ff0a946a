"""How long it takes to count a network: our counter beside the counters of others, in one run.

Counts parameters and multiply-adds of the paper's `final` net and of random networks, all
different. "warm": the counter has counted this network before. "cold": its caches are emptied
before each count. "new nets": one pass over networks it has not seen, from empty caches, then with
what it kept of as many others, which is what a search meets. Timed is one call from an
`Architecture` in memory to its counts, the peers from a net already built, on one thread.

    python benchmarks/counting.py [--nets 2000] [--repeats 7] [--format json]

Takes about 30 seconds on 2 cores. The peers are optional: `pip install -e ".[bench]"`.

Claim: parameters and multiply-adds of an architecture in under 10 microseconds.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import importlib.metadata
import io
import json
import os
import platform
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from nas.network import complexity
from nas.network.architecture import Architecture, Stage, Stem, implied_strides
from nas.network.complexity import count
from nas.network.model import build_model
from nas.network.presets import PRESETS

IMAGE = (3, 32, 32)
WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
PEERS = ("torchinfo", "fvcore", "ptflops", "thop")
LIMIT_MICROSECONDS = 10.0
CLAIMED = ("ours, final, warm", "ours, new nets, after as many others")

Counts = tuple[int, int | None]  # parameters, multiply-adds


class Row(NamedTuple):
    """One counter's result; `n` is the number of timed calls behind the median."""

    counter: str
    microseconds: float
    n: int
    num_params: int | None
    macs: int | None


# ---------------------------------------------------------------------------------------------
# Counters


def count_on_meta(architecture: Architecture) -> Counts:
    """Build on the meta device and sum: no multiply-adds."""
    with torch.device("meta"):
        model = build_model(architecture)
    return sum(parameter.numel() for parameter in model.parameters()), None


def count_with_flop_counter(architecture: Architecture) -> Counts:
    """Build on the meta device and let PyTorch count, halved."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        model = build_model(architecture)
        model(torch.empty(1, *IMAGE))
    num_params = sum(parameter.numel() for parameter in model.parameters())
    return num_params, counter.get_total_flops() // 2


def count_with_torchinfo(model: nn.Module) -> Counts:
    """Return torchinfo's counts."""
    summary = importlib.import_module("torchinfo").summary(model, (1, *IMAGE), verbose=0)
    return summary.total_params, summary.total_mult_adds


def count_with_fvcore(model: nn.Module) -> Counts:
    """Return fvcore's counts; its multiply-adds have batch norm in them."""
    fvcore = importlib.import_module("fvcore.nn")
    analysis = fvcore.FlopCountAnalysis(model, torch.zeros(1, *IMAGE))
    analysis.unsupported_ops_warnings(False)
    return fvcore.parameter_count(model)[""], int(analysis.total())


def count_with_ptflops(model: nn.Module) -> Counts:
    """Return ptflops' counts."""
    ptflops = importlib.import_module("ptflops")
    macs, num_params = ptflops.get_model_complexity_info(
        model, IMAGE, as_strings=False, print_per_layer_stat=False, backend="pytorch"
    )
    return int(num_params), int(macs)


def count_with_thop(model: nn.Module) -> Counts:
    """Return thop's counts."""
    profile = importlib.import_module("thop").profile
    macs, num_params = profile(model, inputs=(torch.zeros(1, *IMAGE),), verbose=False)
    return int(num_params), int(macs)


PEER_COUNTERS: dict[str, Callable[[nn.Module], Counts]] = {
    "torchinfo": count_with_torchinfo,
    "fvcore": count_with_fvcore,
    "ptflops": count_with_ptflops,
    "thop": count_with_thop,
}


# ---------------------------------------------------------------------------------------------
# Measuring


def random_net(rng: random.Random) -> Architecture:
    """Draw a network of the shipped space's kind: 3 or 4 stages, any depth, width and kind."""
    num_stages = rng.choice((3, 4))
    stages = tuple(
        Stage(rng.choice(("basic", "bottleneck")), rng.randint(1, 26), rng.choice(WIDTHS), stride)
        for stride in implied_strides(num_stages)
    )
    return Architecture(Stem(rng.choice(("conv3x3", "conv5x5")), stages[0].width), stages)


def empty_caches() -> None:
    """Forget every cost and every layer record the counter keeps."""
    for module in (complexity, importlib.import_module("nas.network.blocks")):
        for value in vars(module).values():
            if hasattr(value, "cache_clear"):
                value.cache_clear()


def time_calls(call: Callable[[], Any], repeats: int, prepare: Callable[[], Any] | None) -> float:
    """Return the median seconds of a call; `prepare` runs before each, outside the clock."""
    seconds = []
    for _ in range(repeats):
        if prepare is not None:
            prepare()
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def measure_ours(name: str, nets: list[Architecture], repeats: int) -> list[Row]:
    """Time our counter over distinct nets, caches warm and cold."""
    num_params, macs = count(nets[0])[:2] if len(nets) == 1 else (None, None)

    def pass_over(loops: int = 1) -> None:
        for _ in range(loops):
            for net in nets:
                count(net)

    loops = max(1, 2_000 // len(nets))
    pass_over()
    warm = time_calls(lambda: pass_over(loops), repeats, None) / (loops * len(nets))
    cold = [time_calls(partial(count, net), 1, empty_caches) for net in (nets * 200)[:200]]
    n_warm = repeats * loops * len(nets)
    return [
        Row(f"ours, {name}, warm", warm * 1e6, n_warm, num_params, macs),
        Row(f"ours, {name}, cold", statistics.median(cold) * 1e6, 200, num_params, macs),
    ]


def measure_new(groups: tuple[list[Architecture], list[Architecture]]) -> list[Row]:
    """Time one pass over nets never seen: from empty caches, then with those of the first.

    The mean over the pass. PyTorch's own objects are kept out of Python's garbage collector: one
    full collection over them takes 0.1 s and would fall into one of the two passes.
    """
    gc.collect()
    gc.freeze()
    empty_caches()
    rows = []
    for name, nets in zip(("from empty caches", "after as many others"), groups, strict=True):
        started = time.perf_counter()
        for net in nets:
            count(net)
        each = (time.perf_counter() - started) / len(nets)
        rows.append(Row(f"ours, new nets, {name}", each * 1e6, len(nets), None, None))
    gc.unfreeze()
    return rows


def measure_torch(architecture: Architecture, repeats: int) -> list[Row]:
    """Time PyTorch's own ways, building included."""
    rows = []
    for name, counter in (
        ("meta-device build and sum", count_on_meta),
        ("meta-device build, flop_counter", count_with_flop_counter),
    ):
        counts = counter(architecture)
        seconds = time_calls(partial(counter, architecture), repeats, None)
        rows.append(Row(name, seconds * 1e6, repeats, *counts))
    return rows


def measure_peer(name: str, architecture: Architecture, repeats: int) -> Row:
    """Time a peer on a net already built; a fresh one each time, for some leave hooks behind."""
    counter = PEER_COUNTERS[name]
    model = build_model(architecture).eval()
    counts: Counts = (0, None)

    def call() -> None:
        nonlocal counts
        counts = counter(model)

    def prepare() -> None:
        nonlocal model
        model = build_model(architecture).eval()

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
        warnings.simplefilter("ignore")  # the peers' own, about PyTorch's deprecations
        call()
        seconds = time_calls(call, repeats, prepare)
    return Row(f"{name}, net already built", seconds * 1e6, repeats, *counts)


# ---------------------------------------------------------------------------------------------
# Printing


def versions() -> dict[str, str | None]:
    """Return the versions of what is compared; None where it is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for name in ("torch", *PEERS):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def hardware() -> str:
    """Return the processor, its cores and the system."""
    model = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((li.split(":")[1].strip() for li in lines if "model name" in li), model)
    return f"{model}, {os.cpu_count()} cores, {platform.system()}"


def print_report(rows: list[Row], found: dict[str, str | None]) -> None:
    """Print the table, its ratios to our warm count of `final`, and what it was run on."""
    base = rows[0].microseconds
    print(f"{'counter':<40}{'microseconds':>13}{'ratio':>10}{'n':>9}  {'parameters':>11}", end="")
    print(f"{'multiply-adds':>15}")
    for row in rows:
        counts = [f"{value:,}" if value is not None else "" for value in row[3:]]
        ratio = f"{row.microseconds / base:,.1f}"
        print(f"{row.counter:<40}{row.microseconds:>13,.2f}{ratio:>10}{row.n:>9,}", end="  ")
        print(f"{counts[0]:>11}{counts[1]:>15}")
    print("\nmedians (new nets: means) on one thread; ratio to the first line")
    print("versions:", ", ".join(f"{name} {value}" for name, value in found.items() if value))
    absent = [name for name, value in found.items() if value is None]
    if absent:
        print(f'not installed, left out: {", ".join(absent)}; pip install -e ".[bench]"')
    print("hardware:", hardware())
    for row in rows:
        if row.counter in CLAIMED:
            verdict = "holds" if row.microseconds < LIMIT_MICROSECONDS else "DOES NOT HOLD"
            print(f"claim, under {LIMIT_MICROSECONDS:g} microseconds, {row.counter}: {verdict}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nets", type=int, default=2_000, help="distinct random nets")
    parser.add_argument("--repeats", type=int, default=7, help="timed repeats of each counter")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    args = parser.parse_args()
    torch.set_num_threads(1)
    final, rng = PRESETS["final"].architecture, random.Random(0)
    nets = list({random_net(rng): None for _ in range(2 * args.nets)})
    found = versions()
    rows = [
        *measure_ours("final", [final], args.repeats),
        *measure_ours("known nets", nets[: args.nets], args.repeats),
        *measure_new((nets[: args.nets], nets[args.nets :])),
        *measure_torch(final, args.repeats),
        *(measure_peer(name, final, args.repeats) for name in PEERS if found[name]),
    ]
    if args.format == "text":
        print_report(rows, found)
        return
    record = {"hardware": hardware(), "versions": found, "rows": [row._asdict() for row in rows]}
    json.dump(record, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
