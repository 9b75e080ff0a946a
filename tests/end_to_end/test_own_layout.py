"""The user's own folder through `search` and `retrain`: what is set aside, moved, or copied."""

import json
import shutil

import pytest

from nas.commands import main
from tests.support.searching import words


@pytest.fixture
def own(images, tmp_path):
    """A copy of the images that may be moved and changed: 30 of each of two classes."""
    return shutil.copytree(images / "train", tmp_path / "folder")


def run(capsys, argv):
    assert main(argv) == 0
    return "".join(capsys.readouterr())


def test_images_that_moved_are_found_from_then_on(folder, own, tmp_path, capsys):
    assert "; 12 more set aside for test" in run(capsys, words(own, trials=1))  # a fifth of 60
    own.rename(tmp_path / "moved")
    resume = ["search", "--study", folder.study_folder.name, "--trials", "1"]
    assert main(resume) == 2
    assert "--data DIR" in capsys.readouterr().err
    run(capsys, [*resume, "--data", str(tmp_path / "moved")])
    definition = json.loads(folder.study_folder.definition.read_text())
    assert definition["data_dir"] == str(tmp_path / "moved")
    run(capsys, [*resume, "--dry-run"])


def test_other_images_are_not_taken_for_those_that_moved(folder, own, tmp_path, capsys):
    run(capsys, words(own, trials=1))
    before = folder.study_folder.definition.read_bytes()
    other = shutil.copytree(own, tmp_path / "other")
    shutil.copyfile(other / "class0/0.png", other / "class0/1.png")
    argv = ["search", "--study", folder.study_folder.name, "--trials", "1", "--data", str(other)]
    assert main(argv) == 2
    assert "other images" in capsys.readouterr().err
    assert folder.study_folder.definition.read_bytes() == before


def test_a_table_that_moved_with_its_images_is_found_from_then_on(folder, own, tmp_path, capsys):
    table = {str(path.relative_to(own)): path.parent.name for path in own.glob("*/*.png")}
    (own / "labels.json").write_text(json.dumps(table))
    run(capsys, words(own, "--labels", own / "labels.json", "--group-by", r"\d+\.png", trials=1))
    moved = own.rename(tmp_path / "moved")
    resume = ["search", "--study", folder.study_folder.name, "--trials", "1"]
    run(capsys, [*resume, "--data", str(moved)])  # the table is among the images
    definition = json.loads(folder.study_folder.definition.read_text())
    assert definition["labels"] == str(moved / "labels.json")
    assert definition["group_by"] == r"\d+\.png"
    run(capsys, [*resume, "--dry-run"])
    assert main([*resume, "--group-by", "class"]) == 2
    assert r"--group-by: \d+\.png -> class" in capsys.readouterr().err


def test_retrain_counts_the_test_images_that_are_in_train(folder, images, tmp_path, capsys):
    root = tmp_path / "folder"
    for name in ("class0", "class1"):
        shutil.copytree(images / "train" / name, root / "train" / name)
        (root / "testing" / name).mkdir(parents=True)
        for number in range(6):
            (root / f"train/{name}/{number}.png").rename(root / f"testing/{name}/{number}.png")
    for number in (2, 4):
        shutil.copyfile(
            root / f"testing/class1/{number}.png", root / f"train/class1/again{number}.png"
        )
    said = run(capsys, words(root, trials=1))
    assert "set aside" not in said
    assert "also in train/" not in said, "a search opens no test image"
    said = run(capsys, ["retrain", "--best", "--epochs", "1"])
    text = (
        "2 of 12 test images are also in train/, by their pixels (testing/class1/2.png is "
        "train/class1/again2.png, testing/class1/4.png is train/class1/again4.png)"
    )
    assert text in said
    (path,) = folder.study_folder.path.glob("retrain/*/metrics.json")
    metrics = json.loads(path.read_text())
    assert metrics["test_images_in_train"] == 2
    assert metrics["test_notes"] == [text]


def test_a_result_is_not_given_for_other_test_images(folder, images, tmp_path, capsys):
    for root in (tmp_path / "folder", tmp_path / "second"):
        shutil.copytree(images / "train", root / "train")
        for name in ("class0", "class1"):
            (root / "test" / name).mkdir(parents=True)
            for number in range(6 if root.name == "folder" else 3):
                path = images / f"train/{name}/{number}.png"
                shutil.copyfile(path, root / f"test/{name}/{number}.png")
    run(capsys, words(tmp_path / "folder", trials=1))
    again = ["retrain", "--best", "--epochs", "1", "--data"]
    assert "on 12 images" in run(capsys, [*again, str(tmp_path / "folder")])
    assert main([*again, str(tmp_path / "second")]) == 2
    assert "--data: its test images are others now" in capsys.readouterr().err
    shutil.copytree(tmp_path / "folder", tmp_path / "moved")
    assert "on 12 images" in run(capsys, [*again, str(tmp_path / "moved")])
