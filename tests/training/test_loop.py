import contextlib
import gc
import itertools
import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score

import nas.training.open_training
from nas.data.augment import Augmentation
from nas.data.images import LabelledImages, Normalisation
from nas.data.loader import DeviceLoader, EvalLoader
from nas.network.architecture import InputSpec
from nas.network.caps import Caps
from nas.space import BudgetedSpace, load_space
from nas.training.engine import free_memory
from nas.training.evaluate import evaluate
from nas.training.loop import Batches, TrainSpec, train
from nas.training.recipe import RECIPES
from nas.training.result import TrainResult
from nas.training.state import CheckpointPace, load_checkpoint, save_checkpoint
from tests.support.small_training import CPU, NORMALISATION, make_batches, make_train_spec, part

ROOT = Path(__file__).parents[2]

VARIANTS = {
    "adamw": {"optimizer": "adamw", "learning_rate": 0.01},
    "sam": {"sam_rho": 0.05},
    "asam": {"sam_rho": 0.5, "sam_adaptive": True},
    "cutmix": {"mixing": "cutmix", "mixing_probability": 0.5},
    "cutout": {"cutout_share": 0.5},
    "trivial": {"policy": "trivial", "cutout_share": 0.5},
    "autoaugment": {"policy": "autoaugment"},
    "adam": {"optimizer": "adam", "learning_rate": 0.01, "dropout": 0.5},
    "cyclic": {"schedule": "cyclic", "cycles": 2, "momentum_dip": 0.1},
    "one_cycle": {"schedule": "one_cycle", "optimizer": "adamw", "momentum_dip": 0.1},
    "bfloat16": {"precision": "bfloat16"},
}
SPECS = {name: make_train_spec(name) for name in RECIPES} | {
    name: make_train_spec("short", **fields) for name, fields in VARIANTS.items()
}


def figures(result):
    """All that is measured but the times."""
    return [replace(record, elapsed_seconds=0.0) for record in result.curve]


def same_weights(first, second):
    states = first.model.state_dict(), second.model.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.fixture(scope="module")
def whole():
    """The `short` training, trained in one piece."""
    return train(SPECS["short"], make_batches(SPECS["short"]), CPU)


def test_a_small_net_learns_the_digits():
    spec = make_train_spec(epochs=5)
    result = train(spec, make_batches(spec, num_train=1440, num_val=350), CPU)
    assert result.val_accuracy > 0.8
    assert result.status == "finished"
    assert result.reason is None
    assert result.images_per_second > 0


def test_modern_learns_the_digits():
    spec = make_train_spec("modern", epochs=12)
    result = train(spec, make_batches(spec, num_train=1440, num_val=350), CPU)
    assert result.val_accuracy > 0.8


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("stop_after", [2])
def test_a_resumed_training_equals_the_whole_bit_for_bit(tmp_path, name, stop_after):
    spec, path = SPECS[name], tmp_path / "checkpoint.pt"
    expected = train(spec, make_batches(spec), CPU)
    part = train(
        spec,
        make_batches(spec),
        CPU,
        on_epoch=lambda record: record.epoch == stop_after,
        checkpoint_path=path,
    )
    assert part.status == "stopped"
    assert len(part.curve) == stop_after
    torch.manual_seed(99)  # what happened in between has no influence
    resumed = train(spec, make_batches(spec), CPU, checkpoint_path=path, resume=True)
    assert figures(resumed) == figures(expected)
    assert same_weights(resumed, expected)


class Killed(Exception):
    """Stands for a kill: the loop has no time to do anything."""


def stop_with(error, epoch):
    """Return an `on_epoch` that raises after an epoch."""

    def on_epoch(record):
        if record.epoch == epoch:
            raise error

    return on_epoch


def slow_pace():
    """Checkpoints by time, where an epoch takes 7 seconds, and so does a writing."""
    return CheckpointPace(True, partial(next, itertools.count(0.0, 7.0)))


