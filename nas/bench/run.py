"""The bench of one network: ratios against the plain loop, and what each trick is worth."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from nas.bench.contenders import (
    TRAIN_IMAGES,
    VAL_IMAGES,
    OurLoop,
    Pictures,
    PlainLoop,
    peak_macs_per_second,
)
from nas.bench.pairs import interleaved, median_ratio
from nas.network.architecture import Architecture
from nas.network.complexity import count
from nas.study.definition import GPU_EPOCHS
from nas.training.engine import Engine, free_memory
from nas.training.recipe import Recipe
from nas.training.timing import choose_bfloat16

FORWARD_AND_BACKWARD = 3  # multiply-adds of a training step over those of its forward pass
PLAIN, NO_WORKERS, CHANNELS_LAST = "plain", "plain without workers", "plain in channels-last"

LoopArguments = tuple[Architecture, Recipe, Engine, Pictures]  # what every loop is made from
TimeSteps = Callable[[int], float]  # from a number of steps to their seconds
Seconds = dict[str, list[float]]  # of a step of each contender, round by round


@dataclass(frozen=True)
class BenchPlan:
    """How a bench is timed.

    Args:
        batch_size: Images a step.
        num_pairs: Interleaved rounds, at least 7.
        seconds_per_timing: Steps are repeated until a timing of our loop takes about this long.
        worker_counts: DataLoader workers of the plain loop, 0 among them; the fastest counts.
    """

    batch_size: int
    num_pairs: int
    seconds_per_timing: float
    worker_counts: tuple[int, ...]


def _contender(time_steps: TimeSteps, num_steps: int) -> Callable[[], float]:
    """Return what times so many steps of a loop at once, and returns the seconds of one."""
    return lambda: time_steps(num_steps) / num_steps


def bench_network(
    name: str,
    architecture: Architecture,
    recipe: Recipe,
    engine: Engine,
    pictures: Pictures,
    plan: BenchPlan,
    with_tricks: bool,
) -> dict[str, Any]:
    """Return the figures of one network, as JSON-ready values.

    `ratio` is the seconds of a plain step, with the fastest number of workers, over those of ours,
    `ratio_no_workers` the same without workers, `ratio_channels_last` with the plain loop's model
    in channels-last, or None without the tricks; all with their intervals. `seconds_per_trial`:
    a training of `GPU_EPOCHS` on `TRAIN_IMAGES` and its evaluations on `VAL_IMAGES`, with set-up.
    """
    recipe = replace(recipe, batch_size=plan.batch_size)
    is_half = choose_bfloat16(architecture, pictures.input_spec, recipe, engine)
    engine = replace(engine, bfloat16=is_half)
    complexity = count(architecture, pictures.input_spec)
    peak = peak_macs_per_second(engine)
    measured = _measure((architecture, recipe, engine, pictures), plan, with_tricks)
    free_memory(engine.device)
    macs_per_second = FORWARD_AND_BACKWARD * complexity.macs * measured["images_per_second"]
    return {
        "name": name,
        "num_params": complexity.num_params,
        "macs": complexity.macs,
        **measured,
        "precision": "bfloat16" if is_half else "float32",
        "peak_macs_per_second": peak,
        "peak_share": macs_per_second / peak,
        "num_pairs": plan.num_pairs,
        "batch_size": plan.batch_size,
    }


def _measure(arguments: LoopArguments, plan: BenchPlan, with_tricks: bool) -> dict[str, Any]:
    """Make the loops, time them in turn, and return what follows from the timings.

    NOTE: All captures come before the first timing, and the captured steps live side by side.
    They may: cuBLAS has a workspace for each stream, and each `GraphedStep` is warmed up and
    captured on a stream of its own. Clearing the workspaces between captures would do harm: a
    graph goes on writing to the one that its warm-up made.
    """
    ours = OurLoop(*arguments)
    tricks = _tricks_off(arguments) if with_tricks else {}
    num_steps = _fitting_steps(ours.time_steps, plan)
    num_workers = _fastest_workers(arguments, plan, num_steps)
    own = {"ours": ours.time_steps, "data": ours.time_data, **tricks}
    contenders = {name: _contender(time_steps, num_steps) for name, time_steps in own.items()}
    contenders[PLAIN] = _plain_loop(arguments, plan, num_steps, num_workers)
    if num_workers > 0:
        contenders[NO_WORKERS] = _plain_loop(arguments, plan, num_steps, 0)
    if with_tricks:
        contenders[CHANNELS_LAST] = _plain_loop(arguments, plan, num_steps, num_workers, True)
    rounds = interleaved(list(contenders.values()), plan.num_pairs)
    seconds = {name: [row[i] for row in rounds] for i, name in enumerate(contenders)}
    num_val = min(VAL_IMAGES, num_steps * plan.batch_size)
    val_seconds = VAL_IMAGES / num_val * ours.time_evaluation(num_val)
    train_seconds = TRAIN_IMAGES / plan.batch_size * statistics.median(seconds["ours"])
    return {
        **_against_plain(seconds, plan.batch_size),
        "plain_workers": num_workers,
        "data_share": 1.0 / median_ratio(seconds["ours"], seconds["data"]).median,
        "captured": ours.is_captured,
        "setup_seconds": ours.setup_seconds,
        "seconds_per_trial": ours.setup_seconds + GPU_EPOCHS * (train_seconds + val_seconds),
        "without": {trick: _slowdown(seconds, trick) for trick in tricks},
        "steps_per_timing": num_steps,
    }


def _tricks_off(arguments: LoopArguments) -> dict[str, TimeSteps]:
    """Return our loop with each trick off in turn."""
    architecture, recipe, engine, pictures = arguments
    engines = {"channels_last": replace(engine, channels_last=False)}
    if engine.prefers_bfloat16:
        engines["bfloat16"] = replace(engine, bfloat16=False)
    if engine.is_cuda:
        engines["cuda_graph"] = replace(engine, cuda_graph=False)
        # SGD that is not fused is not captured either
        engines["cuda_graph and fused_optimizer"] = replace(engine, fused_optimizer=False)
    else:
        engines["fused_optimizer"] = replace(engine, fused_optimizer=False)
    loops: dict[str, TimeSteps] = {
        name: OurLoop(architecture, recipe, other, pictures).time_steps
        for name, other in engines.items()
    }
    if engine.is_cuda:
        loops["resident_data"] = OurLoop(*arguments, resident=False).time_steps
    return loops


def _fitting_steps(time_steps: TimeSteps, plan: BenchPlan) -> int:
    """Return the number of steps that take about as long as a timing is to take, at least 1."""
    return max(1, round(plan.seconds_per_timing / max(time_steps(1), 1e-9)))


def _fastest_workers(arguments: LoopArguments, plan: BenchPlan, num_steps: int) -> int:
    """Return the number of DataLoader workers with which the plain loop is fastest."""
    if len(plan.worker_counts) == 1:
        return plan.worker_counts[0]
    seconds = {}
    for number in plan.worker_counts:
        contender = _plain_loop(arguments, plan, num_steps, number)
        seconds[number] = min(contender() for _ in range(2))
        del contender
        gc.collect()  # a loop and its batches refer to each other; its workers end here
    return min(seconds, key=lambda number: seconds[number])


def _plain_loop(
    arguments: LoopArguments,
    plan: BenchPlan,
    num_steps: int,
    num_workers: int,
    channels_last: bool = False,
) -> Callable[[], float]:
    """Return a plain loop that is timed over as many steps as ours.

    Without workers it is slowest and all its steps are alike, so fewer are timed: as many as take
    as long as a timing of ours.
    """
    time_steps = PlainLoop(*arguments, num_workers, channels_last).time_steps
    if num_workers == 0:
        num_steps = min(num_steps, _fitting_steps(time_steps, plan))
    return _contender(time_steps, num_steps)


def _against_plain(seconds: Seconds, batch_size: int) -> dict[str, Any]:
    """Return speeds and ratios; what was not timed is None, or the plain loop's own."""
    no_workers = NO_WORKERS if NO_WORKERS in seconds else PLAIN
    found: dict[str, Any] = {}
    for key, name in (
        ("ratio", PLAIN),
        ("ratio_no_workers", no_workers),
        ("ratio_channels_last", CHANNELS_LAST),
    ):
        ratio = median_ratio(seconds[name], seconds["ours"]) if name in seconds else None
        found[key] = ratio.median if ratio else None
        found[f"{key}_interval"] = [ratio.low, ratio.high] if ratio else None
    for key, name in (
        ("images_per_second", "ours"),
        ("plain_images_per_second", PLAIN),
        ("plain_no_workers_images_per_second", no_workers),
    ):
        found[key] = batch_size / statistics.median(seconds[name])
    return found


def _slowdown(seconds: Seconds, trick: str) -> dict[str, Any]:
    ratio = median_ratio(seconds[trick], seconds["ours"])
    return {"slowdown": ratio.median, "interval": [ratio.low, ratio.high]}
