import math

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from nas.samplers import make_sampler
from nas.samplers.history import HistoryReader
from nas.training.result import Ending
from tests.support.sampling import ask, finished, new_study, run, tiny_space

SPACE = tiny_space()
CHOICES = [
    {"stage1_width": first, "stage2_width": 8, "stage3_width": last}
    for first in (8, 16, 24)
    for last in (8, 16)
]


def complete(*trials, direction="maximize"):
    study = new_study(make_sampler("random", [SPACE], 0), direction)
    study.add_trials(trials)
    return study


def read(study, **settings):
    return HistoryReader(SPACE).read(study, {}, **settings)


def test_scores_are_to_be_maximised_whatever_the_direction():
    trial = finished(SPACE, CHOICES[0], score=0.3, curve=(0.9, 0.3))
    (observation,) = read(complete(trial, direction="minimize")).observations
    assert observation.score == -0.3
    assert observation.curve == ((0, -0.9), (1, -0.3))


@pytest.mark.parametrize(
    ("state", "settings", "status", "score"),
    [
        ("complete", {"score": 0.7}, Ending.FINISHED, 0.7),
        ("complete", {"score": 0.0, "reason": "diverged"}, Ending.DIVERGED, 0.0),
        ("pruned", {"curve": (0.2, 0.4)}, Ending.STOPPED, 0.4),
        ("pruned", {"curve": (math.nan,)}, Ending.DIVERGED, 0.0),
    ],
)
def test_a_finished_trial_is_what_it_says(state, settings, status, score):
    (seen,) = read(complete(finished(SPACE, CHOICES[0], state, **settings))).observations
    assert (seen.status, seen.score) == (status, score)


def test_a_trial_that_was_never_trained_is_rejected_not_observed():
    history = read(complete(finished(SPACE, CHOICES[0], "pruned")))
    assert history.observations == ()
    assert history.seen == frozenset()
    assert history.taken == {SPACE.key(CHOICES[0])}


def test_a_failed_trial_leaves_no_trace():
    history = read(complete(finished(SPACE, CHOICES[0], "failed")))
    assert (history.observations, history.pending, history.taken) == ((), {}, frozenset())


def test_running_and_waiting_trials_are_pending():
    study = complete()
    running = ask(study, SPACE).params
    waiting = next(c for c in CHOICES if SPACE.key(c) != SPACE.key(running))
    study.enqueue_trial(waiting)
    assert read(study).pending.keys() == {SPACE.key(running), SPACE.key(waiting)}
    assert read(study, asking=0).pending.keys() == {SPACE.key(waiting)}


def test_a_running_trial_that_said_nothing_yet_is_known_to_who_asked():
    study = complete()
    trial = study.ask()
    assert read(study).pending == {}
    asked = {trial.number: CHOICES[1]}
    assert HistoryReader(SPACE).read(study, asked).pending.keys() == {SPACE.key(CHOICES[1])}


def test_observations_are_in_the_order_of_their_numbers():
    study = complete()
    trials = [ask(study, SPACE) for _ in range(4)]
    for trial in reversed(trials):
        study.tell(trial, 0.5)
    assert [item.number for item in read(study).observations] == [0, 1, 2, 3]


def test_a_reader_that_goes_on_reads_what_a_new_one_reads():
    study = complete()
    reader = HistoryReader(SPACE)
    for _ in range(4):
        run(study, SPACE, 2)
        assert reader.read(study, {}) == read(study)
    other = complete(finished(SPACE, CHOICES[0]))
    assert reader.read(other, {}) == read(other)


def test_parameters_in_another_order_are_the_same_network():
    turned = dict(reversed(CHOICES[0].items()))
    trial = create_trial(
        state=TrialState.COMPLETE,
        value=0.5,
        params=turned,
        distributions={name: dict(SPACE.distributions)[name] for name in turned},
    )
    assert isinstance(trial, optuna.trial.FrozenTrial)
    assert read(complete(trial)).seen == {SPACE.key(CHOICES[0])}
