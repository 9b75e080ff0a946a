"""A search from its request to its last trial: create or resume, preflight, workers, the end."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from optuna.storages import BaseStorage

import nas
from nas.architecture import Architecture
from nas.batches import place_search_parts
from nas.budget import Caps
from nas.data.datasets import DATASETS, load_training
from nas.data.records import TrainingData
from nas.data.split import VAL_FRACTION, train_and_val
from nas.device import Engine, choose_device
from nas.errors import RunError, StorageError, UsageError, unknown_name
from nas.interrupt import InterruptGuard
from nas.objective import Objective
from nas.plan import (
    Speed,
    choose_plan,
    choose_threads,
    fit_batch,
    mean_speed,
    measure_speed,
)
from nas.presets import PRESETS
from nas.progress import ProgressLine
from nas.pruners import DEFAULT_PRUNER, PRUNERS, make_pruner
from nas.recipe import Recipe, get_recipe
from nas.samplers import DEFAULT_SAMPLER, SAMPLERS, make_sampler
from nas.space import BudgetedSpace, LoadedSpace, load_space
from nas.storage import load_study, open_storage, repair_journal, without_password
from nas.study import (
    StudyDefinition,
    StudyFolder,
    default_name,
    refuse_differences,
    require_name,
    studies_folder,
)
from nas.trials import KNOWN, KNOWN_NAME, SOURCE, read_rows
from nas.worker import Assignment, revive_dead, run_worker

DEFAULT_SPACE, DEFAULT_DATASET, DEFAULT_RECIPE, DEFAULT_TRIALS = "resnet", "cifar10", "short", 200
KNOWN_PRESETS = ("final", "basic-443")
NUM_PROBES = 4
POLL_SECONDS = 1.0
TARGET, SAMPLER, CHANGES = "target_trials", "sampler", "changes"  # attributes of the Optuna study
KNOWN_ENQUEUED = "known_enqueued"


@dataclass(frozen=True)
class Request:
    """What the command line asks for; None is "not given"."""

    study: str | None = None
    studies: str | None = None
    storage: str | None = None
    space: str | None = None
    budget: int | None = None
    max_macs: int | None = None
    max_activations: int | None = None
    dataset: str | None = None
    data: str | None = None
    image_size: int | None = None
    device: str | None = None
    seed: int | None = None
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    epochs: int | None = None
    pruner: str | None = None
    over_budget: str | None = None
    known: bool | None = None
    sampler: str | None = None
    trials: int | None = None
    workers: int = 1
    time_limit_seconds: float | None = None
    command: str = ""


@dataclass(frozen=True)
class Search:
    """A search that is ready to run; nothing of a new one has been written yet.

    Args:
        definition: The study.
        folder: Its folder.
        is_new: Whether the study does not exist yet.
        loaded: The space's file.
        space: The candidates under their caps.
        data: The training part of the data.
        known: Known networks that fit space and budget, by name.
        speeds: How long sampled networks take; empty on a resume.
        known_speeds: How long the known ones take; empty on a resume.
    """

    definition: StudyDefinition
    folder: StudyFolder
    is_new: bool
    loaded: LoadedSpace
    space: BudgetedSpace
    data: TrainingData
    known: Mapping[str, Architecture]
    speeds: tuple[Speed, ...] = ()
    known_speeds: tuple[Speed, ...] = ()


def prepare(request: Request) -> Search:
    """Check a request, load its data and choose its plan; nothing is written.

    Raises:
        UsageError: A name is unknown, the budget is below the smallest network, or the data are
            unusable.
        StudyMismatchError: The study exists and was defined differently.
        StorageError: The study exists and is damaged.
    """
    _check_names(request)
    folder = StudyFolder(studies_folder(request.studies) / study_name(request))
    if folder.exists:
        return _prepare_resume(request, folder)
    return _prepare_new(request, folder)


def _check_names(request: Request) -> None:
    for what, name, known in (
        ("data set", request.dataset, DATASETS),
        ("sampler", request.sampler, SAMPLERS),
        ("pruner", request.pruner, PRUNERS),
    ):
        if name is not None and name not in known:
            raise unknown_name(what, name, known)
    if request.recipe is not None:
        get_recipe(request.recipe)


def study_name(request: Request) -> str:
    """Return the name of the study that a request means.

    Raises:
        UsageError: Neither a name nor a budget is given, or the name is no plain folder name.
    """
    if request.study is not None:
        return require_name(request.study)
    if request.budget is None:
        raise UsageError("a new study needs a budget; give --budget 5e6, or --study to resume one")
    return require_name(
        default_name(
            request.space or DEFAULT_SPACE, request.budget, request.dataset or DEFAULT_DATASET
        )
    )


def _prepare_new(request: Request, folder: StudyFolder) -> Search:
    if request.budget is None:
        raise UsageError(f"a new study {folder.name!r} needs a budget; give --budget 5e6")
    caps = Caps(request.budget, request.max_macs, request.max_activations)
    loaded = load_space(request.space or DEFAULT_SPACE)
    dataset = request.dataset or DEFAULT_DATASET
    base_recipe = get_recipe(request.recipe or DEFAULT_RECIPE)
    recipe = base_recipe.with_overrides(request.overrides)
    device = choose_device(request.device or "auto")
    data = load_training(dataset, _path(request.data), request.image_size)
    space = BudgetedSpace(loaded.space, data.input_spec, caps, loaded.name)
    known = find_known(loaded, space) if request.known is not False else {}
    rng = np.random.default_rng(request.seed or 0)
    probes = [space.decode(space.sample(rng)) for _ in range(NUM_PROBES)]
    most = max(1, (os.cpu_count() or 1) // request.workers)
    threads = choose_threads(probes[:2], data.input_spec, recipe, device, most)
    engine = Engine(device, threads)
    sampled, known_speeds = (
        tuple(measure_speed(item, data.input_spec, recipe, engine) for item in architectures)
        for architectures in (probes, known.values())
    )
    train, val = train_and_val(data, request.seed or 0)
    plan = choose_plan(engine, mean_speed(sampled), len(train), len(val), request.epochs)
    if not any(text.split("=")[0].strip() == "batch_size" for text in request.overrides):
        recipe = fit_batch(recipe, plan.train_images)
    definition = StudyDefinition(
        name=folder.name,
        space=_space_reference(request.space or DEFAULT_SPACE),
        space_hash=loaded.content_hash,
        budget=caps.budget,
        max_macs=caps.max_macs,
        max_activations=caps.max_activations,
        dataset=dataset,
        data_dir=str(Path(request.data).resolve()) if request.data else None,
        data_fingerprint=data.fingerprint,
        channels=data.input_spec.channels,
        image_size=data.input_spec.image_size,
        num_classes=data.input_spec.num_classes,
        val_fraction=VAL_FRACTION,
        seed=request.seed or 0,
        recipe_name=base_recipe.name,
        recipe=recipe.to_dict(),
        pruner=request.pruner or DEFAULT_PRUNER,
        over_budget=request.over_budget or "resample",
        known=request.known is not False,
        storage=without_password(request.storage) if request.storage else None,
        plan=plan,
        versions=_versions(),
        command=request.command,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return Search(
        definition, folder, True, loaded, space, data, known, sampled, known_speeds
    )


def _prepare_resume(request: Request, folder: StudyFolder) -> Search:
    existing = folder.load()
    loaded = load_space(request.space or existing.space)
    given: dict[str, Any] = {
        name: getattr(request, name)
        for name in (
            "budget",
            "max_macs",
            "max_activations",
            "dataset",
            "image_size",
            "seed",
            "pruner",
            "over_budget",
            "known",
        )
        if getattr(request, name) is not None
    }
    if request.space is not None:
        given["space"] = _space_reference(request.space)
    if request.storage is not None:
        given["storage"] = without_password(request.storage)
    if request.epochs is not None:
        given["plan.epochs"] = request.epochs
    if request.device is not None:
        given["plan.device"] = choose_device(request.device)
    if request.recipe is not None:
        given["recipe_name"] = request.recipe
    asked = Recipe.from_dict(existing.recipe).with_overrides(request.overrides).to_dict()
    given |= {
        f"recipe.{name}": value
        for name, value in asked.items()
        if value != existing.recipe.get(name)
    }
    refuse_differences(folder, existing, {"space_hash": loaded.content_hash, **given})
    data = load_training(
        existing.dataset, _path(request.data or existing.data_dir), existing.image_size
    )
    refuse_differences(folder, existing, {"data_fingerprint": data.fingerprint})
    choose_device(existing.plan.device)
    space = BudgetedSpace(loaded.space, existing.input_spec, existing.caps, loaded.name)
    known = find_known(loaded, space) if existing.known else {}
    return Search(existing, folder, False, loaded, space, data, known)


def find_known(loaded: LoadedSpace, space: BudgetedSpace) -> dict[str, Architecture]:
    """Return the known networks that space and budget hold: the baseline and two presets."""
    candidates = {"baseline": loaded.baseline}
    candidates |= {name: PRESETS[name].architecture for name in KNOWN_PRESETS}
    found: dict[str, Architecture] = {}
    for name, architecture in candidates.items():
        choices = space.encode(architecture)
        if choices is not None and space.is_feasible(choices):
            found[name] = architecture
    return found


def open_study(search: Search, request: Request) -> tuple[optuna.Study, BaseStorage]:
    """Open the store, creating folder and study where they are new, and make it ready to go on.

    A torn journal is mended, the trials of dead processes are given back, the known networks are
    enqueued, and target and sampler are recorded.

    Raises:
        StorageError: The store is damaged, unreachable, or may not be written.
    """
    definition, folder = search.definition, search.folder
    if search.is_new:
        folder.create(definition)
    url = request.storage or definition.storage
    if url is None:
        copy = repair_journal(folder.journal)
        if copy is not None:
            print(f"a torn last line was cut off the journal; copy: {copy}", file=sys.stderr)
    storage = open_storage(url, folder.journal)
    try:
        study = optuna.create_study(
            study_name=definition.name, storage=storage, direction="maximize", load_if_exists=True
        )
        for number in revive_dead(study, storage):
            print(f"trial {number} was killed; its network goes first", file=sys.stderr)
        _enqueue_known(study, search)
        _record_changes(study, request)
    except OSError as error:
        raise StorageError(f"cannot write the study {folder.path}: {error.strerror}") from error
    return study, storage


def run(search: Search, request: Request, console: Any) -> str:
    """Run a search to its target, its time limit or the last network of its space.

    Args:
        search: The prepared search.
        request: Target, workers and time limit.
        console: The rich console of the progress line.

    Returns:
        Why it stopped, one of the constants of `nas.worker`.

    Raises:
        KeyboardInterrupt: A signal came; the state is saved.
        NasError: A trial failed for a reason outside its network.
    """
    limit = request.time_limit_seconds
    deadline = time.monotonic() + limit if limit is not None else None
    with InterruptGuard() as guard:
        with guard.deferred():
            study, storage = open_study(search, request)
        target = int(study.user_attrs[TARGET])
        progress = ProgressLine(
            console,
            target,
            search.definition.budget,
            search.definition.plan.val_images,
            request.workers,
        )
        with progress:
            progress.update(read_rows(study))
            if request.workers > 1:
                return _run_processes(search, request, study, progress, deadline)

            def on_change(text: str) -> None:
                progress.show_now(text)
                if not text:
                    progress.update(read_rows(study))

            assignment = make_assignment(search, study, storage, deadline, on_change)
            return run_worker(assignment, guard)


def work(request: Request) -> str:
    """Work on a study that exists as one more process, without a progress line.

    Returns:
        Why it stopped, one of the constants of `nas.worker`.

    Raises:
        KeyboardInterrupt: A signal came; the state is saved.
        NasError: The study is absent or damaged, or a trial failed outside its network.
    """
    search = prepare(request)
    limit = request.time_limit_seconds
    deadline = time.monotonic() + limit if limit is not None else None
    with InterruptGuard() as guard:
        storage = open_storage(request.storage or search.definition.storage, search.folder.journal)
        study = load_study(search.definition.name, storage)
        assignment = make_assignment(search, study, storage, deadline, lambda text: None)
        return run_worker(assignment, guard)


def make_assignment(
    search: Search,
    study: optuna.Study,
    storage: BaseStorage,
    deadline: float | None,
    on_change: Any,
) -> Assignment:
    """Return what a worker in this process works on; the images go onto the device."""
    definition = search.definition
    plan = definition.plan
    sampler = make_sampler(
        study.user_attrs[SAMPLER],
        search.space,
        definition.seed,
        "prune" if definition.over_budget == "prune" else "resample",
    )
    parts = place_search_parts(
        search.data, definition.seed, plan.train_images, plan.val_images, plan.device
    )
    own = optuna.load_study(
        study_name=study.study_name,
        storage=storage,
        sampler=sampler,
        pruner=make_pruner(definition.pruner, plan.epochs),
    )
    objective = Objective(definition, search.folder, search.loaded.space, parts)
    target = int(study.user_attrs[TARGET])
    return Assignment(own, storage, sampler, objective, target, deadline, on_change)


def _run_processes(
    search: Search,
    request: Request,
    study: optuna.Study,
    progress: ProgressLine,
    deadline: float | None,
) -> str:
    """Start worker processes and show what they do until all have ended."""
    from nas.worker import FINISHED, TIME_LIMIT

    processes = [_start_worker(search, request, deadline) for _ in range(request.workers)]
    try:
        while any(process.poll() is None for process in processes):
            progress.update(read_rows(study))
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        raise
    progress.update(read_rows(study))
    failed = [process.returncode for process in processes if process.returncode not in (0, 130)]
    if failed:
        raise RunError(f"{len(failed)} of {len(processes)} workers failed; their text is above")
    if any(process.returncode == 130 for process in processes):
        raise KeyboardInterrupt
    over = deadline is not None and time.monotonic() >= deadline
    return TIME_LIMIT if over else FINISHED


def _start_worker(
    search: Search, request: Request, deadline: float | None
) -> subprocess.Popen[bytes]:
    root = str(Path(nas.__file__).resolve().parent.parent)
    words = [sys.executable, "-m", "nas", "worker", "--study", search.definition.name]
    words += ["--studies", str(search.folder.path.parent)]
    if request.data is not None:
        words += ["--data", request.data]
    if deadline is not None:
        words += ["--time-limit", f"{max(deadline - time.monotonic(), 1.0):.0f}s"]
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path}
    if request.storage is not None:
        environment["NAS_STORAGE"] = request.storage  # NOTE: not in argv, it may hold a password
    return subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)


def _enqueue_known(study: optuna.Study, search: Search) -> None:
    if study.user_attrs.get(KNOWN_ENQUEUED):
        return
    for name, architecture in search.known.items():
        choices = search.space.encode(architecture)
        assert choices is not None
        study.enqueue_trial(
            choices, user_attrs={SOURCE: KNOWN, KNOWN_NAME: name}, skip_if_exists=True
        )
    study.set_user_attr(KNOWN_ENQUEUED, True)


def _record_changes(study: optuna.Study, request: Request) -> None:
    """Write target and sampler into the study; a change is logged with the trial's number."""
    current = study.user_attrs
    wanted = {
        TARGET: request.trials or current.get(TARGET, DEFAULT_TRIALS),
        SAMPLER: request.sampler or current.get(SAMPLER, DEFAULT_SAMPLER),
    }
    for name, value in wanted.items():
        if current.get(name) == value:
            continue
        if name in current:
            entry = {
                "trial": len(study.get_trials(deepcopy=False)),
                "name": name,
                "from": current[name],
                "to": value,
            }
            study.set_user_attr(CHANGES, [*study.user_attrs.get(CHANGES, []), entry])
        study.set_user_attr(name, value)


def _space_reference(name_or_path: str) -> str:
    """Return a shipped space's name, or the absolute path of a file."""
    if name_or_path.endswith(".py"):
        return str(Path(name_or_path).resolve())
    return name_or_path


def _path(text: str | None) -> Path | None:
    return Path(text) if text is not None else None


def _versions() -> dict[str, str]:
    return {
        "nas": nas.__version__,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "optuna": optuna.__version__,
    }


def quote_command(words: Sequence[str]) -> str:
    """Return a command line as it can be typed again."""
    return "python cli.py " + " ".join(shlex.quote(word) for word in words)
