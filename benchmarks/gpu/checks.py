"""The checks of the smoke test that say right or wrong.

A check yields what it finds, name by name, and fails by an error. `DECISIVE` are those without
which no figure of a visit is worth anything.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu.lab import SMALL_NET, SPEC, Found, Lab, Loop, distance
from nas.network.presets import resolve_architecture
from nas.training.batches import make_batches
from nas.training.engine import hardware
from nas.training.evaluate import evaluate
from nas.training.loop import train
from nas.training.recipe import get_recipe
from nas.training.state import TrainSpec
from nas.training.step import Step


def environment(lab: Lab) -> Found:
    """Name the card and what drives it."""
    yield "hardware", hardware(lab.engine)
    yield "torch", torch.__version__
    yield "python", sys.version.split()[0]
    yield "cpu_count", os.cpu_count()
    if lab.is_cuda:
        yield "cudnn", torch.backends.cudnn.version()
        yield "free_bytes", torch.cuda.mem_get_info()[0]
        yield "tf32 of convolutions", torch.backends.cudnn.allow_tf32
        yield "cudnn.benchmark", torch.backends.cudnn.benchmark


def graph_equals_eager(lab: Lab) -> Found:
    """A captured training ends with the weights of one that runs kernel by kernel."""
    recipe = replace(get_recipe("short"), precision="float32", dropout=0.0)
    recipe = replace(recipe, learning_rate=0.02, warmup_share=0.0)
    weights = []
    for graph in (True, False):
        loop = Loop(lab, SMALL_NET, recipe, engine=replace(lab.engine, cuda_graph=graph))
        loop.run(15)
        assert loop.is_captured, f"not captured: {lab.warnings[-1:]}"
        weights.append(loop.weights())
    yield "relative distance of weights", distance(*weights)
    assert distance(*weights) < 0.05, "weights differ after 20 steps"


def rate_is_read_anew(lab: Lab) -> Found:
    """A captured step trains at the learning rate of the moment."""
    loop = Loop(lab, SMALL_NET, replace(get_recipe("short"), dropout=0.0))
    before = loop.weights()
    loop.run(3, rate=0.0)
    at_zero = distance(loop.weights(), before)
    loop.run(1, rate=0.1)
    yield "moved at rate 0", at_zero
    yield "moved at rate 0.1", distance(loop.weights(), before)
    assert at_zero == 0.0
    assert distance(loop.weights(), before) > 0.0


def dropout_is_drawn_anew(lab: Lab) -> Found:
    """A replay draws its dropout from the generator's seed of the moment."""
    loop = Loop(lab, SMALL_NET, get_recipe("short"))
    images, targets, _ = next(loop.batches)
    losses = []
    for seed in (1, 1, 2):  # at rate 0, and norms in training do not read their running statistics
        loop.totals.reset()
        loop.train_on(images, targets, rate=0.0, seed=seed)
        losses.append(loop.totals.read(len(images))[0])
    yield "losses of seeds 1, 1, 2", losses
    assert math.isclose(losses[0], losses[1], rel_tol=1e-3)
    assert losses[2] != losses[0]


def norms_and_average_move(lab: Lab) -> Found:
    """Running means and the weight average follow a captured step, and stay finite."""
    loop = Loop(lab, SMALL_NET, get_recipe("modern"))
    assert loop.state.average is not None
    shadow = loop.state.average.shadow
    buffers = loop.state.model.named_buffers()
    mean = next(buffer for name, buffer in buffers if name.endswith("running_mean"))
    averaged = next(shadow.parameters())
    old_mean, old_averaged = mean.clone(), averaged.clone()
    loop.run(4)
    yield "running mean moved by", float((mean - old_mean).abs().max())
    yield "weight average moved by", float((averaged - old_averaged).abs().max())
    assert not torch.equal(mean, old_mean)
    assert not torch.equal(averaged, old_averaged)
    assert all(torch.isfinite(value).all() for value in shadow.state_dict().values())


