"""Uneven classes and mirrored images, through the commands: 40 `ok` and 4 `defect`, all noise."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from nas.commands import main
from nas.data.images import Dataset, LabelledImages, Normalisation
from nas.data.mirroring import describe_mirroring
from nas.study.folder import StudyFolder
from nas.study.storage import load_study, open_storage
from tests.support.searching import words

UNEVEN = {"train": (40, 4), "val": (20, 2), "test": (2, 1)}  # of ok and of defect


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("uneven"), np.random.default_rng(0)
    for split, numbers in UNEVEN.items():
        for name, number in zip(("ok", "defect"), numbers, strict=True):
            (root / split / name).mkdir(parents=True)
            for index in range(number):
                noise = rng.integers(0, 256, (8, 8), dtype=np.uint8)
                Image.fromarray(noise).save(root / split / name / f"{index}.png")
    return root


def line(uneven, *more):
    argv = words(uneven, *more, trials=2, epochs=2)
    at = argv.index("--folds")
    return [*argv[:at], *argv[at + 2 :], "--rungs", "none"]  # the folder has a val/ of its own


def trials_of(folder):
    (path,) = folder.path.glob("*/journal.log")
    study = load_study(StudyFolder(path.parent), path.parent.name, open_storage(None, path))
    metric = json.loads((path.parent / "study.json").read_text())["metric"].replace("_", " ")
    assert study.metric_names == [f"validation {metric}"], "the dashboard's pictures say it"
    return path.parent, study.get_trials(deepcopy=False)


def test_an_accuracy_does_not_stand_without_the_share_of_the_largest_class(folder, uneven, capsys):
    assert main(line(uneven)) == 0
    found = capsys.readouterr()
    # 20 of the 22 validation images; 40 images to train on beside 4
    majority = "always answering 'ok' gives 90.91%"
    assert (
        f"metric    accuracy; {majority}; the largest class has 10 times the images" in found.err
    )
    assert "--metric balanced_accuracy" in found.err
    assert "Always answering 'ok' gives 90.91%." in found.out
    assert main(["status"]) == 0
    assert f"majority  {majority}" in capsys.readouterr().out
    assert main(["best", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["metric"], record["majority"]["class"]) == ("accuracy", "ok")
    assert record["majority"]["share"] == pytest.approx(20 / 22)
    assert "val_accuracy" in record["best"]
    assert main(line(uneven, "--metric", "macro_f1")) == 2
    assert "metric: accuracy -> macro_f1" in capsys.readouterr().err
    path, trials = trials_of(folder)
    assert all("standard_error" not in trial.user_attrs for trial in trials)
    record = json.loads((path / "study.json").read_text())
    for name in ("metric", "class_counts"):  # as a study of before these came
        del record[name]
    (path / "study.json").write_text(json.dumps(record))
    assert main(["status"]) == 0
    assert "majority" not in capsys.readouterr().out
    assert main(line(uneven)) == 0  # it goes on, and has the counts from now on
    assert json.loads((path / "study.json").read_text())["class_counts"] == {"defect": 2, "ok": 20}


def test_the_metric_is_what_trials_report_and_are_told_with_its_error(folder, uneven, capsys):
    metric = ("--metric", "balanced_accuracy", "--set", "class_weights=balanced")
    assert main(line(uneven, *metric)) == 0
    found = capsys.readouterr()
    assert "metric    balanced accuracy" in found.err
    assert re.search(r"next: .* retrain --best .*--set class_weights=balanced\n", found.out)
    assert main(["best", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    path, trials = trials_of(folder)
    differs = False
    for trial in trials:
        curve = json.loads((path / "trials" / str(trial.number) / "curve.json").read_text())
        values = [epoch["val_scores"]["balanced_accuracy"] for epoch in curve]
        assert trial.intermediate_values == {0: values[0][0], 1: values[1][0]}
        assert [trial.value, trial.user_attrs["standard_error"]] == values[1]
        assert 0.0 <= trial.value <= 1.0
        assert (trial.value * 40) % 1 == pytest.approx(0)  # of 20 and 2 images: in 40ths
        differs |= trial.value != curve[1]["val_accuracy"]
    assert differs
    best = trials[record["best"]["trial"]]
    assert record["best"]["val_balanced_accuracy"] == max(trial.value for trial in trials)
    assert record["best"]["standard_error"] == best.user_attrs["standard_error"]
    assert main(["show", "0"]) == 0
    assert "val balanced accuracy" in capsys.readouterr().out
    assert main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "balanced accuracy" in shown
    assert "always answering" not in shown


def folder_of(*names):
    split = LabelledImages(None, None, names)
    return Dataset(split, None, Normalisation((0.5,), (0.5,)), "folder", flip_is_lawful=True)


@pytest.mark.parametrize(
    ("names", "is_warned"),
    [
        (("cat", "dog"), False),
        (("bright", "cleft", "design", "tent"), False),  # have the words in them
        (("turn_left", "turn_right"), True),
        (("TurnLeft", "straight"), True),
        (("0", "1", "2"), True),
        (("a", "b"), True),
        (("arrow-up", "cross"), True),
        (("stop sign", "tree"), True),
        (("class0", "class1"), False),
    ],
)
def test_mirroring_is_said_and_warned_of_where_names_hint(names, is_warned):
    text = describe_mirroring(folder_of(*names), flip=True)
    assert "--set flip=false" in text
    assert text.startswith("warning") is is_warned
    assert describe_mirroring(folder_of(*names), flip=False) == ""
