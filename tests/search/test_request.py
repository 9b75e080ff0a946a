"""A new option of `search` is an argument and a field of its name; the rest follows from these."""

from dataclasses import make_dataclass

import pytest

import nas.search.prepare
import nas.search.request
import nas.study.folder
from nas.commands import main, search
from nas.search.request import Request, make_request
from nas.study.definition import StudyDefinition
from tests.support.searching import words


@pytest.fixture
def tilt(monkeypatch):
    """An imaginary option, spelled here in its two places."""
    wider = make_dataclass(
        "StudyDefinition", [("tilt", "float", 0.0)], bases=(StudyDefinition,), frozen=True
    )
    for module in (nas.search.prepare, nas.search.request, nas.study.folder):
        monkeypatch.setattr(module, "StudyDefinition", wider)
    add_arguments = search.add_arguments

    def add_one_more(parser):
        add_arguments(parser)
        parser.add_argument("--tilt", type=float)

    monkeypatch.setattr(search, "add_arguments", add_one_more)


@pytest.mark.usefixtures("tilt")
def test_an_option_that_defines_a_study_is_its_argument_and_a_field_of_the_definition(
    folder, images, capsys
):
    plain = words(images, trials=1)
    assert main([*plain, "--tilt", "0.5"]) == 0
    assert folder.definition()["tilt"] == 0.5
    assert main([*plain, "--tilt", "0.25"]) == 2
    assert "tilt: 0.5 -> 0.25" in capsys.readouterr().err
    assert main([*plain, "--tilt", "0.5"]) == 0
    assert main(plain) == 0  # what is not given comes from the study
    assert main([*plain, "--study", "another"]) == 0
    assert (folder.path / "another" / "study.json").read_text().count('"tilt": 0.0') == 1


def test_an_option_that_may_change_is_its_argument_and_a_field_of_the_request(monkeypatch):
    wider = make_dataclass(
        "Request", [("mood", "str | None", None)], bases=(Request,), frozen=True
    )
    monkeypatch.setattr(nas.search.request, "Request", wider)
    assert make_request({"study": "a", "mood": "calm"}).mood == "calm"
    assert make_request({"study": "a", "mood": None}).mood is None
