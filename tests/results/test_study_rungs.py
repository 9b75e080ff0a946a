"""Which rung decides for a budget, and what is said of the rungs; by hand."""

from dataclasses import replace
from functools import partial

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from scipy.stats import kendalltau

from nas.network.architecture import Architecture, Stage, Stem
from nas.results.forecast import Forecast
from nas.results.question import TOO_SHORT
from nas.results.rungs_text import (
    describe_agreements,
    describe_deciding_rung,
    describe_rungs,
    rungs_record,
)
from nas.results.study_rungs import (
    MAX_BROKEN,
    Rung,
    StudyRungs,
    read_rung_rows,
    rungs_of,
    upper_rungs,
)
from nas.study.attributes import ORIGIN
from nas.study.rungs import RungSpec
from nas.study.storage import ensure_study, open_storage
from tests.support.rows import row
from tests.support.small_study import create_study, definition, net

SMALL = Architecture(Stem("conv3x3", 8), (Stage("basic", 1, 8, 1),))
# number, accuracy, size
OWN = [row(0, 0.90, 900), row(1, 0.80, 800), row(2, 0.70, 300), row(3, 0.60, 200)]


def study_rungs(*rungs, own=OWN, own_num_trials=4):
    """A study of 4 epochs a trial; rungs as (count, epochs, target, rows)."""
    search = definition(val_images=10**6)
    found = [Rung(None, search, own_num_trials, tuple(own))]
    for count, epochs, num_trials, rows in rungs:
        spec = RungSpec(count, epochs)
        found.append(Rung(spec, search.at_rung(spec), num_trials, tuple(rows)))
    return StudyRungs(search, tuple(found))


def test_the_highest_rung_speaks_once_it_has_trained_the_best_below():
    waiting = [row(0, None, state="waiting"), row(1, 0.95, 800)]
    trained = [row(0, 0.91, 900), row(1, 0.95, 800)]
    assert study_rungs((2, 30, 2, waiting)).deciding_rung(1000).epochs == 4
    assert study_rungs((2, 30, 2, trained)).deciding_rung(1000).epochs == 30
    both = study_rungs((2, 30, 2, trained), (1, 100, 1, [row(1, 0.97, 800)]))
    assert both.deciding_rung(1000).epochs == 100
    assert both.summarise(1000).best.val_accuracy == 0.97
    assert study_rungs((2, 30, 2, trained), (1, 100, None, [])).deciding_rung(1000).epochs == 30


def test_a_budget_that_a_rung_does_not_cover_falls_to_the_one_below_and_that_is_said():
    own = [*OWN, row(4, 0.5, 100, source="known", known_name="baseline")]
    trained = [row(0, 0.95, 900), row(1, 0.94, 800), row(4, 0.6, 100, source="known")]
    study = study_rungs((2, 30, 3, trained), own=own)
    assert study.deciding_rung(1000).epochs == 30
    # within 350 the rung has the baseline alone: 60% after 30 epochs; trial 2 was never promoted
    assert study.deciding_rung(350).epochs == 4
    assert study.summarise(350).best.number == 2
    assert study.deciding_rung(150).epochs == 30
    text = " ".join(describe_deciding_rung(study, 350))
    assert "after 4 epochs on 1,294 images, of the search" in text
    assert "Rung @30 does not decide for 350 parameters" in text
    assert "of rung @30: 3 of 3 trained" in " ".join(describe_deciding_rung(study, 1000))
    alone = describe_deciding_rung(study_rungs(), 1000)
    assert alone == [
        "Accuracies after 4 epochs on 1,294 images, of the search: short trainings rank "
        "networks only roughly."
    ]
    assert study.deciding_rung(10).epochs == 4


