"""A search on few images: several splits, whose mean is what is searched for, said and named."""

import json
import math
import re
import signal
import statistics
from functools import partial

import pytest
from optuna.trial import TrialState

from nas.commands import main
from nas.network.architecture import Architecture
from nas.results.study_rungs import Rung
from nas.search.prepare import prepare
from nas.search.request import make_request
from nas.training.batches import make_batches
from nas.training.engine import Engine
from nas.training.loop import TrainSpec, train
from nas.training.recipe import Recipe
from tests.support.searching import Folder, Running, assert_sound, hold, words, write_images


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """200 images of two classes, of which 40 are set aside for the test."""
    return write_images(tmp_path_factory.mktemp("few") / "folder", per_class=100)


def folds_of(argv, *folds):
    """The same command line with other folds, or with none given."""
    at = argv.index("--folds")
    return [*argv[:at], *folds, *argv[at + 2 :]]


def binomial_error(accuracy, num_images):
    """Agresti and Coull's: as if 1.96^2 more images had been seen, half of them right."""
    more = 1.959964**2
    centre = (accuracy * num_images + more / 2) / (num_images + more)
    return math.sqrt(centre * (1 - centre) / (num_images + more))


def test_few_images_are_split_five_times_and_every_image_validates_once(folder, few, capsys):
    argv = folds_of(words(few, trials=3, epochs=2))
    assert main(argv) == 0
    said = capsys.readouterr().err
    assert "2 epochs on 128 + 32 images of folder (5 folds: each of 160 images val" in said
    resolved = 100 * 1.959964 * math.sqrt(2) * binomial_error(0.9, 160)
    assert f"resolves  {resolved:.1f} points" in said
    assert "(160 validation images, 95%)" in said
    plan = folder.definition()["plan"]
    assert (plan["folds"], plan["train_images"], plan["val_images"]) == (5, 128, 160)
    assert main(["best", "--format", "json"]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    expected = binomial_error(best["val_accuracy"], 160)
    assert best["standard_error"] == pytest.approx(expected, rel=1e-6)
    assert main(["status"]) == 0
    assert "128 + 160 images in 5 folds" in capsys.readouterr().out
    assert main(argv) == 0  # resumed as it is
    assert_sound(folder, 3)


@pytest.mark.slow
def test_what_a_trial_is_worth_is_the_mean_of_trainings_on_each_split(folder, few):
    argv = folds_of(words(few, trials=1, epochs=2), "--folds", "4")
    assert main(argv) == 0
    definition, (trial, *_) = folder.study_folder.load(), folder.trials()
    recipe = Recipe.from_dict(definition.recipe)
    spec = TrainSpec(
        Architecture.from_dict(trial.user_attrs["architecture"]),
        *(definition.input_spec, recipe, 2, 0),
    )
    search = prepare(make_request({"study": folder.study_folder.name}))
    splits = [split for split, _ in search.folds()]
    assert [(len(split.train), len(split.val)) for split in splits] == [(120, 40)] * 4
    curves = []
    for split in splits:
        engine = Engine("cpu", definition.plan.num_threads, bfloat16=definition.plan.bfloat16)
        result = train(spec, make_batches(split, recipe, 0), engine)
        curves.append([record.val_accuracy for record in result.curve])
    means = [statistics.fmean(values) for values in zip(*curves, strict=True)]
    assert list(trial.intermediate_values.values()) == pytest.approx(means)
    assert trial.value == pytest.approx(means[-1])


def test_a_killed_trial_of_several_folds_goes_on_to_the_same_values(folder, few, tmp_path):
    argv = folds_of(words(few, trials=2, epochs=6), "--folds", "3")
    running = Running(argv, tmp_path / "out", partial(hold, tmp_path / "gate", "trials/1"))
    reached = lambda trials: len(trials) > 1 and len(trials[1].intermediate_values) >= 5  # noqa: E731
    folder.wait_for(reached)
    own = folder.study_folder.trial(1)
    assert len(list(own.glob("checkpoint*.pt"))) == 3
    running.kill_group()
    assert running.wait() == -signal.SIGKILL
    assert main(argv) == 0
    trials = assert_sound(folder, 2)
    heir = next(trial for trial in trials if trial.user_attrs.get("resumes") == 1)
    assert not list(folder.study_folder.path.rglob("checkpoint*.pt*"))
    dead = trials[1].intermediate_values
    assert {step: heir.intermediate_values[step] for step in dead} == dead

    whole = [*argv, "--study", "whole"]
    assert main(whole) == 0
    other = Folder(folder.path, "whole")
    values = [trial.value for trial in trials if trial.state == TrialState.COMPLETE]
    assert values == [trial.value for trial in other.trials()]


@pytest.mark.slow
def test_the_median_of_the_means_prunes_and_a_stopped_trial_leaves_all_its_folds(folder, few):
    argv = folds_of(words(few, "--sampler", "random", trials=16, epochs=3), "--folds", "2")
    assert main([*argv, "--set", "learning_rate=0.01", "--no-baselines"]) == 0
    trials = assert_sound(folder, 16)
    pruned = [trial for trial in trials if trial.state == TrialState.PRUNED]
    assert pruned
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    for trial in pruned:
        last = max(trial.intermediate_values)
        assert last < 2
        before = [t.intermediate_values[last] for t in complete if t.number < trial.number]
        assert max(trial.intermediate_values.values()) < statistics.median(before)
    hits = [160 * trial.value for trial in complete]  # two accuracies on 80 images each
    assert hits == pytest.approx([round(number) for number in hits])


def test_folds_are_of_a_study_and_need_images_without_a_split_of_their_own(
    folder, few, tmp_path, capsys
):
    argv = folds_of(words(few, trials=1), "--folds", "2")
    assert main(argv) == 0
    capsys.readouterr()
    assert main(folds_of(argv, "--folds", "4")) == 2
    assert "--folds: 2 -> 4" in capsys.readouterr().err
    split = write_images(tmp_path / "split", per_class=20)
    (write_images(tmp_path / "val", per_class=10) / "train").rename(split / "val")
    for images, folds, message in (
        (split, "5", "no validation split beside them"),
        (few, "161", "needs 161 of them or more (here 160)"),
        (few, "0", "--folds must be at least 1"),
    ):
        again = [*folds_of(words(images, trials=1), "--folds", folds), "--study", "other"]
        assert main(again) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert main([*folds_of(words(split, trials=1)), "--study", "own", "--dry-run"]) == 0
    said = capsys.readouterr().err
    assert "too few to name a best; more images would help" in said
    assert "5 folds" not in said


def test_one_split_of_few_images_is_said_to_name_no_best_and_what_resolves_more(
    folder, few, capsys
):
    assert main([*words(few, trials=1), "--dry-run"]) == 0
    said = capsys.readouterr().err
    one, five = (100 * 1.959964 * math.sqrt(2) * binomial_error(0.9, n) for n in (16, 160))
    assert f"resolves  {one:.1f} points between" in said
    assert "(16 validation images, 95%): too few to name a best; --folds 5 res" in said
    assert re.search(rf"--folds 5 resolves {five:.1f}\n", said)


def test_a_study_from_before_folds_has_one_split(folder, few):
    argv = words(few, trials=1)
    assert main(argv) == 0
    definition = folder.definition()
    del definition["plan"]["folds"]
    folder.study_folder.definition.write_text(json.dumps(definition))
    assert main(folds_of(words(few, trials=2))) == 0
    assert folder.study_folder.load().plan.folds == 1


def test_a_forecast_counts_every_fold(folder, few):
    assert main(folds_of(words(few, trials=1))) == 0
    definition = folder.study_folder.load()
    # 5 x 128 images trained on, 160 passed forward at a third of the cost
    assert Rung(None, definition, 1, ()).epoch_cost == pytest.approx(5 * 128 + 160 / 3)
