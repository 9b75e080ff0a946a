"""The bench of one network: ratios against the plain loop, and what each trick is worth."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from nas.architecture import Architecture
from nas.bench.contenders import OurLoop, Pictures, PlainLoop, peak_macs_per_second
from nas.bench.pairs import Ratio, interleaved, median_ratio
from nas.bench.separate_process import SeparateProcess
from nas.complexity import count
from nas.device import Engine, free_memory
from nas.probe import choose_bfloat16
from nas.recipe import Recipe

FORWARD_AND_BACKWARD = 3  # multiply-adds of a training step over those of its forward pass


@dataclass(frozen=True)
class Plan:
    """How a bench is timed.

    Args:
        batch_size: Images a step.
        num_pairs: Interleaved rounds, at least 7.
        seconds_per_timing: Steps are repeated until a timing takes about this long.
        worker_counts: DataLoader workers of the plain loop; the fastest number counts.
    """

    batch_size: int
    num_pairs: int
    seconds_per_timing: float
    worker_counts: tuple[int, ...]


def bench_network(
    name: str,
    architecture: Architecture,
    recipe: Recipe,
    engine: Engine,
    pictures: Pictures,
    plan: Plan,
    with_tricks: bool,
    separate: SeparateProcess,
) -> dict[str, Any]:
    """Return the figures of one network, as JSON-ready values.

    `ratio` is plain over ours in seconds for the same steps, `ratio_channels_last` the same with
    the plain loop's model in channels-last, or None without the tricks; both with their intervals.
    The plain loops run in the separate process, which our engine has not tuned.
    """
    recipe = replace(recipe, batch_size=plan.batch_size)
    is_half = choose_bfloat16(architecture, pictures.input_spec, recipe, engine)
    engine = replace(engine, bfloat16=is_half)
    peak = peak_macs_per_second(engine)
    shared = (architecture, recipe, engine, pictures)
    ours = OurLoop(architecture, recipe, engine, pictures)
    num_steps = max(1, round(plan.seconds_per_timing / max(ours.run(1), 1e-9)))
    num_workers = _fastest_workers(separate, shared, plan, num_steps)
    loops: dict[str, Callable[[int], float]] = {
        "ours": ours.run,
        "plain": separate.make(PlainLoop, *shared, num_workers),
        "data": ours.run_data,
    }
    tricks: dict[str, Callable[[int], float]] = {}
    if with_tricks:
        loops["plain in channels-last"] = separate.make(PlainLoop, *shared, num_workers, True)
        tricks = _tricks_off(*shared, separate)
        loops |= tricks
    timings = [partial(_warm_timing, run, num_steps) for run in loops.values()]
    rounds = interleaved(timings, plan.num_pairs)
    seconds = {name: [row[i] for row in rounds] for i, name in enumerate(loops)}
    ratio = median_ratio(seconds["plain"], seconds["ours"])
    nearly_ratio = None
    if with_tricks:
        nearly_ratio = median_ratio(seconds["plain in channels-last"], seconds["ours"])
    images = num_steps * plan.batch_size
    speed = images / statistics.median(seconds["ours"])
    macs = count(architecture, pictures.input_spec).macs
    figures = {
        "name": name,
        "num_params": count(architecture, pictures.input_spec).num_params,
        "macs": macs,
        "ratio": ratio.median,
        "ratio_interval": _interval(ratio),
        "ratio_channels_last": nearly_ratio.median if nearly_ratio else None,
        "ratio_channels_last_interval": _interval(nearly_ratio) if nearly_ratio else None,
        "images_per_second": speed,
        "plain_images_per_second": images / statistics.median(seconds["plain"]),
        "plain_workers": num_workers,
        "data_share": 1.0 / median_ratio(seconds["ours"], seconds["data"]).median,
        "precision": "bfloat16" if is_half else "float32",
        "peak_macs_per_second": peak,
        "peak_share": FORWARD_AND_BACKWARD * macs * speed / peak,
        "setup_seconds": ours.setup_seconds,
        "without": {
            trick: {
                "slowdown": median_ratio(seconds[trick], seconds["ours"]).median,
                "interval": _interval(median_ratio(seconds[trick], seconds["ours"])),
            }
            for trick in tricks
        },
        "num_pairs": plan.num_pairs,
        "steps_per_timing": num_steps,
        "batch_size": plan.batch_size,
    }
    del ours, loops, tricks
    separate.clear()
    free_memory(engine.device)
    return figures


def _warm_timing(run: Callable[[int], float], num_steps: int) -> float:
    """Return the seconds of a few steps after one that is not timed.

    In it kernels are chosen and memory is taken. The contenders of a process drive each other's
    kernels out of oneDNN's cache, which a training alone does not suffer.
    """
    run(1)
    return run(num_steps)


def _tricks_off(
    architecture: Architecture,
    recipe: Recipe,
    engine: Engine,
    pictures: Pictures,
    separate: SeparateProcess,
) -> dict[str, Callable[[int], float]]:
    """Return the runs of our loop with each trick off in turn, by the trick's name."""
    shared = (architecture, recipe)
    engines = {
        "channels_last": replace(engine, channels_last=False),
        "fused_optimizer": replace(engine, fused_optimizer=False),
    }
    if engine.prefers_bfloat16:
        engines["bfloat16"] = replace(engine, bfloat16=False)
    runs: dict[str, Callable[[int], float]] = {
        name: OurLoop(*shared, other, pictures).run for name, other in engines.items()
    }
    if engine.is_cuda:
        eager = replace(engine, cuda_graph=False)
        runs["cuda_graph"] = OurLoop(*shared, eager, pictures).run
        runs["resident_data"] = OurLoop(*shared, engine, pictures, resident=False).run
    else:
        forgetful = replace(engine, keep_memory=False)
        runs["keep_memory"] = separate.make(OurLoop, *shared, forgetful, pictures)
    return runs


def _fastest_workers(
    separate: SeparateProcess,
    shared: tuple[Architecture, Recipe, Engine, Pictures],
    plan: Plan,
    num_steps: int,
) -> int:
    """Return the number of DataLoader workers with which the plain loop is fastest."""
    if len(plan.worker_counts) == 1:
        return plan.worker_counts[0]
    seconds = {}
    for number in plan.worker_counts:
        run = separate.make(PlainLoop, *shared, number)
        run(num_steps)
        seconds[number] = min(run(num_steps) for _ in range(2))
        separate.clear()
    return min(seconds, key=lambda number: seconds[number])


def _interval(ratio: Ratio) -> list[float]:
    return [ratio.low, ratio.high]
