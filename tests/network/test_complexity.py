import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

from nas.errors import ArchitectureError, InfeasibleError, UnknownNameError
from nas.network import complexity
from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.network.complexity import count, count_layers
from nas.network.presets import PRESETS, resolve_architecture
from tests.support.reference import LAWFUL_KERNELS, WIDTHS, count_with_torch, random_architecture

GOLDEN = json.loads((Path(__file__).parents[1] / "golden/complexities.json").read_text())
INPUTS = [
    InputSpec(channels, size, classes)
    for channels, classes in ((3, 10), (1, 10), (3, 100))
    for size in (8, 28, 32, 64)
]


def assert_counts_equal_torch(architecture, input_spec):
    counted, reference = (
        count(architecture, input_spec),
        count_with_torch(architecture, input_spec),
    )
    assert counted == (reference.num_params, reference.macs, reference.activations)
    layers = count_layers(architecture, input_spec)
    assert [sum(column) for column in zip(*(row[1:4] for row in layers), strict=True)] == [
        *counted
    ]
    for row in layers:
        assert row.num_params == reference.params_by_module[row.name], row
        assert row.macs == reference.macs_by_module.get(row.name, 0), row
        assert row.size == reference.size_by_module[row.name], row


@pytest.mark.parametrize("entry", GOLDEN, ids=lambda e: f"{e['architecture'][:12]}-{e['stem']}")
def test_counts_equal_the_published_ones(entry):
    counted = count(resolve_architecture(entry["architecture"], entry["stem"]))
    assert counted.num_params == entry["num_params"]
    if "macs" in entry:
        assert counted.macs == entry["macs"]


def test_resnet20_differs_from_the_published_count_by_its_two_projections():
    published = 269_722  # He et al. 2016 with parameter-free shortcuts; FACTS.md
    projections = 16 * 32 + 32 * 64
    assert count(PRESETS["resnet20"].architecture).num_params == published + projections


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kind", "kernel"), LAWFUL_KERNELS)
def test_every_block_counts_as_pytorch_counts_it(kind, kernel, stride):
    input_spec = InputSpec(image_size=8)
    for w_in in WIDTHS:
        for w_out in WIDTHS:
            stage = Stage(kind, 1, w_out, stride, kernel)
            assert_counts_equal_torch(Architecture(Stem("conv3x3", w_in), (stage,)), input_spec)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_counts_as_pytorch_counts_it(name):
    assert_counts_equal_torch(PRESETS[name].architecture, InputSpec())


@pytest.mark.parametrize("input_spec", INPUTS, ids=str)
def test_counts_follow_the_input(input_spec):
    rng = random.Random(str(input_spec))
    for _ in range(5):
        architecture = random_architecture(rng, even_maps=rng.random() < 0.5)
        assert_counts_equal_torch(architecture, input_spec)


def check_random_nets(seed, num_nets, max_depth):
    rng = random.Random(seed)
    for _ in range(num_nets):
        architecture = random_architecture(rng, rng.random() < 0.3, max_depth)
        assert_counts_equal_torch(architecture, InputSpec(3, rng.choice((28, 32, 64)), 10))


def test_20_random_nets_count_as_pytorch_counts_them():
    check_random_nets(seed=0, num_nets=20, max_depth=4)


@pytest.mark.slow
def test_300_deep_random_nets_count_as_pytorch_counts_them():
    check_random_nets(seed=1, num_nets=300, max_depth=12)


def test_one_network_counted_never_changes_the_count_of_its_neighbour():
    base = Architecture(
        Stem("conv3x3", 8), (Stage("basic", 2, 16, 2, 3), Stage("basic", 1, 32, 1))
    )
    first, second = base.stages
    neighbours = [
        base,
        replace(base, stem=Stem("conv5x5", 8)),
        replace(base, stem=Stem("conv3x3", 12)),
        *(
            replace(base, stages=(replace(first, **{field: value}), second))
            for field, value in (
                ("kind", "bottleneck"),
                ("depth", 3),
                ("width", 24),
                ("stride", 1),
                ("kernel", 5),
                ("dropout", 0.5),
            )
        ),
        replace(base, stages=(second, first)),
    ]
    inputs = [
        InputSpec(),
        InputSpec(channels=1),
        InputSpec(image_size=28),
        InputSpec(num_classes=7),
    ]
    cases = [(architecture, spec) for architecture in neighbours for spec in inputs]
    random.Random(0).shuffle(cases)
    for architecture, spec in cases * 2:  # the second round is answered by the caches alone
        reference = count_with_torch(architecture, spec)
        assert count(architecture, spec) == reference[:3]


