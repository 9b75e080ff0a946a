"""Who is promoted to a rung; by hand."""

from dataclasses import replace

from nas.study.candidates import choose_candidates
from tests.support.rows import row


def numbers(rows, count):
    return [item.number for item in choose_candidates(rows, count)]


def test_the_most_accurate_are_promoted_in_order_and_broken_or_pruned_ones_are_not():
    rows = [row(0, 0.5), row(1, 0.8), row(2, 0.7), row(3, 0.9, state="pruned")]
    rows += [row(4, 0.0, state="broken"), row(5, 0.6, source="known")]
    assert numbers(rows, 3) == [1, 2, 5]
    assert numbers(rows, 9) == [1, 2, 5, 0]
    assert numbers([], 3) == []


def test_the_best_baseline_is_promoted_too_and_once():
    rows = [row(0, 0.1, source="known"), row(1, 0.2, source="known"), row(2, 0.8), row(3, 0.7)]
    assert numbers(rows, 2) == [2, 3, 1]
    assert numbers(rows, 3) == [2, 3, 1]


def test_where_only_baselines_are_the_best_found_one_is_promoted_too():
    rows = [row(0, 0.9, source="known"), row(1, 0.3), row(2, 0.4)]
    assert numbers(rows, 1) == [0, 2]


def test_they_are_promoted_by_what_the_study_ranks_them_by():
    estimated = [replace(row(0, 0.9), estimate=0.5), replace(row(1, 0.8), estimate=0.7)]
    assert numbers([*estimated, row(2, 0.6)], 2) == [1, 2]
