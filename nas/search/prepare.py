"""From a request to a search that is ready to run; nothing is written.

A new study's plan is chosen here, once; an existing one's definition is read and compared.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch

import nas
from nas.data.datasets import DATASETS, load_training
from nas.data.images import TrainingData
from nas.data.split import VAL_FRACTION
from nas.errors import UsageError, unknown_name
from nas.network.architecture import Architecture
from nas.network.caps import Caps
from nas.network.identity import identify
from nas.network.presets import PRESETS
from nas.results.budgets import spread
from nas.samplers import SAMPLERS
from nas.search.ahead import lacking, read_ahead
from nas.search.request import (
    DEFAULT_DATASET,
    DEFAULT_RECIPE,
    DEFAULT_SPACE,
    DEFAULT_TRIALS,
    Request,
    study_name,
)
from nas.search.sizing import NUM_SHALLOW_OF, Sizing, size_trials, workers_for
from nas.search.workers import pays_off, usable_cores
from nas.space import BudgetedSpace, LoadedSpace, load_space
from nas.study.folder import Plan, StudyDefinition, StudyFolder, refuse_differences, studies_folder
from nas.study.pruners import DEFAULT_PRUNER, PRUNERS
from nas.study.rungs import check_rungs
from nas.study.storage import canonical_url, require_optuna_5
from nas.training.engine import choose_device
from nas.training.recipe import Recipe, get_recipe, overridden_fields

BASELINE_PRESETS = ("final", "basic-443")
COMPARED = (  # fields of a definition that are compared as the command line gives them
    "budget",
    "targets",
    "max_macs",
    "max_activations",
    "dataset",
    "image_size",
    "seed",
    "pruner",
    "over_budget",
    "audit",
    "known",
)


@dataclass(frozen=True)
class Search:
    """A search that is ready to run; nothing of a new one has been written yet.

    Args:
        definition: The study.
        folder: Its folder.
        is_new: Whether the study does not exist yet.
        loaded: The space's file.
        space: The candidates under their caps.
        data: The training split of the data.
        baselines: Published and baseline networks that fit space and budget, by name.
        workers: Trainings at once.
        is_short: As in `Sizing`.
        sizing: What a new study's plan rests on; None on a resume.
    """

    definition: StudyDefinition
    folder: StudyFolder
    is_new: bool
    loaded: LoadedSpace
    space: BudgetedSpace
    data: TrainingData
    baselines: Mapping[str, Architecture]
    workers: int = 1
    is_short: bool = False
    sizing: Sizing | None = None


def prepare(request: Request) -> Search:
    """Check a request, load its data and choose its plan; nothing is written.

    Raises:
        UsageError: A name is unknown, the budget is below the smallest network, the data are
            unusable, or the rungs of a new study train no fewer networks or no longer than it.
        StudyMismatchError: The study exists and was defined differently.
        StorageError: The study exists and is damaged.
    """
    require_optuna_5()
    _check_names(request)
    folder = StudyFolder(studies_folder(request.studies) / study_name(request))
    if folder.exists:
        return _prepare_resume(request, folder)
    return _prepare_new(request, folder)


def find_baselines(loaded: LoadedSpace, space: BudgetedSpace) -> dict[str, Architecture]:
    """Return the baselines that space and budget hold: the space's own and two presets."""
    candidates = {"baseline": loaded.baseline}
    candidates |= {name: PRESETS[name].architecture for name in BASELINE_PRESETS}
    found: dict[str, Architecture] = {}
    ids: set[str] = set()
    for name, architecture in candidates.items():
        choices = space.encode(architecture)
        if choices is None or not space.is_feasible(choices):
            continue
        own_id = identify(architecture).id
        if own_id not in ids:
            found[name] = architecture
        ids.add(own_id)
    return found


def _check_names(request: Request) -> None:
    for what, name, known in (
        ("data set", request.dataset, DATASETS),
        ("sampler", request.sampler, SAMPLERS),
        ("pruner", request.pruner, PRUNERS),
    ):
        if name is not None and name not in known:
            raise unknown_name(what, name, known)
    get_recipe(request.recipe or DEFAULT_RECIPE).with_overrides(request.overrides)
    if request.audit and request.pruner == "none":
        raise UsageError("--audit checks what a pruner stops, but --pruner none stops nothing")


def _prepare_new(request: Request, folder: StudyFolder) -> Search:
    if request.budget is None:
        raise UsageError(f"a new study {folder.name!r} needs a budget; give --budget 5e6")
    loaded = load_space(request.space or DEFAULT_SPACE)
    row = get_recipe(request.recipe or DEFAULT_RECIPE)
    device = choose_device(request.device or "auto")
    data = load_training(
        request.dataset or DEFAULT_DATASET, _path(request.data), request.image_size
    )
    caps = Caps(request.budget, request.max_macs, request.max_activations)
    space = BudgetedSpace(loaded.space, data.input_spec, caps, loaded.name)
    spread(space, request.targets or ())  # refuses a budget that no network keeps
    baselines = find_baselines(loaded, space) if request.known is not False else {}
    sizing = size_trials(request, device, row, space, data, baselines)
    plan, workers = sizing.plan, (sizing.workers, sizing.is_short)
    check_rungs(request.rungs or (), request.trials or DEFAULT_TRIALS, plan.epochs)
    definition = _define(request, folder, loaded, data, caps, sizing.recipe, plan)
    return Search(definition, folder, True, loaded, space, data, baselines, *workers, sizing)


