"""From a request to a search that is ready to run; nothing is written.

A new study's plan is chosen here, once; an existing one's definition is read and compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import optuna

from nas.data.datasets import DATASETS, load_training
from nas.data.images import Dataset
from nas.data.split import VAL_FRACTION, num_train, split_folds
from nas.errors import SpaceError, StorageError, UsageError, unknown_name
from nas.network.architecture import Architecture
from nas.network.identity import identify
from nas.network.presets import PRESETS
from nas.results.budgets import spread
from nas.samplers import SAMPLERS
from nas.search.ahead import resumed_workers, wanted_rungs
from nas.search.request import Request
from nas.search.sizing import Sizing, complete_request, size_trials
from nas.space import BudgetedSpace, LoadedSpace, list_spaces, load_space
from nas.space.choices import describe_changes
from nas.study.definition import StudyDefinition
from nas.study.folder import LEAVE_TRIALS, StudyFolder, mismatch, refuse_differences
from nas.study.pruners import PRUNERS
from nas.study.storage import require_optuna_5, shown_url, storage_url
from nas.training.batches import require_subsets
from nas.training.engine import choose_device
from nas.training.recipe import Recipe, get_recipe, overridden_fields
from nas.training.versions import other_torch, versions

BASELINE_PRESETS = ("final", "basic-443")


@dataclass(frozen=True)
class Search:
    """A search that is ready to run; nothing of a new one has been written yet.

    Args:
        asked: What was asked for.
        request: The same, of a new study with what its hours hold.
        definition: The study.
        folder: Its folder.
        url: Its store; None is the journal in its folder.
        space: The candidates under their caps.
        data: The training split of the data.
        baselines: Published and baseline networks that fit space and budget, by name.
        workers: Trainings at once.
        is_short: As in `Sizing`.
        sizing: What a new study's plan rests on; None on a resume.
    """

    asked: Request
    request: Request
    definition: StudyDefinition
    folder: StudyFolder
    url: str | None
    space: BudgetedSpace
    data: Dataset
    baselines: Mapping[str, Architecture]
    workers: int = 1
    is_short: bool = False
    sizing: Sizing | None = None

    @property
    def is_new(self) -> bool:
        """Tell whether the study does not exist yet."""
        return self.sizing is not None

    def folds(self) -> list[tuple[Dataset, int]]:
        """Return the data of every fold, with how many images it is validated on."""
        plan = self.definition.plan
        if plan.folds == 1:
            return [(self.data, plan.val_images)]
        split = split_folds(self.data, self.definition.seed, plan.folds)
        return [(data, data.num_images - len(data.train)) for data in split]


def prepare(request: Request) -> Search:
    """Check a request, load its data and choose its plan; nothing is written.

    Raises:
        UsageError: A name is unknown, the budget is below the smallest network, the data are
            unusable or too few for a subset of the search or of a rung, or the rungs of a new
            study train no fewer networks or no longer than it.
        StudyMismatchError: The study exists and was defined differently, or begun with a
            PyTorch whose numbers differ.
        StorageError: The study exists and is damaged.
    """
    require_optuna_5()
    _check_names(request)
    search = _prepare_resume(request) if request.folder.exists else _prepare_new(request)
    plan, rungs = search.definition.plan, search.request.rungs or ()
    sizes = {plan.train_images, *(rung.images or plan.train_images for rung in rungs)}
    by_fold = [
        require_subsets(data, search.definition.seed, sizes, val_images)
        for data, val_images in search.folds()
    ]
    counts = map(sum, zip(*by_fold, strict=True))
    named = dict(zip(search.data.train.class_names, counts, strict=True))
    return replace(search, definition=replace(search.definition, class_counts=named))


def find_baselines(loaded: LoadedSpace, space: BudgetedSpace) -> dict[str, Architecture]:
    """Return the baselines that space and budget hold: the space's own and two presets."""
    candidates = {"baseline": loaded.baseline}
    candidates |= {name: PRESETS[name].architecture for name in BASELINE_PRESETS}
    found: dict[str, Architecture] = {}
    ids: set[str] = set()
    for name, architecture in candidates.items():
        choices, own_id = space.encode(architecture), identify(architecture).id
        if choices is not None and space.is_feasible(choices) and own_id not in ids:
            found[name] = architecture
            ids.add(own_id)
    return found


