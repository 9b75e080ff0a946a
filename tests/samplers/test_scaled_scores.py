import numpy as np
import pytest

from nas.samplers.contract import Observation
from nas.samplers.scaled_scores import CLIP, PARTIAL_NOISE, scale_scores
from nas.training.result import Ending


def seen(number, score, status=Ending.FINISHED, curve=()):
    return Observation(number, {}, str(number), score, status, tuple(enumerate(curve)))


COMPLETE = [  # each gains 0.2 from step 1 on; median 0.6, upper quartile 0.7
    seen(number, final, curve=(0.1, final - 0.2, final))
    for number, final in enumerate((0.4, 0.5, 0.6, 0.7, 0.8))
]


def target_of(*others):
    y = scale_scores([*COMPLETE, *others])
    return y.centre + y.scale * y.values


def test_zero_is_the_median_and_one_the_upper_quartile_of_the_complete():
    y = scale_scores(COMPLETE)
    np.testing.assert_allclose(y.values, [-2.0, -1.0, 0.0, 1.0, 2.0])
    assert y.centre == pytest.approx(0.6)
    assert y.scale == pytest.approx(0.1)


def test_a_pruned_trial_ends_where_the_gain_of_the_others_leads():
    assert target_of(seen(5, 0.25, Ending.STOPPED, (0.1, 0.25)))[-1] == pytest.approx(0.45)


def test_a_pruned_trial_is_at_most_the_median_of_the_complete():
    assert target_of(seen(5, 0.55, Ending.STOPPED, (0.1, 0.55)))[-1] == pytest.approx(0.6)


def test_a_pruned_trial_whose_step_no_other_reported_counts_as_it_is():
    assert target_of(seen(5, 0.5, Ending.STOPPED, (0.1,) * 4 + (0.5,)))[-1] == pytest.approx(0.5)


def test_a_diverged_trial_counts_like_the_pruned_ones():
    pruned = seen(5, 0.25, Ending.STOPPED, (0.1, 0.25))
    values = target_of(pruned, seen(6, 0.0, Ending.DIVERGED))
    assert values[-1] == pytest.approx(values[-2])


def test_a_diverged_trial_is_the_lower_quartile_where_none_was_pruned():
    assert target_of(seen(5, 0.0, Ending.DIVERGED))[-1] == pytest.approx(0.5)


def test_what_was_not_trained_to_the_end_is_noisier():
    y = scale_scores(
        [*COMPLETE, seen(5, 0.2, Ending.STOPPED, (0.2,)), seen(6, 0.0, Ending.DIVERGED)]
    )
    assert y.noise_ratios.tolist() == [1.0] * 5 + [PARTIAL_NOISE] * 2


def test_a_very_bad_score_is_clipped():
    y = scale_scores([*COMPLETE, seen(5, 0.0)])
    assert y.values.min() == -CLIP


@pytest.mark.parametrize("scores", [(0.5,), (0.5, 0.5, 0.5), (0.1, 0.5, 0.5, 0.5)])
def test_equal_scores_give_finite_targets(scores):
    y = scale_scores([seen(number, score) for number, score in enumerate(scores)])
    assert np.all(np.isfinite(y.values))
