import math
from random import Random

import pytest

from nas.training.lr_suggestion import Suggestion, half_window, has_diverged, smooth, suggest

STEPS, CLASSES = 200, 10
RATES = [10 ** (-5 + 5 * step / (STEPS - 1)) for step in range(STEPS)]


def ramp_loss(rate, begin=1e-3, end=1e-2, high=2.3, low=1.3):
    """Flat, then a straight fall over the logarithm of the rate, then a rise."""
    if rate < begin:
        return high
    if rate < end:
        return high - (high - low) * math.log(rate / begin) / math.log(end / begin)
    return low + 3.0 * math.log10(rate / end)


def noise(step, size):
    return Random(step).gauss(0.0, size)


def curve(size=0.0, until=STEPS, **shape):
    return [ramp_loss(rate, **shape) + noise(step, size) for step, rate in enumerate(RATES)][
        :until
    ]


@pytest.mark.parametrize("size", [0.0, 0.1])
@pytest.mark.parametrize(("begin", "end"), [(1e-4, 1e-2), (1e-4, 1e-1)])
def test_bounds_stand_where_the_known_fall_begins_and_ends(begin, end, size):
    found = suggest(RATES, curve(size, begin=begin, end=end), STEPS, CLASSES)
    decades = math.log10(end / begin)
    # a tenth and nine tenths of a fall that is straight over the logarithm of the rate
    assert math.log10(found.minimum / begin) == pytest.approx(0.1 * decades, abs=0.15)
    assert math.log10(found.maximum / begin) == pytest.approx(0.9 * decades, abs=0.2)
    assert found.edge == pytest.approx(end, rel=0.35)
    assert found.minimum < found.maximum <= found.edge


def test_a_narrow_fall_gets_a_minimum_that_lets_the_rate_get_low():
    found = suggest(RATES, curve(begin=5e-3, end=1e-2), STEPS, CLASSES)
    assert found.minimum == pytest.approx(found.maximum / 10)
    assert any("never gets low" in reason for reason in found.reasons)


def test_a_loss_that_still_falls_at_the_end_is_said():
    found = suggest(RATES[:100], curve(begin=1e-4, end=1e-1)[:100], STEPS, CLASSES)
    assert any("test a higher --high" in reason for reason in found.reasons)
    clear = suggest(RATES, curve(), STEPS, CLASSES)
    assert not any("--high" in reason for reason in clear.reasons)


def test_the_reasons_name_the_rule_of_thumb_that_failed_the_paper():
    found = suggest(RATES, curve(), STEPS, CLASSES)
    assert any(f"{found.maximum / 3:.2g}" in reason for reason in found.reasons)


@pytest.mark.parametrize(
    "losses",
    [
        *([2.3 + Random(k).gauss(0, 0.1) for k in range(j, j + STEPS)] for j in (0, 200, 400)),
        [2.3 + 0.01 * step for step in range(STEPS)],  # only rises
        [2.3] * STEPS,
    ],
)
def test_a_loss_that_never_falls_suggests_nothing(losses):
    assert "never fell" in suggest(RATES, losses, STEPS, CLASSES)


def test_noise_alone_seldom_passes_for_a_fall():
    fooled = 0
    for seed in range(200):
        rng = Random(seed)
        losses = [rng.gauss(2.3, 0.1) for _ in range(60)]
        fooled += not isinstance(suggest(RATES[:60], losses, 60, CLASSES), str)
    assert fooled <= 4


def test_coming_down_to_what_guessing_has_is_no_learning():
    # a deep network that begins at 3 and never gets below ln 10 = 2.303
    losses = [max(3.0 - 0.02 * step, 2.31) + noise(step, 0.02) for step in range(STEPS)]
    text = suggest(RATES, losses, STEPS, CLASSES)
    assert "guessing has 2.3" in text
    assert isinstance(suggest(RATES, losses, STEPS, 100), Suggestion)  # ln 100 = 4.6


def test_a_test_that_ends_at_once_suggests_nothing():
    assert "begin lower" in suggest(RATES[:5], [2.3, 2.2, 2.1, 5.0, 9.0], STEPS, CLASSES)


def test_smoothing_leaves_a_line_where_it_is_and_averages_noise_away():
    line = [0.01 * step for step in range(100)]
    assert smooth(line, STEPS) == pytest.approx(line)
    noisy = [noise(step, 1.0) for step in range(100)]
    assert max(map(abs, smooth(noisy, STEPS)[20:80])) < 4 / math.sqrt(11)  # 5 to either side
    assert len(smooth(noisy, STEPS)) == 100


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_has_diverged(value):
    assert has_diverged([2.3, value], STEPS)


def test_divergence_is_four_times_the_lowest_mean_and_not_one_hard_batch():
    size = half_window(STEPS)
    calm = [2.0] * 50
    assert not has_diverged(calm, STEPS)
    assert not has_diverged([*calm, 12.0], STEPS)
    assert not has_diverged([*calm, *([7.9] * size)], STEPS)
    assert has_diverged([*calm, *([8.1] * size)], STEPS)