def test_cold_and_warm_caches_give_the_same_counts():
    rng = random.Random(2)
    nets = [random_architecture(rng, even_maps=False) for _ in range(200)]
    warm = [count(net) for net in nets + nets][200:]
    for net, expected in zip(nets, warm, strict=True):
        for name in ("stem_cost", "_stage_cost", "block_cost", "head_cost"):
            getattr(complexity, name).cache_clear()
        assert count(net) == expected


def test_dropout_costs_nothing():
    final = PRESETS["final"].architecture
    bare = replace(final, stages=tuple(replace(stage, dropout=0.0) for stage in final.stages))
    assert count(bare) == count(final)


@pytest.mark.parametrize(
    ("name", "image_size", "message"),
    [
        # 28 -> 14 -> 7: the second block of stage 3 meets an odd map
        ("row1", 28, "stage 3 at 14x14: kernel 2 needs an even map, but got 7x7"),
        ("row6", 28, "stage 3 at 14x14: kernel 2 needs an even map, but got 7x7"),
        # 8 -> 4 -> 2 -> 1
        ("row1", 8, "stage 4 at 2x2: kernel 2 needs an even map, but got 1x1"),
        ("row6", 15, "stage 1 at 15x15: kernel 2 needs an even map, but got 15x15"),
        ("final", 2, "stem conv5x5 at 2x2: the map vanishes"),
    ],
)
def test_a_net_that_does_not_fit_the_image_is_refused_with_stage_and_size(
    name, image_size, message
):
    architecture, input_spec = PRESETS[name].architecture, InputSpec(image_size=image_size)
    for refuse in (count, count_layers):
        with pytest.raises(InfeasibleError, match=re.escape(message)):
            refuse(architecture, input_spec)


@pytest.mark.parametrize("name", ["row1", "row6"])
def test_kernel_2_behind_the_5x5_stem_is_refused(name):
    # the stem leaves 15x15
    with pytest.raises(InfeasibleError, match="stage 1 at 15x15"):
        count(resolve_architecture(name, "conv5x5"))


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        (Stage("bottleneck", 1, 64, 1, kernel=2), "stage 1 .*even kernel"),
        (Stage("bottleneck", 1, 66, 1), "stage 1 .*multiple of 4, but got 66"),
        (Stage("basic", 1, 64, 1, kernel=4), "stage 1 .*even kernel"),
        (Stage("basic_pooled", 1, 64, 1, kernel=3), "stage 1 .*kernel 2, but got kernel 3"),
    ],
)
def test_a_block_without_a_form_is_refused_with_its_stage(stage, message):
    with pytest.raises(ArchitectureError, match=message):
        count(Architecture(Stem("conv3x3", 64), (stage,)))


def test_unknown_kinds_propose_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'bottleneck'"):
        count(Architecture(Stem("conv3x3", 8), (Stage("botleneck", 1, 8, 1),)))
    with pytest.raises(UnknownNameError, match="did you mean 'conv3x3'"):
        count(Architecture(Stem("conv3", 8), (Stage("basic", 1, 8, 1),)))


@pytest.mark.parametrize(
    ("stem", "sizes"),
    [
        ("conv3x3", (32, 32, 16, 8, 4)),
        ("conv5x5", (15, 15, 8, 4, 2)),
        ("imagenet", (8, 8, 4, 2, 1)),
    ],
)
def test_maps_have_the_sizes_the_paper_gives(stem, sizes):
    rows = count_layers(resolve_architecture("final", stem))
    last = {row.name.split(".")[0]: row.size for row in rows}
    assert tuple(last[part] for part in ("stem", "stage1", "stage2", "stage3", "stage4")) == sizes
