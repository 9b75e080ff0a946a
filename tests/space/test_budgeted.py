import random
import time

import numpy as np
import pytest

from nas.errors import BudgetError, InfeasibleError
from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.network.caps import Caps
from nas.network.complexity import count
from nas.network.identity import identify
from nas.samplers.contract import CandidateSpace
from nas.space import BudgetedSpace, SearchSpace, StageChoices, load_space
from nas.space.budgeted import UNBUILDABLE

RESNET = load_space("resnet").space
SPACE = BudgetedSpace(RESNET, InputSpec(), Caps(1_000_000), "resnet")


def draw_any(rng, space=RESNET):
    return {choice.name: rng.choice(choice.values) for choice in space.choices}


def choices_of(*stages, stem="conv3x3", dropout=0.0):
    """Canonical choices of the resnet space; a stage is (kind, depth, width)."""
    built = tuple(
        Stage(kind, depth, width, 1 if index == 0 else 2, dropout=dropout)
        for index, (kind, depth, width) in enumerate(stages)
    )
    return RESNET.encode(Architecture(Stem(stem, built[0].width), built))


def test_a_budgeted_space_is_what_a_sampler_asks_for():
    space: CandidateSpace = SPACE  # mypy is not run on tests: the names are looked at below
    names = [name for name in vars(CandidateSpace) if not name.startswith("_")]
    assert names
    assert all(hasattr(space, name) for name in names)


def test_key_and_counts_are_those_of_the_network():
    rng = random.Random(0)
    for _ in range(200):
        choices = draw_any(rng)
        architecture = RESNET.decode(choices)
        complexity = count(architecture)
        for _ in range(2):  # the second time from memory
            assert SPACE.key(choices) == identify(architecture).id
            assert SPACE.num_params(choices) == complexity.num_params
            assert SPACE.complexity(choices).macs == complexity.macs
        assert SPACE.violation(choices) == complexity.num_params / 1_000_000 - 1
        assert SPACE.is_feasible(choices) == (complexity.num_params <= 1_000_000)


def test_the_order_of_the_choices_does_not_matter():
    choices = draw_any(random.Random(0))
    turned = dict(reversed(choices.items()))
    assert SPACE.key(turned) == SPACE.key(choices)
    assert SPACE.features(turned).tolist() == SPACE.features(choices).tolist()


