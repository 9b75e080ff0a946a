import numpy as np

from nas.samplers.contract import History, Observation, ProposalRequest
from nas.samplers.evolution import NUM_STARTUP_TRIALS, POPULATION_SIZE, EvolutionProposer
from nas.training.result import Ending
from tests.support.sampling import small_space

SPACE = small_space()


def children(observations, num=60):
    history = History(tuple(observations), {}, frozenset())
    request = ProposalRequest(None, None, history, 0, np.random.default_rng(1))
    draws = EvolutionProposer(SPACE).draws(request)
    return [next(draws) for _ in range(num)]


def observe(num, status=Ending.FINISHED, first=0, score=0.5):
    rng = np.random.default_rng(first)
    nets = [SPACE.sample(rng) for _ in range(num)]
    return [
        Observation(first + n, net, SPACE.key(net), score, status) for n, net in enumerate(nets)
    ]


def test_it_starts_uniformly():
    assert children(observe(NUM_STARTUP_TRIALS - 1), 1)[0][0] == "uniform"
    assert children(observe(NUM_STARTUP_TRIALS), 1)[0][0] == "evolution"


def test_the_best_of_the_youngest_breeds_most():
    others = observe(POPULATION_SIZE - 1)
    best = observe(1, first=100, score=0.9)
    drawn = children([*others, *best])
    near = {SPACE.key(choices) for choices in SPACE.neighbours(best[0].choices)}
    share = np.mean([SPACE.key(choices) in near for _, choices in drawn])
    assert share >= 0.15  # one in five tournaments of ten among fifty


def test_the_old_do_not_breed():
    old = observe(1, score=0.9)
    young = observe(POPULATION_SIZE, first=100, score=0.5)
    assert children([*old, *young]) == children(young)


def test_the_pruned_and_the_diverged_do_not_breed():
    complete = observe(20)
    for status in (Ending.STOPPED, Ending.DIVERGED):
        broken = observe(20, status, first=100, score=0.9)
        drawn = children([*complete, *broken])
        near = {SPACE.key(c) for item in complete for c in SPACE.neighbours(item.choices)}
        assert {SPACE.key(choices) for _, choices in drawn} <= near
