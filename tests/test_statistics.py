"""The figures of `nas.statistics`, and that each is computed there alone."""

import re
from math import comb
from pathlib import Path

import pytest
from scipy import stats

from nas.statistics import mean_error, median_interval

NAS = Path(__file__).resolve().parent.parent / "nas"


@pytest.mark.parametrize("num_values", [6, 7, 9, 12, 20, 51])
def test_a_median_s_interval_is_the_narrowest_that_holds_it_in_95_percent(num_values):
    def outside(skipped):  # the chance of so few values, or fewer, on one side of the median
        return 2 * sum(comb(num_values, index) for index in range(skipped + 1)) / 2**num_values

    skipped, highest = median_interval(list(range(num_values))[::-1])
    assert highest == num_values - 1 - skipped
    assert outside(skipped) <= 0.05 < outside(skipped + 1)


def test_too_few_values_have_no_interval():
    with pytest.raises(ValueError, match="at least 6 values, but got 5"):
        median_interval([1.0] * 5)


def test_the_error_of_a_mean_is_that_of_scipy():
    values = [0.1, 0.4, 0.35, 0.8]
    assert mean_error(values) == pytest.approx(stats.sem(values))


def test_statistics_live_in_one_file():
    words = re.compile(
        r"scipy\.stats|Z_95 =|1\.9[56]\d|\.ppf\(|stdev\(.*\) / |\(1(\.0)? - \w+\) / \w"
    )
    found = {path.name for path in NAS.rglob("*.py") if words.search(path.read_text())}
    assert found == {"statistics.py"}
