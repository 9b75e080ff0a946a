"""What a search says before its first training, and what it may not take long for."""

import json
import re

import pytest

from nas.commands import main
from nas.data.datasets import load_training
from nas.network.architecture import InputSpec
from nas.network.caps import Caps
from nas.network.presets import PRESETS
from nas.search import sizing
from nas.search.preflight import describe_search
from nas.search.prepare import find_baselines, prepare
from nas.search.request import make_request
from nas.space import BudgetedSpace, load_space
from nas.space import index as space_index
from nas.study.definition import Plan
from nas.study.rungs import RungSpec
from nas.training.recipe import get_recipe
from nas.training.timing import Speed
from tests.support.searching import words, write_images


def request(images, **fields):
    return make_request({"dataset": "folder", "data": str(images), "budget": 5_000_000, **fields})


def test_the_preflight_says_all_of_it_and_builds_the_index_of_the_space_once(
    folder, images, monkeypatch
):
    built = []
    for name in [name for name in dir(space_index) if name.endswith("Index")]:
        cls = getattr(space_index, name)

        def record(self, *args, _original=cls.__init__, **kwargs):
            built.append(type(self).__name__)
            _original(self, *args, **kwargs)

        monkeypatch.setattr(cls, "__init__", record)
    search = prepare(request(images, budget=300_000, epochs=3, workers=1, trials=20))
    lines = {line.split()[0]: line for line in describe_search(search)}
    assert list(lines)[:9] == [
        *("study", "space", "plan", "recipe", "pruner", "resolves", "mirrored"),
        *("baselines", "time"),
    ]
    assert "resnet-300k-folder (new)" in lines["study"]
    counts = [int(text.replace(",", "")) for text in re.findall(r"[\d,]{5,}", lines["space"])]
    assert counts[0] > counts[1] > 0
    assert counts[2] == 300_000
    assert "3 epochs" in lines["plan"]
    assert "about" in lines["time"]
    assert "20 trials" in lines["time"]
    assert search.space.num_feasible() == counts[1]
    assert len(built) == len(set(built))
    assert not folder.path.exists()


def test_the_workers_of_a_cpu_are_chosen_with_their_threads_and_both_are_said(images, monkeypatch):
    monkeypatch.setattr(sizing, "usable_cores", lambda: 2)

    def plan(**fields):
        search = prepare(request(images, space="resnet_small", budget=100_000, **fields))
        return describe_search(search)[2].removeprefix("plan      CPU, ").partition(":")[0]

    assert plan(epochs=1000) == "2 trainings at once, 1 thread each"
    assert re.fullmatch(r"one training at a time, [12] threads?", plan(epochs=1000, trials=1))
    short = plan(epochs=1000, time_limit_seconds=3)
    assert short.startswith("one training at a time (more would take longer to start than they")
    assert plan(epochs=1000, workers=3) == "3 trainings at once, 1 thread each"


def test_what_the_dry_run_approves_of_300_classes_of_3_images_can_be_drawn(
    folder, tmp_path, capsys
):
    many = write_images(tmp_path / "many", per_class=3, classes=300)
    argv = words(many, trials=1, budget=20_000)
    code = main([*argv, "--dry-run"])
    error = capsys.readouterr().err
    assert not folder.path.exists()
    # two of three images of a class are set aside, for test and for validation
    is_refused = "one image of every class, so 300 to 300 images here, but" in error
    assert code == (2 if is_refused else 0)
    assert main(argv) == code
    assert folder.path.exists() == (not is_refused)


def test_the_time_of_a_search_and_its_rungs_is_that_of_its_trials():
    plan = Plan("cpu", 1, train_images=100, val_images=50, epochs=10)
    typical, known = Speed(0.001, 0.002), Speed(0.003, 0.002)  # 2 s and 4 s a trial
    found = sizing.Sizing(plan, get_recipe("short"), 1.0, typical, (known,), workers=2)
    assert found.search_seconds(4, "none") == pytest.approx(4 + 3 * 2)
    assert found.rung_seconds(RungSpec(3, 30)) == pytest.approx(3 * 6)


def test_a_new_study_has_as_many_trials_as_its_hours_hold_with_its_rungs():
    # 1 s for all 1,000 images, once; its rungs: three times, nine times, 27 times
    plan = Plan("cpu", 1, train_images=1_000, val_images=1, epochs=1)
    found = sizing.Sizing(plan, get_recipe("short"), 1.0, Speed(0.001, 0.0), (), workers=2)

    def fit(seconds, num_networks=None, **fields):
        fields = {"study": "x", "pruner": "none", "hours": seconds / 3_600 / 2, **fields}
        asked = make_request(fields)
        fitted = sizing.complete_request(asked, found, 1_000, num_networks)
        return fitted.trials, fitted.rungs

    rungs = (RungSpec(27, 3), RungSpec(9, 9), RungSpec(3, 27))
    # a trial of each rung x count: 162 x 1 s + 27 x 3 s + 9 x 9 s + 3 x 27 s
    assert fit(405.1) == (162, rungs)
    assert fit(404.9) == (161, (RungSpec(26, 3), RungSpec(8, 9)))
    assert fit(40.1, rungs=()) == (40, ())
    assert fit(40.1, rungs=(RungSpec(4, 5),)) == (20, (RungSpec(4, 5),))
    assert fit(40.1, trials=162) == (162, rungs)
    assert fit(0.5) == (1, ())
    assert fit(10**6, num_networks=162) == (162, rungs)
    assert fit(0, hours=None) == (
        None,
        (RungSpec(33, 3), RungSpec(11, 9), RungSpec(3, 27)),
    )
    assert fit(0, hours=None, num_networks=17) == (None, ())


