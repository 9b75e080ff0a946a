"""Where the trials of a study stand: each one's estimated score, for whatever names the best.

The most accurate of many single measurements reads high. `nas.samplers.incumbent` says what a
network would score on average; with it the best of a search is nearer to the true best. Regret in
accuracy points of the network that is named after 50 / 100 evaluations of the default sampler, 20
seeds (`benchmarks/incumbent_rules.py`; NAS-Bench-Macro as of 5,000 images, 600 ResNets on digits
as of 1,397):

    named                                Macro p25  p50        p75        digits p50  p75
    the best estimate                    .06 / .06  .01 / .00  .05 / .03  .22 / .21   .15 / .16
    the most accurate                    .03 / .03  .04 / .03  .06 / .04  .28 / .31   .35 / .39
    the smallest within one standard
    error of the most accurate           .36 / .36  .31 / .32  .24 / .23  .41 / .30   .38 / .35

With rungs above the search it is what the network would score in the highest of them, from all
rungs at once, so that what learns fast in a short training does not pass for what ends high.

A study keeps what the model needs to know of its space (`FEATURES`), so that looking at one needs
neither the space's file nor its index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import optuna

from nas.network.architecture import Architecture, InputSpec
from nas.network.complexity import count
from nas.space.features import FeatureLayout
from nas.study.attributes import FEATURES
from nas.study.trials import TrialRow, gather, read_rows
from nas.training.result import Ending

if TYPE_CHECKING:
    from nas.samplers.contract import Observation, UpperRungs
    from nas.samplers.incumbent import Estimate
    from nas.samplers.surrogate import SurrogateFitter
    from nas.space import BudgetedSpace


def record_features(space: BudgetedSpace) -> dict[str, Any]:
    """Return how the networks of a space are described and standardised, as JSON-ready values."""
    from nas.samplers.surrogate import measure_scaling

    return {"layout": asdict(space.layout), "scaling": asdict(measure_scaling(space))}


class EstimateReader:
    """Read the rows of one study with their estimates.

    What is kept between two readings saves time and changes nothing.

    Args:
        input_spec: The input of the study's networks.
        upper: Says which rungs the study has.
    """

    def __init__(self, input_spec: InputSpec, upper: UpperRungs = lambda study: ()) -> None:
        self._input_spec = input_spec
        self._upper = upper
        self._fitter: SurrogateFitter | None = None
        self._cached: tuple[list[Observation], dict[str, Estimate]] = ([], {})

    def read(self, study: optuna.Study) -> list[TrialRow]:
        """Return every trial of the study, by number; complete ones with their estimate.

        A network has one estimate, in the row that `nas.study.trials.gather` has it in.

        Below `nas.samplers.incumbent.MIN_OBSERVATIONS` complete trials, and in a study that was
        begun before features were recorded, there is none: the measured accuracy stands.
        """
        rows = read_rows(study)
        ended = [row for row in gather(rows) if row.architecture is not None]
        observations = [_observe(row) for row in ended]
        for fidelity, rung in sorted(self._upper(study), key=lambda pair: pair[0]):
            above = [row for row in gather(read_rows(rung)) if row.state is Ending.FINISHED]
            observations += [_observe(row, fidelity) for row in above]
        if observations != self._cached[0]:
            record = study.user_attrs.get(FEATURES)
            self._cached = observations, self._estimate(observations, record)
        found = {row.number: self._cached[1].get(row.id) for row in ended}
        return [
            replace(row, estimate=estimate.score, estimate_sd=estimate.sd) if estimate else row
            for row in rows
            for estimate in [found.get(row.number)]
        ]

    def _estimate(
        self, observations: Sequence[Observation], record: Mapping[str, Any] | None
    ) -> dict[str, Estimate]:
        from nas.samplers.incumbent import MIN_OBSERVATIONS, estimate_scores

        own = [item for item in observations if not item.fidelity]
        if record is None or sum(o.status is Ending.FINISHED for o in own) < MIN_OBSERVATIONS:
            return {}
        if self._fitter is None:
            self._fitter = _make_fitter(record, self._input_spec)
        return estimate_scores(self._fitter, observations)


def _make_fitter(record: Mapping[str, Any], input_spec: InputSpec) -> SurrogateFitter:
    """Return the fitter that a study's samplers have, from what the study recorded."""
    import numpy as np

    from nas.samplers.surrogate import Scaling, SurrogateFitter

    layout = FeatureLayout(**{name: _frozen(value) for name, value in record["layout"].items()})
    scaling = Scaling(**{name: tuple(value) for name, value in record["scaling"].items()})

    def features(architecture: Mapping[str, Any]) -> np.ndarray:
        network = Architecture.from_dict(dict(architecture))
        row = layout.columns(network, count(network, input_spec))
        return np.array(list(row.values()))  # (d,)

    return SurrogateFitter(features, lambda: scaling)


def _observe(row: TrialRow, fidelity: float = 0.0) -> Observation:
    """Return a counted trial as the samplers see it, described by its architecture."""
    from nas.samplers.contract import Observation

    assert isinstance(row.state, Ending)
    architecture = dict(row.architecture or {})
    score = row.val_accuracy or 0.0
    return Observation(row.number, architecture, row.id, score, row.state, row.curve, fidelity)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
