"""A table of files, labels and splits, as spreadsheets and programs write it."""

import csv
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from nas.data.datasets import Reading, load_test, load_training
from nas.errors import DataError
from tests.data.conftest import random_image

NAMES = [f"{number:02d}.png" for number in range(24)]
SPLITS = [""] * 14 + ["Val"] * 4 + ["testing"] * 6


@pytest.fixture
def pictures(tmp_path):
    """Twenty-four images in one directory, whose number tells the label: even cat, odd dog."""
    root = tmp_path / "pictures"
    root.mkdir()
    for number, name in enumerate(NAMES):
        random_image(number).save(root / name)
    return root


def rows():
    return [
        {"file": name, "label": ("cat", "dog")[number % 2], "split": split}
        for number, (name, split) in enumerate(zip(NAMES, SPLITS, strict=True))
    ]


def write_csv(path, rows, columns=("file", "label", "split"), encoding="utf-8"):
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return Reading(labels=str(path))


def write_json(path, content):
    path.write_text(json.dumps(content))
    return Reading(labels=str(path))


def expected(numbers):
    """Bytes of the images, those of cats first, by Pillow's own reading."""
    ordered = [n for n in numbers if n % 2 == 0] + [n for n in numbers if n % 2]
    return [random_image(n).tobytes() for n in ordered]


def pixels(split):
    return [image.permute(1, 2, 0).contiguous().numpy().tobytes() for image in split.images]


@pytest.mark.parametrize("kind", ["csv", "excel", "list", "dict"])
def test_a_table_says_label_and_split(pictures, tmp_path, kind):
    if kind in ("csv", "excel"):  # Excel writes a byte order mark
        reading = write_csv(
            tmp_path / "t.csv", rows(), encoding="utf-8-sig" if kind == "excel" else "utf-8"
        )
    elif kind == "list":
        reading = write_json(tmp_path / "t.json", rows())
    else:
        reading = write_json(tmp_path / "t.json", {row["file"]: row for row in rows()})
    data = load_training("folder", pictures, reading)
    assert data.train.class_names == ("cat", "dog")
    assert pixels(data.train) == expected(range(14))
    assert data.train.labels.tolist() == [0] * 7 + [1] * 7
    assert pixels(data.val) == expected(range(14, 18))
    assert pixels(load_test("folder", pictures, reading)) == expected(range(18, 24))


def test_labels_by_file_alone_are_all_train(pictures, tmp_path):
    labels = {row["file"]: row["label"] for row in rows()}
    reading = write_json(tmp_path / "t.json", labels)
    data = load_training("folder", pictures, reading)
    assert data.val is None
    assert data.train.num_set_aside == 5  # a fifth of 24
    assert Counter(data.train.labels.tolist())[0] in (9, 10)  # of 12


def test_a_label_may_be_a_number(pictures, tmp_path):
    reading = write_json(tmp_path / "t.json", {name: n % 2 for n, name in enumerate(NAMES)})
    assert load_training("folder", pictures, reading).train.class_names == ("0", "1")


def test_files_that_the_table_does_not_name_are_left_out_and_counted(pictures):
    reading = write_csv(pictures / "labels.csv", rows()[2:])  # itself it is not one of them
    data = load_training("folder", pictures, reading)
    assert len(data.train) == 12
    assert any(note.endswith("labels.csv does not name are left out: 2") for note in data.notes)


def test_a_changed_table_is_read_anew_and_makes_other_data(pictures, tmp_path):
    path = tmp_path / "t.csv"
    before = load_training("folder", pictures, write_csv(path, rows()))
    changed = rows()
    changed[0]["label"], changed[1]["label"] = "dog", "cat"
    after = load_training("folder", pictures, write_csv(path, changed))
    assert before.fingerprint != after.fingerprint
    again = load_training("folder", pictures, write_csv(tmp_path / "moved.csv", rows()))
    assert again.fingerprint == before.fingerprint


def _set(number, **values):
    def change(table):
        table[number].update(values)

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set(2, split="holdout"), "line 4|split must be train, val or test|'holdout'|correct it"),
        (_set(3, label=" "), "line 5|label must be|fill it in"),
        (_set(0, file=""), "line 2|file must be|fill it in"),
        (_set(1, file="../secret.png"), "line 3|relative to --data|../secret.png"),
        (_set(1, file="/etc/hosts"), "line 3|relative to --data|/etc/hosts"),
        (_set(5, file="./04.png"), "line 7|04.png is in line 6|remove one"),
        (_set(5, file="gone.png"), "1 are not|gone.png|relative to --data"),
        (_set(14, label="cow"), "val/ must have the classes|not in train/: cow"),
        (lambda table: table.clear(), "at least two labels|0 (none)"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_with_its_line(pictures, tmp_path, change, words):
    table = rows()
    change(table)
    with pytest.raises(DataError) as caught:
        load_training("folder", pictures, write_csv(tmp_path / "t.csv", table))
    message = str(caught.value)
    assert all(word in message for word in words.split("|")), message


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("t.csv", b"name,label\n00.png,cat\n", "line 1|named file, label|'name,label'"),
        ("t.csv", b"file;label\n00.png;cat\n", "line 1|with commas|'file;label'"),
        ("t.csv", b"", "line 1|named file, label"),
        ("t.csv", b"file,label\na,b.png,cat\n", "line 2|2 values|quote"),
        ("t.csv", b"file,label\n\xff.png,cat\n", "CSV in UTF-8"),
        ("t.json", b"[{]", "JSON in UTF-8|line 1"),
        ("t.json", b'"cat"', "a list of objects"),
        ("t.json", b'[["00.png", "cat"]]', "a list of objects"),
        ("t.json", b'[{"file": "00.png", "label": ["cat"]}]', "entry 1|label must be"),
        ("t.json", b"[" * 100_000, "JSON"),
    ],
)
def test_a_file_that_is_no_table_is_refused_in_one_message(
    pictures, tmp_path, name, content, words
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        load_training("folder", pictures, Reading(labels=str(tmp_path / name)))
    message = str(caught.value)
    assert all(word in message for word in [str(tmp_path / name), *words.split("|")]), message


def test_a_table_that_is_absent_is_told(pictures):
    with pytest.raises(DataError, match=r"No such file.*give its path"):
        load_training("folder", pictures, Reading(labels=str(pictures / "none.csv")))


def test_other_data_sets_have_no_table():
    with pytest.raises(DataError, match="--dataset folder"):
        load_training("digits", None, Reading(labels="labels.csv"))


def test_the_order_of_rows_decides_nothing(tmp_path):
    root, table = tmp_path / "deep", []
    root.mkdir()
    for number in range(20):
        split = "val" if number < 6 else "train"
        level = 20_000 + number if split == "val" else 1_000 * (number - 5)  # of train to 14,000
        pixels = np.full((8, 8), level, dtype=np.uint16)
        Image.fromarray(pixels).save(root / f"{number}.png")
        table.append({"file": f"{number}.png", "label": "ab"[number % 2], "split": split})
    found = []
    for rows in (table, table[::-1]):
        data = load_training("folder", root, write_csv(tmp_path / "table.csv", rows))
        found.append((data.fingerprint, data.notes))
        assert data.value_range == (1_000, 14_000)
    assert found[0] == found[1]


def test_a_json_object_names_no_file_twice(pictures, tmp_path):
    table = tmp_path / "table.json"
    table.write_text('{"00.png": "cat", "00.png": "dog"}')
    with pytest.raises(DataError, match=r"'00\.png' is in one object twice"):
        load_training("folder", pictures, Reading(labels=str(table)))
