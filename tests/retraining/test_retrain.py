"""The full training through the command line, on the digits, and what it leaves behind."""

import csv
import json
import math
import os
import resource
import shutil
import signal
import statistics
import time
from dataclasses import replace
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from optuna.trial import TrialState
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

import nas.retraining.retrain
import nas.retraining.run
import nas.retraining.run_folder
import nas.retraining.run_time
import nas.training.loop
from nas.commands import main
from nas.data.datasets import load_test, load_training
from nas.data.split import train_and_val
from nas.network.architecture import Architecture
from nas.network.identity import identify
from nas.network.model import build_model
from nas.retraining.run_folder import RunFolder
from tests.support.errors import wilson_error
from tests.support.searching import Running, write_images
from tests.support.small_study import SPEC, add_trial, copy_studies, create_study, net, snapshot

NOTATION = "[[Basic,1,8,0.1],[Bottleneck,1,16]]"
CONTENTS = {
    "architecture.json",
    "checkpoint.pt",
    "classes.csv",
    "confusion.csv",
    "confusion.png",
    "curve.csv",
    "curve.png",
    "metrics.json",
    "weights.safetensors",
}

MEASURED = {"weights.safetensors", "classes.csv", "confusion.csv", "confusion.png"}  # at the end


@pytest.fixture
def studies(tmp_path, monkeypatch):
    folder = tmp_path / "studies"
    monkeypatch.setenv("NAS_STUDIES", str(folder))
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    return folder


def words(*more, arch=NOTATION, epochs=2):
    start = f"retrain --dataset digits --device cpu --epochs {epochs} --arch".split()
    return [*start, arch, "--set", "batch_size=128", *more]


def only_run(studies):
    (path,) = (studies / "retrain").iterdir()
    return RunFolder(path)


def metrics_of(path):
    return json.loads((path / "metrics.json").read_text())


def without_times(folder):
    """What two equal runs must have in common: weights and curve to the bit, and the measures."""
    curve = [line.rsplit(",", 1)[0] for line in (folder / "curve.csv").read_text().splitlines()]
    metrics = metrics_of(folder)
    for name in ("training_seconds", "images_per_second", "test_openings", "command"):
        del metrics[name]
    return (folder / "weights.safetensors").read_bytes(), curve, metrics


def signal_at_step(number, step):
    """What opens the loop's training; in one of its steps this process gets a signal."""
    open_training, steps = nas.training.loop.open_training, []

    def open_and_count(*args):
        training = open_training(*args)

        def step_or_not(*batch):
            steps.append(batch)
            if len(steps) == step:
                os.kill(os.getpid(), number)
            training.step(*batch)

        return replace(training, step=step_or_not)

    return open_and_count


def die_at_step(step):
    """In the child: be killed in the middle of the training."""
    nas.training.loop.open_training = signal_at_step(signal.SIGKILL, step)


def test_a_run_folder_has_what_the_design_says_and_its_weights_give_its_test_accuracy(
    studies, capsys
):
    assert main(words("--format", "json")) == 0
    printed = json.loads(capsys.readouterr().out)
    folder = only_run(studies).path
    assert {path.name for path in folder.iterdir()} == CONTENTS
    architecture = Architecture.from_json((folder / "architecture.json").read_text())
    assert architecture == Architecture.from_notation(NOTATION)
    assert folder.name == f"{identify(architecture).id}-seed0"
    metrics = metrics_of(folder)
    assert printed["runs"] == [{"folder": str(folder), **metrics}]

    # by plain PyTorch, image by image, on scikit-learn's own arrays
    model = build_model(architecture, SPEC)
    model.load_state_dict(load_file(folder / "weights.safetensors"))
    model.eval()
    test = load_test("digits")
    raw, target = load_digits(return_X_y=True)
    digits = {tuple(image): int(label) for image, label in zip(raw, target, strict=True)}
    answers = []
    with torch.no_grad():
        for image, label in zip(test.images, test.labels, strict=True):
            sixteenths = (image.flatten().double() / 255 * 16).round()
            assert digits[tuple(sixteenths.tolist())] == label
            pixels = (image / 255 - metrics["mean"][0]) / metrics["std"][0]
            answers.append(int(model(pixels.unsqueeze(0)).argmax()))
    hits = sum(np.array(answers) == test.labels.numpy())
    assert metrics["test_accuracy"] == hits / len(test)
    assert metrics["test_standard_error"] == pytest.approx(wilson_error(int(hits), len(test)))
    num_params = sum(p.numel() for p in model.parameters())
    assert metrics["num_params"] == num_params
    for command, path in product(("count", "show"), (folder, folder / "architecture.json")):
        assert main([command, str(path), "--format", "json"]) == 0  # at the run's own input
        assert json.loads(capsys.readouterr().out)["num_params"] == num_params
    assert metrics["test_accuracy_flip_tta"] is None  # a mirrored digit is another one
    assert_classes_are_told(folder, metrics, test.labels.tolist(), answers)


