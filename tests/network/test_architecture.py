import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import ArchitectureError, UsageError
from nas.network.architecture import Architecture, InputSpec, Stage, Stem, implied_strides
from nas.network.complexity import count
from nas.network.presets import PRESETS
from tests.support.damage import CASES, assert_is_a_message, damaged_texts, damaged_values
from tests.support.reference import architectures, stages

ONE_STAGE = {"kind": "basic", "depth": 1, "width": 8, "stride": 1}
NET = {"stem": {"kind": "conv3x3", "width": 8}, "stages": [ONE_STAGE]}


@given(architectures())
def test_json_reads_back_unchanged(architecture):
    assert Architecture.from_json(architecture.to_json()) == architecture
    assert Architecture.from_dict(architecture.to_dict()) == architecture


@given(st.lists(stages(), min_size=1, max_size=6), st.sampled_from(("conv3x3", "imagenet")))
def test_notation_reads_back_unchanged(drawn, stem_kind):
    rows = tuple(
        Stage(stage.kind, stage.depth, stage.width, stride, stage.kernel, stage.dropout)
        for stage, stride in zip(drawn, implied_strides(len(drawn)), strict=True)
    )
    architecture = Architecture(Stem(stem_kind, rows[0].width), rows)
    assert Architecture.from_notation(architecture.to_notation(), stem_kind) == architecture


@pytest.mark.parametrize(
    ("row", "stage"),
    [
        ("[Basic,2,64,0.1,2]", Stage("basic", 2, 64, 1, kernel=2, dropout=0.1)),
        ("[Bottleneck,26,256,0.1]", Stage("bottleneck", 26, 256, 1, dropout=0.1)),
        ("[Bottleneck, 2, 128, null]", Stage("bottleneck", 2, 128, 1)),
        ("[Bottleneck,2,128,None]", Stage("bottleneck", 2, 128, 1)),
        ("[Basic,3,64]", Stage("basic", 3, 64, 1)),
        ("[Basic,3,64,null,5]", Stage("basic", 3, 64, 1, kernel=5)),
        ("[BasicPooled,3,64,1e-05,2]", Stage("basic_pooled", 3, 64, 1, kernel=2, dropout=1e-5)),
    ],
)
def test_each_form_of_the_paper_table_reads_as_meant(row, stage):
    architecture = Architecture.from_notation(f"[{row}]")
    assert architecture == Architecture(Stem("conv3x3", stage.width), (stage,))


def test_notation_writes_the_table_of_the_paper():
    text = "[[Basic,2,64,0.1,2],[Bottleneck,26,256,0.1],[Basic,1,512]]"
    assert Architecture.from_notation(text).to_notation() == text


def test_later_stages_of_a_notation_have_stride_2():
    text = "[[Basic,1,8],[Basic,1,8],[Basic,1,8]]"
    assert [stage.stride for stage in Architecture.from_notation(text).stages] == [1, 2, 2]


def test_strides_that_the_notation_cannot_say_are_refused():
    net = Architecture(Stem("conv3x3", 8), (Stage("basic", 1, 8, 2),))
    with pytest.raises(ArchitectureError, match="use JSON"):
        net.to_notation()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "final",
        "[]",
        "[[]]",
        "[Basic,3,64]",
        "[[Basic,3]]",
        "[[3,Basic,64]]",
        "[[Basic,3,64,0.1,3,7]]",
        "[[Basic,3,64,half]]",
        "[[Basic,3,[64]]]",
        "[[Basic,3,64]",
        "[[Basic,3,64,Infinity]]",
        '{"stem": 1}',
    ],
)
def test_what_is_no_notation_is_answered_with_an_example(text):
    with pytest.raises(ArchitectureError, match=r"for example \[\[Basic,3,64,0\.1\]"):
        Architecture.from_notation(text)


@pytest.mark.parametrize(
    "text",
    [
        "[[Basic,0,64]]",
        "[[Basic,3,-64]]",
        "[[Basic,3,64.5]]",
        "[[Basic,null,64]]",
        "[[Basic,3,64,1.0]]",
        "[[Basic,3,64,-0.1]]",
        "[[Basic,3,64,0.1,0]]",
        "[[Basic,3,64,0.1,2.5]]",
        "[" + ",".join(["[Basic,1,8]"] * 7) + "]",
    ],
)
def test_a_notation_with_values_out_of_range_is_refused(text):
    with pytest.raises(ArchitectureError):
        Architecture.from_notation(text)


