"""What every sampler keeps, whatever its strategy."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from nas.errors import UnknownNameError
from nas.network.architecture import Architecture, Stage, Stem
from nas.network.caps import Caps
from nas.network.complexity import count
from nas.network.identity import identify
from nas.samplers import DEFAULT_SAMPLER, SAMPLERS, make_sampler
from nas.samplers.contract import SpaceExhausted
from nas.samplers.random import draw_choices
from nas.space import BudgetedSpace, load_space
from tests.support.sampling import (
    INPUT,
    ask,
    finished,
    new_study,
    run,
    score_of,
    search,
    small_space,
    tiny_space,
)

ROOT = Path(__file__).resolve().parents[2]
every_sampler = pytest.mark.parametrize("name", sorted(SAMPLERS))


def counted_by_hand(space, choices):
    return count(space.decode(choices), INPUT).num_params


@every_sampler
def test_nothing_over_budget_and_nothing_twice(name):
    space = small_space()
    proposed = search(name, space, 60)
    assert max(counted_by_hand(space, choices) for choices in proposed) <= 60_000
    assert len({identify(space.decode(choices)).id for choices in proposed}) == 60


@every_sampler
def test_the_seed_decides(name):
    space = small_space()
    assert search(name, space, 30, seed=1) == search(name, space, 30, seed=1)
    assert search(name, space, 30, seed=1) != search(name, space, 30, seed=2)


@every_sampler
def test_a_resume_in_another_process_proposes_the_same(name, tmp_path):
    space = small_space()
    whole = search(name, space, 26, seed=3)
    script = (
        "import sys; from optuna.storages import JournalStorage\n"
        "from optuna.storages.journal import JournalFileBackend\n"
        "from nas.samplers import make_sampler\n"
        "from tests.support.sampling import new_study, run, small_space\n"
        "space = small_space(); sampler = make_sampler(sys.argv[1], [space], 3)\n"
        "storage = JournalStorage(JournalFileBackend(sys.argv[2]))\n"
        "run(new_study(sampler, storage=storage, name='s'), space, 13)\n"
    )
    journal = str(tmp_path / "journal.log")
    for _ in range(2):
        subprocess.run([sys.executable, "-c", script, name, journal], check=True, cwd=ROOT)
    study = optuna.load_study(
        study_name="s", storage=JournalStorage(JournalFileBackend(journal)), sampler=None
    )
    assert [trial.params for trial in study.get_trials()] == whole


@every_sampler
def test_it_makes_progress_where_one_choice_in_ten_thousand_fits(name):
    space = BudgetedSpace(load_space("resnet").space, INPUT, Caps(6_000))
    rng = np.random.default_rng(0)
    draws = 20_000
    fitting = sum(space.is_feasible(draw_choices(space.distributions, rng)) for _ in range(draws))
    assert fitting / draws <= 2e-4
    proposed = search(name, space, 30)
    assert len({space.key(choices) for choices in proposed}) == 30
    assert max(counted_by_hand(space, choices) for choices in proposed) <= 6_000
    first = max(score_of(space, choices) for choices in proposed[:5])
    assert max(score_of(space, choices) for choices in proposed) > first


@every_sampler
def test_every_architecture_tried_ends_well(name):
    space = tiny_space()
    widths = (8, 16, 24)
    nets = [_basic_net(row) for row in itertools.product(widths, repeat=3)]
    total = sum(count(net, INPUT).num_params <= 20_000 for net in nets)
    sampler = make_sampler(name, [space], 0)
    study = new_study(sampler)
    proposed = run(study, space, total)
    assert len({space.key(choices) for choices in proposed}) == total
    assert sampler.is_exhausted(study)
    with pytest.raises(SpaceExhausted, match=f"{total} are measured"):
        study.ask()


def _basic_net(widths):
    stages = [Stage("basic", 1, width, 1 if i == 0 else 2) for i, width in enumerate(widths)]
    return Architecture(Stem("conv3x3", widths[0]), tuple(stages))


@every_sampler
@pytest.mark.parametrize("num_before", [0, 30])
@pytest.mark.parametrize("suggested", [True, False])
def test_eight_asks_without_an_answer_give_eight_networks(name, num_before, suggested):
    space = small_space()
    study = new_study(make_sampler(name, [space], 0))
    run(study, space, num_before)
    if suggested:
        asked = [ask(study, space).params for _ in range(8)]
    else:
        trials = [study.ask() for _ in range(8)]
        asked = [_suggest_all(trial, space) for trial in trials]
    assert len({space.key(choices) for choices in asked}) == 8
    assert all(space.is_feasible(choices) for choices in asked)


def _suggest_all(trial, space):
    for name, distribution in space.distributions.items():
        if isinstance(distribution, optuna.distributions.CategoricalDistribution):
            trial.suggest_categorical(name, distribution.choices)
        else:
            trial.suggest_int(name, distribution.low, distribution.high, step=distribution.step)
    return trial.params


@every_sampler
def test_asks_of_several_processes_differ_once_they_are_written(name, tmp_path):
    space = small_space()
    journal = str(tmp_path / "journal.log")
    asked = []
    for _ in range(8):  # a sampler of its own each, as each worker has
        storage = JournalStorage(JournalFileBackend(journal))
        study = new_study(make_sampler(name, [space], 0), storage=storage, name="s")
        asked.append(space.key(ask(study, space).params))
    assert len(set(asked)) == 8


def with_trials(name, space, trials, direction="maximize"):
    study = new_study(make_sampler(name, [space], 0), direction)
    study.add_trials(trials)
    return study


def known_choices(space, num):
    rng = np.random.default_rng(5)
    found = {}
    while len(found) < num:
        choices = space.sample(rng)
        found[space.key(choices)] = space.canonical(choices)
    return list(found.values())


@every_sampler
def test_a_diverged_trial_moves_proposals_like_a_pruned_one(name):
    space = small_space()
    choices = known_choices(space, 31)
    others = [finished(space, item) for item in choices[:29]]
    others.append(finished(space, choices[29], "pruned", curve=(0.1,)))
    diverged = finished(space, choices[30], score=0.0, reason="diverged")
    pruned = finished(space, choices[30], "pruned", curve=(0.1,))
    proposals = [
        [ask(study, space).params for _ in range(6)]
        for study in (
            with_trials(name, space, [*others, diverged]),
            with_trials(name, space, [*others, pruned]),
        )
    ]
    assert proposals[0] == proposals[1]


@every_sampler
def test_a_failed_trial_is_ignored_and_may_come_again(name):
    space = tiny_space()
    choices = known_choices(space, space.num_feasible())
    failed = finished(space, choices[0], "failed")
    study = with_trials(name, space, [failed, *(finished(space, item) for item in choices[1:])])
    assert space.key(ask(study, space).params) == space.key(choices[0])


@every_sampler
def test_the_direction_of_the_study_is_respected(name):
    space = small_space()
    upwards = search(name, space, 30)
    study = new_study(make_sampler(name, [space], 0), "minimize")
    assert run(study, space, 30, sign=-1.0) == upwards


@every_sampler
def test_an_enqueued_network_is_trained_and_not_proposed_again(name):
    space = tiny_space()
    sampler = make_sampler(name, [space], 0)
    study = new_study(sampler)
    wanted = known_choices(space, 1)[0]
    study.enqueue_trial(wanted)
    proposed = run(study, space, space.num_feasible())
    assert proposed[0] == wanted
    assert sampler.proposal(0) is None
    assert len({space.key(choices) for choices in proposed}) == len(proposed)


@every_sampler
def test_refused_draws_leave_no_trace_in_the_study(name):
    space = small_space(6_000)
    sampler = make_sampler(name, [space], 0)
    study = new_study(sampler)
    run(study, space, 40)
    assert all(not trial.system_attrs and not trial.user_attrs for trial in study.get_trials())
    assert len(study.get_trials()) == 40
    for number in range(40):
        proposal = sampler.proposal(number)
        assert proposal.choices == study.get_trials()[number].params


@pytest.mark.parametrize("name", ["tpe", "evolution"])
def test_draws_over_budget_are_counted(name):
    space = small_space(6_000)
    sampler = make_sampler(name, [space], 0)
    run(new_study(sampler), space, 40)
    proposals = [sampler.proposal(number) for number in range(40)]
    if name == "tpe":
        assert sum(proposal.over_budget for proposal in proposals) > 0
    assert sum(proposal.repeats for proposal in proposals) > 0


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_prune_proposes_what_is_over_budget_once(name):
    space = small_space(20_000)
    study = new_study(make_sampler(name, [space], 0, over_budget="prune"))
    keys = []
    for _ in range(60):
        trial = ask(study, space)
        violation = space.violation(trial.params)
        trial.set_constraint("budget", violation)
        keys.append(space.key(trial.params))
        if violation > 0:
            study.tell(trial, state=TrialState.PRUNED)
        else:
            study.tell(trial, score_of(space, trial.params))
    states = [trial.state for trial in study.get_trials()]
    assert TrialState.PRUNED in states
    assert TrialState.COMPLETE in states
    assert len(set(keys)) == 60


@every_sampler
def test_a_name_outside_the_space_is_refused(name):
    space = small_space()
    study = new_study(make_sampler(name, [space], 0))
    trial = study.ask()
    with pytest.raises(RuntimeError, match="'learning_rate'"):
        trial.suggest_float("learning_rate", 0.0, 1.0)


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"random"}))
def test_a_strategy_beats_uniform_draws(name):
    """Mean score of the trials after start-up, over three seeds, on the stand-in score."""
    space = small_space()

    def mean_score(sampler):
        late = [c for seed in range(3) for c in search(sampler, space, 60, seed=seed)[30:]]
        return np.mean([score_of(space, choices) for choices in late])

    assert mean_score(name) > mean_score("random")


def test_the_default_is_a_sampler():
    assert DEFAULT_SAMPLER in SAMPLERS


def test_an_unknown_sampler_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'predictor'"):
        make_sampler("predicter", [small_space()], 0)
