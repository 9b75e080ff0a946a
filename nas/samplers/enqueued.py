"""The sampler of a rung: it proposes nothing, its study trains what was enqueued."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial

from nas.samplers.contract import SpaceExhausted


class EnqueuedOnly(RandomSampler):
    """Let enqueued trials through, and begin no other."""

    def proposal(self, number: int) -> None:
        """Return None: no choices came from here."""

    def is_exhausted(self, study: optuna.Study) -> bool:
        """Return True: nothing is left to propose."""
        return True

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Refuse a trial that was not enqueued.

        Raises:
            SpaceExhausted: It was not; whoever asked tells it FAIL.
        """
        if not trial.system_attrs.get("fixed_params"):
            raise SpaceExhausted("a rung trains the networks that were chosen for it, no others")

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Refuse: an enqueued network has every choice.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(f"a rung's networks are complete, but one has no {param_name!r}")
