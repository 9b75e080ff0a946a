"""When a running trial can be stopped, by Optuna's own pruner in a real study."""

import optuna
import pytest

from nas.study.pruners import make_pruner


@pytest.mark.parametrize(
    ("epochs", "first"), [(1, None), (2, 1), (3, 2), (4, 2), (10, 3), (100, 21)]
)
def test_the_median_stops_a_bad_trial_from_the_first_epoch_past_a_fifth_that_is_not_the_last(
    epochs, first
):
    study = optuna.create_study(direction="maximize", pruner=make_pruner("median", epochs))
    values = {epoch: 0.5 for epoch in range(epochs)}
    for _ in range(10):
        study.add_trial(optuna.trial.create_trial(value=0.5, intermediate_values=values))
    trial = study.ask()
    stops = []
    for epoch in range(1, epochs):  # after the last nothing is left to stop
        trial.report(0.1, step=epoch - 1)
        if trial.should_prune():
            stops.append(epoch)
    assert stops[:1] == ([] if first is None else [first])
