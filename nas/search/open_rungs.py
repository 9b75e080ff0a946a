"""The search and its rungs, opened to be trained: a rung is an Optuna study in the same store.

What is promoted is written down, enqueued, before it is trained, and every step is done once
however often it is begun: whoever comes after a crash, or at the same time, does the rest.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from optuna.samplers import RandomSampler

from nas.data.images import Dataset
from nas.errors import StudyMismatchError
from nas.locks import is_held, remove_unheld
from nas.results.estimates import EstimateReader
from nas.results.study_rungs import (
    Rung,
    StudyRungs,
    make_estimates,
    read_study_rungs,
    rungs_of,
)
from nas.search.objective import Objective
from nas.search.prepare import Search
from nas.study import attributes as names
from nas.study.folder import fresh_name
from nas.study.ledger import Ledger
from nas.study.pruners import make_pruner
from nas.study.rungs import RungSpec
from nas.study.storage import ensure_study
from nas.training.batches import place_search_splits

NETWORK_ATTRS = (names.SOURCE, names.KNOWN_NAME, names.ARCHITECTURE)  # what a network takes along


class OpenRungs:
    """The search and its rungs with their trials.

    Args:
        search: The search.
        ledger: Its trials.
    """

    def __init__(self, search: Search, ledger: Ledger) -> None:
        self.search = search
        self.ledgers = {search.definition.name: ledger}  # by Optuna study
        self._estimates = make_estimates(search.definition, ledger.storage)
        self._objectives: dict[str, Objective] = {}
        self._splits: dict[int, list[Dataset]] = {}  # by training images: one a fold

    @property
    def first(self) -> Ledger:
        """Return the trials of the search itself."""
        return self.ledgers[self.search.definition.name]

    def open(self) -> None:
        """Open the rungs that the study has by now, and free what dead processes hold in all.

        To be called under the lock. Their trials are requeued and their lock files removed.

        Raises:
            StudyMismatchError: The store has another study of a rung's name.
        """
        for spec in rungs_of(self.first.study.user_attrs):
            name = self.search.definition.at_rung(spec).name
            if name not in self.ledgers:
                self.ledgers[name] = self._open_rung(name, spec)
        workers = self.first.folder.workers
        abandoned = [path for path in workers.glob("*.lock") if not is_held(path)]
        for ledger in self.ledgers.values():
            ledger.requeue_dead()
        # only now: while a death is not told yet, the file is what shows it
        for path in abandoned:
            remove_unheld(path)

    def clear(self) -> None:
        """Remove what no trial needs; the process that ended the last one may have been killed."""
        for rung in self.read().rungs:
            self.objective(rung).clear(self.ledgers[rung.study].study)

    def read(self) -> StudyRungs:
        """Return the study with its rungs, as it stands."""
        study, definition = self.first.study, self.search.definition
        rows = self._estimates.read(study)
        return read_study_rungs(definition, self.first.storage, study, rows)

    def promote(self, rung: Rung, number: int) -> None:
        """Enqueue a network in a rung.

        Args:
            rung: The rung.
            number: The search's trial that has the network.
        """
        trial = self.first.trials()[number]
        self.ledgers[rung.study].enqueue(trial, NETWORK_ATTRS, {names.ORIGIN: number})

    def objective(self, rung: Rung) -> Objective:
        """Return what trains the trials of a rung."""
        if rung.study not in self._objectives:
            is_first = rung.spec is None
            self._objectives[rung.study] = Objective(
                rung.definition,
                self.ledgers[rung.study].folder,
                self.search.space.space,
                partial(self._place_splits, rung.images),
                self._estimates if is_first else EstimateReader(rung.definition.input_spec),
                self.search.request.track,
            )
        return self._objectives[rung.study]

    def _place_splits(self, train_images: int) -> list[Dataset]:
        """Return the images on the device, placed when they are first trained on."""
        if train_images not in self._splits:
            plan, seed = self.search.definition.plan, self.search.definition.seed
            self._splits[train_images] = [
                place_search_splits(data, seed, train_images, val_images, plan.device)
                for data, val_images in self.search.folds()
            ]
        return self._splits[train_images]

    def _open_rung(self, name: str, spec: RungSpec) -> Ledger:
        """Return the trials of a rung, whose Optuna study is made where it is new."""
        study = ensure_study(name, self.first.storage, self.search.definition.measured)
        study.sampler, study.pruner = RandomSampler(), make_pruner("none", spec.epochs)
        ledger = replace(self.first, study=study, folder=self.first.folder.at_rung(spec))
        owner = self.search.definition.name
        if study.user_attrs.get(names.RUNG_OF) == owner:
            return ledger
        if study.user_attrs or ledger.trials():
            fresh = fresh_name(self.search.folder.path.parent, owner)
            raise StudyMismatchError(
                f"the store has a study {name!r} that is no rung of {owner!r}; give --rungs "
                f"others, or begin another study with --study {fresh}"
            )
        study.set_user_attr(names.RUNG_OF, owner)
        return ledger
