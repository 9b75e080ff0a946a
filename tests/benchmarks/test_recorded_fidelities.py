"""What the recorded trainings of real networks say, and what a search's plan takes from it."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.fidelity_plans import judge_model, judge_plan, judge_policies, read_record
from nas.search.plan import GOOD_IMAGES, GOOD_TAU, TAUS

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks/results"
RECORD = RESULTS / "fidelity-cifar10-16x16-100k.json"
FEW_OFTEN, MANY_ONCE, LONGER = "1000x10@32", "10000x1@32", "3000x10@64"


@pytest.fixture(scope="module")
def record():
    return read_record(RECORD)


def test_many_images_once_rank_better_than_few_often_by_what_they_leave_to_validate_on(record):
    few, many = (judge_plan(record, plan, 100) for plan in (FEW_OFTEN, MANY_ONCE))
    assert many["plan_tau"] > few["plan_tau"] + 0.1
    assert abs(many["tau"] - few["tau"]) < 0.1  # with as many validation images they are alike


def test_the_plan_says_what_was_measured(record):
    for plan, images in ((MANY_ONCE, 10_000), (LONGER, 30_000), ("15000x3@128", 45_000)):
        assert TAUS[images] == pytest.approx(judge_plan(record, plan, 1)["tau"], abs=0.05)
    slope, start = np.polyfit(np.log(list(TAUS)), list(TAUS.values()), 1)
    reached = np.exp((GOOD_TAU - start) / slope)
    assert GOOD_IMAGES / 1.5 < reached < 1.5 * GOOD_IMAGES


def test_what_a_few_climbers_tell_ranks_the_other_networks_better(record):
    for low in (FEW_OFTEN, MANY_ONCE):
        mean, half_width = judge_model(record, low, LONGER, 6, 40)["gain"]
        assert mean - half_width > 0


def test_the_plan_has_less_regret_than_few_images_often_with_and_without_a_rung(record):
    policies = [[MANY_ONCE], [FEW_OFTEN], [FEW_OFTEN, LONGER], [record.long]]
    for row in judge_policies(record, policies, images=180_000, repetitions=100)[1:]:
        mean, half_width = row["less_first"]
        assert mean - half_width > 0, row["policy"]