def test_a_search_is_hopeless_while_all_of_its_first_trials_broke():
    def is_hopeless(*states):
        return study_rungs(own=[row(n, state=state) for n, state in enumerate(states)]).is_hopeless

    broken = ["broken"] * MAX_BROKEN
    assert is_hopeless(*broken)
    assert is_hopeless("failed", *broken, "running", "waiting", "rejected")
    assert not is_hopeless(*broken[1:])
    assert not is_hopeless("complete", *broken)
    assert not is_hopeless(*broken, "pruned")
    assert not is_hopeless()


def test_a_best_one_that_broke_in_the_rung_leaves_the_rung_its_say():
    broken = row(0, 0.0, 900, state="broken", reason="diverged")
    study = study_rungs((2, 30, 2, [broken, row(1, 0.85, 800)]))
    assert study.deciding_rung(1000).epochs == 30
    assert study.summarise(1000).best.number == 1
    assert "1 of 2 trained, 1 broken" in describe_rungs(study)[0]
    all_broken = study_rungs((1, 30, 1, [broken]))
    assert all_broken.deciding_rung(1000).epochs == 4  # it has no accuracy to speak of


BASELINE = {"source": "known", "known_name": "final"}


def compared(study, budget=1000):
    """Which are compared: found, baseline, after how many epochs; and the better."""
    summary = study.summarise(budget)
    rows = (summary.best_found, summary.best_baseline, summary.better)
    found, baseline, better = (item and item.number for item in rows)
    return found, baseline, summary.epochs, better


def test_found_and_baseline_are_compared_in_the_highest_rung_that_has_both():
    own = [*OWN, row(4, 0.85, 500, **BASELINE)]
    assert compared(study_rungs(own=own)) == (0, 4, 4, 0)
    first = [row(0, 0.95, 900), row(4, 0.96, 500, **BASELINE)]
    assert compared(study_rungs((2, 30, 2, first), own=own)) == (0, 4, 30, 4)
    # @100 decides, but has the baseline alone
    second = [row(4, 0.97, 500, **BASELINE)]
    both = study_rungs((2, 30, 2, first), (1, 100, 1, second), own=own)
    assert compared(both) == (0, 4, 30, 4)
    assert both.deciding_rung(1000).epochs == 100
    second += [row(0, 0.98, 900)]
    assert compared(study_rungs((2, 30, 2, first), (1, 100, 1, second), own=own)) == (0, 4, 100, 0)


def test_both_may_be_in_the_rung_alone_and_either_may_be_nowhere():
    broken = [row(0, 0.0, 900, state="broken"), row(4, 0.0, 500, state="broken", **BASELINE)]
    first = [row(0, 0.95, 900), row(4, 0.94, 500, **BASELINE)]
    study = study_rungs((2, 30, 2, first), own=broken)
    assert compared(study)[:3] == (0, 4, 30)
    assert compared(study_rungs((2, 30, 2, [row(0, 0.95, 900)]))) == (0, None, 30, 0)
    only_known = study_rungs(own=[row(4, 0.85, 500, **BASELINE)])
    assert compared(only_known) == (None, 4, 4, 4)


def test_where_the_rung_that_decides_lacks_one_kind_the_better_is_of_the_rung_that_has_both():
    own = [row(0, 0.90, 900), row(4, 0.95, 500, **BASELINE)]
    lost = row(4, 0.0, 500, state="broken", **BASELINE)
    study = study_rungs((2, 30, 2, [row(0, 0.96, 900), lost]), own=own)
    assert study.summarise(1000).best.number == 0  # after 30 epochs
    assert compared(study) == (0, 4, 4, 4)
    # a rung that does not decide yet, its best below being trained still, has both already
    waiting = [
        row(0, None, 900, state="running"),
        row(1, 0.90, 800),
        row(4, 0.91, 500, **BASELINE),
    ]
    study = study_rungs((3, 30, 3, waiting), own=[*OWN, row(4, 0.5, 500, **BASELINE)])
    assert study.summarise(1000).best.number == 0
    assert compared(study) == (1, 4, 30, 4)


