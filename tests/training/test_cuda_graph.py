import contextlib
import gc
import logging
import weakref
from dataclasses import replace

import pytest
import torch

from nas.errors import BrokenCaptureError, RunError
from nas.network.model import build_model
from nas.training.cuda_graph import WARMUP_STEPS, GraphedStep, record, with_graph
from nas.training.optimizer import make_optimizer, set_learning_rate
from nas.training.recipe import RECIPES
from nas.training.step import EpochTotals, make_step
from tests.support.small_training import CPU, NET, SPEC


def capture_on_cpu(launch):
    """Like a graph: nothing runs at capture, a replay reads and writes the captured tensors."""
    return launch


def fail_to_capture(launch):
    raise RuntimeError("operation not permitted when stream is capturing")


def run(wrap, shapes=(32,) * 6):
    torch.manual_seed(0)
    model = build_model(NET, SPEC)
    totals, recipe = EpochTotals("cpu"), RECIPES["short"]
    optimizer = make_optimizer(model, recipe, CPU)
    step = wrap(make_step(model, optimizer, None, totals, recipe, CPU, 32))
    generator = torch.Generator().manual_seed(1)
    for number, size in enumerate(shapes):
        set_learning_rate(optimizer, 0.05 / (number + 1))
        images = torch.randn(size, 1, 8, 8, generator=generator)
        step(images, torch.randint(10, (size,), generator=generator))
        images.fill_(torch.nan)  # a replay reads its own copy
    return [parameter.detach().clone() for parameter in model.parameters()], totals


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first[0], second[0], strict=True))


def launch_now(launch):
    launch()


@pytest.mark.parametrize("shapes", [(32,) * 6, (32, 32, 32, 32, 20, 32), (32,) * 2])
def test_a_captured_step_trains_like_a_plain_one(shapes):
    plain = run(lambda step: step, shapes)
    captured = run(lambda step: GraphedStep(step, launch_now, capture_on_cpu), shapes)
    assert same(plain, captured)
    assert captured[1].read(1) == plain[1].read(1)


def test_the_first_steps_are_warm_up_and_count():
    warmed = []

    def warm_up(launch):
        warmed.append(1)
        launch()

    run(lambda step: GraphedStep(step, warm_up, capture_on_cpu))
    assert len(warmed) == WARMUP_STEPS


def test_a_failed_capture_goes_on_without_and_says_why(caplog):
    plain = run(lambda step: step)
    with caplog.at_level(logging.WARNING, logger="nas.training.cuda_graph"):
        fallen_back = run(lambda step: GraphedStep(step, launch_now, fail_to_capture))
    assert same(plain, fallen_back)
    assert len(caplog.records) == 1
    assert "stream is capturing" in caplog.text


def test_out_of_memory_at_capture_is_not_swallowed():
    def capture(launch):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        run(lambda step: GraphedStep(step, launch_now, capture))


def test_nothing_is_captured_on_a_cpu():
    assert with_graph(print, replace(CPU, cuda_graph=True), RECIPES["short"]) is print


class Capture:
    """A capture that may fail when it is left, as PyTorch's does once it was invalidated."""

    def __init__(self, error=None):
        self.error, self.garbage_is_collected = error, None

    def __enter__(self):
        self.garbage_is_collected = gc.isenabled()

    def __exit__(self, *_):
        if self.error is not None:
            raise self.error


def fail():
    raise RuntimeError("operation not permitted when stream is capturing")


def test_a_launch_that_fails_in_a_capture_that_ends_well_is_its_own_failure():
    with pytest.raises(RuntimeError, match="not permitted"):
        record(fail, Capture())


def test_a_capture_that_cannot_be_ended_breaks_the_process_and_names_the_cause():
    ended = RuntimeError("operation failed due to a previous error during capture")
    with pytest.raises(BrokenCaptureError, match="not permitted") as caught:
        record(fail, Capture(ended))
    assert isinstance(caught.value, RunError)
    with pytest.raises(BrokenCaptureError, match="previous error"):
        record(lambda: None, Capture(ended))


def test_a_broken_capture_is_not_gone_on_from():
    def capture(launch):
        record(launch, Capture(RuntimeError("invalidated")))

    with pytest.raises(BrokenCaptureError):
        run(lambda step: GraphedStep(step, launch_now, capture))


@pytest.mark.parametrize("error", [None, RuntimeError("invalidated")])
def test_no_garbage_is_collected_while_capturing(error):
    class Dead:
        """Garbage that only the collector finds."""

    dead = Dead()
    dead.itself = dead
    witness = weakref.ref(dead)
    del dead
    capture = Capture(error)
    alive = []
    with contextlib.suppress(BrokenCaptureError):
        record(lambda: alive.append(witness()), capture)
    assert alive == [None]  # it was collected before
    assert capture.garbage_is_collected is False
    assert gc.isenabled()


@pytest.mark.gpu
def test_a_cuda_graph_trains_like_the_plain_step():
    from nas.training.loop import train
    from tests.support.small_training import make_batches, make_train_spec

    spec = make_train_spec(epochs=3, precision="float32")
    batches = make_batches(spec, device="cuda")
    engine = replace(CPU, device="cuda")
    graphed = train(spec, batches, engine)
    plain = train(spec, batches, replace(engine, cuda_graph=False))
    assert graphed.val_accuracy == pytest.approx(plain.val_accuracy, abs=0.05)