def _define(
    request: Request,
    folder: StudyFolder,
    loaded: LoadedSpace,
    data: TrainingData,
    caps: Caps,
    recipe: Recipe,
    plan: Plan,
) -> StudyDefinition:
    return StudyDefinition(
        name=folder.name,
        space=_space_reference(request.space or DEFAULT_SPACE),
        space_hash=loaded.content_hash,
        budget=caps.budget,
        max_macs=caps.max_macs,
        max_activations=caps.max_activations,
        dataset=data.name,
        data_dir=str(_path(request.data)) if request.data else None,
        data_fingerprint=data.fingerprint,
        channels=data.input_spec.channels,
        image_size=data.input_spec.image_size,
        num_classes=data.input_spec.num_classes,
        val_fraction=VAL_FRACTION,
        seed=request.seed or 0,
        recipe_name=request.recipe or DEFAULT_RECIPE,
        recipe=recipe.to_dict(),
        pruner=request.pruner or DEFAULT_PRUNER,
        over_budget=request.over_budget or "resample",
        known=request.known is not False,
        storage=canonical_url(request.storage) if request.storage else None,
        plan=plan,
        versions=_versions(),
        command=request.command,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        audit=request.audit or 0.0,
        targets=request.targets or (),
    )


def _prepare_resume(request: Request, folder: StudyFolder) -> Search:
    existing = folder.load()
    loaded = load_space(request.space or existing.space)
    refuse_differences(folder, existing, _given(request, existing, loaded))
    data = load_training(
        existing.dataset, _path(request.data or existing.data_dir), existing.image_size
    )
    refuse_differences(folder, existing, {"data_fingerprint": data.fingerprint})
    choose_device(existing.plan.device)
    space = BudgetedSpace(loaded.space, existing.input_spec, existing.caps, loaded.name)
    baselines = find_baselines(loaded, space) if existing.known else {}
    workers = _resumed_workers(request, existing, folder, space)
    return Search(existing, folder, False, loaded, space, data, baselines, *workers)


def _resumed_workers(
    request: Request, existing: StudyDefinition, folder: StudyFolder, space: BudgetedSpace
) -> tuple[int, bool]:
    """Return how many trainings of a study that exists run at once; and as in `Sizing.is_short`.

    The threads of each are the plan's.
    """
    if request.workers is not None or existing.plan.device != "cpu":
        return request.workers or 1, False
    num_trials, seconds = lacking(read_ahead(existing, folder, request), request)
    rng = np.random.default_rng(existing.seed)
    drawn = [space.decode(space.sample(rng)) for _ in range(NUM_SHALLOW_OF)]
    most = workers_for(drawn, existing.input_spec, existing.recipe["batch_size"])
    workers = max(1, min(usable_cores() // existing.plan.num_threads, most, num_trials))
    is_short = not pays_off(workers, seconds, request.time_limit_seconds)
    return 1 if is_short else workers, is_short


def _given(request: Request, existing: StudyDefinition, loaded: LoadedSpace) -> dict[str, Any]:
    """Return what the command line says of the study's definition, by field name."""
    given: dict[str, Any] = {
        name: getattr(request, name) for name in COMPARED if getattr(request, name) is not None
    }
    if loaded.content_hash != existing.space_hash:  # a file may move; its choices may not change
        given["space_hash"] = loaded.content_hash
        if request.space is not None:
            given["space"] = _space_reference(request.space)
    if request.storage is not None:
        given["storage"] = canonical_url(request.storage)
    if request.epochs is not None:
        given["plan.epochs"] = request.epochs
    if request.device is not None:
        given["plan.device"] = choose_device(request.device)
    if request.recipe is not None:
        given["recipe_name"] = request.recipe
    asked = Recipe.from_dict(existing.recipe).with_overrides(request.overrides).to_dict()
    return given | {f"recipe.{name}": asked[name] for name in overridden_fields(request.overrides)}


def _space_reference(name_or_path: str) -> str:
    """Return a shipped space's name, or the absolute path of a file."""
    if name_or_path.endswith(".py"):
        return str(Path(name_or_path).resolve())
    return name_or_path


def _path(text: str | None) -> Path | None:
    """Return the absolute path that the user means."""
    return Path(text).expanduser().resolve() if text is not None else None


def _versions() -> dict[str, str]:
    return {
        "nas": nas.__version__,
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "optuna": optuna.__version__,
    }
