"""A study is run end to end, kept, gone on with, and judged by what was measured."""

import json

import pytest
import torch
from scipy.stats import ttest_rel

from nas.commands import main
from nas.data.images import LabelledImages, read_dataset
from nas.paper.metrics import flat_share, measure
from nas.paper.run_study import Sitting, place_splits
from nas.paper.study import SCALES, load_claim_study
from nas.training.engine import Engine


def record(status="finished", train=(2.0, 1.0, 0.5), val=(1.9, 1.2, 0.9), accuracy=0.7):
    curve = [
        {"train_loss": t, "val_loss": v, "val_accuracy": accuracy}
        for t, v in zip(train, val, strict=True)
    ]
    return {"status": status, "curve": curve}


def test_the_metrics_are_those_of_the_last_epoch():
    assert measure("val_accuracy", record(), 10) == 0.7
    assert measure("loss_gap", record(), 10) == pytest.approx(0.4)


def test_what_diverged_has_the_accuracy_of_guessing_and_no_loss():
    assert measure("val_accuracy", record("diverged"), 10) == 0.1
    assert measure("loss_gap", record("diverged"), 10) is None
    assert measure("val_accuracy", record("out_of_memory"), 10) is None


@pytest.mark.parametrize(
    ("losses", "share"),
    [
        ([2, 1, 1, 1], (0 + 0.9 + 1) / 4),  # nine tenths of the way from epoch 1 to epoch 2
        ([10, 5.5, 1, 0], 3 / 4),
        ([1, 1, 1], 1 / 3),  # nothing falls: flat from the beginning
    ],
)
def test_a_curve_is_flat_after_nine_tenths_of_its_fall(losses, share):
    assert flat_share(losses) == pytest.approx(share)


def test_of_few_images_a_class_all_that_are_left_are_trained_on(tmp_path):
    labels = torch.arange(30) % 10
    images = torch.randint(256, (30, 1, 8, 8), dtype=torch.uint8)
    data = read_dataset(LabelledImages(images, labels, tuple("abcdefghij")))
    study = load_claim_study("schedule")
    sitting = Sitting(study, SCALES["tiny"], 1, data, Engine("cpu", 1), tmp_path)
    assert sitting.sizes() == (23, 7)
    placed = place_splits(sitting, seed=0)
    assert (len(placed.train), len(placed.val)) == (20, 10)  # one of each class validates


WORDS = ["--scale", "tiny", "--dataset", "digits", "--epochs", "1", "--device", "cpu"]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The study of the schedules on digits, one epoch: ten trainings of a second or less."""
    folder = tmp_path_factory.mktemp("studies")
    assert main(["study", "schedule", *WORDS, "--studies", str(folder)]) == 0
    return folder


def test_a_study_is_judged_by_its_paired_seeds(measured):
    result = json.loads((measured / "schedule" / "tiny" / "result.json").read_text())
    (finding,) = result["findings"]
    assert len(finding["first"]) == len(finding["second"]) == 5
    expected = ttest_rel(finding["first"], finding["second"]).confidence_interval(0.95)
    verdict = finding["verdict"]
    assert (verdict["low"], verdict["high"]) == pytest.approx((expected.low, expected.high))
    decided = verdict["low"] > 0 or verdict["high"] < 0
    assert (verdict["word"] == "cannot tell") != decided
    assert result["val_images"] == 359  # a quarter of the 1,438 digits that are not the test split
    seeds = {(training["arm"], training["seed"]) for training in result["trainings"]}
    assert seeds == {(arm, seed) for arm in ("cyclic", "constant") for seed in range(5)}


def test_the_arms_of_a_pair_saw_the_same_images_and_other_seeds_others(measured):
    records = [
        json.loads((measured / "schedule" / "tiny" / f"{arm}-seed{seed}.json").read_text())
        for arm, seed in (("cyclic", 0), ("constant", 0))
    ]
    one, other = (dict(record["settings"]) for record in records)
    assert one.pop("recipe") != other.pop("recipe")
    assert one == other


def test_what_was_trained_is_kept_and_what_is_missing_is_trained(measured, capsys):
    path = measured / "schedule" / "tiny" / "cyclic-seed2.json"
    before = json.loads(path.read_text())
    path.unlink()
    path.with_name("cyclic-seed1.pt").touch()  # killed between the record and the checkpoint's end
    assert main(["study", "schedule", *WORDS, "--studies", str(measured)]) == 0
    assert not list(path.parent.glob("*.pt"))
    assert capsys.readouterr().err.count("from an earlier run") == 9
    again = json.loads(path.read_text())
    same = ("val_accuracy", "settings", "status")
    assert {name: again[name] for name in same} == {name: before[name] for name in same}


def test_other_settings_are_refused_and_restart_discards(measured, capsys):
    other = [*WORDS[:-3], "2", "--device", "cpu", "--studies", str(measured)]
    assert main(["study", "schedule", *other]) == 2
    assert "epochs: 1 -> 2" in (message := capsys.readouterr().err)
    assert "--restart" in message


def test_a_damaged_file_is_named(measured, capsys):
    path = measured / "schedule" / "tiny" / "constant-seed4.json"
    text = path.read_text()
    path.write_text("{half")
    assert main(["study", "schedule", *WORDS, "--studies", str(measured)]) == 1
    assert str(path) in capsys.readouterr().err
    path.write_text(text)


def test_a_dry_run_prints_the_arms_and_writes_nothing(tmp_path, capsys):
    words = ["study", "dropout", *WORDS, "--dry-run", "--studies", str(tmp_path)]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "dropout=0.7" in text
    assert "5 seeds x 5 arms" in text
    assert not list(tmp_path.iterdir())


def test_a_wrong_call_is_refused(capsys):
    assert main(["study", "droupout"]) == 2
    assert "did you mean 'dropout'" in capsys.readouterr().err
