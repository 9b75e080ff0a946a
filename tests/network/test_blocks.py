from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from nas.commands import main
from nas.errors import ArchitectureError, UnknownNameError
from nas.network import blocks, identity
from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.network.blocks import (
    BLOCKS,
    STEMS,
    Act,
    AvgPool,
    Conv,
    Dropout,
    Norm,
    Shortcut,
    block_layers,
    expand,
    name_layers,
    stem_layers,
)
from nas.network.complexity import block_cost, count
from nas.network.model import build_model
from nas.network.presets import PRESETS
from tests.support.reference import LAWFUL_KERNELS, count_with_torch

PAPER_KINDS = {"basic": {2, 3, 5}, "basic_pooled": {2}, "bottleneck": {3, 5}}


def convs(layers):
    return [layer for layer in layers if isinstance(layer, Conv)]


def sizes(layers, size):
    """The map's side after each convolution or pool, by the textbook formula."""
    result = []
    for layer in layers:
        if isinstance(layer, (Conv, AvgPool)):
            padding = layer.padding if isinstance(layer, Conv) else 0
            size = (size + 2 * padding - layer.kernel) // layer.stride + 1
            result.append(size)
    return result


def test_the_kinds_of_the_paper_take_the_kernels_it_uses():
    for kind, kernels in PAPER_KINDS.items():
        assert {kernel for name, kernel in LAWFUL_KERNELS if name == kind} == kernels


