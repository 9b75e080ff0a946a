"""The rules that name the best of a search, by hand."""

from benchmarks.incumbent_rules import name_best


def test_each_rule_names_the_network_it_says():
    # one standard error of 90% on 100 images is 3 points
    scores = [0.90, 0.88, 0.60, 0.90]
    estimates = [0.85, 0.89, 0.60, 0.87]
    sizes = [900, 500, 100, 700]
    assert name_best(scores, estimates, sizes, 100) == {
        "accurate": 3,  # as accurate as 0, and smaller
        "smallest": 1,
        "estimated": 1,
        "est-small": 1,
    }
    assert name_best(scores, [0.90, 0.89, 0.88, 0.60], sizes, 100)["est-small"] == 2
