"""The published studies: what each fixes, and that its arms differ in nothing else."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from nas.commands import main
from nas.errors import UnknownNameError
from nas.network.complexity import count
from nas.network.model import build_model
from nas.paper.study import (
    SCALES,
    arm_network,
    arm_settings,
    list_claim_studies,
    load_claim_study,
)
from nas.training.recipe import get_recipe

NAMES = list(list_claim_studies())
PROMISED = (  # issue 5, `studies/`
    *("deeper_or_wider", "basic_or_bottleneck", "kernel", "dropout", "adam_or_adamw"),
    *("batch_size", "augmentation", "schedule", "stem", "blocks_or_stages"),
    *("narrow_last_stage", "learning_rate", "epochs", "adamw_speed"),
)


def test_every_promised_study_is_there():
    assert sorted(NAMES) == sorted(PROMISED)


@pytest.mark.parametrize("name", NAMES)
def test_a_study_says_what_it_tests_and_how_to_run_it(name):
    study = load_claim_study(name)
    assert study.title == list_claim_studies()[name]
    assert f"python cli.py study {name} --scale tiny" in study.text
    for word in ("Expected time: ", "Result: "):
        assert word in study.text


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scale", ["tiny", "full"])
def test_the_arms_differ_in_what_the_study_says_and_in_nothing_else(name, scale):
    comparison = load_claim_study(name).comparison
    first, *others = (describe(comparison, arm, SCALES[scale]) for arm in comparison.arms)
    found = {name for name in first for other in others if other[name] != first[name]}
    assert found == set(comparison.differs)


def describe(comparison, arm, scale):
    """Everything of an arm by the words of `Comparison.differs`."""
    settings = arm_settings(comparison, arm, scale)
    network = arm.thin if scale.thin else arm.paper
    stages = network.stages
    return {
        **asdict(get_recipe("paper").with_overrides(settings)),
        "epochs": arm.epochs_factor,
        "stem": network.stem.kind,
        "stem_width": network.stem.width,
        "kinds": {stage.kind for stage in stages},
        "depths": [stage.depth for stage in stages],
        "widths": [stage.width for stage in stages],
        "kernels": {stage.kernel for stage in stages},
        "stage_dropouts": {stage.dropout for stage in stages},
    }


def networks():
    """Every network that any study trains, once."""
    return {
        arm_network(arm, get_recipe("paper").with_overrides(settings), scale)
        for comparison in (load_claim_study(name).comparison for name in NAMES)
        for scale in (SCALES["tiny"], SCALES["full"])
        for arm in comparison.arms
        for settings in (arm_settings(comparison, arm, scale),)
    }


def test_every_arm_builds_and_has_the_parameters_that_pytorch_counts():
    found = networks()
    assert len(found) > 2 * len(EQUAL)
    for network in found:
        with torch.device("meta"):
            model = build_model(network)
        expected = sum(parameter.numel() for parameter in model.parameters())
        assert count(network).num_params == expected


EQUAL = [n for n in NAMES if load_claim_study(n).comparison.params_tolerance is not None]


def test_the_studies_of_equal_size_are_those_that_say_so():
    said = [name for name in NAMES if "at equal parameters" in list_claim_studies()[name]]
    assert said == EQUAL
    assert len(EQUAL) == 4


@pytest.mark.parametrize("name", EQUAL)
@pytest.mark.parametrize("size", ["thin", "paper"])
def test_equal_parameters_are_equal_within_the_stated_tolerance(name, size):
    comparison = load_claim_study(name).comparison
    counts = [count(getattr(arm, size)).num_params for arm in comparison.arms]
    assert (max(counts) - min(counts)) / max(counts) <= comparison.params_tolerance <= 0.02


@pytest.mark.parametrize("name", NAMES)
def test_the_claims_are_the_paper_s_words(name):
    text = Path("/work/shared/paper.txt")
    if not text.is_file():
        pytest.skip("the paper's text is not at hand")
    paper = " ".join(text.read_text().split())
    for claim in load_claim_study(name).comparison.claims:
        assert claim.wording in paper


def test_an_unknown_study_proposes_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'dropout'"):
        load_claim_study("droupout")


def test_without_a_name_the_studies_are_listed(capsys):
    assert main(["study"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in NAMES)
