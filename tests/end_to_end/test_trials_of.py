"""A new study that takes over the trials of another: `search --trials-of`."""

import shutil
from pathlib import Path

import pytest
from optuna.trial import TrialState

from nas.commands import main
from tests.support.searching import TINY, Folder, assert_sound, begin

OLD, NEW = "tiny-8k-folder", "tiny-8k-folder-2"


def edit(path, before, after):
    """Write the file of the tests' space with another list."""
    text = Path(TINY).read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, after))
    return str(path)


@pytest.fixture(scope="module")
def begun(tmp_path_factory, images):
    """The folder of a study of four trials; not to be changed."""
    return begin(tmp_path_factory.mktemp("begun"), images, trials=4)


@pytest.fixture
def old(begun, folder):
    """A copy of that study, in NAS_STUDIES."""
    shutil.copytree(begun, folder.path)
    return folder


def measured(trials):
    """What was measured of every network that was trained, by id."""
    return {
        trial.user_attrs["id"]: (trial.state, trial.value, trial.intermediate_values)
        for trial in trials
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    }


def new_study(old):
    return Folder(old.study_folder.path.parent, NEW)


def test_a_wider_space_is_searched_with_the_trials_of_the_narrower_one(old, tmp_path, capsys):
    wider = edit(tmp_path / "tiny.py", "widths=(8, 16)", "widths=(8, 12, 16)")
    more = ["--space", wider, "--trials", "6", "--workers", "1"]
    assert main(["search", "--study", OLD, *more]) == 2
    refusal = capsys.readouterr().err.splitlines()[-1]
    assert f"or begin another with --study {NEW}, and --trials-of {OLD} for those" in refusal
    asked = ["search", "--study", NEW, "--trials-of", OLD, *more]
    assert main(asked) == 0
    assert f"took over 4 of 4 trials of '{OLD}'" in capsys.readouterr().err
    before, trials = measured(old.trials()), assert_sound(new_study(old), 6)
    after = measured(trials)
    assert len(before) == 4
    assert before.items() <= after.items()
    assert len(after) == 6  # two were trained, none of them again
    kept = ("plan", "recipe", "seed", "data_fingerprint")
    assert all(new_study(old).definition()[n] == old.definition()[n] for n in kept)
    assert main(asked) == 0  # finished
    assert len(new_study(old).trials()) == len(trials)


def test_what_space_and_budget_lack_is_not_taken_over(old, capsys):
    sizes = {t.user_attrs["id"]: t.user_attrs["num_params"] for t in old.trials() if t.values}
    budget = sorted(sizes.values())[-2]  # all but the largest
    fitting = {own_id for own_id, size in sizes.items() if size <= budget}
    argv = ["search", "--study", NEW, "--trials-of", OLD, "--space", TINY]
    assert main([*argv, "--budget", str(budget), "--trials", "4", "--workers", "1"]) == 0
    assert f"took over {len(fitting)} of 4 trials of '{OLD}'" in capsys.readouterr().err
    assert fitting <= set(measured(assert_sound(new_study(old), 4)))


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--space", TINY, "--epochs", "2"], "--epochs: 1 -> 2"),
        (["--space", TINY, "--seed", "1"], "--seed: 0 -> 1"),
        (["--space", TINY, "--set", "learning_rate=0.5"], "--set learning_rate"),
        ([], "give --space, as a file is not run unasked"),
        (["--space", TINY, "--study", OLD], "is of another study"),
    ],
    ids=["epochs", "seed", "recipe", "space", "itself"],
)
def test_trials_that_cannot_be_compared_are_refused_and_nothing_is_written(
    old, more, text, capsys
):
    assert main(["search", "--study", NEW, "--trials-of", OLD, "--trials", "6", *more]) == 2
    assert text in capsys.readouterr().err.splitlines()[-1]
    assert not new_study(old).study_folder.path.exists()