def test_a_training_killed_between_checkpoints_by_time_resumes_to_the_whole(tmp_path):
    spec, path = make_train_spec(epochs=6), tmp_path / "checkpoint.pt"
    expected = train(spec, make_batches(spec), CPU)
    data = make_batches(spec)
    with pytest.raises(Killed):
        train(
            spec,
            data,
            CPU,
            on_epoch=stop_with(Killed, 5),
            checkpoint_path=path,
            pace=slow_pace(),
        )
    assert (
        len(load_checkpoint(path)["curve"]) == 4
    )  # the first, and after 21 seconds; not the fifth
    resumed = train(spec, data, CPU, checkpoint_path=path, resume=True, pace=slow_pace())
    assert figures(resumed) == figures(expected)
    assert same_weights(resumed, expected)
    assert len(load_checkpoint(path)["curve"]) == 6  # the end is a stop


@pytest.mark.parametrize("stop", [lambda item: item.epoch == 3, stop_with(KeyboardInterrupt, 3)])
def test_a_stop_writes_what_is_done_whatever_the_pace(tmp_path, stop):
    spec, path = make_train_spec(epochs=6), tmp_path / "checkpoint.pt"
    never = CheckpointPace(True, lambda: 0.0)
    with contextlib.suppress(KeyboardInterrupt):
        train(spec, make_batches(spec), CPU, on_epoch=stop, checkpoint_path=path, pace=never)
    assert len(load_checkpoint(path)["curve"]) == 3


def test_the_weights_are_those_of_pytorchs_own_norms_their_counters_included(monkeypatch):
    spec = make_train_spec("modern", epochs=2)
    averaged = train(spec, make_batches(spec), CPU)
    spec = make_train_spec("modern", epochs=2, ema_half_life_share=0.0)
    ours = train(spec, make_batches(spec), CPU)
    monkeypatch.setattr("nas.network.model.BatchNorm", torch.nn.BatchNorm2d)
    monkeypatch.setattr("nas.training.loop.count_batches", lambda model, number: None)
    theirs = train(spec, make_batches(spec), CPU)
    assert same_weights(ours, theirs)
    num_steps = 2 * len(make_batches(spec).train)
    for model in (averaged.model, theirs.model):
        counters = [
            int(value) for name, value in model.state_dict().items() if name.endswith("tracked")
        ]
        assert set(counters) == {num_steps}


def test_a_killed_process_resumes_to_the_whole(tmp_path, whole):
    path = tmp_path / "checkpoint.pt"
    code = f"""
import os, signal, torch
from pathlib import Path
from nas.training.loop import train
from tests.support.small_training import CPU, make_batches, make_train_spec
spec = make_train_spec("short")
def on_epoch(record):
    if record.epoch == 3:
        os.kill(os.getpid(), signal.SIGKILL)
train(spec, make_batches(spec), CPU, on_epoch=on_epoch, checkpoint_path=Path({str(path)!r}))
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert run.returncode == -9
    spec = SPECS["short"]
    resumed = train(spec, make_batches(spec), CPU, checkpoint_path=path, resume=True)
    assert figures(resumed) == figures(whole)
    assert same_weights(resumed, whole)


def flip_in_weights(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:1000])


def without_its_sum(path):
    """As version 0.1.0 wrote it."""
    torch.save(load_checkpoint(path), path)


def altered(change):
    """Return what writes the record of a checkpoint anew, changed."""

    def alter(path):
        record = load_checkpoint(path)
        change(record)
        save_checkpoint(path, record)

    return alter


def flatten_weights(record):
    for name, value in record["model"].items():
        record["model"][name] = value.flatten()


def momentum_of(shape):
    def change(record):
        for values in record["optimizer"]["state"].values():
            values["momentum_buffer"] = torch.zeros(shape)

    return change


UNUSABLE = {
    "flipped": (flip_in_weights, "damaged"),
    "cut": (cut, "damaged"),
    "empty": (lambda path: path.write_bytes(b""), "damaged"),
    "older": (without_its_sum, "older version"),
    "other format": (altered(lambda r: r.update(format_version=0)), "format version is 0"),
    "new field": (altered(lambda r: r["job"]["recipe"].update(warmth=1)), "recipe.warmth is 1"),
    "lost field": (altered(lambda r: r["job"]["recipe"].pop("momentum")), "recipe.momentum"),
    "other epoch": (altered(lambda r: r["curve"][0].update(colour=1)), "colour"),
    "no job": (altered(lambda r: r.pop("job")), "job"),
    "no optimizer": (altered(lambda r: r.pop("optimizer")), "optimizer"),
    "no average": (altered(lambda r: r.update(average=None)), "None"),
    "other weights": (altered(lambda r: r["model"].popitem()), "Missing key"),
    "other shape": (altered(flatten_weights), "size mismatch"),
    "other momentum": (altered(momentum_of((7, 7))), "optimizer is that of other weights"),
    # the fused step would read beyond its end: a segmentation fault
    "one momentum": (altered(momentum_of(())), "optimizer is that of other weights"),
}


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A training of two epochs, its result, and its checkpoint after the first."""
    spec, path = make_train_spec("modern", epochs=2), tmp_path_factory.mktemp("begun") / "c.pt"
    expected = train(spec, make_batches(spec), CPU)
    train(spec, make_batches(spec), CPU, on_epoch=lambda r: r.epoch == 1, checkpoint_path=path)
    return spec, expected, path.read_bytes()


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_checkpoint_that_cannot_be_used_is_said_and_the_training_begins_anew(
    tmp_path, caplog, begun, name
):
    (spec, expected, checkpoint), path = begun, tmp_path / "checkpoint.pt"
    path.write_bytes(checkpoint)
    damage, reason = UNUSABLE[name]
    damage(path)
    anew = train(spec, make_batches(spec), CPU, checkpoint_path=path, resume=True)
    assert figures(anew) == figures(expected)
    assert same_weights(anew, expected)
    (line,) = caplog.messages
    assert line.startswith(f"checkpoint {path} cannot be used (")
    assert reason in line
    assert line.endswith("; the training begins anew")
    assert "\n" not in line
    assert len(load_checkpoint(path)["curve"]) == 2


