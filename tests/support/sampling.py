"""Studies that the sampler tests share: a small real space, a stand-in score, hand-made trials."""

import math

import optuna
from optuna.trial import TrialState, create_trial

from nas.network.architecture import InputSpec
from nas.network.caps import Caps
from nas.samplers import make_sampler
from nas.space import BudgetedSpace, SearchSpace, StageChoices

STAGE = StageChoices(kinds=("basic", "bottleneck"), depths=(1, 2, 3), widths=(8, 16, 24, 32))
SMALL = SearchSpace(stems=("conv3x3",), num_stages=(3,), stages=(STAGE,) * 3)
TINY = SearchSpace(
    stems=("conv3x3",),
    num_stages=(3,),
    stages=(StageChoices(kinds=("basic",), depths=(1,), widths=(8, 16, 24)),) * 3,
)
INPUT = InputSpec(3, 32, 10)


def small_space(budget=60_000):
    return BudgetedSpace(SMALL, INPUT, Caps(budget))


def tiny_space(budget=20_000):
    """27 networks, 19 of them within 20,000 parameters."""
    return BudgetedSpace(TINY, INPUT, Caps(budget))


def score_of(space, choices):
    """A smooth stand-in for accuracy in [0, 1]: more blocks late, more width early."""
    architecture = space.decode(choices)
    first, *_, last = architecture.stages
    return 0.5 + 0.05 * math.log2(first.width) + 0.08 * math.log2(last.depth + 1)


def new_study(sampler, direction="maximize", storage=None, name=None):
    return optuna.create_study(
        direction=direction, sampler=sampler, storage=storage, study_name=name, load_if_exists=True
    )


def ask(study, space):
    return study.ask(dict(space.distributions))


def run(study, space, num_trials, sign=1.0):
    """Train so many more trials by the stand-in score and return their choices."""
    proposed = []
    for _ in range(num_trials):
        trial = ask(study, space)
        study.tell(trial, sign * score_of(space, trial.params))
        proposed.append(dict(trial.params))
    return proposed


def search(name, space, num_trials, seed=0, **settings):
    """Return the choices of a search from its start."""
    return run(new_study(make_sampler(name, [space], seed, **settings)), space, num_trials)


def finished(space, choices, state="complete", score=None, curve=(), reason=None):
    """A finished trial, to be put into a study by hand."""
    states = {"pruned": TrialState.PRUNED, "failed": TrialState.FAIL}
    trial_state = states.get(state, TrialState.COMPLETE)
    is_complete = trial_state == TrialState.COMPLETE
    return create_trial(
        state=trial_state,
        params=choices,
        distributions=dict(space.distributions),
        value=(score_of(space, choices) if score is None else score) if is_complete else None,
        intermediate_values=dict(enumerate(curve)),
        user_attrs={"reason": reason} if reason else {},
    )
