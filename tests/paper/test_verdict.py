"""Verdicts on hand-made numbers, against scipy and the printed table of Student's t."""

import pytest
from scipy.stats import ttest_1samp

from nas.paper.verdict import judge
from nas.statistics import t_interval

CLOSE = [0.01, 0.02, 0.03]  # mean .02, standard error .01 / sqrt(3)
WIDE = [-0.05, 0.01, 0.06]


@pytest.mark.parametrize("values", [CLOSE, WIDE, [0.1, 0.3, 0.2, 0.4, 0.35]])
def test_the_interval_is_scipy_s(values):
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx((expected.low, expected.high))


def test_the_interval_of_three_has_the_quantile_of_every_printed_table():
    low, high = t_interval(CLOSE)
    assert (high - low) / 2 == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("values", "direction", "margin", "word"),
    [
        ([0.02, 0.021, 0.022], "higher", 0, "holds"),
        ([0.02, 0.021, 0.022], "lower", 0, "does not hold"),
        ([-0.02, -0.021, -0.022], "higher", 0, "does not hold"),
        ([-0.02, -0.021, -0.022], "lower", 0, "holds"),
        (CLOSE, "higher", 0, "cannot tell"),  # .02 ± .0248
        (WIDE, "lower", 0, "cannot tell"),
        ([0.001, -0.001, 0.0005], "same", 0.01, "holds"),
        ([0.02, 0.021, 0.022], "same", 0.01, "does not hold"),
        ([-0.02, -0.021, -0.022], "same", 0.01, "does not hold"),
        ([0.009, 0.010, 0.011], "same", 0.01, "cannot tell"),
        (WIDE, "same", 0.01, "cannot tell"),
    ],
)
def test_a_claim_is_judged_by_where_its_interval_lies(values, direction, margin, word):
    assert judge(values, direction, margin).word == word


def test_two_pairs_decide_nothing():
    verdict = judge([0.5, 0.5001], "higher")
    assert verdict.word == "cannot tell"
    assert "at least 3 pairs" in verdict.reason


@pytest.mark.parametrize("direction", ["higher", "lower", "same"])
@pytest.mark.parametrize("value", [0.0, 0.02, -0.1])
def test_pairs_that_all_differ_by_as_much_decide_nothing(direction, value):
    verdict = judge([value, value + 1e-17, value - 1e-17], direction, margin=0.05)
    assert (verdict.word, verdict.mean) == ("cannot tell", pytest.approx(value))
    assert (verdict.low, verdict.high) == (None, None)
    assert verdict.reason == "all 3 pairs differ by as much, which gives no interval"


def test_a_pair_that_could_not_be_measured_leaves_it_open():
    verdict = judge([0.02, 0.021, 0.022, None], "higher")
    assert (verdict.word, verdict.num_pairs) == ("cannot tell", 3)
    assert "1 of 4 pairs" in verdict.reason
    assert judge([None, None, None], "higher").mean is None
