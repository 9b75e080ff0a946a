"""The search, then each rung, opened once the one below has its trials.

A rung is an Optuna study of its own in the same store. Which networks it trains is written down
before they are enqueued, and every step is done once however often it is begun: whoever comes
after a crash, or at the same time, does the rest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from optuna.trial import TrialState

from nas.errors import StudyMismatchError
from nas.results.estimates import EstimateReader
from nas.results.study_rungs import basis_of, read_rung_rows, rungs_of
from nas.samplers.enqueued import EnqueuedOnly
from nas.search.prepare import Search
from nas.signals import InterruptGuard
from nas.study import attributes as names
from nas.study.candidates import choose_candidates
from nas.study.folder import fresh_name
from nas.study.ledger import Ledger
from nas.study.lineage import list_requeued
from nas.study.pruners import make_pruner
from nas.study.rungs import RungSpec, rung_study
from nas.study.storage import ensure_study, load_study
from nas.study.trials import TrialRow, is_counted

NETWORK_ATTRS = (names.SOURCE, names.KNOWN_NAME, names.ARCHITECTURE)  # what a network takes along


@dataclass(frozen=True)
class OpenRung:
    """The search, or one of its rungs, with its trials.

    Args:
        search: What defines its trainings.
        ledger: Its trials.
        spec: What it trains; None is the search itself.
    """

    search: Search
    ledger: Ledger
    spec: RungSpec | None = None

    @property
    def lacks_trials(self) -> bool:
        """Tell whether it has fewer trials than it is to have."""
        num_trials: int = self.ledger.study.user_attrs[names.TARGET]
        return sum(map(is_counted, self.ledger.trials())) < num_trials

    def rows(self) -> list[TrialRow]:
        """Return its trials, under the numbers of the search's."""
        study = self.ledger.study
        if self.spec is not None:
            return read_rung_rows(study)
        return EstimateReader(self.search.definition.input_spec).read(study)


def fill_rungs(first: OpenRung, guard: InterruptGuard) -> Iterator[OpenRung]:
    """Yield the search and then its rungs; each is filled when it is asked for.

    Raises:
        StudyMismatchError: The store has another study of a rung's name.
    """
    yield first
    below = first
    for spec in rungs_of(first.ledger.study.user_attrs):
        with guard.deferred():
            below = _open_rung(first, below, spec)
        yield below


def _open_rung(first: OpenRung, below: OpenRung, spec: RungSpec) -> OpenRung:
    with first.ledger.lock():
        ensure_study(rung_study(first.search.definition.name, spec), first.ledger.storage)
        rung = _load(first, spec)
        _claim_name(first, rung)
        _fill(first, rung, _choose(below, rung, spec))
    return rung


def _load(first: OpenRung, spec: RungSpec) -> OpenRung:
    """Return a rung whose study exists."""
    definition = first.search.definition.at_rung(spec)
    folder = first.search.folder.at_rung(spec)
    study = load_study(
        definition.name,
        first.ledger.storage,
        EnqueuedOnly(),
        make_pruner(definition.pruner, spec.epochs),
    )
    search = replace(first.search, definition=definition, folder=folder, baselines={}, sizing=None)
    return OpenRung(search, replace(first.ledger, study=study, folder=folder), spec)


def _claim_name(first: OpenRung, rung: OpenRung) -> None:
    """Make sure that the Optuna study of a rung's name is this study's rung."""
    study, owner = rung.ledger.study, first.search.definition.name
    if study.user_attrs.get(names.RUNG_OF) == owner:
        return
    if study.user_attrs or rung.ledger.trials():
        folder = first.search.folder.path
        raise StudyMismatchError(
            f"the store has a study {study.study_name!r} that is no rung of {owner!r}; give "
            f"--rungs others, or begin another study with --study "
            f"{fresh_name(folder.parent, owner)}"
        )
    study.set_user_attr(names.RUNG_OF, owner)


def _choose(below: OpenRung, rung: OpenRung, spec: RungSpec) -> list[int]:
    """Return the search's trials that a rung trains again, and write them down.

    They stay while the rung below and the rung's count do.
    """
    rows, study = below.rows(), rung.ledger.study
    basis = basis_of(below.ledger.study.study_name, rows, spec)
    recorded = study.user_attrs.get(names.CANDIDATES, {})
    if recorded.get("basis") != basis:
        chosen = choose_candidates(rows, spec.count)
        recorded = {"basis": basis, "trials": [row.number for row in chosen]}
        study.set_user_attr(names.CANDIDATES, recorded)
    return list(recorded["trials"])


def _fill(first: OpenRung, rung: OpenRung, chosen: list[int]) -> None:
    """Enqueue the chosen networks that no trial has; take back the waiting ones of others."""
    ledger = rung.ledger
    for trial in ledger.trials(TrialState.WAITING):
        if trial.user_attrs.get(names.ORIGIN) not in chosen:
            ledger.discard_waiting(trial.number, "no longer among the best of the rung below")
    trials = ledger.trials()
    # FAIL trials whose network will be tried again: `enqueue_retries` enqueues it, not this
    continued = {trial.number for trial in list_requeued(trials)}
    held = [
        trial
        for trial in trials
        if not trial.state.is_finished() or is_counted(trial) or trial.number in continued
    ]
    origins = [trial.user_attrs.get(names.ORIGIN) for trial in held]
    own = {trial.number: trial for trial in first.ledger.trials()}
    for number in chosen:
        if number not in origins:
            ledger.enqueue(own[number], NETWORK_ATTRS, {names.ORIGIN: number})
    # what was trained for an earlier choice stays and counts on top
    num_trials = len(chosen) + sum(origin not in chosen for origin in origins)
    if ledger.study.user_attrs.get(names.TARGET) != num_trials:
        ledger.study.set_user_attr(names.TARGET, num_trials)
