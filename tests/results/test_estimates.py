"""The estimates by which trials are ranked: those of the samplers, without the space's file."""

import optuna
import pytest
from optuna.trial import TrialState

from nas.results.estimates import EstimateReader, record_features
from nas.samplers import make_sampler
from nas.samplers.history import HistoryReader
from nas.samplers.incumbent import estimate_scores
from nas.samplers.surrogate import make_fitter
from nas.study.attributes import ARCHITECTURE, FEATURES, ID, NUM_PARAMS, REASON
from nas.study.folder import StudyFolder
from nas.study.storage import open_storage
from nas.study.trials import rank
from tests.support.sampling import INPUT, small_space
from tests.support.small_study import searched_studies


def stated_study(space, num, record=True):
    """A study as `search` writes it: choices by a sampler, network and features recorded."""
    study = optuna.create_study(direction="maximize", sampler=make_sampler("random", [space], 0))
    if record:
        study.set_user_attr(FEATURES, record_features(space))
    for number in range(num):
        trial = study.ask(dict(space.distributions))
        trial.set_user_attr(ID, space.key(trial.params))
        trial.set_user_attr(ARCHITECTURE, space.decode(trial.params).to_dict())
        trial.set_user_attr(NUM_PARAMS, space.num_params(trial.params))
        accuracy = (37 * number % 41) / 100 + 0.5
        trial.report(accuracy - 0.1, 0)
        if number % 5 == 1:
            study.tell(trial, state=TrialState.PRUNED)
        elif number % 7 == 2:
            trial.set_user_attr(REASON, "diverged")
            study.tell(trial, 0.0)
        else:
            trial.report(accuracy, 1)
            study.tell(trial, accuracy)
    return study


def test_estimates_are_those_that_the_samplers_space_gives():
    space = small_space()
    study = stated_study(space, 40)
    observations = HistoryReader(space).read(study, {}).observations
    expected = estimate_scores(make_fitter(space), observations)
    rows = EstimateReader(INPUT).read(study)
    found = {row.id: row.estimate for row in rows if row.estimate is not None}
    assert found == pytest.approx({key: item.score for key, item in expected.items()}, abs=1e-9)
    assert set(found) == {row.id for row in rows if row.word == "complete"}
    assert rank(rows)[0].id == max(expected, key=lambda key: expected[key].score)


def test_a_reader_that_saw_the_study_grow_reads_what_a_fresh_one_reads():
    space = small_space()
    study, reader = stated_study(space, 20), EstimateReader(INPUT)
    whole = stated_study(space, 40)
    reader.read(study)
    study.add_trials(whole.get_trials()[20:])
    assert reader.read(study) == EstimateReader(INPUT).read(study)


def test_with_rungs_the_estimate_is_of_a_training_in_the_highest():
    space = small_space()
    study, rung = stated_study(space, 40), optuna.create_study(direction="maximize")
    complete = [trial for trial in study.get_trials() if trial.state == TrialState.COMPLETE]
    trained = [trial for trial in complete if REASON not in trial.user_attrs][:8]
    for trial in trained:
        trial.values = [0.5 + trial.value / 2]  # half of the errors are gone
        rung.add_trial(trial)
    rungs = [(1.0, rung)]
    observations = HistoryReader(space, lambda study: rungs).read(study, {})
    expected = estimate_scores(make_fitter(space), observations.observations + observations.upper)
    reader = EstimateReader(INPUT, lambda study: rungs)
    rows = [row for row in reader.read(study) if row.word == "complete"]
    assert [row.estimate for row in rows] == pytest.approx(
        [expected[row.id].score for row in rows], abs=1e-9
    )
    assert [row.estimate_sd for row in rows] == pytest.approx(
        [expected[row.id].sd for row in rows], abs=1e-9
    )
    gains = [row.estimate - row.val_accuracy for row in rows]
    assert sum(gains) / len(gains) == pytest.approx(0.14, abs=0.05)  # their errors are 0.29
    rung.add_trial(complete[-1])
    assert reader.read(study) == EstimateReader(INPUT, lambda study: rungs).read(study)


def test_few_trials_and_studies_without_the_record_are_ranked_as_measured():
    space = small_space()
    for study in (stated_study(space, 12), stated_study(space, 40, record=False)):
        rows = EstimateReader(INPUT).read(study)
        assert all(row.estimate is None for row in rows)
        assert rank(rows)[0].val_accuracy == max(r.val_accuracy for r in rank(rows))


def test_a_search_records_the_features_of_its_space():
    folder = StudyFolder(searched_studies() / "tiny-8k-digits")
    study = optuna.load_study(study_name=folder.name, storage=open_storage(None, folder.journal))
    record = study.user_attrs[FEATURES]
    assert record["layout"]["num_stages"] == 2
    assert len(record["scaling"]["mean"]) == len(record["scaling"]["columns"]) > 0
