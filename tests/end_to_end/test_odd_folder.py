"""A folder of images as people have them, through every command: pixels, counts, words."""

import json

import pytest
from PIL import Image

from nas.commands import main
from nas.data.datasets import Reading, load_test, load_training
from tests.support.odd_images import (
    BROKEN,
    FRAMES,
    MORE_BITS,
    NOT_SQUARE,
    ODD,
    STRAYS,
    TRANSPARENT,
    write_odd_folder,
)
from tests.support.searching import BUDGET, TINY

READING = Reading(8, skip_broken=True)


@pytest.fixture(scope="module")
def odd_folder(tmp_path_factory):
    return write_odd_folder(tmp_path_factory.mktemp("odd") / "pets")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))


def near(found, colour):
    """JPEG and the mixing of neighbours at an edge move a value a little."""
    return all(abs(int(one) - other) <= 6 for one, other in zip(found, colour, strict=True))


def test_every_file_has_the_pixels_that_it_shows(odd_folder):
    train = load_training("folder", odd_folder, READING).train
    assert len(train) == len(ODD)
    found = {
        file.rpartition("/")[2]: image
        for file, image in zip(train.files, train.images, strict=True)
    }
    wrong = []
    for name, (_, middle, corner) in ODD.items():
        image = found[name]
        if middle is not None and not near(image[:, 4, 4], middle):
            wrong.append((name, "middle", image[:, 4, 4].tolist(), middle))
        if not near(image[:, 0, 0], corner):
            wrong.append((name, "corner", image[:, 0, 0].tolist(), corner))
    assert not wrong
    for name in ("upright.jpg", "upside_down.jpg", "on_its_side.jpg", "on_its_side.png"):
        assert near(found[name][:, 4, 7], (254, 0, 0)), name


def test_the_plan_counts_what_the_folder_holds(odd_folder):
    notes = "\n".join(load_training("folder", odd_folder, READING).notes)
    images = len(ODD) + 14  # with valid/
    for part in (
        f"not square ({NOT_SQUARE} of {images})",
        f"transparent in places ({TRANSPARENT} of {images})",
        f"more than 8 bits a channel ({MORE_BITS} of {images})",
        f"several frames or pages ({FRAMES} of {images})",
        "values 1,000 to 3,000 become 0 to 255",
        f"no images of a class ({len(STRAYS) + 1}): ",
        f"cannot be read ({len(BROKEN)}): ",
        "2 of 14 val images are also in train/",
    ):
        assert part in notes, notes
    for name in (*STRAYS, *BROKEN):
        assert name in notes


def test_it_goes_through_every_command(odd_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NAS_STUDIES", str(tmp_path / "studies"))
    data = ["--data", str(odd_folder), "--image-size", "8", "--skip-broken"]
    search = ["search", "--space", TINY, "--budget", str(BUDGET), "--dataset", "folder", *data]
    search += ["--trials", "2", "--epochs", "1", "--workers", "1", "--folds", "1"]
    assert main(search) == 0
    assert "2 of 14 val images are also in train/" in capsys.readouterr().err
    (definition,) = (tmp_path / "studies").glob("*/study.json")
    record = json.loads(definition.read_text())
    assert (record["skip_broken"], record["num_broken"]) == (True, len(BROKEN))
    assert main(["best", "--format", "json"]) == 0
    capsys.readouterr()
    assert main(["show", "0"]) == 0
    capsys.readouterr()
    assert main(["retrain", "--best", "--epochs", "1", "--format", "json"]) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert run["test_images"] == 15
    assert run["test_images_in_train"] == 3
    assert load_test("folder", odd_folder, READING).labels.bincount().tolist() == [9, 6]


def test_what_is_no_image_is_refused_where_that_is_asked(odd_folder, capsys):
    words = ["search", "--space", TINY, "--budget", str(BUDGET), "--dataset", "folder"]
    words += ["--data", str(odd_folder), "--image-size", "8", "--dry-run"]
    assert main(words) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert all(name in error for name in BROKEN)
    assert main([*words, "--skip-broken", "--strict"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "--strict" in error
    assert STRAYS[0] in error


def test_a_squashed_image_is_pillows_own(odd_folder):
    train = load_training("folder", odd_folder, Reading(8, "squash", skip_broken=True)).train
    index = [file.rpartition("/")[2] for file in train.files].index("photo.jpg")
    with Image.open(odd_folder / train.files[index]) as image:
        image.draft(None, (16, 16))
        expected = image.convert("RGB").resize((8, 8), Image.Resampling.BILINEAR)
    assert (train.images[index].permute(1, 2, 0).numpy() == expected).all()
