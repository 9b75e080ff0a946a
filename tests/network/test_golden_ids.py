"""Ids leave the process: studies, folders and checkpoints are found by them.

`golden/ids.json` was written at commit 0ca17d0: the presets' ids by its code, the study's read
from the journal of a search that version 0.1.0 ran on the digits.
"""

import json
from pathlib import Path

import pytest

from nas.network.architecture import Architecture
from nas.network.identity import identify
from nas.network.presets import resolve_architecture

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/ids.json").read_text())


def test_every_preset_that_was_recorded_keeps_its_ids():
    found = {name: identify(resolve_architecture(name))._asdict() for name in GOLDEN["presets"]}
    assert found == GOLDEN["presets"]


@pytest.mark.parametrize("trial", GOLDEN["study"], ids=lambda trial: trial["id"])
def test_the_network_of_a_recorded_trial_keeps_its_ids(trial):
    identity = identify(Architecture.from_dict(trial["architecture"]))
    assert identity._asdict() == {"id": trial["id"], "shape_id": trial["shape_id"]}
