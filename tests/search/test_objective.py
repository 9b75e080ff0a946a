"""One trial's files and what it says to Optuna."""

import json

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from nas.commands import main
from nas.results.estimates import EstimateReader
from nas.search.objective import KEPT_TRIALS, Objective
from nas.search.prepare import prepare
from nas.search.request import make_request
from tests.support.searching import words


@pytest.fixture
def objective(folder, images):
    """The objective of a study of one trial; it trains nothing here."""
    assert main(words(images, trials=1)) == 0
    search = prepare(make_request({"study": folder.study_folder.name}))
    estimates = EstimateReader(search.definition.input_spec)
    return Objective(search.definition, search.folder, search.space.space, None, estimates)


def make(folder, number, name="checkpoint.pt"):
    own = folder.study_folder.trial(number)
    own.mkdir(parents=True, exist_ok=True)
    (own / name).write_text("x")


def test_only_the_best_folders_stay_and_no_checkpoint_of_an_ended_trial(folder, objective):
    study = folder.study()
    for number in range(1, 15):
        study.add_trial(
            create_trial(value=number / 100 + 0.5, user_attrs={"num_params": 5, "id": str(number)})
        )
        make(folder, number)
        make(folder, number, ".checkpoint.pt.x1y2z3.tmp")  # killed while it was written
        make(folder, number, "curve.json")
    objective.clear(study)
    kept = sorted(int(path.name) for path in folder.study_folder.trials.iterdir())
    best = sorted(study.trials, key=lambda trial: -trial.value)[:KEPT_TRIALS]
    assert kept == sorted(trial.number for trial in best)
    for number in kept:
        names = [path.name for path in folder.study_folder.trial(number).iterdir()]
        assert names == ["curve.json"]


def test_what_a_waiting_or_lost_trial_continues_is_kept(folder, objective):
    study = folder.study()
    lost = {"given_back": True}
    for attrs, state in (
        (lost, TrialState.FAIL),  # 1
        ({**lost, "resumes": 1}, TrialState.FAIL),  # 2
        ({"resumes": 2}, TrialState.WAITING),  # 3
        (lost, TrialState.FAIL),  # 4: nobody enqueued it yet
        ({"reason": "surplus"}, TrialState.FAIL),  # 5
    ):
        study.add_trial(create_trial(state=state, user_attrs=attrs))
    for number in range(1, 6):
        make(folder, number)
    objective.clear(study)
    kept = sorted(int(path.name) for path in folder.study_folder.trials.iterdir())
    assert kept == [0, 1, 2, 3, 4]


def test_a_trial_writes_what_it_is_before_it_is_trained(folder, objective):
    study = folder.study()
    params = study.trials[0].params
    frozen = optuna.trial.FixedTrial(params)
    architecture = objective.describe(frozen, None)
    attrs = study.trials[0].user_attrs
    assert objective.check_caps(frozen, architecture) is None
    for name in ("id", "shape_id", "architecture", "notation", "num_params", "macs"):
        assert frozen.user_attrs[name] == attrs[name]
    assert study.trials[0].constraints["budget"] == pytest.approx(attrs["num_params"] / 8000 - 1)
    curve = json.loads((folder.study_folder.trial(0) / "curve.json").read_text())
    assert [record["val_accuracy"] for record in curve] == [study.trials[0].value]