def test_a_finished_training_resumes_to_itself(tmp_path):
    spec, path = make_train_spec(epochs=2), tmp_path / "checkpoint.pt"
    first = train(spec, make_batches(spec), CPU, checkpoint_path=path)
    again = train(spec, make_batches(spec), CPU, checkpoint_path=path, resume=True)
    assert figures(again) == figures(first)
    assert same_weights(again, first)
    assert again.elapsed_seconds == first.elapsed_seconds


def test_a_resume_reports_the_epochs_that_were_done(tmp_path):
    spec, path = make_train_spec(epochs=3), tmp_path / "checkpoint.pt"
    train(spec, make_batches(spec), CPU, on_epoch=lambda r: r.epoch == 2, checkpoint_path=path)
    seen = []
    train(
        spec,
        make_batches(spec),
        CPU,
        on_epoch=lambda record: seen.append(record.epoch),
        checkpoint_path=path,
        resume=True,
    )
    assert seen == [1, 2, 3]
    done, new = [], []
    path.unlink()
    train(spec, make_batches(spec), CPU, on_epoch=lambda r: r.epoch == 2, checkpoint_path=path)
    train(
        spec,
        make_batches(spec),
        CPU,
        on_epoch=new.append,
        on_resumed=done.append,
        checkpoint_path=path,
        resume=True,
    )
    assert [[record.epoch for record in records] for records in (done, new)] == [[1, 2], [3]]


class Counted:
    """Validation batches that count how often they were gone through, or raise instead."""

    def __init__(self, batches, raises_at=None):
        self.batches, self.raises_at, self.passes = batches, raises_at, 0

    @property
    def num_images(self):
        return self.batches.num_images

    def __iter__(self):
        self.passes += 1
        if self.passes == self.raises_at:
            raise Killed
        return iter(self.batches)


def three_folds(spec, **raises_at):
    """Three disjoint parts of the digits, each with what it is validated on."""
    augmentation = Augmentation()
    return [
        Batches(
            DeviceLoader(part(first, first + 200), NORMALISATION, 32, augmentation, seed=0),
            Counted(
                EvalLoader(part(first + 200, first + 250), NORMALISATION, 64),
                raises_at.get(f"fold{first // 250}"),
            ),
        )
        for first in (0, 250, 500)
    ]


def test_the_figures_of_folds_are_the_means_of_trainings_on_each():
    spec = make_train_spec(epochs=3)
    alone = [train(spec, fold, CPU).curve for fold in three_folds(spec)]
    first, *others = three_folds(spec)
    together = train(spec, first, CPU, folds=others)
    assert together.status == "finished"
    assert len({curve[-1].val_accuracy for curve in alone}) > 1  # else a mean shows nothing
    for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        values = np.array([[getattr(record, name) for record in curve] for curve in alone])
        found = [getattr(record, name) for record in together.curve]
        assert found == pytest.approx(values.mean(axis=0).tolist(), rel=1e-12)
    assert together.val_accuracy == together.curve[-1].val_accuracy
    times = [record.elapsed_seconds for record in together.curve]
    assert times == sorted(times)