def test_the_papers_question_is_answered_from_rungs_above_the_search_alone():
    def rows_of(count):
        nets = [net(width, depth) for depth in (1, 2, 3) for width in (4, 8, 12)][:count]
        return [row(n, 0.5 + n / 100, 950, architecture=a.to_dict()) for n, a in enumerate(nets)]

    own = rows_of(9)
    for study, count in (
        (study_rungs(own=own), 0),
        (study_rungs((7, 30, 7, rows_of(7)), own=own), 7),
    ):
        answer = study.summarise(1000).answer
        assert (answer.verdict, answer.num_candidates) == (TOO_SHORT, count)
        assert (answer.epochs, answer.images, answer.correlations) == (4, 1_294, ())
    higher = study_rungs((8, 30, 8, rows_of(8)), (3, 100, 3, rows_of(3)), own=own)
    answer = higher.summarise(1000).answer
    assert (answer.num_candidates, answer.epochs) == (8, 30)
    assert answer.correlations


def test_the_funnel_and_the_pareto_front_stay_the_searchs():
    study = study_rungs((2, 30, 2, [row(0, 0.95, 900), row(1, 0.99, 800)]))
    summary, own = study.summarise(1000), study_rungs().summarise(1000)
    assert summary.best.number == 1
    assert (summary.funnel, summary.pareto_front) == (own.funnel, own.pareto_front)
    assert len(summary.pareto_front) == 4


def test_the_record_has_every_pair_of_rungs_with_scipys_tau():
    first = [row(0, 0.95, 900), row(1, 0.99, 800), row(2, 0.97, 300)]
    second = [row(1, 0.994, 800), row(2, 0.993, 300)]
    record = rungs_record(study_rungs((3, 30, 3, first), (2, 100, 2, second)), 1000)
    pairs = {(p["low_epochs"], p["high_epochs"]): p for p in record["rank_correlations"]}
    assert set(pairs) == {(4, 30), (4, 100), (30, 100)}
    expected = kendalltau([0.9, 0.8, 0.7], [0.95, 0.99, 0.97]).statistic
    assert pairs[4, 30]["tau"] == pytest.approx(expected)
    assert pairs[30, 100]["tau"] == pytest.approx(1)
    assert [item["counted"] for item in record["rungs"]] == [3, 2]
    assert record["rung"] == "stated@100"
    lines = describe_agreements(study_rungs((3, 30, 3, first)))
    assert "after 4 and 30 epochs: Kendall tau -0.33 over 3 networks, too few" in lines[0]
    bare = rungs_record(study_rungs(), 1000)
    assert (bare["rung"], bare["rungs"], bare["rank_correlations"]) == (None, [], [])


def test_the_time_left_is_the_epochs_left_at_what_the_same_networks_took():
    own = [row(n, 0.9 - n / 10, 100, elapsed_seconds=4.0 * (n + 1)) for n in range(4)]
    begun = [
        row(0, 0.9, num_epochs=30, elapsed_seconds=60.0),
        row(1, 0.5, state="running", num_epochs=10),
    ]
    study = study_rungs((3, 30, 3, begun), (1, 100, None, []), own=own)
    # an epoch of trial n took n + 1 seconds, 2 of trial 0 in the rung; left are 20 epochs of
    # trial 1 and all of trial 2; then trial 0 is promoted
    assert Forecast(study).rung_seconds() == [20 * 2 + 30 * 3, 100 * 2]
    assert Forecast(study).rung_seconds(workers=2) == [65, 200]
    assert Forecast(study_rungs((2, 30, None, []), own=[])).rung_seconds() is None
    assert Forecast(study_rungs()).rung_seconds() == []
    # trials 0 and 1, and one that the search has yet to find, of their cost; late ones weigh most
    own = [replace(item, architecture=SMALL.to_dict()) for item in own[:2]]
    early = study_rungs((3, 10, None, []), own=own, own_num_trials=9)
    assert replace(early, sampled_units=7.0).closed().sampled_units == 7.0
    unknown = 10 * (0.9 * 4 + 8) / (0.9 * 4 + 4)
    assert Forecast(early).rung_seconds() == [pytest.approx(10 * 1 + 10 * 2 + unknown)]


