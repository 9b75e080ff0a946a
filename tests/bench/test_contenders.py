import multiprocessing

import pytest
import torch
from torch import nn

from nas.bench.contenders import OurLoop, Pictures, PlainLoop, noise_pictures
from nas.network.architecture import Architecture, Stage, Stem
from nas.training.engine import Engine
from nas.training.evaluate import evaluate
from nas.training.recipe import get_recipe

NET = Architecture(Stem("conv3x3", 8), (Stage("basic", 1, 8, 1), Stage("basic", 1, 16, 2)))
ENGINE = Engine("cpu", 1)
RECIPE = get_recipe("short").with_overrides(["batch_size=8"])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return noise_pictures(tmp_path_factory.mktemp("pictures"), num_images=40)


def test_both_loops_train_the_same_network_with_the_same_optimizer(pictures):
    ours = OurLoop(NET, RECIPE, ENGINE, pictures)
    plain = PlainLoop(NET, RECIPE, ENGINE, pictures, num_workers=0)
    for groups in zip(
        ours.training.state.optimizer.param_groups, plain.optimizer.param_groups, strict=True
    ):
        shapes = [[parameter.shape for parameter in group["params"]] for group in groups]
        assert shapes[0] == shapes[1]
        for field in ("momentum", "nesterov", "weight_decay"):
            assert groups[0][field] == groups[1][field]


def test_both_loops_see_the_same_pixels(pictures):
    plain = PlainLoop(NET, RECIPE, ENGINE, pictures, num_workers=0)
    ours = OurLoop(NET, RECIPE, ENGINE, pictures)
    theirs = next(ours.batches)[0]
    for batch in (next(plain.batches)[0], theirs):  # (byte / 255 - 0.5) / 0.25, of all bytes
        assert batch.shape[1:] == (3, 32, 32)
        assert batch.min() == -2.0
        assert batch.max() == pytest.approx(2.0)


def test_an_epoch_is_as_long_as_a_real_one_whatever_the_number_of_files(pictures):
    plain = PlainLoop(NET, RECIPE, ENGINE, pictures, num_workers=0)
    ours = OurLoop(NET, RECIPE, ENGINE, pictures)
    assert len(list(pictures.folder.glob("*/*.png"))) == 40
    assert len(plain.loader) == len(ours.training.batches.train) == 45_000 // 8
    few = Pictures(pictures.folder, pictures.part, pictures.normalisation)
    assert len(PlainLoop(NET, RECIPE, ENGINE, few, num_workers=0).loader) == 40 // 8


def test_workers_live_on_and_what_they_made_before_a_timing_is_thrown_away(pictures):
    few = Pictures(pictures.folder, pictures.part, pictures.normalisation)
    plain = PlainLoop(NET, RECIPE, ENGINE, few, num_workers=1)
    next(plain.batches)
    workers = [worker.pid for worker in multiprocessing.active_children()]
    assert len(workers) == 1
    assert plain.time_steps(4) > 0  # 2 thrown away, 1 of warm-up: into the second epoch of 5
    assert plain.num_done == 5
    assert [worker.pid for worker in multiprocessing.active_children()] == workers


def test_an_evaluation_is_timed_on_as_many_images_as_asked(pictures, monkeypatch):
    ours, seen = OurLoop(NET, RECIPE, ENGINE, pictures), []

    def evaluate_and_note(*args):
        seen.append(evaluate(*args))

    monkeypatch.setattr("nas.bench.contenders.evaluate", evaluate_and_note)
    assert ours.time_evaluation(20) > 0
    assert {found.num_images for found in seen} == {20}


def test_a_run_trains_and_the_plain_loop_is_plain(pictures):
    plain = PlainLoop(NET, RECIPE, ENGINE, pictures, num_workers=0)
    conv = next(module for module in plain.model.modules() if isinstance(module, nn.Conv2d))
    before = conv.weight.clone()
    assert plain.run(2) > 0
    assert not torch.equal(conv.weight, before)
    assert conv.weight.is_contiguous()
    nearly = PlainLoop(NET, RECIPE, ENGINE, pictures, num_workers=0, channels_last=True)
    weight = next(m for m in nearly.model.modules() if isinstance(m, nn.Conv2d)).weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()