def test_the_accuracy_of_unequal_folds_is_the_fraction_of_all_images_that_is_right():
    spec, augmentation = make_train_spec(epochs=1), Augmentation()
    folds = [
        Batches(
            DeviceLoader(part(0, 200), NORMALISATION, 32, augmentation, seed=0),
            EvalLoader(part(first, end), NORMALISATION, 64),
        )
        for first, end in ((200, 203), (203, 300))
    ]
    by_fold = [train(spec, fold, CPU) for fold in folds]
    alone = [result.val_accuracy for result in by_fold]
    right = alone[0] * 3 + alone[1] * 97
    assert right == pytest.approx(round(right))  # whole images
    assert alone[0] != alone[1]
    together = train(spec, folds[0], CPU, folds=folds[1:])
    assert together.val_accuracy == pytest.approx(round(right) / 100)
    # the other metrics are of all 100 images at once: 3 have not every class
    truth, answers = [], []
    for result, fold in zip(by_fold, folds, strict=True):
        for images, labels in fold.val:
            truth += labels.tolist()
            answers += result.model(images).argmax(1).tolist()
    record = together.curve[-1]
    f1 = f1_score(truth, answers, average="macro")
    balanced = balanced_accuracy_score(truth, answers)
    assert record.val_score("balanced_accuracy") == pytest.approx(balanced)
    assert record.val_score("macro_f1") == pytest.approx(f1)
    assert record.val_confusion is None  # the sum is not written into every epoch of a curve


def test_folds_that_were_killed_in_an_epoch_lose_that_of_one_fold_alone(tmp_path):
    spec, path = make_train_spec(epochs=4), tmp_path / "checkpoint.pt"
    first, *others = three_folds(spec)
    expected = train(spec, first, CPU, folds=others)
    first, *others = three_folds(spec, fold1=3)
    with pytest.raises(Killed):
        train(spec, first, CPU, folds=others, checkpoint_path=path)
    epochs = [len(load_checkpoint(p)["curve"]) for p in sorted(tmp_path.glob("checkpoint*.pt"))]
    assert sorted(epochs) == [2, 2, 3]
    first, *others = three_folds(spec)
    done, new = [], []
    resumed = train(
        *(spec, first, CPU),
        folds=others,
        checkpoint_path=path,
        resume=True,
        on_resumed=done.append,
        on_epoch=new.append,
    )
    assert figures(resumed) == figures(expected)
    assert [[record.epoch for record in records] for records in (done, new)] == [[1, 2], [3, 4]]
    assert [fold.val.passes for fold in (first, *others)] == [1, 2, 2]


def test_checkpoints_by_time_are_of_all_folds_at_once(tmp_path):
    spec, path, seconds, done = make_train_spec(epochs=6), tmp_path / "checkpoint.pt", [0.0], []

    def on_epoch(record):
        seconds[0] += 25.0  # more than a kill may lose
        if record.epoch == 4:
            raise Killed

    pace = CheckpointPace(by_time=True, now=lambda: seconds[0])
    first, *others = three_folds(spec)
    kept = {"folds": others, "checkpoint_path": path}
    with pytest.raises(Killed):
        train(spec, first, CPU, **kept, on_epoch=on_epoch, pace=pace)
    first, *others = three_folds(spec)
    again = {"folds": others, "checkpoint_path": path, "resume": True}
    train(spec, first, CPU, **again, on_resumed=done.append)
    assert [record.epoch for record in done] == [1, 2, 3, 4]


def test_a_damaged_checkpoint_of_one_fold_costs_that_fold_alone(tmp_path, caplog):
    spec, path = make_train_spec(epochs=3), tmp_path / "checkpoint.pt"
    first, *others = three_folds(spec)
    stop = lambda record: record.epoch == 2  # noqa: E731
    train(spec, first, CPU, folds=others, checkpoint_path=path, on_epoch=stop)
    path.write_bytes(path.read_bytes()[:-100])
    first, *others = three_folds(spec)
    resumed = train(spec, first, CPU, folds=others, checkpoint_path=path, resume=True)
    assert "begins anew" in caplog.text
    assert [fold.val.passes for fold in (first, *others)] == [3, 1, 1]
    first, *others = three_folds(spec)
    assert figures(resumed) == figures(train(spec, first, CPU, folds=others))


