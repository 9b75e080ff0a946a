"""What a `search` command line asks for, and the study it means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from nas.confusion import ACCURACY
from nas.data.datasets import Reading, make_reading
from nas.errors import UsageError
from nas.network.caps import Caps
from nas.study.definition import StudyDefinition
from nas.study.folder import (
    StudyFolder,
    data_name,
    default_name,
    find_study,
    require_name,
    studies_folder,
)
from nas.study.pruners import DEFAULT_PRUNER
from nas.study.rungs import RungSpec

DEFAULT_TRIALS = 200
DEFAULTS = {  # of a new study; a field that is not here has its default in `StudyDefinition`
    "space": "resnet",
    "max_macs": None,
    "max_activations": None,
    "dataset": "cifar10",
    "seed": 0,
    "recipe_name": "short",
    "pruner": DEFAULT_PRUNER,
    "over_budget": "resample",
    "known": True,
    "resize": Reading.resize,
    "metric": ACCURACY,
}

READING = ("image_size", "resize", "labels", "group_by", "skip_broken")  # of `Reading`


@dataclass(frozen=True)
class Request:
    """What a command line asks of a study; None is "not given".

    An option of the command line whose name is that of a field arrives here by itself, and one
    that is a field of `StudyDefinition` in `defining`: see `make_request`.

    Args:
        folder: The study's folder; it need not be there yet.
        defining: Values of the study's definition, by field name. A study that was defined with
            another value is not resumed.
        storage: The URL of the store.
        data: Where the data are, an absolute path.
        device: Where its trials train; a field of the plan.
        epochs: Of every trial; a field of the plan.
        folds: Splits that it is trained on; a field of the plan.
        overrides: Of the recipe, as ``field=value``.
        trials_of: Another study, whose plan a new one has and whose trials it takes over.
        sampler: What proposes.
        trials: The trials it is to have in total.
        rungs: The rungs above the search.
        workers: Trainings at once; None is of a CPU's as many as train most in sum.
        time_limit_seconds: No trial is begun that is expected to end later.
        hours: Time limit in hours, by which a new study is sized too.
        gpu_hours: Of the study, after which no trial is begun; infinity lifts the limit.
        track: The trackers of every trial, by name.
        strict: Refuse files of a folder that are no images.
        command: The command line, to be recorded.
    """

    folder: StudyFolder
    defining: Mapping[str, Any] = field(default_factory=dict)
    storage: str | None = None
    data: Path | None = None
    device: str | None = None
    epochs: int | None = None
    folds: int | None = None
    overrides: tuple[str, ...] = ()
    trials_of: str | None = None
    sampler: str | None = None
    trials: int | None = None
    rungs: tuple[RungSpec, ...] | None = None
    workers: int | None = None
    time_limit_seconds: float | None = None
    hours: float | None = None
    gpu_hours: float | None = None
    track: tuple[str, ...] = ()
    strict: bool = False
    command: str = ""

    @property
    def new(self) -> dict[str, Any]:
        """Return what defines a new study as far as it is chosen, by field name."""
        return {**DEFAULTS, **self.defining}

    @property
    def reading(self) -> Reading:
        """Return how the images of a new study are read."""
        return make_reading({**self.new, "strict": self.strict})

    def num_trials(self, current: int | None = None) -> int:
        """Return the trials that the study is to have: as given, else as it was, else 200."""
        return self.trials or current or DEFAULT_TRIALS

    @property
    def caps(self) -> Caps:
        """Return the caps of a new study.

        Raises:
            UsageError: It has no budget.
        """
        new = self.new
        if "budget" not in new:
            raise UsageError(f"a new study {self.folder.name!r} needs a budget; give --budget 5e6")
        return Caps(new["budget"], new["max_macs"], new["max_activations"])


def make_request(values: Mapping[str, Any]) -> Request:
    """Return the request that a command line's values make.

    Args:
        values: By the name of a field of `Request` or of `StudyDefinition`, beside ``study`` and
            ``studies``; None is not given, and other names are left out.

    Raises:
        UsageError: Neither a name nor a budget is given, or the name is no plain folder name; or
            two time limits are given.
    """
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values.items()
        if value is not None
    }
    own = {item.name: given.pop(item.name) for item in fields(Request) if item.name in given}
    if "hours" in own:
        if "time_limit_seconds" in own:
            raise UsageError("--hours is a time limit too; give it or --time-limit, not both")
        own["time_limit_seconds"] = own["hours"] * 3_600.0
    if "data" in own:
        own["data"] = Path(own["data"]).resolve()
    defining = {
        item.name: given[item.name] for item in fields(StudyDefinition) if item.name in given
    }
    name, studies = given.get("study"), studies_folder(given.get("studies"))
    if "trials_of" in own:
        source = own["trials_of"]
        old = find_study(studies, source).load()
        if "space" not in defining and old.space.endswith(".py"):
            raise UsageError(f"--trials-of {source}: give --space, as a file is not run unasked")
        defining = {n: getattr(old, n) for n in (*DEFAULTS, *READING, "budget")} | defining
        own = ({"data": Path(old.data_dir)} if old.data_dir else {}) | own
    if name is None:
        name = _default_name({**DEFAULTS, **defining}, own.get("data"), studies)
    if name == own.get("trials_of"):
        raise UsageError(f"--trials-of {name} is of another study; give a new one by --study NAME")
    return Request(StudyFolder(studies / require_name(name)), defining, **own)


def _default_name(new: Mapping[str, Any], data: Path | None, studies: Path) -> str:
    """Return the name of a study that was given none; an old one of these data has its old name.

    Until 0.2 that said `folder` in place of the data folder's own name.
    """
    if "budget" not in new:
        raise UsageError("a new study needs a budget; give --budget 5e6, or --study to resume one")
    names = (data_name(new["dataset"], data), new["dataset"])
    now, before = (default_name(new["space"], new["budget"], name) for name in names)
    old = StudyFolder(studies / before)
    if data is None or StudyFolder(studies / now).exists or not old.exists:
        return now
    return before if Path(old.load().data_dir or "").name == data.name else now
