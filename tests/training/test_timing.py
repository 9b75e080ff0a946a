"""What is timed before a study or a full training."""

import os
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.network.presets import resolve_architecture
from nas.training import open_training
from nas.training import timing as probe
from nas.training.cuda_graph import WARMUP_STEPS
from nas.training.engine import Engine
from nas.training.recipe import get_recipe
from nas.training.timing import choose_bfloat16, choose_threads, measure_speed
from tests.support.small_training import NET, SPEC

CPU = Engine("cpu", 1)
RECIPE = get_recipe("short")
PROGRAM = """
from nas.network.architecture import InputSpec
from nas.training.engine import Engine
from nas.network.presets import resolve_architecture
from nas.training.timing import choose_bfloat16
from nas.training.recipe import get_recipe
network = resolve_architecture("resnet20")
print(choose_bfloat16(network, InputSpec(), get_recipe("short"), Engine("cpu")))
"""


@pytest.fixture
def _alone(monkeypatch):
    """Measure the processor's seconds: what other processes do does not count."""
    monkeypatch.setattr(time, "perf_counter", time.process_time)


@pytest.mark.usefixtures("_alone")
def test_speeds_are_measured_and_leave_pytorch_as_it_was():
    before = torch.get_rng_state(), torch.get_num_threads()
    speed = measure_speed(NET, SPEC, RECIPE, Engine("cpu", 1))
    assert 0 < speed.val_seconds < speed.train_seconds < 1
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]


def test_threads_are_chosen_from_one_and_all():
    assert choose_threads([NET], SPEC, RECIPE, "cpu", 1) == 1
    assert choose_threads([NET], SPEC, RECIPE, "cpu", 2) in (1, 2)
    assert choose_threads([NET], SPEC, RECIPE, "cuda", 8) == 8


@pytest.mark.parametrize(
    ("most_at_once", "threads"),
    [
        (1, 4),  # 8 / 3 as fast as one thread
        (2, 4),  # 2 at once: 5.3 in sum; 8 threads, of which one training runs at once, give 2
        (4, 2),  # 4 at once: 7.1 in sum; 4 threads, 2 at once: 5.3
        (8, 1),  # 8 at once
    ],
)
def test_threads_and_trainings_at_once_are_chosen_together(monkeypatch, most_at_once, threads):
    seconds = {1: 8.0, 2: 4.5, 4: 3.0, 8: 4.0}
    monkeypatch.setattr(probe, "_time_steps", lambda *args: seconds[args[3]])
    chosen = choose_threads([NET], SPEC, RECIPE, "cpu", 8, lambda n: min(8 // n, most_at_once))
    assert chosen == threads


def test_one_thread_each_is_not_measured_where_every_core_has_a_training(monkeypatch):
    monkeypatch.delattr(probe, "_time_steps")
    assert choose_threads([NET], SPEC, RECIPE, "cpu", 6, lambda threads: 6 // threads) == 1


class CountingGpu(Engine):
    """A GPU as far as the probe can tell, which computes on the CPU."""

    is_cuda = True

    def applied(self):
        return nullcontext()


def test_the_step_of_a_gpu_is_timed_after_its_capture_and_with_the_recipe_s_batch(monkeypatch):
    events = []

    def with_graph(step, engine, recipe):
        def counting(images, targets):
            events.append(len(images))
            step(images, targets)

        return counting

    def clock():
        events.append("clock")
        return float(len(events))

    monkeypatch.setattr(open_training, "with_graph", with_graph)
    monkeypatch.setattr(probe.time, "perf_counter", clock)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    recipe = replace(RECIPE, batch_size=24, precision="float32")
    measure_speed(NET, SPEC, recipe, CountingGpu("cpu"))
    first = events.index("clock")
    assert events[:first] == [24] * (WARMUP_STEPS + 1)  # the last one is the capture
    assert events[first : first + 3] == ["clock", 24, "clock"]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_format_that_the_recipe_names_is_not_measured(device):
    engine = replace(CPU, device=device)
    for precision in ("float32", "bfloat16"):
        recipe = replace(RECIPE, precision=precision)
        assert choose_bfloat16(NET, SPEC, recipe, engine) == (precision == "bfloat16")
    assert choose_bfloat16(NET, SPEC, RECIPE, replace(CPU, device="cuda"))


def test_a_small_network_is_never_trained_in_bfloat16_by_chance():
    assert not choose_bfloat16(NET, SPEC, RECIPE, CPU)


@pytest.mark.slow
def test_bfloat16_is_chosen_with_its_instructions_and_not_where_it_is_emulated():
    if "avx512_bf16" in Path("/proc/cpuinfo").read_text():
        assert choose_bfloat16(resolve_architecture("resnet20"), InputSpec(), RECIPE, CPU)
    environ = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environ, capture_output=True, text=True, check=True
    )
    assert ended.stdout.strip() == "False"


@pytest.mark.slow
@pytest.mark.usefixtures("_alone")
def test_a_cost_unit_takes_about_the_same_time_in_every_network():
    from nas.results.forecast import cost_units

    nets = [
        Architecture(Stem("conv3x3", 16), (Stage("basic", 2, 16, 1), Stage("basic", 2, 64, 2))),
        Architecture(Stem("conv3x3", 64), (Stage("bottleneck", 8, 128, 1),)),
        Architecture(Stem("conv3x3", 8), (Stage("bottleneck", 20, 8, 1),)),
    ]
    spec = replace(SPEC, image_size=16)
    per_unit = [
        measure_speed(net, spec, RECIPE, CPU).train_seconds / cost_units(net, spec, False)
        for net in nets
    ]
    assert max(per_unit) < 5 * min(per_unit)