def test_a_stop_ends_all_folds_and_one_that_diverges_breaks_the_training():
    spec = make_train_spec(epochs=4)
    first, *others = three_folds(spec)
    stopped = train(spec, first, CPU, folds=others, on_epoch=lambda record: record.epoch == 2)
    assert (stopped.status, len(stopped.curve)) == ("stopped", 2)
    assert [fold.val.passes for fold in (first, *others)] == [2, 2, 2]
    first, bad, last = three_folds(spec)
    bad.train._scale_and_shift = (torch.tensor(float("nan")), torch.tensor(0.0))
    broken = train(spec, first, CPU, folds=[bad, last])
    assert (broken.status, len(broken.curve)) == ("diverged", 1)
    assert "diverged in epoch 1 of 4" in broken.reason


def test_global_random_state_has_no_part(whole):
    torch.manual_seed(123)
    expected = torch.rand(1)
    torch.manual_seed(123)
    spec = SPECS["short"]

    def on_epoch(record):
        torch.rand(7)  # what a callback draws does not matter either
        return False

    again = train(spec, make_batches(spec), CPU, on_epoch=on_epoch)
    assert torch.equal(torch.rand(1), expected)
    assert same_weights(again, whole)


def test_data_order_and_weights_have_seeds_of_their_own(whole):
    spec = SPECS["short"]
    other_order = train(spec, make_batches(spec, seed=1), CPU)
    other_weights = train(replace(spec, seed=1), make_batches(spec), CPU)
    assert not same_weights(other_order, whole)
    assert not same_weights(other_weights, whole)


def test_the_result_is_the_last_epoch(whole):
    spec = SPECS["short"]
    assert whole.val_accuracy == whole.curve[-1].val_accuracy
    measured = evaluate(whole.model, make_batches(spec).val, CPU)
    assert measured.accuracy == whole.val_accuracy
    assert [record.epoch for record in whole.curve] == [1, 2, 3, 4]
    assert whole.curve[-1].learning_rate < whole.curve[0].learning_rate


def test_the_average_is_the_result_where_there_is_one():
    spec = make_train_spec(ema_half_life_share=0.2)
    averaged = train(spec, make_batches(spec), CPU)
    plain = train(make_train_spec(), make_batches(spec), CPU)
    assert not same_weights(averaged, plain)
    assert figures(averaged)[-1].train_loss == figures(plain)[-1].train_loss
    assert evaluate(averaged.model, make_batches(spec).val, CPU).accuracy == averaged.val_accuracy


def test_all_images_may_be_trained_on():
    spec = make_train_spec(epochs=1)
    result = train(spec, Batches(make_batches(spec).train, None), CPU)
    assert result.status == "finished"
    assert result.val_accuracy is None


def test_a_net_with_dropout_repeats_itself(whole):
    spec = SPECS["short"]
    assert any(stage.dropout for stage in spec.architecture.stages)
    assert same_weights(train(spec, make_batches(spec), CPU), whole)


def test_divergence_is_a_result_with_its_reason():
    spec = make_train_spec(learning_rate=100.0, weight_decay=10.0)
    result = train(spec, make_batches(spec), CPU)
    assert result.status == "diverged"
    assert "diverged in epoch" in result.reason
    assert result.model is None
    assert len(result.curve) < 4


def test_a_result_survives_json(whole):
    assert type(whole.to_dict()["status"]) is str  # else no checkpoint with it could be loaded
    text = json.dumps(whole.to_dict())
    assert TrainResult.from_dict(json.loads(text)) == whole


