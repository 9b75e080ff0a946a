from random import Random

from nas.bench.pairs import interleaved, median_ratio


def test_the_interval_holds_the_true_median_as_often_as_it_says():
    rng = Random(0)
    ones = [1.0] * 9
    hits = 0
    for _ in range(2000):
        ratio = median_ratio([rng.lognormvariate(0, 1) for _ in ones], ones)
        hits += ratio.low <= 1.0 <= ratio.high
    assert hits / 2000 >= 0.95


def test_ratios_are_taken_within_a_pair():
    drift = [1.0, 10.0, 100.0, 1.0, 10.0, 100.0, 1.0]  # the machine's, not the contenders'
    ratio = median_ratio([2 * speed for speed in drift], drift)
    assert ratio == (2.0, 2.0, 2.0)


def test_contenders_take_turns_and_the_order_is_reversed_in_every_second_round():
    order = []

    def contender(number):
        def run():
            order.append(number)
            return float(number)

        return run

    rounds = interleaved([contender(1), contender(2), contender(3)], 3)
    assert rounds == [(1.0, 2.0, 3.0)] * 3
    assert order == [1, 2, 3, 3, 2, 1, 1, 2, 3]
