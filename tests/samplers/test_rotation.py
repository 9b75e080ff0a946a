"""The promises of every sampler, kept for several budgets that take turns in one study."""

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from nas.network.caps import Caps
from nas.network.model import build_model
from nas.results.budgets import spread
from nas.samplers import SAMPLERS, make_sampler
from nas.samplers.contract import SpaceExhausted
from nas.space import BudgetedSpace
from tests.support.sampling import INPUT, SMALL, TINY, ask, new_study, run, score_of

ROOT = Path(__file__).resolve().parents[2]
BUDGETS = (12_000, 25_000, 60_000)
every_sampler = pytest.mark.parametrize("name", sorted(SAMPLERS))


def spaces(record=SMALL, budgets=BUDGETS):
    largest = BudgetedSpace(record, INPUT, Caps(budgets[-1]))
    return spread(largest, budgets)


def rotate(name, num_trials, seed=0):
    own = spaces()
    sampler = make_sampler(name, own, seed)
    study = new_study(sampler)
    return study, sampler, run(study, own[-1], num_trials)


def size_of(space, choices):
    return sum(p.numel() for p in build_model(space.decode(choices), INPUT).parameters())


@every_sampler
def test_each_proposal_fits_its_own_target_and_none_comes_twice(name):
    _, sampler, proposed = rotate(name, 60)
    largest = spaces()[-1]
    assert len({largest.key(choices) for choices in proposed}) == 60
    for number, choices in enumerate(proposed):
        assert sampler.proposal(number).arm == number % 3
        assert size_of(largest, choices) <= BUDGETS[number % 3]


@pytest.mark.slow
def test_a_resume_in_another_process_proposes_the_same(tmp_path):
    script = (
        "import sys; from optuna.storages import JournalStorage\n"
        "from optuna.storages.journal import JournalFileBackend\n"
        "from nas.samplers import make_sampler\n"
        "from tests.support.sampling import new_study, run\n"
        "from tests.samplers.test_rotation import spaces\n"
        "for name in sys.argv[2:]:\n"
        "    storage = JournalStorage(JournalFileBackend(sys.argv[1]))\n"
        "    sampler = make_sampler(name, spaces(), 3)\n"
        "    run(new_study(sampler, storage=storage, name=name), spaces()[-1], 7)\n"
    )
    journal = str(tmp_path / "journal.log")
    for _ in range(2):
        words = [sys.executable, "-c", script, journal, *SAMPLERS]
        subprocess.run(words, check=True, cwd=ROOT)
    for name in SAMPLERS:
        study = optuna.load_study(
            study_name=name, storage=JournalStorage(JournalFileBackend(journal)), sampler=None
        )
        _, _, whole = rotate(name, 14, seed=3)
        assert [trial.params for trial in study.get_trials()] == whole


@every_sampler
def test_an_exhausted_target_leaves_its_turn_and_the_last_network_ends_it_well(name):
    own = spaces(TINY, (9_000, 12_000, 20_000))
    sizes = sorted(size_of(own[-1], choices) for choices in own[-1].space.enumerate())
    counts = [sum(size <= space.caps.budget for size in sizes) for space in own]
    assert 0 < counts[0] < counts[2] / 3  # else none is exhausted before its turn comes
    sampler = make_sampler(name, own, 0)
    study = new_study(sampler)
    proposed = run(study, own[-1], counts[2])
    assert len({own[-1].key(choices) for choices in proposed}) == counts[2]
    assert sampler.is_exhausted(study)
    with pytest.raises(SpaceExhausted):
        study.ask()


@every_sampler
@pytest.mark.parametrize("num_before", [0, 30])
def test_eight_asks_without_an_answer_give_eight_networks(name, num_before):
    study, _, _ = rotate(name, num_before)
    largest = spaces()[-1]
    asked = [ask(study, largest).params for _ in range(8)]
    assert len({largest.key(choices) for choices in asked}) == 8
    for number, choices in enumerate(asked, start=num_before):
        assert size_of(largest, choices) <= BUDGETS[number % 3]


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"random"}))
def test_a_strategy_beats_uniform_draws_at_every_target(name):
    largest = spaces()[-1]

    def mean_scores(sampler):
        late = [(n, c) for seed in range(3) for n, c in enumerate(rotate(sampler, 90, seed)[2])]
        return [
            np.mean([score_of(largest, c) for n, c in late if n >= 45 and n % 3 == arm])
            for arm in range(3)
        ]

    for own, uniform in itertools.zip_longest(mean_scores(name), mean_scores("random")):
        assert own > uniform
