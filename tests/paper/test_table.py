"""What the paper printed in Table 1, and where each setting of a row comes from."""

from dataclasses import fields
from pathlib import Path

import pytest

from nas.errors import UnknownNameError, UsageError
from nas.network.complexity import count
from nas.network.presets import PRESETS
from nas.paper.table import ORIGINS, ROWS, find_rows, stated_settings
from nas.training.recipe import Recipe

TABLE_1 = {  # the paper, Table 1: test and train accuracy
    1: (0.8745, 0.9566),
    2: (0.9067, 0.9825),
    3: (0.9146, 0.9821),
    4: (0.8842, 0.9158),
    5: (0.9031, 0.9806),
    6: (0.8589, 0.9386),
    7: (None, None),
    8: (0.857, 0.9513),
    9: (0.8986, 0.9666),
}
NOT_OF_A_RECIPE = {"architecture", "stem", "data", "epochs"}


def test_the_accuracies_are_those_of_the_table():
    assert {row.number: (row.test_accuracy, row.train_accuracy) for row in ROWS} == TABLE_1


def test_each_row_but_the_ninth_has_its_network():
    assert [row.preset for row in ROWS[:-1]] == [f"row{number}" for number in range(1, 9)]
    assert {row.preset for row in ROWS[:-1]} < set(PRESETS)
    assert ROWS[-1].preset is None
    assert "N/A" in ROWS[-1].obstacle


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_field_of_a_recipe_has_one_origin_and_its_source(row):
    settings = stated_settings(row)
    names = [setting.name for setting in settings]
    assert len(set(names)) == len(names)
    assert set(names) - NOT_OF_A_RECIPE == {item.name for item in fields(Recipe)} - {"name"}
    assert all(setting.origin in ORIGINS and setting.source for setting in settings)
    assert {setting.name for setting in row.settings} <= set(names)


def test_what_stands_in_quotation_marks_is_the_paper_s_wording():
    text = Path("/work/shared/paper.txt")
    if not text.is_file():
        pytest.skip("the paper's text is not at hand")
    paper = " ".join(text.read_text().split())
    settings = {setting for row in ROWS for setting in stated_settings(row)}
    quotes = [part for s in settings for part in s.source.split('"')[1::2]]
    assert len(quotes) >= 10
    for quote in quotes:
        for piece in quote.split(" ... "):
            assert piece in paper, quote


@pytest.mark.parametrize(("number", "stem"), [(1, "conv3x3"), (3, "conv5x5"), (6, "conv3x3")])
def test_a_stem_that_is_the_paper_s_is_the_one_that_gives_its_count(number, stem):
    row = ROWS[number - 1]
    setting = next(setting for setting in row.settings if setting.name == "stem")
    network = PRESETS[row.preset].architecture
    num_params = count(network).num_params
    assert (network.stem.kind, setting.origin) == (stem, "row")
    printed = {"4,997,194": f"{num_params:,}", "5.069 million": f"{num_params / 1e6:.3f} million"}
    assert printed[row.num_params] == row.num_params


@pytest.mark.parametrize("text", ["final", "3", "row3"])
def test_a_row_has_several_names(text):
    assert find_rows(text) == (ROWS[2],)


def test_all_are_nine_rows():
    assert find_rows("all") == ROWS


def test_a_row_that_is_none_is_refused_with_the_known_ones():
    with pytest.raises(UnknownNameError, match="unknown row '12'"):
        find_rows("12")
    with pytest.raises(UsageError, match="row 9 is not reproducible"):
        find_rows("9")
