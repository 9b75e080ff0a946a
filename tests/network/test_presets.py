import json
import re

import pytest

from nas.errors import ArchitectureError, UnknownNameError
from nas.network.architecture import Architecture, Stage, Stem
from nas.network.complexity import count
from nas.network.presets import PRESETS, resolve_architecture

FINAL = Architecture(
    Stem("conv5x5", 64),
    (
        Stage("basic", 3, 64, 1, dropout=0.1),
        Stage("basic", 5, 128, 2, dropout=0.1),
        Stage("bottleneck", 26, 256, 2, dropout=0.1),
        Stage("bottleneck", 5, 512, 2, dropout=0.1),
    ),
)


def test_all_that_was_promised_has_a_name():
    rows = {f"row{number}" for number in range(1, 9)}
    resnets = {f"resnet{layers}" for layers in (20, 32, 44, 56, 110)}
    assert rows | resnets | {"final", "basic-333", "basic-443"} <= set(PRESETS)
    assert all(name == preset.name and preset.source for name, preset in PRESETS.items())


def test_final_is_the_net_of_the_paper():
    assert PRESETS["final"].architecture == FINAL


@pytest.mark.parametrize("layers", [20, 32, 44, 56, 110])
def test_a_resnet_has_as_many_weighted_layers_as_its_name_says(layers):
    net = PRESETS[f"resnet{layers}"].architecture
    assert 2 * net.depth + 2 == layers  # two convolutions a block, the stem, the classifier
    assert [stage.width for stage in net.stages] == [16, 32, 64]


@pytest.mark.parametrize(("name", "depths"), [("basic-333", [3, 3, 3]), ("basic-443", [4, 4, 3])])
def test_hand_made_nets_are_named_by_their_depths(name, depths):
    net = PRESETS[name].architecture
    assert [stage.depth for stage in net.stages] == depths
    assert [stage.width for stage in net.stages] == [64, 128, 256]
    assert {stage.kind for stage in net.stages} == {"basic"}


@pytest.mark.parametrize(("name", "millions"), [("basic-333", "4.33"), ("basic-443", "4.70")])
def test_hand_made_nets_have_the_sizes_of_the_public_solutions(name, millions):
    # FACTS.md, Accuracy at a parameter budget
    assert f"{count(PRESETS[name].architecture).num_params / 1e6:.2f}" == millions


@pytest.mark.parametrize("name", ["row2", "row4", "row7", "row8"])
def test_a_stem_width_that_the_paper_leaves_open_is_noted(name):
    net = PRESETS[name].architecture
    assert net.stem.width == net.stages[0].width
    assert "does not give the stem's width" in PRESETS[name].note


def test_rows_7_and_8_differ_in_dropout_alone():
    dropouts = [{s.dropout for s in PRESETS[n].architecture.stages} for n in ("row7", "row8")]
    assert dropouts == [{0.1}, {0.0}]


def test_a_name_a_file_and_a_notation_are_understood(tmp_path):
    path = tmp_path / "net.json"
    path.write_text(FINAL.to_json())
    assert resolve_architecture("final") == FINAL
    assert resolve_architecture(str(path)) == FINAL
    assert resolve_architecture(f" {FINAL.to_notation()} ", "conv5x5") == FINAL


def test_a_notation_without_a_stem_gets_the_3x3_one():
    assert resolve_architecture("[[Basic,1,8]]").stem == Stem("conv3x3", 8)


def test_a_given_stem_replaces_that_of_a_preset_or_file(tmp_path):
    path = tmp_path / "net.json"
    path.write_text(FINAL.to_json())
    for text in ("final", str(path)):
        assert resolve_architecture(text, "conv3x3").stem == Stem("conv3x3", 64)


def test_a_name_comes_before_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "final").write_text(PRESETS["resnet20"].architecture.to_json())
    assert resolve_architecture("final") == FINAL
    assert resolve_architecture("./final") == PRESETS["resnet20"].architecture


@pytest.mark.parametrize(("text", "nearest"), [("finel", "final"), ("ResNet-20", "resnet20")])
def test_an_unknown_name_proposes_the_nearest(text, nearest):
    with pytest.raises(UnknownNameError, match=f"did you mean '{nearest}'"):
        resolve_architecture(text)


def test_an_unknown_stem_proposes_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'conv5x5'"):
        resolve_architecture("final", "conv5")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not json", "must be JSON"),
        (b"", "must be JSON"),
        (b"[" * 100_000, "must be JSON"),
        (b"9" * 5_000, "must be JSON"),
        (b"\xff\xfe\x00", "cannot read the architecture file"),
        (b'{"stem": 1, "stages": []}', "stem must be a JSON object"),
        (json.dumps(FINAL.to_dict()).replace("64", "-64").encode(), "positive whole number"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "net.json"
    path.write_bytes(content)
    with pytest.raises(ArchitectureError, match=message) as caught:
        resolve_architecture(str(path))
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    path = str(tmp_path / "absent.json")
    with pytest.raises(ArchitectureError, match=re.escape(path)):
        resolve_architecture(path)