@pytest.mark.slow
def test_no_room_ends_in_a_smaller_micro_batch_or_a_reason():
    # The address space is limited for real. One map of 8 images takes 64 MiB at 256 x 256 pixels
    # and 4 MiB at 64 x 64. Either room is wide enough for oneDNN's own needs.
    code = """
import resource, torch
from dataclasses import replace
from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.training.state import CheckpointPace, load_checkpoint
from nas.data.augment import Augmentation
from nas.data.images import LabelledImages, Normalisation
from nas.data.loader import DeviceLoader
from nas.space import BudgetedSpace, load_space
from nas.training.loop import Batches, TrainSpec, train
from tests.support.small_training import CPU, make_train_spec
net = Architecture(Stem("conv3x3", 32), (Stage("basic", 1, 32, 1),))
def run(batch_size, size):
    images = torch.zeros(128, 1, size, size, dtype=torch.uint8)
    part = LabelledImages(images, torch.arange(128) % 10, tuple("0123456789"))
    spec = make_train_spec(epochs=1, net=net, batch_size=batch_size)
    normalisation = Normalisation((0.5,), (0.5,))
    batches = Batches(DeviceLoader(part, normalisation, batch_size, Augmentation(), 0), None)
    return train(replace(spec, input_spec=InputSpec(1, size, 10)), batches, CPU)
run(2, 64)  # what PyTorch allocates once does not count
for room_mib, size in ((60, 256), (400, 64)):
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + room_mib * 2**20, -1))
    result = run(128, size)
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    print(result.status, result.micro_batch, result.reason)
"""
    does_not_fit, fits_in_pieces = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert does_not_fit.startswith("out_of_memory 8 out of memory at 8 images")
    status, micro_batch, reason = fits_in_pieces.split(maxsplit=2)
    assert status == "finished", reason
    assert 8 <= int(micro_batch) < 128


def count_modules():
    gc.collect()
    return sum(issubclass(type(item), torch.nn.Module) for item in gc.get_objects())


def test_a_net_is_freed_after_its_training():
    spec = make_train_spec(epochs=1)
    train(spec, make_batches(spec, num_train=64), CPU)
    before = count_modules()
    train(spec, make_batches(spec, num_train=64), CPU)
    assert count_modules() == before


@pytest.mark.slow
def test_two_hundred_candidates_of_the_space_do_not_grow_the_process():
    spec = InputSpec()
    space = BudgetedSpace(load_space("resnet").space, spec, Caps(5_000_000), "resnet")
    rng = np.random.default_rng(0)
    images = torch.zeros(8, 3, 32, 32, dtype=torch.uint8)
    eight = LabelledImages(images, torch.arange(8), tuple("0123456789"))
    normalisation = Normalisation((0.5,) * 3, (0.25,) * 3)
    batches = Batches(DeviceLoader(eight, normalisation, 8, Augmentation(), 0), None)

    def memory_after(number):
        for _ in range(number):
            network = space.decode(space.sample(rng))
            recipe = replace(RECIPES["short"], batch_size=8)
            train(TrainSpec(network, spec, recipe, epochs=1, seed=0), batches, CPU)
            free_memory("cpu")
        return psutil.Process().memory_info().rss / 2**20

    first = memory_after(100)
    assert memory_after(100) - first < 50  # MiB; a network with its momenta has up to 60


def test_evaluation_sees_the_ragged_batch():
    spec = make_train_spec(epochs=1)
    loader = make_batches(spec).train
    result = train(spec, Batches(loader, EvalLoader(part(1700, 1797), NORMALISATION, 32)), CPU)
    assert (result.val_accuracy * 97) == pytest.approx(round(result.val_accuracy * 97))


def test_a_recipes_dropout_replaces_that_of_every_stage():
    spec = make_train_spec(epochs=1, dropout=0.0)
    bare = replace(
        spec.architecture,
        stages=tuple(replace(stage, dropout=0.0) for stage in spec.architecture.stages),
    )
    assert bare != spec.architecture
    expected = train(
        replace(make_train_spec(epochs=1), architecture=bare), make_batches(spec), CPU
    )
    assert same_weights(train(spec, make_batches(spec), CPU), expected)


def test_a_momentum_that_dips_is_what_the_optimizer_has(monkeypatch):
    seen = []
    opened = nas.training.open_training
    monkeypatch.setattr(opened, "set_momentum", lambda _, value: seen.append(value))
    spec = make_train_spec(epochs=1, schedule="cyclic", momentum_dip=0.2, warmup_share=0.0)
    batches = make_batches(spec)
    train(spec, batches, CPU)
    steps = len(batches.train)
    # a triangle down from 0.9 to 0.7 and back, at the middle of each step
    expected = [0.9 - 0.2 * (1 - abs(2 * (i + 0.5) / steps - 1)) for i in range(steps)]
    assert seen == pytest.approx(expected)
    assert len(seen) == 12