@pytest.mark.parametrize("width", [8, 64, 512])
def test_a_bottleneck_is_a_quarter_as_wide_inside(width):
    first, middle, last = convs(block_layers("bottleneck", 48, width, 1, 3, 0.0))
    assert (first.w_in, first.w_out) == (48, width // 4)
    assert (middle.w_in, middle.w_out) == (width // 4, width // 4)
    assert (last.w_in, last.w_out) == (width // 4, width)
    assert (first.kernel, middle.kernel, last.kernel) == (1, 3, 1)


def test_the_stride_of_a_bottleneck_sits_on_its_spatial_convolution():
    assert [conv.stride for conv in convs(block_layers("bottleneck", 8, 16, 2, 3, 0.0))] == [
        1,
        2,
        1,
    ]


@pytest.mark.parametrize(("kind", "kernel"), LAWFUL_KERNELS)
def test_dropout_stands_once_between_relu_and_the_last_convolution(kind, kernel):
    # the paper: between a block's conv -> bn -> relu and its conv -> bn
    layers = block_layers(kind, 8, 16, 2, kernel, 0.3)
    where = [index for index, layer in enumerate(layers) if isinstance(layer, Dropout)]
    assert [layers[index] for index in where] == [Dropout(0.3)]
    assert isinstance(layers[where[0] - 1], Act)
    assert len(convs(layers[where[0] :])) == 1
    assert len(convs(layers[: where[0]])) == len(convs(layers)) - 1


@pytest.mark.parametrize(("kind", "kernel"), LAWFUL_KERNELS)
def test_without_dropout_the_block_is_the_same_less_the_dropout(kind, kernel):
    with_dropout = block_layers(kind, 8, 16, 2, kernel, 0.3)
    without = tuple(layer for layer in with_dropout if not isinstance(layer, Dropout))
    assert block_layers(kind, 8, 16, 2, kernel, 0.0) == without


@pytest.mark.parametrize(("kind", "kernel"), LAWFUL_KERNELS)
@pytest.mark.parametrize(("w_in", "stride"), [(8, 1), (16, 1), (16, 2)])
def test_channels_fit_from_layer_to_layer(kind, kernel, w_in, stride):
    width = w_in
    for layer in block_layers(kind, w_in, 16, stride, kernel, 0.1):
        if isinstance(layer, Conv):
            assert layer.w_in == width
            width = layer.w_out
        elif isinstance(layer, Norm):
            assert layer.width == width
        elif isinstance(layer, Shortcut):
            assert (layer.w_in, layer.w_out, layer.stride) == (w_in, width, stride)
    assert width == 16


@pytest.mark.parametrize(
    ("w_in", "stride", "projected"), [(16, 1, False), (8, 1, True), (16, 2, True), (8, 2, True)]
)
def test_a_shortcut_is_projected_where_stride_or_width_changes(w_in, stride, projected):
    projection = blocks.projection(w_in, 16, stride)
    assert projection == (Conv(w_in, 16, 1, stride, 0) if projected else None)


@pytest.mark.parametrize("size", [4, 8, 16, 32])
@pytest.mark.parametrize("stride", [1, 2])
def test_both_2x2_designs_return_to_the_size_of_the_shortcut(size, stride):
    # FACTS.md: conv1 N/2+1 and conv2 (or the pool) N/2 in a strided block, N+1 and N otherwise
    goal = size // stride
    basic = sizes(block_layers("basic", 8, 8, stride, 2, 0.0), size)
    assert basic == [goal + 1, goal]
    pooled = sizes(block_layers("basic_pooled", 8, 8, stride, 2, 0.0), size)
    assert pooled == [goal + 1, goal, goal + 1, goal]


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("size", [1, 7, 15, 32])
def test_odd_kernels_keep_any_size(kernel, size):
    assert sizes(block_layers("basic", 8, 8, 1, kernel, 0.0), size) == [size, size]
    assert sizes(block_layers("basic", 8, 8, 2, kernel, 0.0), size)[-1] == (size + 1) // 2


@pytest.mark.parametrize(
    ("kind", "conv"),
    [
        # the paper, Neural Net Stem Configuration
        ("conv3x3", Conv(3, 64, kernel=3, stride=1, padding=1)),
        ("conv5x5", Conv(3, 64, kernel=5, stride=2, padding=1)),
        # He et al. 2016, Table 1
        ("imagenet", Conv(3, 64, kernel=7, stride=2, padding=3)),
    ],
)
def test_stems_are_those_of_the_paper(kind, conv):
    assert stem_layers(kind, 3, 64)[:3] == (conv, Norm(64), Act())


def test_the_papers_wording_of_imagenets_stem_contradicts_its_own_16x16(capsys):
    images = torch.empty(1, 3, 32, 32, device="meta")
    as_printed = torch.nn.Conv2d(3, 8, 7, stride=3, padding=2, device="meta")(images)
    assert as_printed.shape[-1] == 10
    conv, _, _, pool = stem_layers("imagenet", 3, 64)
    assert sizes((conv,), 32) == [16]  # "only 16 by 16": before the pool
    assert (pool.kernel, pool.stride, pool.padding) == (3, 2, 1)
    assert main(["show", "final", "--stem", "imagenet"]) == 0
    text = capsys.readouterr().out
    assert '"stride 3, padding 2", which leaves 10x10 of 32x32 and not the 16x16' in text
    assert main(["show", "final"]) == 0
    assert "stride 3" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("kind", "kernel"),
    [(kind, kernel) for kind in BLOCKS for kernel in (4, 6)]
    + [("bottleneck", 2), ("basic_pooled", 1), ("basic_pooled", 3)],
)
def test_a_kernel_without_a_form_is_refused_by_its_number(kind, kernel):
    with pytest.raises(ArchitectureError, match=f"kernel {kernel}"):
        block_layers(kind, 8, 8, 1, kernel, 0.0)


def test_unknown_kinds_and_stems_propose_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'basic'"):
        block_layers("basik", 8, 8, 1, 3, 0.0)
    with pytest.raises(UnknownNameError, match="did you mean 'imagenet'"):
        stem_layers("image-net", 3, 8)


def test_only_the_first_block_of_a_stage_changes_stride_and_width():
    stages = (Stage("basic", 3, 16, 2), Stage("bottleneck", 2, 32, 2))
    blocks = list(expand(Architecture(Stem("conv3x3", 8), stages), InputSpec()))
    shortcuts = {
        block.name: layer
        for block in blocks
        for layer in block.layers
        if isinstance(layer, Shortcut)
    }
    assert shortcuts == {
        "stage1.block1": Shortcut(8, 16, 2),
        "stage1.block2": Shortcut(16, 16, 1),
        "stage1.block3": Shortcut(16, 16, 1),
        "stage2.block1": Shortcut(16, 32, 2),
        "stage2.block2": Shortcut(32, 32, 1),
    }
    assert [block.name for block in blocks if block.name not in shortcuts] == ["stem", "head"]


def test_the_final_net_of_the_paper_has_39_blocks():
    names = [block.name for block in expand(PRESETS["final"].architecture)]
    assert len(names) == 39 + 2  # 3 + 5 + 26 + 5, the stem and the head


@pytest.mark.parametrize("kind", STEMS)
def test_layer_names_are_distinct_inside_a_block(kind):
    names = [name for name, _ in name_layers(stem_layers(kind, 3, 8))]
    assert len(set(names)) == len(names)


# A kind that a stranger might add: an inverted residual, with a depthwise convolution.
# Sandler et al. 2018, MobileNetV2, Figure 4(d), with an expansion of 3.


def inverted(w_in, w_out, stride, kernel, dropout):
    hidden = 3 * w_in
    return (
        Conv(w_in, hidden, 1, 1, 0),
        Norm(hidden),
        Act("relu6"),
        Conv(hidden, hidden, kernel, stride, kernel // 2, groups=hidden),
        Norm(hidden),
        Act("hardswish"),
        Conv(hidden, w_out, 1, 1, 0, groups=2),
        Norm(w_out),
        Shortcut(w_in, w_out, stride),
        Act("silu"),
    )


@pytest.fixture
def inverted_net(monkeypatch):
    monkeypatch.setitem(BLOCKS, "inverted", inverted)
    return Architecture(
        Stem("conv3x3", 8), (Stage("inverted", 2, 8, 1), Stage("inverted", 2, 12, 2))
    )


def test_a_kind_with_groups_and_other_activations_counts_as_pytorch_counts_it(inverted_net):
    expected = count_with_torch(inverted_net, InputSpec())
    assert count(inverted_net) == (expected.num_params, expected.macs, expected.activations)
    # by hand, the first block: 8*24 + 24*9 + 24*8/2 weights, 2*(24 + 24 + 8) of norms
    first = block_cost("inverted", 8, 8, 1, 3, 32)
    assert (first.num_params, first.size) == (192 + 216 + 96 + 112, 32)
    assert first.macs == (192 + 216 + 96) * 32 * 32


def test_a_kind_with_groups_and_other_activations_computes_what_pytorch_computes(inverted_net):
    torch.manual_seed(0)
    model = build_model(inverted_net).eval()
    block, x = model.stage1.block1, torch.randn(2, 8, 6, 6)
    for norm in (block.norm1, block.norm2, block.norm3):
        torch.nn.init.uniform_(norm.bias)
    one, two, three = block.conv1.weight, block.conv2.weight, block.conv3.weight
    hidden = F.relu6(block.norm1(F.conv2d(x, one)))
    hidden = F.hardswish(block.norm2(F.conv2d(hidden, two, padding=1, groups=24)))
    expected = F.silu(block.norm3(F.conv2d(hidden, three, groups=2)) + x)
    torch.testing.assert_close(block(x), expected)


def test_a_kind_with_groups_and_other_activations_learns(inverted_net):
    torch.manual_seed(0)
    model = build_model(inverted_net)
    F.cross_entropy(model(torch.randn(8, 3, 16, 16)), torch.arange(8)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.count_nonzero() > 0, name
    # He's normal: each channel of a depthwise 3x3 convolution feeds 9 outputs
    wide = build_model(replace(inverted_net, stem=Stem("conv3x3", 400)))
    assert wide.stage1.block1.conv2.weight.std().item() == pytest.approx((2 / 9) ** 0.5, rel=0.05)


def test_groups_that_do_not_divide_the_widths_are_refused():
    with pytest.raises(ArchitectureError, match="3 groups for 8 -> 12"):
        Conv(8, 12, 3, 1, 1, groups=3)


def test_an_unknown_activation_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'hardswish'"):
        Act("hardswich")


def test_a_field_at_its_default_is_no_part_of_the_id_but_the_activation_always_is():
    conv = "Conv(w_in=8, w_out=8, kernel=3, stride=1, padding=1"  # as 0.1 hashed it
    assert identity._spell_layers((Conv(8, 8, 3, 1, 1), Act())) == f"{conv});Act(kind='relu')"
    assert identity._spell_layers((Conv(8, 8, 3, 1, 1, groups=8),)) == f"{conv}, groups=8)"
