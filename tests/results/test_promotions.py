"""Who is promoted to a rung, and when; by hand."""

from dataclasses import replace

from nas.results.study_rungs import Rung, stack_rungs
from nas.study.rungs import RungSpec
from tests.support.rows import row
from tests.support.small_study import definition

SEARCH = definition()


def search(rows, num_trials):
    return Rung(None, SEARCH, num_trials, tuple(rows))


def rung(count, rows=(), num_trials=None, epochs=30):
    spec = RungSpec(count, epochs)
    return Rung(spec, SEARCH.at_rung(spec), num_trials, tuple(rows))


def ended(rows, count, started=()):
    """What a rung gets of a search that has its trials."""
    own = [row for row in rows if row.number in started]
    return rung(count, own).promotions(search(rows, len(rows)))


def test_the_most_accurate_are_promoted_in_order_and_broken_or_pruned_ones_are_not():
    rows = [row(0, 0.5), row(1, 0.8), row(2, 0.7), row(3, 0.9, state="pruned")]
    rows += [row(4, 0.0, state="broken"), row(5, 0.6, source="known")]
    assert ended(rows, 3) == [1, 2, 5]
    assert ended(rows, 9) == [1, 2, 5, 0]
    assert ended([], 3) == []


def test_the_best_baseline_is_promoted_too_and_once():
    rows = [row(0, 0.1, source="known"), row(1, 0.2, source="known"), row(2, 0.8), row(3, 0.7)]
    assert ended(rows, 2) == [2, 3, 1]
    assert ended(rows, 3) == [2, 3, 1]


def test_where_only_baselines_are_the_best_found_one_is_promoted_too():
    rows = [row(0, 0.9, source="known"), row(1, 0.3), row(2, 0.4)]
    assert ended(rows, 1) == [0, 2]


def test_they_are_promoted_by_what_the_study_ranks_them_by():
    estimated = [replace(row(0, 0.9), estimate=0.5), replace(row(1, 0.8), estimate=0.7)]
    assert ended([*estimated, row(2, 0.6)], 2) == [1, 2]


def test_a_rung_gets_the_share_of_its_count_that_the_one_below_has_of_its_trials():
    shares = []
    for num_trained in range(13):
        rows = [row(n, 0.5 + n / 100) for n in range(num_trained)]
        shares.append(len(rung(4).promotions(search(rows, 12))))
    assert shares == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4]


def test_those_that_wait_run_or_broke_are_had_and_those_that_were_withdrawn_are_not():
    rows = [row(n, 0.9 - n / 100) for n in range(12)]
    states = ("waiting", "running", "broken", "failed")
    own = [row(n, None, state=state) for n, state in enumerate(states)]
    assert rung(4, own).promotions(search(rows, 12)) == [3]


def test_the_best_baseline_goes_along_with_the_first_or_when_it_has_ended():
    rows = [row(0, 0.1, source="known"), row(1, 0.8), row(2, 0.7)]
    assert rung(4).promotions(search(rows[:2], 12)) == []
    assert rung(4).promotions(search(rows, 12)) == [1, 0]
    had = row(1, None, state="waiting")
    assert rung(4, [had]).promotions(search(rows, 12)) == [0]
    assert rung(4, [had]).promotions(search(rows[1:], 12)) == []
    other = row(9, 0.05, source="known")
    assert rung(4, [had, other]).promotions(search(rows, 12)) == []  # it has one


def test_a_study_that_is_closed_has_what_its_best_need_to_reach_the_top():
    own = [row(0, 0.1, source="known"), row(1, 0.8), row(2, 0.7), row(3, 0.9)]
    first, top = RungSpec(6, 30), RungSpec(3, 100)
    study = stack_rungs(search(own, 12), [(first, [row(1, 0.5)]), (top, [])])
    assert [item.num_trials for item in study.rungs] == [12, None, None]
    # a third of 6 is 2: trials 1 and 3, and the baseline
    closed = study.closed()
    assert [item.num_trials for item in closed.rungs] == [4, 3, None]
    assert closed.rungs[1].promotions(closed.rungs[0]) == [3, 0]
    assert closed.rungs[2].promotions(closed.rungs[1]) == []
    done = stack_rungs(search(own, 4), [(first, own)])
    assert done.closed() is done


def test_a_network_is_promoted_once_though_another_seed_comes_to_stand_for_it():
    first, again = row(1, 0.7, id="same", seed=1), row(5, 0.8, id="same", seed=2)
    had = row(5, 0.9, id="same", seed=0)
    assert rung(2, [had]).promotions(search([first, row(3, 0.6), again], 3)) == [3]


def test_when_the_rung_below_has_ended_its_best_of_each_kind_are_owed_on_top():
    rows = [row(0, 0.1, source="known"), row(1, 0.2, source="known"), row(2, 0.8), row(3, 0.9)]
    early = [row(0, 0.3, source="known"), row(2, 0.4)]
    assert rung(2, early).promotions(search(rows, 4)) == [3, 1]
    assert rung(2, early).promotions(search(rows, 5)) == []
    assert rung(3, early).promotions(search(rows, 4)) == [3, 1]


def test_a_rung_below_that_is_a_rung_gives_shares_of_its_count_and_ends_with_what_it_is_owed():
    below = [row(0, 0.5), row(1, 0.7), row(2, 0.6)]
    top = rung(2, epochs=100)
    assert top.promotions(rung(4, below)) == [1]
    assert top.promotions(rung(4, below, num_trials=5)) == [1]
    assert top.promotions(rung(4, below, num_trials=3)) == [1, 2]