def test_a_resumed_study_keeps_its_threads_and_chooses_its_workers(folder, images, monkeypatch):
    monkeypatch.setattr(sizing, "usable_cores", lambda: 1)
    assert main(words(images, trials=1)) == 0
    study = folder.study_folder.name
    for cores, threads, trials, workers, is_short in (
        (2, 1, 100_000, 2, False),
        (5, 2, 100_000, 2, False),
        (2, 4, 100_000, 1, False),
        (2, 1, 3, 1, True),  # two of them take less than a second each
        (2, 1, 1, 1, False),  # it has its trials
    ):
        definition = folder.definition()
        definition["plan"]["num_threads"] = threads
        folder.study_folder.definition.write_text(json.dumps(definition))
        monkeypatch.setattr("nas.search.ahead.usable_cores", lambda cores=cores: cores)
        search = prepare(make_request({"study": study, "trials": trials}))
        assert (search.workers, search.is_short) == (workers, is_short)
        assert search.definition.plan.num_threads == threads
    assert main(["search", "--study", study, "--trials", "2", "--workers", "auto"]) == 0
    assert folder.attrs()["workers"] == "auto"


def test_a_gpu_trains_one_at_a_time_and_is_timed_with_the_batch_of_the_plan(monkeypatch):
    timed = []

    def measure(network, spec, recipe, engine):
        timed.append(recipe)
        return Speed(1e-4, 1e-5)

    monkeypatch.setattr(sizing, "measure_speed", measure)
    data = load_training("digits")  # 1,294 images to train on
    space = BudgetedSpace(load_space("resnet").space, data.input_spec, Caps(300_000))
    row = get_recipe("short")
    found = sizing.size_trials(make_request({"study": "timed"}), "cuda", space, data, {})
    assert found.workers == 1
    assert {recipe.batch_size for recipe in timed} == {found.recipe.batch_size} == {32}
    monkeypatch.setattr("nas.training.fitting.MIN_STEPS", 20)
    found = sizing.size_trials(make_request({"study": "timed"}), "cuda", space, data, {})
    assert timed[-1] == found.recipe
    assert (found.recipe.batch_size, found.recipe.learning_rate) == (512, 2 * row.learning_rate)


def test_baselines_are_those_that_space_and_budget_hold_each_once(images):
    loaded = load_space("resnet")
    spec = InputSpec(3, 32, 10)
    for budget, names in (
        (5_000_000, ["baseline", "final", "basic-443"]),
        (4_700_000, ["baseline", "basic-443"]),
        (300_000, ["baseline"]),
        (100_000, []),
    ):
        space = BudgetedSpace(loaded.space, spec, Caps(budget))
        assert list(find_baselines(loaded, space)) == names
    from dataclasses import replace

    same = replace(loaded, baseline=PRESETS["final"].architecture)
    space = BudgetedSpace(loaded.space, spec, Caps(5_000_000))
    assert list(find_baselines(same, space)) == ["baseline", "basic-443"]


def test_what_set_gives_stands_as_it_is_given_and_the_same_command_resumes(folder, images):
    argv = [*words(images, trials=1), "--set", "learning_rate=0.07"]
    assert main(argv) == 0
    assert folder.definition()["recipe"]["learning_rate"] == 0.07
    assert folder.definition()["recipe"]["batch_size"] == 16
    assert main(argv) == 0


def test_a_request_is_checked_before_anything_is_read(folder, capsys):
    for argv, message in (
        (["--dataset", "cifar11"], "did you mean 'cifar10'"),
        (["--sampler", "tpee"], "did you mean 'tpe'"),
        (["--pruner", "medain"], "did you mean 'median'"),
        (["--recipe", "shrot"], "did you mean 'short'"),
        (["--space", "resnt"], "did you mean 'resnet'"),
        (["--set", "momentun=0.9"], "did you mean 'momentum'"),
        (["--set", "momentum=2"], "momentum must be"),
        (["--epochs", "0"], "--epochs must be at least 1"),
        (["--workers", "0"], "--workers must be at least 1"),
        (["--workers", "many"], "--workers must be auto or a whole number"),
        (["--trials", "0"], "trials must be a positive whole number"),
        (["--trials", "2.5"], "trials must be a positive whole number"),
        (["--seed", "-1"], "--seed must be at least 0"),
        (["--time-limit", "5"], "must be a duration"),
        (["--study", "a/b"], "study's name"),
        (["--device", "tpu"], "a device is"),
    ):
        assert main(["search", "--budget", "5e6", *argv]) == 2, argv
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert main(["search"]) == 2
    assert "needs a budget" in capsys.readouterr().err
    assert not folder.path.exists()