def train_resume_evaluate(lab: Lab) -> Found:
    """A training with a ragged last batch is stopped, resumed, and measured."""
    recipe = replace(get_recipe("modern"), batch_size=lab.batch_size)
    parts = lab.parts(1100 if lab.is_cuda else 60)
    spec, engine = TrainSpec(SMALL_NET, SPEC, recipe, 3, 0), lab.engine
    batches = make_batches(parts, recipe, 0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        stopped = train(
            spec, batches, engine, on_epoch=lambda epoch: epoch.epoch == 2, checkpoint_path=path
        )
        resumed = train(spec, batches, engine, checkpoint_path=path, resume=True)
    whole = train(spec, batches, engine)
    yield "statuses", [stopped.status, resumed.status, whole.status]
    assert (stopped.status, resumed.status, whole.status) == ("stopped", "finished", "finished")
    losses = (resumed.curve[-1].train_loss, whole.curve[-1].train_loss)
    yield "last losses, resumed and whole", losses
    assert math.isclose(*losses, rel_tol=0.05)
    assert resumed.model is not None
    assert batches.val is not None
    yield "accuracy with flips", evaluate(resumed.model, batches.val, engine, flip=True).accuracy


def every_recipe(lab: Lab) -> Found:
    """Each recipe trains, is captured, and has a finite loss."""
    kinds: dict[str, dict[str, Any]] = {
        "short": {},
        "modern": {},
        "paper": {},
        "modern, cutmix": {"mixing": "cutmix"},
        "modern, cutout": {"cutout_share": 0.5, "mixing": "none"},
        "modern, sam": {"sam_rho": 0.05},
        "modern, asam": {"sam_rho": 0.5, "sam_adaptive": True},
        "short, adam": {"optimizer": "adam", "learning_rate": 0.003},
        "short, one_cycle": {"schedule": "one_cycle"},
        "short, trivial": {"policy": "trivial"},
        "paper, autoaugment": {"policy": "autoaugment"},
    }
    failed = []
    for name, fields in kinds.items():
        recipe = replace(get_recipe(name.partition(",")[0]), **fields)
        try:
            loop = Loop(lab, SMALL_NET, recipe)
            loss = loop.totals.read(5 * loop.batch_size)[0]
            is_right = loop.is_captured and math.isfinite(loss)
            yield name, {"captured": loop.is_captured, "loss": loss, "ms": loop.milliseconds(5, 1)}
        except RuntimeError as error:  # the next recipe may do
            yield name, {"error": str(error)[:300]}
            is_right = False
        failed += [] if is_right else [name]
    assert not failed, f"{failed}; {lab.warnings[-3:]}"


def not_resident(lab: Lab) -> Found:
    """Images that stay on the host feed a captured step."""
    loop = Loop(lab, SMALL_NET, get_recipe("short"), resident=False)
    loop.run(20 if lab.is_cuda else 2)
    yield "captured", loop.is_captured
    assert loop.is_captured


def failed_capture(lab: Lab) -> Found:
    """A step that cannot be captured trains kernel by kernel, and the next one is captured.

    The step that reads a value on the host comes last: CUDA then fails the capture on leaving
    its context too, and where that is a failure of the process, its error is what is found.
    """
    recipe = get_recipe("short")
    loop = Loop(lab, SMALL_NET, recipe, wrap=_refusing_capture)
    loop.run(5)
    yield "warnings", list(lab.warnings)
    assert math.isfinite(loop.totals.read(10 * loop.batch_size)[0])
    assert len(lab.warnings) == lab.is_cuda, "the reason is to be logged once"
    assert not lab.is_cuda or not loop.is_captured
    yield "the next training captured", Loop(lab, SMALL_NET, recipe).is_captured
    try:
        loop = Loop(lab, SMALL_NET, recipe, wrap=_reading_on_the_host)
        loop.run(5)
        yield "after a host read", f"loss {loop.totals.read(10 * loop.batch_size)[0]:.4g}"
        yield "warnings after it", lab.warnings[lab.is_cuda :]
    except Exception as error:
        yield "after a host read", f"{type(error).__name__}: {str(error)[:500]}"


def _refusing_capture(step: Step) -> Step:
    def refuse(images: Tensor, targets: Tensor) -> None:
        if images.is_cuda and torch.cuda.is_current_stream_capturing():
            raise RuntimeError("this step refuses to be captured")
        step(images, targets)

    return refuse


def _reading_on_the_host(step: Step) -> Step:
    def read(images: Tensor, targets: Tensor) -> None:
        step(images, targets)
        images.sum().item()  # sync, which no capture allows

    return read


def out_of_memory(lab: Lab) -> Found:
    """A network too large for the memory is trained in pieces or given up; the next one trains."""
    torch.cuda.set_per_process_memory_fraction(4e9 / torch.cuda.mem_get_info()[1])
    parts = lab.parts(2048)
    for name, net, size in (
        ("too large", resolve_architecture("basic-443"), 1024),
        ("the next", SMALL_NET, 128),
    ):
        recipe = replace(get_recipe("short"), batch_size=size)
        result = train(
            TrainSpec(net, SPEC, recipe, 1, 0), make_batches(parts, recipe, 0), lab.engine
        )
        yield f"{name}: status", result.status
        yield f"{name}: reason", result.reason
        yield f"{name}: micro_batch", result.micro_batch
    yield "warnings", lab.warnings[-6:]
    assert result.status == "finished"


def compiled(lab: Lab) -> Found:
    """A compiled network trains, and is captured."""
    started = time.perf_counter()
    net, engine = resolve_architecture("resnet20"), replace(lab.engine, compile=True)
    loop = Loop(lab, net, get_recipe("short"), engine=engine, batch_size=256)
    yield "seconds to compile", time.perf_counter() - started
    yield "captured", loop.is_captured
    yield "ms", loop.milliseconds()


Check = Callable[[Lab], Found]

DECISIVE: tuple[Check, ...] = (
    environment,
    graph_equals_eager,
    rate_is_read_anew,
    dropout_is_drawn_anew,
    norms_and_average_move,
    train_resume_evaluate,
)
OTHERS: tuple[Check, ...] = (every_recipe, not_resident)
APART: tuple[Check, ...] = (failed_capture, out_of_memory)  # may poison a process
APART_LAST: tuple[Check, ...] = (compiled,)
GPU_ALONE = {"side_by_side", "out_of_memory", "compiled"}  # have nothing to run on a CPU
