"""The stage table against PyTorch's own count of the built network; the picture by its claims."""

import pytest
import torch

from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.network.describe import PICTURE_COLUMNS, draw_network, stage_rows
from nas.network.model import build_model
from nas.network.presets import PRESETS


@pytest.mark.parametrize("name", ["final", "row1", "row6", "resnet20"])
def test_stages_have_the_parameters_and_maps_of_the_built_network(name):
    architecture = PRESETS[name].architecture
    with torch.device("meta"):
        model = build_model(architecture, InputSpec())
    sizes = {}
    for child_name, child in model.named_children():
        child.register_forward_hook(
            lambda _, __, output, key=child_name: sizes.__setitem__(key, output.shape[-1])
        )
    model(torch.empty(1, 3, 32, 32, device="meta"))
    rows = {row.name: row for row in stage_rows(architecture, InputSpec())}
    for child_name, child in model.named_children():
        assert rows[child_name].num_params == sum(p.numel() for p in child.parameters())
        if child_name.startswith(("stem", "stage")):
            assert rows[child_name].size == sizes[child_name]
    assert sum(row.num_params for row in rows.values()) == sum(
        p.numel() for p in model.parameters()
    )


def test_the_picture_has_a_bar_per_block_and_its_words():
    architecture = Architecture(
        Stem("conv3x3", 8), (Stage("basic", 3, 8, 1), Stage("bottleneck", 2, 64, 2))
    )
    lines = draw_network(architecture, InputSpec(1, 8, 10))
    assert lines[0] == "1 x 8x8 image"
    assert lines[2].count("▁▁") == 3
    assert lines[3].count("█") == 2
    assert lines[3].endswith("2 x bottleneck 64")
    assert lines[-1].endswith("10 classes")


def test_a_stage_too_deep_for_the_picture_is_cut_and_says_its_depth():
    architecture = Architecture(Stem("conv3x3", 8), (Stage("basic", 100, 8, 1),))
    line = draw_network(architecture, InputSpec())[2]
    assert "…" in line
    assert "100 x basic 8" in line
    assert len(line) < PICTURE_COLUMNS + 40
