import random
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.network.architecture import MAX_STAGES, Architecture, Stage, Stem
from nas.network.blocks import Dropout, expand
from nas.network.identity import ID_LENGTH, identify
from nas.network.presets import PRESETS
from tests.support.reference import architectures, random_architecture


def layers_of(architecture, with_dropout=True):
    return tuple(
        layer
        for block in expand(architecture)
        for layer in block.layers
        if with_dropout or not isinstance(layer, Dropout)
    )


def split(architecture, stage_index, depth):
    """Cut a stage in two equal adjacent ones; the later has stride 1."""
    stage = architecture.stages[stage_index]
    parts = (replace(stage, depth=depth), replace(stage, depth=stage.depth - depth, stride=1))
    before, after = architecture.stages[:stage_index], architecture.stages[stage_index + 1 :]
    return replace(architecture, stages=(*before, *parts, *after))


@given(architectures(), st.randoms(use_true_random=False))
def test_a_stage_split_in_equal_adjacent_ones_is_the_same_network(architecture, rng):
    parts = architecture
    while len(parts.stages) < MAX_STAGES:
        deep = [index for index, stage in enumerate(parts.stages) if stage.depth > 1]
        if not deep:
            break
        index = rng.choice(deep)
        parts = split(parts, index, rng.randint(1, parts.stages[index].depth - 1))
    assert identify(parts) == identify(architecture)


@given(architectures())
def test_dropout_null_and_0_are_the_same_network(architecture):
    bare = replace(
        architecture, stages=tuple(replace(stage, dropout=0.0) for stage in architecture.stages)
    )
    whole = replace(
        architecture, stages=tuple(replace(stage, dropout=0) for stage in architecture.stages)
    )
    assert identify(bare) == identify(whole)
    assert identify(bare).id == identify(bare).shape_id
    assert identify(architecture).shape_id == identify(bare).shape_id


def test_null_in_the_notation_is_dropout_0():
    rows = ("[[Basic,3,64,null]]", "[[Basic,3,64]]", "[[Basic,3,64,0]]", "[[Basic,3,64,0.0]]")
    assert len({identify(Architecture.from_notation(row)) for row in rows}) == 1


def test_id_tells_dropout_apart_and_shape_id_does_not():
    row7, row8 = (PRESETS[name].architecture for name in ("row7", "row8"))
    assert identify(row7).id != identify(row8).id
    assert identify(row7).shape_id == identify(row8).shape_id


def test_row3_of_the_paper_is_its_final_net():
    assert identify(PRESETS["row3"].architecture) == identify(PRESETS["final"].architecture)


@pytest.mark.parametrize(
    "net",
    [
        Architecture(Stem("conv5x5", 16), (Stage("basic", 2, 32, 1, 3, 0.1),)),
        Architecture(Stem("conv3x3", 8), (Stage("basic", 2, 32, 1, 3, 0.1),)),
        Architecture(Stem("conv3x3", 16), (Stage("bottleneck", 2, 32, 1, 3, 0.1),)),
        Architecture(Stem("conv3x3", 16), (Stage("basic", 3, 32, 1, 3, 0.1),)),
        Architecture(Stem("conv3x3", 16), (Stage("basic", 2, 48, 1, 3, 0.1),)),
        Architecture(Stem("conv3x3", 16), (Stage("basic", 2, 32, 2, 3, 0.1),)),
        Architecture(Stem("conv3x3", 16), (Stage("basic", 2, 32, 1, 5, 0.1),)),
    ],
)
def test_one_changed_field_is_another_network(net):
    base = Architecture(Stem("conv3x3", 16), (Stage("basic", 2, 32, 1, 3, 0.1),))
    assert identify(net).id != identify(base).id
    assert identify(net).shape_id != identify(base).shape_id


def test_ids_are_equal_exactly_where_the_layers_are():
    rng = random.Random(0)
    by_id, by_shape = {}, {}
    for _ in range(3000):  # 1 or 2 stages of depth 1 or 2: equal networks come up
        net = random_architecture(rng, even_maps=True, max_depth=2)
        net = replace(net, stages=net.stages[: rng.randint(1, 2)])
        identity = identify(net)
        assert by_id.setdefault(identity.id, layers_of(net)) == layers_of(net)
        shape = layers_of(net, with_dropout=False)
        assert by_shape.setdefault(identity.shape_id, shape) == shape
    assert len(set(by_id.values())) == len(by_id)
    assert len(set(by_shape.values())) == len(by_shape)


def test_an_id_is_the_same_in_another_process():
    program = (
        "from nas.network.identity import identify; from nas.network.presets import PRESETS;"
        "print(identify(PRESETS['final'].architecture).id)"
    )
    expected = identify(PRESETS["final"].architecture).id
    assert len(expected) == ID_LENGTH
    for seed in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stdout.strip() == expected