def assert_classes_are_told(folder, metrics, truth, answers):
    """What is written of each class is scikit-learn's."""
    balanced = balanced_accuracy_score(truth, answers)
    assert metrics["test_balanced_accuracy"] == pytest.approx(balanced)
    assert metrics["test_macro_f1"] == pytest.approx(f1_score(truth, answers, average="macro"))
    rows = list(csv.DictReader((folder / "classes.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == metrics["class_names"]
    figures = precision_recall_fscore_support(truth, answers, zero_division=0.0)
    for name, values in zip(("precision", "recall", "f1", "support"), figures, strict=True):
        assert [float(row[name]) for row in rows] == pytest.approx(values.tolist())
    recalls = [float(row["recall"]) for row in rows]
    worst = metrics["class_names"][recalls.index(min(recalls))]
    assert (metrics["worst_class"]["class"], metrics["worst_class"]["recall"]) == (
        worst,
        min(recalls),
    )
    header, *matrix = csv.reader((folder / "confusion.csv").read_text().splitlines())
    assert header == ["class", *metrics["class_names"]]
    assert [row[0] for row in matrix] == metrics["class_names"]
    counts = [[int(cell) for cell in row[1:]] for row in matrix]
    assert counts == confusion_matrix(truth, answers).tolist()
    with Image.open(folder / "confusion.png") as picture:
        assert min(picture.size) > 300


def test_the_largest_class_and_the_worst_recall_stand_beside_the_accuracy(
    studies, tmp_path, capsys
):
    root, names = tmp_path / "images", ("ok", "def $5_$ ect 狗")  # no formula, no glyph
    for part, numbers in (("train", (40, 4)), ("test", (9, 1))):
        for label, number in zip(names, numbers, strict=True):
            (root / part / label).mkdir(parents=True)
            for index in range(number):
                image = Image.effect_noise((8, 8), 50)
                image.save(root / part / label / f"{index}.png")
    line = f"retrain --arch {NOTATION} --dataset folder --data {root} --epochs 1".split()
    assert main([*line, "--set", "class_weights=balanced"]) == 0
    found = capsys.readouterr()
    assert "always answering 'ok' gives 90.00%" in found.out
    assert "worst recall" in found.out
    assert "images are mirrored at random" in found.err
    metrics = metrics_of(only_run(studies).path)
    assert metrics["majority"] == {"class": "ok", "share": 0.9}
    del metrics["settings"]["recipe"]["class_weights"]  # of before the field came
    only_run(studies).write(metrics)
    assert main([*line, "--set", "class_weights=balanced"]) == 2
    assert "recipe.class_weights: none -> balanced" in capsys.readouterr().err
    assert main(line) == 0
    assert "has come to its end already" in capsys.readouterr().err


def test_training_and_validation_split_are_merged(studies, capsys):
    assert main(words(epochs=1)) == 0
    metrics = metrics_of(only_run(studies).path)
    # scikit-learn has 1,797 digits; 20% are the test split
    assert metrics["train_images"] == 1_797 - 359
    assert (metrics["val_images"], metrics["val_accuracy"]) == (0, None)
    assert metrics["test_images"] == 359
    gap = 100 * (metrics["train_accuracy"] - metrics["test_accuracy"])  # as in the paper's table
    assert f"gap {gap:+.2f} points" in capsys.readouterr().out


def test_a_folders_own_validation_split_is_trained_on_too(studies, tmp_path):
    root = tmp_path / "images"
    for part, number in (("train", 8), ("val", 3), ("test", 2)):
        for label in ("cat", "dog"):
            (root / part / label).mkdir(parents=True)
            for index in range(number):
                image = Image.new("L", (8, 8), 100 * (label == "dog") + 10 * index)
                image.save(root / part / label / f"{index}.png")
    before = snapshot(root)
    line = f"retrain --arch {NOTATION} --dataset folder --data {root} --epochs 1".split()
    assert main([*line, "--set", "batch_size=4"]) == 0
    assert metrics_of(only_run(studies).path)["train_images"] == 2 * (8 + 3)
    assert main([*line, "--set", "batch_size=4", "--holdout", "--restart"]) == 0
    metrics = metrics_of(only_run(studies).path)
    assert (metrics["train_images"], metrics["val_images"]) == (2 * 8, 2 * 3)
    assert snapshot(root) == before


def test_holdout_keeps_the_searchs_validation_images_out_and_measures_on_them_every_epoch(
    studies, monkeypatch, capsys
):
    placed = []
    place_all = nas.retraining.run.place_all
    monkeypatch.setattr(
        nas.retraining.run,
        "place_all",
        lambda *args: placed.append(place_all(*args)) or placed[-1],
    )
    assert main(words("--holdout", epochs=3)) == 0
    folder = only_run(studies).path
    lines = (folder / "curve.csv").read_text().splitlines()
    column = lines[0].split(",").index("val_accuracy")
    measured = [float(line.split(",")[column]) for line in lines[1:]]
    assert len(measured) == 3
    assert metrics_of(folder)["val_accuracy"] == measured[-1]
    names = lines[0].split(",")
    rows = [dict(zip(names, map(float, line.split(",")), strict=True)) for line in lines[1:]]
    for row in rows:
        gap = row["train_accuracy"] - row["val_accuracy"]
        assert row["accuracy_gap"] == pytest.approx(gap)
    assert metrics_of(folder)["accuracy_gap"] == rows[-1]["accuracy_gap"]
    last = rows[-1]
    assert (
        f"train {100 * last['train_accuracy']:.2f}% (augmented) - val "
        f"{100 * last['val_accuracy']:.2f}%: gap {100 * last['accuracy_gap']:+.2f} points"
    ) in capsys.readouterr().out
    _, val = train_and_val(load_training("digits"), seed=0)
    assert torch.equal(placed[0].val.images, val.images)
    assert len(placed[0].train) + len(val) == 1_797 - 359


def test_the_test_split_is_opened_once_and_that_is_written_down_first(studies, monkeypatch):
    seen = []

    def spy(*args):
        seen.append(metrics_of(only_run(studies).path))
        return load_test(*args)

    monkeypatch.setattr(nas.retraining.retrain, "load_test", spy)
    assert main(words()) == 0
    assert len(seen) == 1
    assert len(seen[0]["test_openings"]) == 1
    assert seen[0]["status"] == "running"
    assert metrics_of(only_run(studies).path)["test_openings"] == seen[0]["test_openings"]
    assert main(words()) == 0  # finished: read from its folder
    assert len(seen) == 1
    assert main(words("--restart")) == 0  # the record of the first opening stays
    assert len(metrics_of(only_run(studies).path)["test_openings"]) == 2


def test_a_run_killed_in_the_middle_and_resumed_equals_one_that_was_not(studies, tmp_path, capsys):
    line = words("--holdout", epochs=12)
    running = Running(line, tmp_path / "out", partial(die_at_step, 30))
    assert running.wait() == -signal.SIGKILL, running.errors()
    assert "epoch 2/12" in running.errors()
    folder = only_run(studies).path
    assert metrics_of(folder)["status"] == "running"
    assert not (folder / "weights.safetensors").exists()
    (folder / ".checkpoint.pt.abc123.tmp").write_bytes(b"half")  # of a kill during a write
    assert main([*line, "--resume"]) == 0
    told = capsys.readouterr().err
    assert "cannot be used" not in told
    assert "epoch 1/12" not in told  # what was done is not shown again
    assert "epoch 12/12" in told
    whole = tmp_path / "whole"
    assert main([*line, "--studies", str(whole)]) == 0
    assert without_times(folder) == without_times(only_run(whole).path)
    assert {path.name for path in folder.iterdir()} == CONTENTS


def test_a_damaged_checkpoint_is_said_in_a_line_and_the_run_equals_one_that_began_anew(
    studies, tmp_path, monkeypatch
):
    line, whole = words("--holdout", epochs=3), tmp_path / "whole"
    assert main([*line, "--studies", str(whole)]) == 0
    with monkeypatch.context() as patch:
        patch.setattr(nas.training.loop, "open_training", signal_at_step(signal.SIGINT, 30))
        assert main(line) == 130  # in the third epoch
    folder = only_run(studies)
    content = bytearray(folder.checkpoint.read_bytes())
    content[len(content) // 3] ^= 64  # in the weights: PyTorch reads it without a word
    folder.checkpoint.write_bytes(content)
    resumed = Running([*line, "--resume"], tmp_path / "out")
    assert resumed.wait() == 0
    told = resumed.errors()
    assert told.count(f"{folder.checkpoint} cannot be used") == told.count("begins anew") == 1
    assert "Traceback" not in told
    assert [told.count(f"epoch {number}/3") for number in (1, 2, 3)] == [1, 1, 1]
    assert without_times(folder.path) == without_times(only_run(whole).path)


def test_ctrl_c_exits_130_says_resume_and_resuming_keeps_the_threads(studies, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(nas.training.loop, "open_training", signal_at_step(signal.SIGINT, 20))
        assert main(words(epochs=3)) == 130
    assert "--resume" in capsys.readouterr().err
    folder = only_run(studies).path
    assert (folder / "checkpoint.pt").exists()
    before = snapshot(studies)
    assert main(words(epochs=3)) == 2  # neither --resume nor --restart
    message = capsys.readouterr().err
    assert "--resume" in message
    assert "--restart" in message
    assert snapshot(studies) == before
    recorded = metrics_of(folder)["engine"]["num_threads"]
    assert metrics_of(folder)["status"] == "running"
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        assert main(words("--resume", epochs=3)) == 0
    finally:
        torch.set_num_threads(threads)
    assert metrics_of(folder)["engine"]["num_threads"] == recorded


def test_a_run_of_another_pytorch_is_not_gone_on_with(studies, capsys):
    assert main(words(epochs=2)) == 0
    folder = only_run(studies)
    metrics = metrics_of(folder.path) | {"status": "running"}
    folder.write(metrics | {"versions": {"torch": "1.13.1+cu117"}})
    before = snapshot(studies)
    assert main(words("--resume", epochs=2)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert f"was begun with torch 1.13.1+cu117, and torch {torch.__version__} here" in error
    assert "Install torch 1.13 to resume it, or begin again with --restart" in error
    assert snapshot(studies) == before
    series = ".".join(torch.__version__.split(".")[:2])
    for versions in ({"torch": f"{series}.99"}, {}, None):  # the last: as nothing wrote them
        folder.write(metrics | {"versions": versions})
        assert main(words("--resume", epochs=2)) == 0


def test_seeds_give_one_folder_each_and_the_mean_with_its_standard_deviation(studies, capsys):
    assert main(words("--seeds", "3", "--seed", "4", "--format", "json", epochs=1)) == 0
    printed = json.loads(capsys.readouterr().out)
    accuracies = [run["test_accuracy"] for run in printed["runs"]]
    assert [run["settings"]["seed"] for run in printed["runs"]] == [4, 5, 6]
    assert len({run["folder"] for run in printed["runs"]}) == 3
    assert printed["mean_test_accuracy"] == pytest.approx(sum(accuracies) / 3)
    mean = sum(accuracies) / 3
    assert printed["standard_deviation"] == pytest.approx(
        math.sqrt(sum((accuracy - mean) ** 2 for accuracy in accuracies) / 2)
    )
    assert main(words("--seeds", "3", "--seed", "4", epochs=1)) == 0
    text = capsys.readouterr().out
    assert f"standard deviation {100 * statistics.stdev(accuracies):.2f} points" in text


def test_a_finished_folder_with_other_settings_is_refused_with_the_difference(studies, capsys):
    assert main(words(epochs=1)) == 0
    before = snapshot(studies)
    assert main(words("--set", "weight_decay=0.01", epochs=2)) == 2
    message = capsys.readouterr().err
    assert "epochs: 1 -> 2" in message
    assert "recipe.weight_decay: 0.0005 -> 0.01" in message
    assert "--restart" in message
    assert snapshot(studies) == before
    assert main(words("--set", "weight_decay=0.01", "--restart", epochs=2)) == 0
    assert metrics_of(only_run(studies).path)["settings"]["epochs"] == 2


def test_a_resume_on_images_that_have_changed_is_refused(studies, tmp_path, capsys):
    root = tmp_path / "images"
    for part, label, index in product(("train", "test"), ("cat", "dog"), range(4)):
        (root / part / label).mkdir(parents=True, exist_ok=True)
        image = Image.new("L", (8, 8), 100 * (label == "dog") + 10 * index)
        image.save(root / part / label / f"{index}.png")
    line = f"retrain --arch {NOTATION} --dataset folder --data {root} --epochs 1".split()
    line += ["--set", "batch_size=4", "--resume"]
    assert main(line) == 0
    folder = only_run(studies)
    folder.weights.unlink()  # as a kill after the last epoch leaves it
    folder.write({**metrics_of(folder.path), "status": "running"})
    Image.new("L", (8, 8), 55).save(root / "train" / "cat" / "more.png")
    before = snapshot(studies)
    assert main(line) == 2
    assert "--data: it has other images now" in capsys.readouterr().err
    assert snapshot(studies) == before
    folder.metrics.unlink()  # nothing says any more which images the checkpoint was trained on
    assert main(line) == 2
    assert "--restart" in capsys.readouterr().err


def test_a_kill_while_a_restart_begins_leaves_the_finished_run_with_its_weights(
    studies, monkeypatch
):
    assert main(words(epochs=1)) == 0
    folder = only_run(studies)
    metrics, weights = folder.metrics.read_bytes(), folder.weights.read_bytes()

    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(nas.retraining.run_folder, "write_text_atomically", die)
        assert main(words("--restart", epochs=1)) == 130
    assert (folder.metrics.read_bytes(), folder.weights.read_bytes()) == (metrics, weights)
    assert main(words(epochs=1)) == 0  # it has come to its end, and has what that promises


def test_a_training_that_begins_again_in_smaller_pieces_has_every_epoch_once(studies, monkeypatch):
    train_epoch, calls = nas.training.loop._train_epoch, []

    def train_epoch_or_fail(*args):
        calls.append(args)
        if len(calls) == 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return train_epoch(*args)

    monkeypatch.setattr(nas.training.loop, "_train_epoch", train_epoch_or_fail)
    assert main(words(epochs=3)) == 0
    lines = only_run(studies).curve_table.read_text().splitlines()
    assert [line.partition(",")[0] for line in lines] == ["epoch", "1", "2", "3"]
    assert metrics_of(only_run(studies).path)["micro_batch"] == 64


def test_a_run_killed_after_its_last_checkpoint_gets_the_rest_of_its_files(studies):
    assert main(words(epochs=2)) == 0
    folder = only_run(studies)
    table, weights = folder.curve_table.read_bytes(), folder.weights.read_bytes()
    folder.curve_table.write_bytes(table[: table.rindex(b"\n", 0, -1) + 1])  # one row is lacking
    folder.weights.unlink()
    folder.write({**metrics_of(folder.path), "status": "running"})
    assert main(words("--resume", epochs=2)) == 0
    assert (folder.curve_table.read_bytes(), folder.weights.read_bytes()) == (table, weights)


def test_resume_without_anything_begins(studies):
    assert main(words("--resume", epochs=1)) == 0
    assert metrics_of(only_run(studies).path)["status"] == "finished"


def test_a_diverged_run_is_reported_and_the_test_split_stays_closed(studies, capsys):
    line = words("--set", "learning_rate=100", "--set", "weight_decay=10", epochs=8)
    assert main([*line, "--format", "json"]) == 1
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["status"] == "diverged"
    assert "epoch" in run["reason"]
    assert run["test_accuracy"] is None
    assert run["test_openings"] == []
    folder = only_run(studies).path
    assert {path.name for path in folder.iterdir()} == CONTENTS - MEASURED
    assert main(line) == 1  # it would end in the same way
    assert "diverged" in capsys.readouterr().out


def test_a_recipes_dropout_is_that_of_the_network_in_the_folder(studies):
    line = words("--recipe", "paper", "--set", "dropout=0.5", arch="[[Basic,1,8,0.1]]", epochs=1)
    assert main(line) == 0
    folder = only_run(studies).path
    expected = Architecture.from_notation("[[Basic,1,8,0.5]]")
    assert Architecture.from_json((folder / "architecture.json").read_text()) == expected
    assert folder.name == f"{identify(expected).id}-seed0"
    assert metrics_of(folder)["settings"]["recipe"]["name"] == "paper"


@pytest.mark.parametrize("kind", ["preset", "file"])
def test_a_preset_or_a_file_is_trained(kind, studies, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(net().to_json())
    assert main(words(arch="resnet20" if kind == "preset" else str(path), epochs=1)) == 0
    expected = 272_282 - (3 - 1) * 9 * 16 if kind == "preset" else None  # gray images
    if expected:
        assert metrics_of(only_run(studies).path)["num_params"] == expected


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--arch", "row1"), "stage"),  # a 2x2 kernel on an odd map
        (("--arch", NOTATION, "--image-size", "0"), "--image-size must be at least 1"),
        (("--arch", NOTATION, "--image-size", "5000"), "5000"),
        (("--arch", NOTATION, "--stem", "conv3x4"), "did you mean 'conv3x3'"),
        (("--arch", "finale"), "did you mean 'final'"),
        (("--arch", NOTATION, "--set", "learning_rat=1"), "did you mean 'learning_rate'"),
        (("--arch", NOTATION, "--set", "learning_rate=1000"), "1000"),
        (("--arch", NOTATION, "--recipe", "modren"), "did you mean 'modern'"),
        (("--arch", NOTATION, "--epochs", "0"), "--epochs must be at least 1"),
        (("--arch", NOTATION, "--seed", "-1"), "--seed must be at least 0"),
        (("--arch", NOTATION, "--seeds", "0"), "--seeds must be at least 1"),
        (("--arch", NOTATION, "--resume", "--restart"), "one of them"),
        (("--arch", NOTATION, "--budget", "5k"), "--budget goes with --best"),
        (("--arch", NOTATION, "--device", "gpu"), "cuda"),
    ],
)
def test_a_wrong_call_exits_2_and_writes_nothing(more, text, studies, capsys):
    assert main(["retrain", "--dataset", "digits", "--epochs", "1", *more]) == 2
    message = capsys.readouterr().err
    assert text in message
    assert message.count("error:") == 1
    assert not studies.exists()


def test_arch_without_data_says_what_is_missing(studies, capsys):
    assert main(["retrain", "--arch", "final"]) == 2
    assert "--dataset" in capsys.readouterr().err


def test_the_expected_time_is_near_the_real_one(studies, capsys, monkeypatch):
    told = []
    estimate = nas.retraining.run_time.estimate_seconds
    monkeypatch.setattr(
        nas.retraining.run_time,
        "estimate_seconds",
        lambda *args: told.append(estimate(*args)) or told[-1],
    )
    monkeypatch.setattr(time, "perf_counter", time.process_time)  # without what others do here
    assert main(words(arch="[[Basic,2,32]]", epochs=3)) == 0
    real = metrics_of(only_run(studies).path)["training_seconds"]
    assert real / 4 < told[0] < real * 4
    assert "about" in capsys.readouterr().err


def test_a_full_disk_is_one_message(studies, capsys):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))  # less than a checkpoint has
        code = main(words(epochs=1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    message = capsys.readouterr().err
    assert code == 1
    assert message.count("error:") == 1
    assert "could not be written" in message
    assert not list(only_run(studies).path.glob(".*"))


def test_no_permission_is_one_message(studies, capsys):
    studies.parent.mkdir(exist_ok=True)
    studies.write_text("in the way")  # root may write anywhere, but not below a file
    assert main(words(epochs=1)) == 1
    message = capsys.readouterr().err
    assert message.count("error:") == 1
    assert str(studies) in message


def test_damaged_metrics_are_left_and_restart_begins_again(studies, capsys):
    assert main(words(epochs=1)) == 0
    path = only_run(studies).metrics
    path.write_text("{half")
    assert main(words(epochs=1)) == 1
    assert "damaged" in capsys.readouterr().err
    assert path.read_text() == "{half"
    assert main(words("--restart", epochs=1)) == 0


def test_a_second_process_is_kept_out_of_the_folder(studies, capsys):
    assert main(words(epochs=1)) == 0
    folder = only_run(studies)
    with folder.locked():
        assert main(words("--restart", epochs=1)) == 2
    assert "another process" in capsys.readouterr().err


def test_the_best_of_a_real_study_is_trained_into_the_studys_folder(tmp_path, capsys):
    studies = copy_studies(tmp_path / "studies")
    best = ["best", "--studies", str(studies), "--format", "json"]
    assert main(best) == 0
    trial = json.loads(capsys.readouterr().out)["best"]
    line = ["retrain", "--best", "--studies", str(studies), "--epochs", "1", "--device", "cpu"]
    assert main(line) == 0
    (folder,) = (studies / "tiny-8k-digits" / "retrain").iterdir()
    assert folder.name == f"{trial['id']}-seed0"
    assert metrics_of(folder)["num_params"] == trial["num_params"] <= 8_000
    assert main([*line, "--budget", "20"]) == 2
    assert "the smallest that was has" in capsys.readouterr().err


def test_on_other_data_a_studys_network_has_a_run_folder_of_its_own(tmp_path, capsys):
    studies = copy_studies(tmp_path / "studies")
    line = ["retrain", "--best", "--studies", str(studies), "--epochs", "1", "--device", "cpu"]
    assert main(line) == 0
    (own,) = (studies / "tiny-8k-digits" / "retrain").iterdir()
    before = snapshot(own)
    root = write_images(tmp_path / "pets", per_class=4)
    shutil.copytree(root / "train", root / "test")
    assert main([*line, "--dataset", "folder", "--data", str(root)]) == 0
    assert "not the images that the study searched on" in capsys.readouterr().err
    runs = {path.name: metrics_of(path) for path in own.parent.iterdir()}
    other = own.name.replace("-seed0", "-pets-seed0")
    assert {name: m["settings"]["dataset"] for name, m in runs.items()} == {
        own.name: "digits",
        other: "folder",
    }
    assert snapshot(own) == before


def test_where_nothing_found_is_better_the_baseline_is_said_to_be_so_first_and_trained(
    studies, capsys
):
    _, study = create_study(studies)
    add_trial(study, net(8), (0.90,))
    add_trial(study, net(12), (0.95,), source="known", known_name="baseline")
    lead = (
        f"Nothing found is better than the baseline {net(12).to_notation()} here: after 4 epochs"
    )
    assert main(["best", "--studies", str(studies)]) == 0
    assert capsys.readouterr().out.startswith(lead)
    line = ["retrain", "--best", "--studies", str(studies), "--epochs", "1", "--device", "cpu"]
    assert main(line) == 0
    told = capsys.readouterr().err
    assert told.index(lead) < told.index("best: trial 1, the baseline [[")
    (run,) = (studies / "stated" / "retrain").iterdir()
    assert json.loads((run / "architecture.json").read_text()) == net(12).to_dict()


def test_a_trial_that_failed_can_be_trained_and_one_over_the_budget_not(studies, capsys):
    _, study = create_study(studies)
    failed = add_trial(study, net(8), (0.2,), TrialState.FAIL, reason="killed")
    rejected = add_trial(
        study, net(32, depth=4), state=TrialState.PRUNED, reason="over budget: 76,000"
    )
    study.tell(study.ask(), state=TrialState.FAIL)
    line = ["retrain", "--device", "cpu", "--epochs", "1", "--trial"]
    assert main([*line, str(failed)]) == 0
    assert "failed: killed" in capsys.readouterr().err
    before = snapshot(studies)
    for number, text in ((rejected, "over budget"), (rejected + 1, "no network"), (9, "0 to 2")):
        assert main([*line, str(number)]) == 2
        assert text in capsys.readouterr().err
    assert snapshot(studies) == before
