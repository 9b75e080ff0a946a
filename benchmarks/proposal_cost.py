"""Milliseconds a sampler takes to propose a network, by the number of finished trials.

usage: python benchmarks/proposal_cost.py [--trials 200 1000] [--proposals 20] [--budget 5M]

The study is in memory and holds uniform feasible networks of `search_spaces/resnet.py`, two
thirds of them pruned, with a stand-in for accuracy (nothing is trained). The first proposal, which
reads the whole history, is left out and shown apart; the medians are over the proposals after it.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from nas.network.architecture import InputSpec
from nas.network.caps import Caps, parse_count
from nas.samplers import SAMPLERS, make_sampler
from nas.space import BudgetedSpace, load_space


def make_trials(space: BudgetedSpace, num_trials: int) -> list[FrozenTrial]:
    """Return finished trials; two of three are pruned at their third epoch."""
    rng = np.random.default_rng(0)
    trials = []
    for number in range(num_trials):
        choices = space.sample(rng)
        score = 0.5 + 0.02 * math.log2(space.complexity(choices).macs) / 10 + 0.01 * rng.normal()
        is_pruned = number % 3 > 0 and number > 10
        curve = {step: score * (step + 1) / 10 for step in range(3 if is_pruned else 10)}
        trials.append(
            create_trial(
                state=TrialState.PRUNED if is_pruned else TrialState.COMPLETE,
                value=None if is_pruned else score,
                params=choices,
                distributions=dict(space.distributions),
                intermediate_values=curve,
            )
        )
    return trials


def time_proposals(
    space: BudgetedSpace, name: str, trials: list[FrozenTrial], num_proposals: int
) -> list[float]:
    """Return the milliseconds of the first proposal and of those after it."""
    study = optuna.create_study(direction="maximize", sampler=make_sampler(name, [space], seed=0))
    study.add_trials(trials)
    milliseconds = []
    for _ in range(num_proposals + 1):
        started_at = time.perf_counter()
        trial = study.ask(dict(space.distributions))
        milliseconds.append(1000 * (time.perf_counter() - started_at))
        study.tell(trial, 0.5)
    return milliseconds


def main() -> None:
    """Print one line per sampler and number of trials."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--proposals", type=int, default=20)
    parser.add_argument("--budget", default="5M")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    caps = Caps(parse_count(args.budget))
    space = BudgetedSpace(load_space("resnet").space, InputSpec(), caps)
    print("sampler    trials  median ms  slowest ms  first ms")
    for num_trials in args.trials:
        trials = make_trials(space, num_trials)
        for name in SAMPLERS:
            first, *others = time_proposals(space, name, trials, args.proposals)
            print(
                f"{name:10} {num_trials:6} {statistics.median(others):10.1f} "
                f"{max(others):11.1f} {first:9.1f}"
            )


if __name__ == "__main__":
    main()