def _check_names(request: Request) -> None:
    new = request.new
    for what, name, known in (
        ("data set", new["dataset"], DATASETS),
        ("sampler", request.sampler, SAMPLERS),
        ("pruner", new["pruner"], PRUNERS),
    ):
        if name is not None and name not in known:
            raise unknown_name(what, name, known)
    get_recipe(new["recipe_name"]).with_overrides(request.overrides)
    if new.get("audit") and new["pruner"] == "none":
        raise UsageError("--audit checks what a pruner stops, but --pruner none stops nothing")


def _prepare_new(request: Request) -> Search:
    new, caps, folder = request.new, request.caps, request.folder
    url = storage_url(request.storage, None)
    shown = shown_url(url) if url else None  # refuses what is no URL
    loaded = load_space(new["space"])
    device = choose_device(request.device or "auto")
    data = load_training(new["dataset"], request.data, request.reading)
    space = BudgetedSpace(loaded.space, data.input_spec, caps, loaded.name)
    spread(space, new.get("targets", ()))  # refuses a budget that no network keeps
    baselines = find_baselines(loaded, space) if new["known"] else {}
    sizing = size_trials(request, device, space, data, baselines)
    if request.trials_of is not None:
        old = _comparable(request, loaded, data)
        sizing = replace(sizing, plan=old.plan, recipe=Recipe.from_dict(old.recipe))
    folds = sizing.plan.folds
    found_out = {
        **asdict(data.input_spec),
        "class_counts": None,  # known once the plan is checked
        **loaded.to_dict(),
        "name": folder.name,
        "space": _space_reference(new["space"]),
        "space_hash": loaded.content_hash,
        "data_dir": str(request.data) if request.data else None,
        "data_fingerprint": data.fingerprint,
        "num_broken": data.train.num_broken,
        "val_fraction": VAL_FRACTION if folds == 1 else 1 / folds,
        "recipe": sizing.recipe.to_dict(),
        "storage": shown,
        "plan": sizing.plan,
        "versions": versions() | {"optuna": optuna.__version__},
        "command": request.command,
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    definition = StudyDefinition(**{**new, **found_out})
    num_networks = space.num_feasible()
    fitted = complete_request(request, sizing, num_train(data, folds, new["seed"]), num_networks)
    search = Search(request, fitted, definition, folder, url, space, data, baselines)
    wanted_rungs(search, {})  # refuses rungs that cannot be
    return replace(search, workers=sizing.workers, is_short=sizing.is_short, sizing=sizing)


def _comparable(request: Request, loaded: LoadedSpace, data: Dataset) -> StudyDefinition:
    """Return the study whose trials a new one takes over.

    Raises:
        StudyMismatchError: A request differs in how networks are trained or measured.
    """
    folder = StudyFolder(request.folder.path.parent / str(request.trials_of))
    old = folder.load()
    given = _given(request, old, loaded)
    refuse_differences(folder, old, {n: v for n, v in given.items() if n not in LEAVE_TRIALS})
    if data.fingerprint != old.data_fingerprint:
        text = _other_images(old, "has trials on other images than --data has now")
        raise mismatch(folder, f"{text}. Leave --trials-of out")
    return old


def _prepare_resume(request: Request) -> Search:
    folder = request.folder
    existing = folder.load()
    if reason := other_torch(existing.versions):
        raise mismatch(folder, reason)
    loaded = _load_space(folder, existing, request.defining.get("space"))
    shown = shown_url(existing.storage) if existing.storage else None  # older ones keep more
    refuse_differences(folder, replace(existing, storage=shown), _given(request, existing, loaded))
    if loaded.content_hash != existing.space_hash:
        text = f"was begun before its space {existing.space} was changed"
        text += f" ({_space_changes(existing, loaded)})"
        advice = "Undo that" if existing.space_baseline is None else "Leave --space out"
        raise mismatch(folder, f"{text}. {advice} to resume it", fits=True)
    if "space" in request.defining and existing.space_baseline is None:
        existing = replace(existing, **loaded.to_dict())
    data_dir = request.data or (Path(existing.data_dir) if existing.data_dir else None)
    labels = request.defining.get("labels") or existing.reading_at(data_dir).labels
    reading = replace(existing.reading, labels=labels, strict=request.strict)
    data = load_training(existing.dataset, data_dir, reading)
    if data.fingerprint != existing.data_fingerprint:
        now, before = (str(path or existing.dataset) for path in (data_dir, existing.data_dir))
        moved = f"--data: {before} -> {now}" if now != before else f"{now} has changed"
        text = _other_images(existing, f"was begun with other images ({moved})")
        raise mismatch(folder, f"{text}. Give --data with those to resume it")
    if data.input_spec != existing.input_spec:
        text = f"{folder.definition} is damaged: it has {existing.input_spec}, the images are"
        raise StorageError(f"{text} {data.input_spec}; restore it from a copy")
    where = str(data_dir) if data_dir else None  # the same images, elsewhere: from now on there
    existing = replace(existing, data_dir=where, labels=labels)
    choose_device(existing.plan.device)
    space = BudgetedSpace(loaded.space, existing.input_spec, existing.caps, loaded.name)
    baselines = find_baselines(loaded, space) if existing.known else {}
    url = storage_url(request.storage, existing)
    search = Search(request, request, existing, folder, url, space, data, baselines)
    workers, is_short = resumed_workers(search)
    return replace(search, workers=workers, is_short=is_short)


def _load_space(folder: StudyFolder, existing: StudyDefinition, given: str | None) -> LoadedSpace:
    """Return a study's space: of the file on the command line, else as the study keeps it.

    The file that `study.json` names is not run: it is code, and either may be another's.
    """
    if given is not None:
        return load_space(given)
    name, lists, baseline = existing.space, existing.space_lists, existing.space_baseline
    if lists is None or baseline is None:  # begun before they were kept
        if name in list_spaces():
            return load_space(name)
        text = f"keeps no record of its space, and {name} is code, which is not run unasked. Give"
        raise mismatch(folder, f"{text} `search` that --space if you trust it")
    try:
        loaded = LoadedSpace.from_record(Path(name).stem, lists, baseline)
        if loaded.content_hash == existing.space_hash:
            return loaded
        raise SpaceError("space_lists and space_hash do not go together")
    except UsageError as error:
        text = f"the space in {folder.definition} cannot be used: {error}; it was left as it is"
        raise StorageError(f"{text}; restore it from a copy, or begin another study") from error


def _given(request: Request, existing: StudyDefinition, loaded: LoadedSpace) -> dict[str, Any]:
    """Return what the command line says of the study's definition, by field name."""
    given = dict(request.defining)
    if existing.labels is not None:
        given.pop("labels", None)  # a table may move; the images tell whether it says the same
    space = _space_reference(given.pop("space", existing.space))
    # a file may move; its choices may not change
    if loaded.content_hash != existing.space_hash and space != existing.space:
        given["space"] = f"{space} ({_space_changes(existing, loaded)})"
    if request.storage is not None:
        given["storage"] = shown_url(request.storage)
    if request.epochs is not None:
        given["plan.epochs"] = request.epochs
    if request.folds is not None:
        given["plan.folds"] = request.folds
    if request.device is not None:
        given["plan.device"] = choose_device(request.device)
    asked = Recipe.from_dict(existing.recipe).with_overrides(request.overrides).to_dict()
    return given | {f"recipe.{name}": asked[name] for name in overridden_fields(request.overrides)}


def _space_changes(existing: StudyDefinition, loaded: LoadedSpace) -> str:
    before = existing.space_lists  # None: begun before they were recorded
    return (before and describe_changes(before, loaded.space.to_lists())) or "how is not recorded"


def _other_images(existing: StudyDefinition, text: str) -> str:
    """Return that a study has other images, or reads the same ones as nas 0.1 did."""
    began = existing.versions.get("nas", "")
    if existing.dataset != "folder" or not began.startswith("0.1."):
        return text
    return (
        f"was begun with nas {began}, and images are read otherwise since 0.2 (transparency, more "
        f"than 8 bits, equal images, @eaDir and the like); if it has none of these, it {text}"
    )


def version_notes(existing: StudyDefinition) -> list[str]:
    """Return in one line with which other versions a study was begun, or nothing."""
    here = versions() | {"optuna": optuna.__version__}
    pairs = [(name, existing.versions.get(name, now), now) for name, now in here.items()]
    others = [f"{name} {began} (here {now})" for name, began, now in pairs if began != now]
    return [f"the study was begun with {', '.join(others)}"] if others else []


def _space_reference(name_or_path: str) -> str:
    """Return a shipped space's name, or the absolute path of a file."""
    return str(Path(name_or_path).resolve()) if name_or_path.endswith(".py") else name_or_path