@pytest.mark.parametrize(
    "field",
    [
        {"depth": 0},
        {"depth": True},
        {"depth": "3"},
        {"width": 0},
        {"width": 8.0},
        {"stride": 0},
        {"stride": 3},
        {"stride": 1.0},
        {"stride": True},
        {"kernel": 0},
        {"kernel": 3.0},
        {"dropout": -0.1},
        {"dropout": 1.0},
        {"dropout": float("nan")},
        {"dropout": "0.1"},
        {"dropout": None},
        {"dropout": True},
        {"kind": 5},
        {"kind": None},
        {"kind": ["basic"]},
    ],
    ids=str,
)
def test_a_stage_refuses_values_out_of_range_or_of_the_wrong_type(field):
    with pytest.raises(ArchitectureError):
        Stage(**{**ONE_STAGE, **field})
    with pytest.raises(ArchitectureError):
        Architecture.from_dict({**NET, "stages": [{**ONE_STAGE, **field}]})


@pytest.mark.parametrize(
    "field", [{"width": 0}, {"width": 8.5}, {"kind": 3}, {"kind": []}], ids=str
)
def test_a_stem_refuses_values_out_of_range_or_of_the_wrong_type(field):
    with pytest.raises(ArchitectureError):
        Stem(**{**NET["stem"], **field})


@pytest.mark.parametrize("field", ["channels", "image_size", "num_classes"])
@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3", None])
def test_an_input_refuses_what_is_no_positive_whole_number(field, value):
    with pytest.raises(ArchitectureError, match="positive whole number"):
        InputSpec(**{field: value})


@pytest.mark.parametrize("stages", [(), (Stage("basic", 1, 8, 1),) * 7])
def test_an_architecture_has_1_to_6_stages(stages):
    with pytest.raises(ArchitectureError, match="1 to 6 stages"):
        Architecture(Stem("conv3x3", 8), stages)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ([], "must be a JSON object"),
        (None, "must be a JSON object"),
        ({}, "missing: stages, stem"),
        ({**NET, "head": 1}, "unknown: head"),
        ({**NET, "stem": "conv3x3"}, "must be a JSON object"),
        ({**NET, "stem": {"kind": "conv3x3"}}, "missing: width"),
        ({**NET, "stages": 3}, "stages must be a list"),
        ({**NET, "stages": [3]}, "must be a JSON object"),
        ({**NET, "stages": [{**ONE_STAGE, "hidden": 2}]}, "unknown: hidden"),
        ({**NET, "stages": [{"kind": "basic"}]}, "missing: depth, stride, width"),
    ],
)
def test_a_damaged_record_names_what_is_wrong(record, message):
    with pytest.raises(ArchitectureError, match=message):
        Architecture.from_json(json.dumps(record))


def test_text_that_is_no_json_is_refused():
    with pytest.raises(ArchitectureError, match="must be JSON"):
        Architecture.from_json("{stem")


NETS = [PRESETS[name].architecture for name in ("final", "row1", "row6", "row8")]
RECORDS = [NET, *(net.to_dict() for net in NETS)]


@CASES
@given(damaged_texts([*(net.to_notation() for net in NETS), "[[Basic,3,64,null,5],[Basic,1,8]]"]))
def test_a_damaged_notation_is_a_network_or_one_message(text):
    try:
        architecture = Architecture.from_notation(text)
        count(architecture)
    except UsageError as error:
        assert_is_a_message(error)
        return
    assert Architecture.from_notation(architecture.to_notation()) == architecture


@CASES
@given(
    damaged_texts([json.dumps(record) for record in RECORDS])
    | damaged_values(RECORDS).map(json.dumps)
)
def test_a_damaged_file_of_an_architecture_is_a_network_or_one_message(text):
    try:
        architecture = Architecture.from_json(text)
        count(architecture)
    except UsageError as error:
        assert_is_a_message(error)
        return
    assert Architecture.from_json(architecture.to_json()) == architecture
