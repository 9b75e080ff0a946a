"""The range test on the digits: what it trains, where it stops, and what it writes."""

import csv
import json
import shlex

import matplotlib.image
import pytest
import torch

from nas.commands import main
from nas.data.images import Dataset
from nas.network.model import build_model
from nas.seeds import derive_seed
from nas.training.batches import feed_epoch, make_batches
from nas.training.lr_range import Ramp, run_range_test
from nas.training.optimizer import make_optimizer
from nas.training.recipe import RECIPES
from tests.support.small_training import CPU, NET, NORMALISATION, make_train_spec, part

NOTATION = "[[Basic,1,8],[Basic,1,16]]"


@pytest.fixture(scope="module")
def parts():
    return Dataset(part(0, 400), part(1500, 1600), NORMALISATION)


@pytest.fixture
def studies(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_STUDIES", str(tmp_path / "studies"))
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "studies"


def words(*more, steps=60):
    start = f"lr-range-test {NOTATION} --dataset digits --device cpu --steps {steps}".split()
    return [*start, "--set", "batch_size=64", *more]


@pytest.mark.parametrize(
    ("kind", "middle"), [("exponential", 10**-2.5), ("linear", (1e-5 + 1) / 2)]
)
def test_a_ramp_rises_by_equal_factors_or_differences(kind, middle):
    ramp = Ramp(1e-5, 1.0, 101, kind)
    rates = [ramp.rate(step) for step in range(101)]
    assert rates[0] == 1e-5
    assert rates[50] == pytest.approx(middle)
    assert rates[-1] == pytest.approx(1.0)
    assert rates == sorted(rates)


def test_the_losses_are_those_of_a_plain_loop_at_the_ramps_rates(parts):
    spec = make_train_spec(dropout=0.0, scaled_branches=False)
    ramp = Ramp(1e-4, 1e-1, 20)
    found = run_range_test(spec, parts, CPU, ramp)
    with CPU.applied():
        CPU.seed_generators(derive_seed(spec.seed, "weights"))
        model = build_model(NET.with_dropout(0.0), spec.input_spec).to(
            memory_format=torch.channels_last
        )
        optimizer = make_optimizer(model.train(), spec.recipe, CPU)
        loader = make_batches(parts, spec.recipe, spec.seed).train
        batches = [
            batch
            for epoch in range(2)
            for batch in feed_epoch(loader, spec.recipe, epoch, 10**6, spec.seed)
        ]
        expected = []
        for number, (images, labels, _) in enumerate(batches[:20]):
            for group in optimizer.param_groups:
                group["lr"] = 1e-4 * 1000 ** (number / 19)
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(
                model(images), labels, label_smoothing=spec.recipe.label_smoothing
            )
            loss.backward()
            optimizer.step()
            expected.append(loss.item())
    assert [step.loss for step in found.steps] == pytest.approx(expected, rel=1e-4)
    assert found.diverged_at is None


def test_it_stops_where_the_loss_diverges(parts):
    found = run_range_test(make_train_spec(), parts, CPU, Ramp(1e-3, 100.0, 100))
    assert found.diverged_at is not None
    assert len(found.steps) < 100
    assert found.diverged_at < 100.0


def test_validation_is_measured_twenty_times(parts):
    ramp = Ramp(1e-4, 1e-2, 40)
    found = run_range_test(make_train_spec(), parts, CPU, ramp, validate=True)
    measured = [step.val_accuracy for step in found.steps if step.val_accuracy is not None]
    assert len(measured) == 20
    assert all(accuracy * 100 == pytest.approx(round(accuracy * 100)) for accuracy in measured)
    assert not any(
        s.val_accuracy for s in run_range_test(make_train_spec(), parts, CPU, ramp).steps
    )


def test_a_seed_repeats_itself(parts):
    ramp = Ramp(1e-4, 1e-1, 20)
    first, again = (run_range_test(make_train_spec("paper"), parts, CPU, ramp) for _ in range(2))
    assert first == again


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_command_writes_table_and_picture_and_a_next_command_that_works(
    recipe, studies, capsys
):
    # enough steps and a wide ramp: the digits are learned and then lost
    assert main(words("--recipe", recipe, "--format", "json", steps=120)) == 0
    record = json.loads(capsys.readouterr().out)
    with open(record["table"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == record["steps_taken"]
    assert {"learning_rate", "loss", "accuracy", "smoothed_loss", "val_accuracy"} <= set(rows[0])
    assert matplotlib.image.imread(record["picture"]).shape[:2] == (768, 960)
    assert 0 < record["floor_learning_rate"] < record["learning_rate"]
    if recipe != "paper":  # one of them is enough
        return
    command = shlex.split(record["next"])
    assert command[:2] == ["python", "cli.py"]
    assert main([*command[2:], "--epochs", "1"]) == 0
    (metrics,) = (studies / "retrain").glob("*/metrics.json")
    used = json.loads(metrics.read_text())["settings"]["recipe"]
    assert used["learning_rate"] == record["learning_rate"]
    assert used["floor_learning_rate"] == record["floor_learning_rate"]
    assert used["batch_size"] == 64
    assert used["schedule"] == "cyclic"


def test_where_nothing_is_learned_nothing_is_suggested(studies, capsys):
    assert main(words("--high", "1e-5", "--low", "1e-7")) == 0
    text = capsys.readouterr().out
    assert "no suggestion" in text
    assert "next:" not in text


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (("--low", "0"), "--low must be in (0, 100], but got 0"),
        (("--low", "nan"), "--low must be in (0, 100], but got nan"),
        (("--high", "101"), "--high must be in (0, 100]"),
        (("--low", "1", "--high", "0.1"), "--low must be below --high, but got low=1, high=0.1"),
        (("--low", "2"), "--low must be below --high, but got low=2, high=1"),
        (("--steps", "19"), "--steps must be at least 20"),
        (("--ramp", "square"), "exponential"),
        (("--seed", "-1"), "--seed must be at least 0"),
        (("--recipe", "papre"), "did you mean 'paper'"),
        (("--set", "max_lr=1"), "unknown recipe field 'max_lr'"),
        (("--stem", "conv3x4"), "did you mean 'conv3x3'"),
        (("--image-size", "0"), "--image-size must be at least 1"),
        (("--device", "gpu"), "cuda"),
        (("--image-size", "2", "--stem", "conv5x5"), "the map vanishes"),
    ],
)
def test_a_wrong_call_exits_2_and_writes_nothing(more, text, studies, capsys):
    assert main(words(*more)) == 2
    message = capsys.readouterr().err
    assert text in message
    assert message.count("error:") == 1
    assert not studies.exists()


def test_a_place_that_cannot_be_written_is_one_message(studies, tmp_path, capsys):
    (tmp_path / "taken").write_text("a file")
    assert main(words("--out", str(tmp_path / "taken" / "below"))) == 1
    message = capsys.readouterr().err
    assert message.splitlines()[-1].startswith("error: cannot create")
