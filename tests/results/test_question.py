import numpy as np
import pytest
from scipy import stats

from nas.network.architecture import Architecture, Stage, Stem
from nas.results.question import (
    CANNOT_TELL,
    DOES_NOT,
    FAVOURS,
    answer_question,
    correlate,
    describe_answer,
    shape_features,
)
from nas.study.trials import TrialRow
from tests.support.rows import ENDINGS

BUDGET = 1000


def row(
    number: int,
    accuracy: float,
    depth: int,
    width: int,
    bottleneck: bool,
    num_params: int = 950,
    state: str = "complete",
) -> TrialRow:
    kind = "bottleneck" if bottleneck else "basic"
    net = Architecture(Stem("conv3x3", width), (Stage(kind, depth, width, 1),))
    return TrialRow(
        number, ENDINGS[state], str(number), num_params, 1, accuracy, None, 1, "uniform", None,
        None, 1.0, 0, 0, net.to_dict(), None,
    )  # fmt: skip


def test_features_are_those_of_the_papers_final_net() -> None:
    final = Architecture.from_notation(
        "[[Basic,3,64,0.1],[Basic,5,128,0.1],[Bottleneck,26,256,0.1],[Bottleneck,5,512,0.1]]"
    )
    features = shape_features(final.to_dict())
    assert features["total depth"] == 39  # as the paper says
    assert features["share of bottlenecks"] == 31 / 39
    assert features["last-stage width"] == 512
    assert features["mean width"] == (3 * 64 + 5 * 128 + 26 * 256 + 5 * 512) / 39


def test_the_coefficient_equals_scipys_with_ties() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, 40).astype(float)
    accuracies = values + rng.normal(0, 2, 40)
    found = correlate("x", list(values), list(accuracies))
    expected = stats.spearmanr(values, accuracies).statistic
    assert found.coefficient == pytest.approx(expected, abs=1e-12)
    assert found.low is not None
    assert found.high is not None
    assert found.low < expected < found.high


def test_the_interval_covers_no_correlation_in_about_95_of_100_studies() -> None:
    rng = np.random.default_rng(1)
    hits = sum(
        correlate("x", list(rng.normal(size=30)), list(rng.normal(size=30))).sign == 0
        for _ in range(1000)
    )
    assert 920 <= hits <= 975  # binomial(1000, 0.95), four standard deviations


def test_a_study_that_rewards_depth_narrowness_and_bottlenecks_favours_them() -> None:
    rows = [row(i, 0.5 + 0.01 * i, 2 + i, 400 - 4 * i, i >= 15) for i in range(30)]
    answer = answer_question(rows, BUDGET, 30, 1000)
    assert answer.verdict == FAVOURS
    assert answer.num_candidates == 30


def test_a_study_that_rewards_the_contrary_does_not() -> None:
    rows = [row(i, 0.5 - 0.01 * i, 2 + i, 400 - 4 * i, i >= 15) for i in range(30)]
    assert answer_question(rows, BUDGET, 30, 1000).verdict == DOES_NOT


def test_noise_cannot_tell() -> None:
    rng = np.random.default_rng(2)
    rows = [
        row(i, float(rng.random()), int(depth), 4 * int(width), i % 2 == 0)
        for i, (depth, width) in enumerate(rng.integers(1, 50, (30, 2)))
    ]
    assert answer_question(rows, BUDGET, 30, 1000).verdict == CANNOT_TELL


def test_only_trained_candidates_near_the_budget_are_compared() -> None:
    far = [row(i, 0.9, 2, 400, False, num_params=899) for i in range(20)]
    pruned = [row(i, 0.9, 2, 400, False, state="pruned") for i in range(20, 40)]
    near = [row(i, 0.5, 2, 400, False, num_params=900) for i in range(40, 47)]
    over = [row(i, 0.9, 2, 400, False, num_params=1_001) for i in range(50, 70)]
    answer = answer_question([*far, *pruned, *near, *over], BUDGET, 30, 1000)
    assert answer.num_candidates == 7
    assert answer.verdict == CANNOT_TELL
    (line,) = describe_answer(answer)
    assert "cannot tell: these trainings are too short to say (30 epochs on 1,000 images)" in line
    assert "It takes 8 candidates" in line
    assert line.endswith("this study has 7.")


def test_a_feature_that_does_not_vary_has_no_correlation() -> None:
    rows = [row(i, 0.5 + 0.01 * i, 2 + i, 400, False) for i in range(10)]
    by_name = {item.feature: item for item in answer_question(rows, BUDGET, 30, 1000).correlations}
    assert by_name["mean width"].coefficient is None
    assert by_name["total depth"].coefficient == pytest.approx(1.0)
    lines = describe_answer(answer_question(rows, BUDGET, 30, 1000))
    assert "with at least 90% of the budget, 30 epochs on 1,000 images" in lines[0]
    assert any("does not vary" in line for line in lines)