def test_where_rungs_differ_in_images_they_are_said_and_the_time_left_counts_them():
    # a trial of the search: 4 epochs of 1,294 images and 3,882 validated at a third; 4 s
    search = definition(val_images=3 * 1_294)
    own = [row(n, 0.9 - n / 10, 100, elapsed_seconds=4.0) for n in range(4)]
    spec = RungSpec(2, 3, 10 * 1_294)
    trained = [row(0, 0.95, elapsed_seconds=None)]
    rung = Rung(spec, search.at_rung(spec), 2, tuple(trained))
    study = StudyRungs(search, (Rung(None, search, 4, tuple(own)), rung))
    assert Forecast(study).rung_seconds() == [pytest.approx(3 * (10 + 1) / 2)]  # of trial 1
    assert rung.study == "stated@3x12940"
    text = " ".join([*describe_deciding_rung(study, 1000), *describe_agreements(study)])
    assert "after 3 epochs on 12,940 images, of rung @3x12940: 1 of 2 trained" in text
    assert "Ranks after 4 epochs on 1,294 images and 3 on 12,940: 1 trained to the end" in text
    record = rungs_record(study, 1000)
    assert (record["images"], record["rungs"][0]["images"]) == (12_940, 12_940)


def test_a_rungs_fidelity_goes_by_the_images_that_a_training_sees(tmp_path):
    folder, study = create_study(tmp_path)  # 1,294 images, 4 epochs
    storage = open_storage(None, folder.journal)
    found = partial(upper_rungs, definition(), storage, study)
    study.set_user_attr("rungs", "8x8,4x16,2x64")
    assert found() == []
    for epochs in (8, 64):
        ensure_study(f"stated@{epochs}", storage, "validation accuracy")
    assert [(pair[0], pair[1].study_name) for pair in found()] == [
        (pytest.approx(0.25), "stated@8"),  # one doubling of four
        (pytest.approx(1.0), "stated@64"),
    ]
    study.set_user_attr("rungs", "8x3,2x64")  # no longer than a training of the search
    ensure_study("stated@3", storage, "validation accuracy")
    assert [pair[0] for pair in found()] == [1.0]


def test_the_rows_of_a_rung_have_the_estimates_of_the_searchs():
    rung = optuna.create_study(direction="maximize")
    for origin, value in ((3, 0.7), (1, None)):
        state = TrialState.COMPLETE if value else TrialState.RUNNING
        rung.add_trial(create_trial(state=state, value=value, user_attrs={ORIGIN: origin}))
    own = [row(n, 0.5, estimate=0.5 + n / 8, estimate_sd=0.02) for n in range(4)]
    trained, running = read_rung_rows(rung, own)
    assert (trained.number, trained.val_accuracy) == (3, 0.7)
    assert (trained.score, trained.estimate_sd) == (0.875, 0.02)
    assert (running.number, running.estimate) == (1, None)


def test_a_study_from_before_there_were_rungs_has_none():
    assert rungs_of({}) == ()
    assert rungs_of({"rungs": "none"}) == ()
    assert rungs_of({"rungs": "4x3,2x5"}) == (RungSpec(4, 3), RungSpec(2, 5))


def test_a_long_label_of_a_rung_stands_apart_from_what_is_said_of_it():
    spec = RungSpec(8, 10, 60_000)
    rung = Rung(spec, definition().at_rung(spec), None, ())
    study = StudyRungs(definition(), (Rung(None, definition(), 4, ()), rung))
    assert describe_rungs(study)[0].startswith("rung @10x60000 0 of 8 trained")
