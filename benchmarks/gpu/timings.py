"""The parts of the smoke test that measure; on a CPU they only have to run."""

from __future__ import annotations

import gc
import time
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity
from torch.profiler import profile as torch_profile

from benchmarks.gpu.checks import Check
from benchmarks.gpu.lab import SMALL_NET, SPEC, Found, Lab, Loop
from nas.network.architecture import Architecture
from nas.network.caps import Caps
from nas.network.presets import resolve_architecture
from nas.space import BudgetedSpace, load_space
from nas.training.engine import Engine, free_memory
from nas.training.recipe import get_recipe

NUM_KERNELS_NAMED = 14


class Float16Engine(Engine):
    """An engine whose forward passes run in float16: for its speed alone, no loss is scaled."""

    __slots__ = ()

    def autocast(self, precision: str) -> AbstractContextManager[Any]:
        """Return the context that forward passes run in."""
        return torch.autocast("cuda", torch.float16)


def memory_over_candidates(lab: Lab) -> Found:
    """Train candidate after candidate in one process: is each captured, does memory come back?"""
    caps = Caps(5_000_000 if lab.is_cuda else 300_000)
    space = BudgetedSpace(load_space("resnet").space, SPEC, caps, "resnet")
    rng, missed = np.random.default_rng(0), []
    for number in range(12 if lab.is_cuda else 1):
        loop = Loop(lab, space.decode(space.sample(rng)), get_recipe("short"))
        yield (
            f"candidate {number}",
            {
                "setup_seconds": loop.setup_seconds,
                "ms": loop.milliseconds(5, 1),
                "captured": loop.is_captured,
                "reserved_bytes": torch.cuda.memory_reserved() if lab.is_cuda else None,
            },
        )
        missed += [] if loop.is_captured else [number]
        del loop
    gc.collect()
    if lab.is_cuda:
        yield "bytes allocated after all", torch.cuda.memory_allocated()
    assert not missed, f"not captured: {missed}; {lab.warnings[-3:]}"


def speed(lab: Lab) -> Found:
    """Time a step, batches included, by network and batch size; and kernel by kernel at 256."""
    for name, net in _nets(lab, "final", "basic-443", "resnet20").items():
        for size in (128, 256, 512, 1024) if lab.is_cuda else (8,):
            loop = Loop(lab, net, get_recipe("short"), batch_size=size)
            ms = loop.milliseconds()
            yield (
                f"{name}, batch {size}",
                {
                    "ms": ms,
                    "images_per_second": 1000 * size / ms,
                    "setup_seconds": loop.setup_seconds,
                    "captured": loop.is_captured,
                },
            )
            del loop  # before the next one takes memory
        yield f"{name}, batch {_size(lab)}, eager", _milliseconds(lab, net, cuda_graph=False)
        gc.collect()
        free_memory(lab.device)


def profile(lab: Lab) -> Found:
    """Count the kernels of one step at batch 256, and name those that take the longest."""
    activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * lab.is_cuda
    for name, net in _nets(lab, "final", "basic-443").items():
        engine = replace(lab.engine, cuda_graph=False)
        loop = Loop(lab, net, get_recipe("short"), engine=engine, batch_size=_size(lab))
        with torch_profile(activities=activities) as profiler:
            loop.run(1)
            lab.sync()
        wanted = "CUDA" if lab.is_cuda else "CPU"
        seconds: dict[str, float] = {}
        counts: dict[str, int] = {}
        for event in profiler.events() or []:
            if wanted in str(event.device_type):
                key = event.name.partition("<")[0][:60]
                time_us = event.device_time_total if lab.is_cuda else event.cpu_time_total
                seconds[key] = seconds.get(key, 0.0) + time_us / 1e6
                counts[key] = counts.get(key, 0) + 1
        longest = sorted(seconds, key=lambda key: -seconds[key])[:NUM_KERNELS_NAMED]
        yield f"{name}, kernels", sum(counts.values())
        yield f"{name}, longest (count, seconds)", {k: (counts[k], seconds[k]) for k in longest}
        del loop


def variants(lab: Lab) -> Found:
    """Time a step at batch 256 with one switch set otherwise, in milliseconds."""
    for name, net in _nets(lab, "final", "basic-443").items():
        torch.backends.cudnn.benchmark = True
        try:
            yield f"{name}, cudnn.benchmark", _milliseconds(lab, net)
        finally:
            torch.backends.cudnn.benchmark = False
        yield f"{name}, NCHW", _milliseconds(lab, net, channels_last=False)
        yield f"{name}, not fused", _milliseconds(lab, net, fused_optimizer=False)
        if lab.is_cuda:
            engine = Float16Engine(lab.device)
            loop = Loop(lab, net, get_recipe("short"), engine=engine, batch_size=_size(lab))
            yield f"{name}, float16", loop.milliseconds()
            del loop


def side_by_side(lab: Lab) -> Found:
    """Time 1, 2 and 4 trainings at once in one process, each replayed on a stream of its own."""
    net, num_steps = resolve_architecture("final"), 30
    for number in (1, 2, 4):
        loops = [Loop(lab, net, get_recipe("short"), batch_size=128) for _ in range(number)]
        streams = [torch.cuda.Stream() for _ in loops]
        batch = next(loops[0].batches)[:2]
        lab.sync()
        started = time.perf_counter()
        for _ in range(num_steps):
            for loop, stream in zip(loops, streams, strict=True):
                with torch.cuda.stream(stream):
                    loop.step(*batch)
        lab.sync()
        seconds = time.perf_counter() - started
        yield f"{number} at once, steps a second in all", num_steps * number / seconds
        del loops, loop
        gc.collect()
        free_memory(lab.device)


def _nets(lab: Lab, *names: str) -> dict[str, Architecture]:
    """Return presets on a GPU, the small network on a CPU."""
    if not lab.is_cuda:
        return {"small": SMALL_NET}
    return {name: resolve_architecture(name) for name in names}


def _size(lab: Lab) -> int:
    return 256 if lab.is_cuda else lab.batch_size


def _milliseconds(lab: Lab, net: Architecture, **tricks: bool) -> float:
    """Return the time of a step at batch 256 with some of the engine's tricks set otherwise."""
    engine = replace(lab.engine, **tricks)  # type: ignore[arg-type]  # its switches are bool
    return Loop(lab, net, get_recipe("short"), engine=engine, batch_size=_size(lab)).milliseconds()


TIMINGS: tuple[Check, ...] = (memory_over_candidates, speed, profile, variants, side_by_side)