def test_the_violation_is_that_of_the_worst_cap():
    choices = choices_of(*[("basic", 2, 16)] * 3)
    complexity = count(RESNET.decode(choices))
    caps = Caps(2 * complexity.num_params, complexity.macs // 2, 3 * complexity.activations)
    space = BudgetedSpace(RESNET, InputSpec(), caps)
    assert space.violation(choices) == pytest.approx(1.0, rel=1e-3)
    assert not space.is_feasible(choices)


def test_a_budget_is_inclusive():
    choices = choices_of(*[("basic", 2, 16)] * 3)
    exactly = count(RESNET.decode(choices)).num_params
    assert BudgetedSpace(RESNET, InputSpec(), Caps(exactly)).is_feasible(choices)
    assert not BudgetedSpace(RESNET, InputSpec(), Caps(exactly - 1)).is_feasible(choices)


def test_a_network_whose_map_vanishes_is_over_the_budget():
    space = BudgetedSpace(RESNET, InputSpec(image_size=2), Caps(10**9))
    vanishing = choices_of(*[("basic", 1, 8)] * 3, stem="conv5x5")
    assert space.violation(vanishing) == UNBUILDABLE
    with pytest.raises(InfeasibleError, match="vanishes"):
        space.num_params(vanishing)
    assert space.decode(space.repair(vanishing)).stem.kind == "conv3x3"
    rng = np.random.default_rng(0)
    assert {space.decode(space.sample(rng)).stem.kind for _ in range(50)} == {"conv3x3"}


@pytest.mark.parametrize(
    ("caps", "reason"),
    [
        (Caps(725), "'resnet' has 726 parameters, and budget is 725; set budget to 726 or"),
        (Caps(5_000_000, max_macs=1000), r"'resnet' has \d+,\d+ multiply-adds, and max_macs is"),
        (Caps(5_000_000, max_activations=10), "activations, and max_activations is 10"),
    ],
)
def test_an_impossible_budget_is_refused_with_the_smallest_network(caps, reason):
    started = time.process_time()
    with pytest.raises(BudgetError, match=reason):
        BudgetedSpace(RESNET, InputSpec(), caps, "resnet")
    assert time.process_time() - started < 1


def test_the_smallest_network_fits_a_budget_of_its_size():
    space = BudgetedSpace(RESNET, InputSpec(), Caps(726))
    assert space.num_feasible() >= 1
    assert space.num_params(space.sample(np.random.default_rng(0))) == 726


def test_caps_that_no_network_keeps_together_are_refused():
    # the fewest parameters need a stem that leaves a large map, the fewest multiply-adds do not
    space = SearchSpace(("conv3x3", "conv5x5"), (StageChoices(("basic",), (1,), (16,)),))
    small, large = sorted(count(space.decode({"stem": stem})) for stem in space.stems)
    assert small.macs > large.macs
    BudgetedSpace(space, InputSpec(), Caps(small.num_params, small.macs))
    with pytest.raises(BudgetError, match="keeps all caps together: budget"):
        BudgetedSpace(space, InputSpec(), Caps(small.num_params, large.macs))


def test_an_input_no_network_can_take_is_refused():
    space = SearchSpace(("conv5x5",), (StageChoices(("basic",), (1,), (16,)),))
    with pytest.raises(InfeasibleError, match="no network of space 'tiny' can be built at 2x2"):
        BudgetedSpace(space, InputSpec(image_size=2), Caps(10**6), "tiny")


# -- near a candidate -----------------------------------------------------------------------------


def test_neighbours_are_distinct_other_networks_of_the_space():
    rng = random.Random(1)
    for _ in range(50):
        choices = RESNET.canonical(draw_any(rng))
        near = SPACE.neighbours(choices)
        keys = {SPACE.key(entry) for entry in near}
        assert len(keys) == len(near) > 10
        assert SPACE.key(choices) not in keys
        assert all(RESNET.canonical(entry) == entry for entry in near)


def test_neighbours_change_one_thing_by_one_step():
    choices = choices_of(("basic", 3, 16), ("basic", 3, 32), ("bottleneck", 3, 64))
    near = [RESNET.decode(entry) for entry in SPACE.neighbours(choices)]
    stages = [architecture.stages[2] for architecture in near if len(architecture.stages) == 3]
    assert {stage.depth for stage in stages} == {2, 3, 4, 7}
    assert {stage.width for stage in stages} == {48, 64, 96}
    assert {stage.kind for stage in stages} == {"basic", "bottleneck"}
    assert {architecture.stem.kind for architecture in near} == {"conv3x3", "conv5x5"}
    grown = [architecture for architecture in near if len(architecture.stages) == 4]
    assert [architecture.stages[3] for architecture in grown] == [Stage("bottleneck", 1, 64, 2)]


def test_a_neighbour_s_neighbours_lead_back():
    choices = choices_of(*[("basic", 3, 32)] * 4)
    current = RESNET.decode(choices)
    for entry in SPACE.neighbours(choices):
        if len(RESNET.decode(entry).stages) == 4:
            assert current in [RESNET.decode(back) for back in SPACE.neighbours(entry)]


def test_mutations_stay_within_the_budget():
    rng = np.random.default_rng(0)
    for _ in range(100):
        choices = SPACE.sample(rng)
        mutated = SPACE.mutate(choices, rng)
        assert SPACE.is_feasible(mutated)
        assert SPACE.key(mutated) != SPACE.key(choices)


def test_mutations_are_repeatable_and_varied():
    choices = SPACE.sample(np.random.default_rng(0))
    drawn = [SPACE.key(SPACE.mutate(choices, np.random.default_rng(s))) for s in range(40)]
    again = [SPACE.key(SPACE.mutate(choices, np.random.default_rng(s))) for s in range(40)]
    assert drawn == again
    assert len(set(drawn)) > 8


def test_what_fits_is_not_repaired():
    rng = np.random.default_rng(0)
    for _ in range(50):
        choices = SPACE.sample(rng)
        assert SPACE.repair(choices) == SPACE.canonical(choices)


@pytest.mark.parametrize(
    "caps", [Caps(1_000_000), Caps(20_000), Caps(726), Caps(300_000, 5_000_000, 40_000)], ids=str
)
def test_repairing_ends_within_the_caps_and_is_idempotent(caps):
    space = BudgetedSpace(RESNET, InputSpec(), caps)
    rng = random.Random(2)
    for _ in range(10):
        choices = draw_any(rng)
        small = space.repair(choices)
        assert space.is_feasible(small)
        assert space.repair(small) == small
        assert space.repair(choices) == small


def test_repairing_keeps_kinds_stem_and_stages_and_most_of_the_budget():
    rng, shares = random.Random(3), []
    for _ in range(40):
        choices = RESNET.canonical(draw_any(rng))
        if SPACE.is_feasible(choices):
            continue
        small = SPACE.repair(choices)
        before, after = RESNET.decode(choices), RESNET.decode(small)
        assert after.stem.kind == before.stem.kind
        assert [s.kind for s in after.stages] == [s.kind for s in before.stages]
        assert after.stages[0].dropout == before.stages[0].dropout
        shares.append(SPACE.num_params(small) / 1_000_000)
    assert len(shares) > 10
    assert np.median(shares) > 0.8


# -- features -------------------------------------------------------------------------------------


def test_features_are_the_logarithms_and_shares_their_names_say():
    choices = choices_of(
        ("basic", 2, 16), ("bottleneck", 6, 64), ("basic", 4, 32), dropout=0.1, stem="conv5x5"
    )
    complexity = count(RESNET.decode(choices))
    features = SPACE.layout.columns(RESNET.decode(choices), complexity)
    assert SPACE.features(choices).tolist() == list(features.values())
    assert features["log_params"] == pytest.approx(np.log2(complexity.num_params))
    assert features["log_macs"] == pytest.approx(np.log2(complexity.macs))
    assert features["log_total_depth"] == pytest.approx(np.log2(12))
    assert features["mean_log_width"] == pytest.approx((2 * 4 + 6 * 6 + 4 * 5) / 12)
    assert features["bottleneck_share"] == 0.5
    assert features["dropout"] == 0.1
    assert features["num_stages"] == 3
    assert (features["conv3x3"], features["conv5x5"]) == (0, 1)
    assert features["stage2_log_width"] == 6
    assert features["stage2_log_depth"] == pytest.approx(np.log2(7))
    assert (features["stage2_basic"], features["stage2_bottleneck"]) == (0, 1)
    assert features["stage4_log_width"] == features["stage3_log_width"]
    assert features["stage4_log_depth"] == features["stage4_basic"] == 0


def test_features_are_of_the_network_and_not_of_the_choices():
    rng = random.Random(4)
    for _ in range(50):
        choices = draw_any(rng)
        same = SPACE.canonical(choices)
        assert SPACE.features(choices).tolist() == SPACE.features(same).tolist()


def test_features_tell_networks_of_every_kind_and_kernel_apart():
    stage = StageChoices(("basic", "basic_se"), (1, 2), (8, 16), (3, 5))
    space = BudgetedSpace(
        SearchSpace(("conv3x3", "conv5x5"), (stage,) * 2, (1, 2), (0.0, 0.1)),
        InputSpec(),
        Caps(10**9),
    )
    rows = {tuple(space.features(choices)) for choices in space.feasible_set.enumerate()}
    assert len(rows) == space.feasible_set.num_distinct() == space.num_feasible() == 4 * (16 + 256)


# -- cost -----------------------------------------------------------------------------------------


def test_parameters_and_key_of_a_candidate_take_microseconds():
    rng = np.random.default_rng(0)
    drawn = [SPACE.sample(rng) for _ in range(3000)]
    fresh = BudgetedSpace(RESNET, InputSpec(), Caps(1_000_000))
    seconds = []
    for start in range(0, 3000, 500):  # the fastest of six: other processes slow this one down
        started = time.process_time()
        for choices in drawn[start : start + 500]:
            fresh.num_params(choices)
            fresh.key(choices)
        seconds.append((time.process_time() - started) / 500)
    assert min(seconds) < 150e-6  # 35 on a quiet machine
