"""The store of a study, opened so that it can go on: made, mended, requeued, recorded."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import create_trial

from nas.errors import StorageError, StudyMismatchError
from nas.locks import locked
from nas.network.architecture import Architecture
from nas.network.caps import format_percent
from nas.results.estimates import record_features
from nas.samplers import DEFAULT_SAMPLER
from nas.search.ahead import wanted_rungs
from nas.search.prepare import Search, prepare
from nas.signals import InterruptGuard
from nas.study import attributes as names
from nas.study.folder import StudyFolder, fresh_name
from nas.study.ledger import Ledger
from nas.study.rungs import NONE_YET, format_rungs
from nas.study.storage import (
    ensure_study,
    has_study,
    let_readers_and_writers_meet,
    load_study,
    open_storage,
    storage_url,
    store_errors,
    store_file,
)
from nas.study.trials import is_counted
from nas.units import plural

# of a trial, what is its process's and its study's, and not taken over
OWN_ATTRS = (names.WORKER, names.RESUMES, names.DEVICE_SECONDS, names.TARGET_BUDGET)


def open_study(search: Search, guard: InterruptGuard) -> tuple[Search, Ledger]:
    """Open the store, creating folder and study where they are new, and make it ready to go on.

    The trials of dead processes are requeued, the baselines are enqueued, and what the command
    line may change is recorded. A new study that cannot be written
    leaves nothing behind; one that a database has taken stays, and the same command goes on.

    Returns:
        The search, prepared anew where another process made the study in the meantime; and its
        trials.

    Raises:
        StorageError: The store is damaged, unreachable, or may not be written.
        StudyMismatchError: The store holds a study of this name that the folder does not know.
        UsageError: The rungs do not train fewer networks for longer than the search.
    """
    folder = search.folder
    with store_errors(folder.path, search.url), ExitStack() as stack:
        if search.is_new:
            ways = (folder.workers, folder.path, *folder.path.parents)
            missing = [path for path in ways if not path.exists()]
            files = folder.definition, folder.journal, folder.claim_lock
            stack.enter_context(_removed_on_error(*missing))
            stack.enter_context(locked(folder.claim_lock, guard.interruptible))
            if folder.exists:  # made by another process since we looked
                search = prepare(search.asked)
                storage = _open_existing(search)
            elif search.url is None:
                stack.enter_context(_removed_on_error(*files))
                storage = _create(search)
            else:  # once the database has it, its folder must stay: it could not be begun again
                with _removed_on_error(*files):
                    storage = _create(search)
        else:
            storage = _open_existing(search)  # refuses before anything is written
            stack.enter_context(locked(folder.claim_lock, guard.interruptible))
            if search.definition != folder.load():  # with the record of its space
                folder.create(search.definition)
        ledger = load_ledger(search, storage)
        wanted = _settle_changes(ledger.study, search)
        for number in ledger.requeue_dead():
            print(f"trial {number} was killed; its network goes first", file=sys.stderr)
        _take_over_trials(ledger, search)
        _enqueue_baselines(ledger.study, search)
        if names.FEATURES not in ledger.study.user_attrs:
            ledger.study.set_user_attr(names.FEATURES, record_features(search.space))
        _record_changes(ledger.study, wanted)
        return search, ledger


def _create(search: Search) -> BaseStorage:
    """Write a new study: its definition first, so that a crash leaves what can be resumed."""
    name, folder = search.definition.name, search.folder
    if search.url is None:
        folder.create(search.definition)
    storage = open_storage(search.url, folder.journal)
    if has_study(name, storage):
        raise StudyMismatchError(
            f"the store already has a study {name!r} that {folder.path} does not know; begin "
            f"another with --study {fresh_name(folder.path.parent, name)}, or give --studies the "
            "folder in which it was begun"
        )
    let_readers_and_writers_meet(storage)
    if search.url is not None:  # only where the database does not have another of its name
        folder.create(search.definition)
    ensure_study(name, storage, search.definition.measured)
    return storage


def _open_existing(search: Search) -> BaseStorage:
    """Open the store of a study; one that was killed before it had trials is begun anew."""
    definition, folder = search.definition, search.folder
    has_trials = definition.name in folder.trained_studies(definition.name)
    if search.url is None and has_trials and not folder.journal.exists():
        raise StorageError(
            f"{folder.journal} is gone, and with it what the trials in {folder.trials} reached; "
            "restore it from a copy, or start a study under another name"
        )
    storage = open_storage(search.url, folder.journal)
    if has_trials:
        load_study(folder, definition.name, storage)  # refuses what another program took away
    else:
        ensure_study(definition.name, storage, definition.measured)
    return storage


def load_ledger(search: Search, storage: BaseStorage) -> Ledger:
    """Return the trials of a study whose store is open."""
    return Ledger(
        load_study(search.folder, search.definition.name, storage),
        storage,
        search.folder,
        frozenset(search.space.distributions),
        is_local=store_file(search.url, search.folder.journal) is not None,
        seed=search.definition.seed,
    )


@contextmanager
def _removed_on_error(*paths: Path) -> Iterator[None]:
    """Remove the files, and the folders that are empty, of a study that could not be made."""
    try:
        yield
    except BaseException:
        for path in paths:
            if not path.is_dir():
                path.unlink(missing_ok=True)
            elif not any(path.iterdir()):
                path.rmdir()
        raise


def _take_over_trials(ledger: Ledger, search: Search) -> None:
    """Add the trials of another study that count, as far as space and caps hold their networks."""
    study, space, source = ledger.study, search.space, search.asked.trials_of
    if source is None or study.user_attrs.get(names.KNOWN_ENQUEUED):
        return
    folder = StudyFolder(search.folder.path.parent / source)
    old = folder.load()
    storage = open_storage(storage_url(search.asked.storage, old), folder.journal)
    source_study = load_study(folder, old.name, storage)
    trials = [trial for trial in source_study.get_trials() if is_counted(trial)]
    done = {trial.user_attrs.get(names.ID) for trial in ledger.trials()}  # before a kill
    for trial in trials:
        attrs = {name: value for name, value in trial.user_attrs.items() if name not in OWN_ATTRS}
        choices = space.encode(Architecture.from_dict(attrs[names.ARCHITECTURE]))
        if choices is None or not space.is_feasible(choices) or attrs[names.ID] in done:
            continue
        done.add(attrs[names.ID])
        num_params, budget = attrs[names.NUM_PARAMS], search.definition.budget
        attrs[names.BUDGET_PERCENT] = format_percent(num_params, budget)
        study.add_trial(
            create_trial(
                state=trial.state,
                value=trial.value,
                params={name: choices[name] for name in space.distributions},
                distributions=space.distributions,
                user_attrs=attrs,
                intermediate_values=trial.intermediate_values,
            )
        )
    text = f"took over {len(done - {None})} of {plural(len(trials), 'trial')} of {source!r}"
    print(f"{text}; space and caps lack the others", file=sys.stderr)


def _enqueue_baselines(study: optuna.Study, search: Search) -> None:
    if study.user_attrs.get(names.KNOWN_ENQUEUED):
        return
    for name, architecture in search.baselines.items():
        choices = search.space.encode(architecture)
        assert choices is not None
        attrs = {
            names.SOURCE: names.KNOWN,
            names.KNOWN_NAME: name,
            names.ARCHITECTURE: architecture.to_dict(),
        }
        study.enqueue_trial(choices, user_attrs=attrs, skip_if_exists=True)
    if search.sizing is not None:
        study.set_user_attr(names.SAMPLED_UNITS, search.sizing.typical_units)
        study.set_user_attr(names.NUM_NETWORKS, search.space.num_feasible())
    study.set_user_attr(names.KNOWN_ENQUEUED, True)


def _settle_changes(study: optuna.Study, search: Search) -> dict[str, Any]:
    """Return what may change from run to run: as given, else as it was, else its default.

    Raises:
        UsageError: The rungs do not train fewer networks for longer than the search.
    """
    current, request = study.user_attrs, search.request
    hours = current.get(names.DEVICE_HOURS) if request.gpu_hours is None else request.gpu_hours
    rungs = wanted_rungs(search, current)
    is_asked = search.asked.rungs is not None or current.get(names.RUNGS, NONE_YET) != NONE_YET
    return {
        names.SAMPLER: request.sampler or current.get(names.SAMPLER, DEFAULT_SAMPLER),
        # also that there are none yet, and nobody asked for none
        names.RUNGS: format_rungs(rungs) if rungs or is_asked else NONE_YET,
        names.WORKERS: request.workers or "auto",
        names.TIME_LIMIT_SECONDS: request.time_limit_seconds,
        names.DEVICE_HOURS: hours if hours != math.inf else None,  # infinity lifts the limit
        # the last: with it the study is begun in full
        names.TARGET: request.num_trials(current.get(names.TARGET)),
    }


def _record_changes(study: optuna.Study, wanted: Mapping[str, Any]) -> None:
    """Write down what may change from run to run; a change is logged with the trial's number."""
    current, number = study.user_attrs, len(study.get_trials(deepcopy=False))
    for name, value in wanted.items():
        if name in current and current[name] == value:
            continue
        if name in current:
            entry = {"trial": number, "name": name, "from": current[name], "to": value}
            study.set_user_attr(names.CHANGES, [*study.user_attrs.get(names.CHANGES, []), entry])
        study.set_user_attr(name, value)
