"""The progress line and the time left it shows."""

import io
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
from rich.console import Console

from nas.commands import main
from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.results.forecast import Forecast, cost_units
from nas.results.study_rungs import Rung, StudyRungs
from nas.search.progress import ProgressLine, compose_line
from nas.study.folder import StudyFolder
from nas.study.rungs import RungSpec
from nas.study.trials import TrialRow, count_funnel, read_rows
from tests.support.rows import ENDINGS
from tests.support.searching import words
from tests.support.small_study import definition

RECORDED = json.loads((Path(__file__).parents[1] / "golden" / "recorded_search.json").read_text())
SPEC = InputSpec(RECORDED["channels"], RECORDED["image_size"], RECORDED["num_classes"])
SMALL = Architecture(Stem("conv3x3", 8), (Stage("basic", 1, 8, 1),))


def row(**fields):
    blank = dict.fromkeys(TrialRow.__dataclass_fields__)
    blank |= {"id": "", "source": "uniform", "num_over_budget": 0, "num_repeats": 0}
    blank |= {"num_epochs": 5, "state": "complete", "number": 0, **fields}
    return TrialRow(**blank | {"state": ENDINGS.get(blank["state"], blank["state"])})


def recorded_rows():
    return [row(**record) for record in RECORDED["rows"]]


def forecast(rows, num_trials=None, epochs=RECORDED["epochs"], sampled_units=None, **fields):
    """Of a search without rungs."""
    search = definition(**fields)
    search = replace(
        search,
        channels=SPEC.channels,
        image_size=SPEC.image_size,
        num_classes=SPEC.num_classes,
        plan=replace(search.plan, epochs=epochs),
    )
    rung = Rung(None, search, num_trials or len(rows), tuple(rows))
    return Forecast(StudyRungs(search, (rung,), sampled_units or RECORDED["sampled_units"]))


def after(rows, number):
    """The rows as they were when so many trials had ended: the other known ones wait."""
    waiting = [
        row(number=r.number, state="waiting", num_epochs=0, source="known", elapsed_seconds=None)
        for r in rows[number:]
        if r.source == "known"
    ]
    return rows[:number] + waiting


def test_after_a_tenth_of_the_trials_the_time_left_is_within_30_percent_of_what_it_becomes():
    rows = recorded_rows()
    assert [r.source for r in rows[:3]] == ["known"] * 3  # large ones first, ...
    assert {r.word for r in rows[10:]} >= {"pruned"}  # ... and later some that end early
    tenth = len(rows) // 10
    becomes = sum(r.elapsed_seconds for r in rows[tenth:])
    left = forecast(after(rows, tenth), len(rows)).seconds_left()
    assert left == pytest.approx(becomes, rel=0.3)
    assert forecast(rows).seconds_left() == 0


def test_the_time_of_a_trial_is_in_the_mean_within_35_percent_of_what_the_next_ten_take():
    rows, errors = recorded_rows(), []
    for number in range(3, len(rows) - 9):  # before are the baselines alone
        became = fmean(r.elapsed_seconds for r in rows[number : number + 10])
        errors.append(abs(math.log(forecast(rows[:number]).training_seconds() / became)))
    assert fmean(errors) < math.log(1.35)
    assert forecast([]).training_seconds() is None


def test_the_time_left_is_exact_where_all_trials_are_alike():
    rows = [row(number=n, elapsed_seconds=3.0, architecture=SMALL.to_dict()) for n in range(4)]
    units = cost_units(SMALL, SPEC, is_cuda=False)

    def left(num_trials, workers=1, rows=rows):
        found = forecast(rows, num_trials, 5, units, pruner="none")
        return found.seconds_left(workers)

    assert left(10) == pytest.approx(18)
    assert left(10, workers=2) == pytest.approx(9)
    assert left(5, workers=4) == pytest.approx(3)  # one trial is one worker's
    assert left(3) == 0
    assert left(10, rows=[]) is None


def test_a_machine_that_becomes_slower_shows_soon():
    rows = [
        row(number=n, elapsed_seconds=1.0 if n < 20 else 10.0, architecture=SMALL.to_dict())
        for n in range(40)
    ]
    found = forecast(rows, 50, 5, cost_units(SMALL, SPEC, is_cuda=False), pruner="none")
    assert found.seconds_left() == pytest.approx(100, rel=0.15)


def test_the_line_names_everything_once():
    rows = [
        row(
            number=0,
            val_accuracy=0.9,
            num_params=4_000_000,
            elapsed_seconds=2.0,
            architecture=SMALL.to_dict(),
            num_over_budget=7,
            num_repeats=2,
        ),
        row(number=1, state="pruned", num_epochs=2, elapsed_seconds=1.0),
        row(number=2, state="broken", num_epochs=1, elapsed_seconds=1.0, reason="diverged"),
        row(number=3, state="failed", num_epochs=0),
    ]
    line = compose(rows, 20)
    for part in (
        "2/20 trained",
        "1 pruned",
        "7 rejected before training",
        "2 repeats",
        "1 broken",
        "best 90.00% (4.00M, 80.0% of budget)",
        "s/trial",
        " left",
    ):
        assert line.count(part) == 1, part


@pytest.fixture(scope="module")
def study(tmp_path_factory, images):
    path = tmp_path_factory.mktemp("studies")
    assert main([*words(images, trials=2), "--studies", str(path)]) == 0
    return StudyFolder(path / "tiny-8k-folder")


def compose(rows, num_trials, *upper):
    """The line of a study of 5,000,000 parameters; upper rungs as (spec, rows)."""
    search = definition(budget=5_000_000)
    rungs = [Rung(spec, search.at_rung(spec), None, tuple(own)) for spec, own in upper]
    study = StudyRungs(
        search, (Rung(None, search, num_trials, tuple(rows)), *rungs), RECORDED["sampled_units"]
    )
    return compose_line(study, num_trials)


def update(progress, rows, *upper):
    funnels = [count_funnel(own) for own in (rows, *(own for _, own in upper))]
    progress.update(compose(rows, 2, *upper), funnels)


def show(study, console):
    from nas.study.storage import load_study, open_storage

    definition = study.load()
    rows = read_rows(load_study(study, definition.name, open_storage(None, study.journal)))
    with ProgressLine(console) as progress:
        update(progress, rows[:1])
        progress.show_now("trial 1: epoch 1/1, 50.0%")
        update(progress, rows[:1])
        update(progress, rows)


def test_the_line_says_how_far_each_rung_is_which_trains_and_where_the_best_was_measured():
    own = [row(number=n, val_accuracy=0.9, num_params=10 * n, id=str(n)) for n in (1, 2)]
    trained = replace(own[0], val_accuracy=0.95)
    running = row(number=2, state="running", num_epochs=1)
    line = compose(own, 24, (RungSpec(9, 1, 30_000), [trained, running]), (RungSpec(3, 30), []))
    assert line.startswith("2/24 trained · @1x30000 1/9 (1 training) · @30 0/3 · 0 pruned")
    assert "best 95.00% @1x30000 (10, " in line
    assert "best 90.00% (10, " in compose(own, 24, (RungSpec(9, 30), [running]))


def test_off_a_terminal_no_line_is_written_for_the_time_left_alone():
    text = io.StringIO()
    rows = [row(number=n, elapsed_seconds=3.0, architecture=SMALL.to_dict()) for n in range(2)]
    running = replace(rows[1], state="running", num_epochs=1)
    rung = RungSpec(1, 30)
    with ProgressLine(Console(file=text)) as progress:
        for epochs in (1, 2, 3, 4):
            update(progress, [rows[0], replace(running, num_epochs=epochs)])
        for epochs in (1, 2):
            update(progress, rows, (rung, [replace(running, num_epochs=epochs)]))
        update(progress, rows, (rung, rows[:1]))
    starts = [line.split(" · 0 pruned")[0] for line in text.getvalue().splitlines()]
    first, *others = starts
    assert first == "1/2 trained"
    assert others == ["2/2 trained · @30 0/1 (1 training)", "2/2 trained · @30 1/1"]


@pytest.mark.parametrize("width", [1, 20, 80, 300])
def test_on_a_terminal_of_any_width_the_line_is_drawn_and_left_behind(study, width):
    text = io.StringIO()
    show(study, Console(file=text, force_terminal=True, width=width, legacy_windows=False))
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text.getvalue())
    assert "2/2trained" in re.sub(r"\s", "", plain)


def test_off_a_terminal_one_line_is_written_whenever_something_changed(study):
    text = io.StringIO()
    show(study, Console(file=text, force_terminal=False, width=20))
    assert [line.split(" trained")[0] for line in text.getvalue().splitlines()] == ["1/2", "2/2"]
    assert "\x1b" not in text.getvalue()


def test_a_terminal_that_is_gone_ends_the_showing_and_nothing_else(study):
    class Gone(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    show(study, Console(file=Gone(), force_terminal=False))
