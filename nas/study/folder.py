"""A study's folder and its definition: what makes two searches the same search.

`study.json` holds everything that defines a study, the plan chosen at its creation included, so
that the same command line resumes it and a different one is refused before anything is written.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.data.datasets import DATASETS
from nas.errors import StorageError, StudyMismatchError, UsageError, shown, unknown_name
from nas.files import write_text_atomically
from nas.printing import program
from nas.study.definition import StudyDefinition
from nas.study.rungs import RungSpec

DEFINITION_FILE = "study.json"
JOURNAL_FILE = "journal.log"
DEFAULT_FOLDER = "studies"
OTHER_FOLDERS = ("retrain", "reproduce", "lr-range")  # beside the studies, of other commands
FOLDER_VARIABLE, STORAGE_VARIABLE = "NAS_STUDIES", "NAS_STORAGE"
_OPTIONS = {"recipe_name": "--recipe", "known": "--no-baselines"}  # where not the field's name


@dataclass(frozen=True)
class StudyFolder:
    """The paths of one study; nothing is created by naming them."""

    path: Path
    rung: RungSpec | None = None  # whose trials are meant; None is the search itself

    def at_rung(self, spec: RungSpec) -> StudyFolder:
        """Return the same folder as the trials of a rung use it."""
        return replace(self, rung=spec)

    @property
    def name(self) -> str:
        """Return the study's name."""
        return self.path.name

    @property
    def definition(self) -> Path:
        """Return the path of `study.json`."""
        return self.path / DEFINITION_FILE

    @property
    def journal(self) -> Path:
        """Return the path of the Optuna journal."""
        return self.path / JOURNAL_FILE

    @property
    def exists(self) -> bool:
        """Tell whether a study lives here."""
        return self.definition.exists() or self.journal.exists()

    @property
    def trials(self) -> Path:
        """Return the folder of the trials' folders."""
        if self.rung is not None:
            return self.path / "rungs" / self.rung.label
        return self.path / "trials"

    @property
    def workers(self) -> Path:
        """Return the folder of the lock files."""
        return self.path / "workers"

    @property
    def claim_lock(self) -> Path:
        """Return the file that the processes of a study lock in turn."""
        return self.workers / "turn.lock"

    def trained_studies(self, name: str) -> dict[str, Path]:
        """Return which Optuna studies have trials here, and where: the study's own and rungs'."""
        rungs = {f"{name}@{path.name}": path for path in self.path.glob("rungs/*")}
        owners = {name: self.path / "trials", **rungs}
        return {study: path for study, path in owners.items() if any(path.glob("*"))}

    def trial(self, number: int) -> Path:
        """Return the folder of a trial."""
        return self.trials / str(number)

    def tracking(self, name: str) -> Path:
        """Return the folder of a trial's experiment trackers; it stays when the trial's goes."""
        return self.path / "tracking" / self.trials.relative_to(self.path) / name

    def load(self) -> StudyDefinition:
        """Read the study's definition.

        Raises:
            StorageError: The file is absent, damaged, of a newer version, or may not be read.
        """
        try:
            definition = StudyDefinition.from_json(self.definition.read_text())
            require_name(definition.name)
            return definition
        except FileNotFoundError as error:
            raise StorageError(
                f"{self.path} holds a journal but no {DEFINITION_FILE}; restore the file from a "
                "copy, or start a study under another name"
            ) from error
        except OSError as error:
            raise StorageError(f"cannot read {self.definition}: {error.strerror}") from error
        except (UsageError, ValueError, TypeError, RecursionError) as error:
            raise StorageError(
                f"{self.definition} is damaged and was left as it is: {error}; restore it from a "
                "copy, or start a study under another name"
            ) from error

    def create(self, definition: StudyDefinition) -> None:
        """Write the definition into the folder, which exists; with a URL it is its owner's alone.

        Raises:
            StorageError: The folder may not be written, or the disk is full.
        """
        mode = 0o644 if definition.storage is None else 0o600
        write_text_atomically(self.definition, definition.to_json(), mode)


def studies_folder(given: str | None) -> Path:
    """Return where studies live: as given, else `NAS_STUDIES`, else ``./studies``."""
    return Path(given or os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)


def default_name(space: str, budget: int, dataset: str) -> str:
    """Return the name of a study that was given none, ``<space>-<budget>-<dataset>``."""
    stem = _plain(Path(space).stem).lstrip("._@-") or "space"
    for scale, suffix in ((10**6, "M"), (10**3, "k")):
        if budget % scale == 0:
            return f"{stem}-{budget // scale}{suffix}-{dataset}"
    return f"{stem}-{budget}-{dataset}"


def data_name(dataset: str, data_dir: Path | None) -> str:
    """Return what data are called in a name: a user's folder by its own name."""
    if dataset != "folder" or data_dir is None:
        return dataset
    name = _plain(data_dir.resolve().name)[:40].strip("._@-")
    is_taken = name in DATASETS and name != dataset  # a folder called cifar10 is not CIFAR-10
    return f"{name}-{dataset}" if is_taken else name or dataset


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._@-]", "-", text)


def require_name(name: str) -> str:
    """Return a study's name, checked to be a plain folder name.

    Raises:
        UsageError: The name has characters that do not belong in a folder's name or a URL.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}", name):
        raise UsageError(
            "a study's name has letters, digits, '.', '_', '-' and '@', at most 100 and first a "
            f"letter or digit, but got {shown(name)}"
        )
    return name


def fresh_name(folder: Path, name: str) -> str:
    """Return the first of name-2, name-3, ... that no study has."""
    number = 2
    while (folder / f"{name}-{number}").exists():
        number += 1
    return f"{name}-{number}"


def find_study(folder: Path, name: str | None) -> StudyFolder:
    """Return the study of a name, or the one that was written last.

    Raises:
        UsageError: There is none.
    """
    studies = list_studies(folder)
    where = f"--studies DIR or ${FOLDER_VARIABLE} names another folder"
    if not studies:
        wanted = f"study {require_name(name)!r}, nor any other," if name is not None else "study"
        raise UsageError(
            f"no {wanted} in {folder.absolute()}; {where}, and `{program()} search --budget 5e6` "
            "begins a study"
        )
    if name is None:
        return max(studies, key=_last_written)
    found = {study.name: study for study in studies}
    if name not in found:
        error = unknown_name("study", name, found)
        raise UsageError(f"{error}; looked in {folder.absolute()}: {where}")
    return found[name]


def list_studies(folder: Path) -> list[StudyFolder]:
    """Return the studies of a folder, by name."""
    if not folder.is_dir():
        return []
    found = (StudyFolder(path) for path in sorted(folder.iterdir()) if path.is_dir())
    return [study for study in found if study.exists]


def _last_written(study: StudyFolder) -> float:
    paths = (study.journal, study.definition, study.claim_lock, study.trials)
    return max(path.stat().st_mtime for path in paths if path.exists())


# what may differ between two studies whose trials can be compared: which networks are proposed
LEAVE_TRIALS = {
    *("space", "budget", "max_macs", "max_activations", "targets"),
    *("pruner", "over_budget", "known", "audit"),
}


def refuse_differences(
    folder: StudyFolder, existing: StudyDefinition, given: Mapping[str, Any]
) -> None:
    """Refuse to resume a study with values that define it differently.

    Args:
        folder: Where the study lives.
        existing: Its definition.
        given: The values on the command line, by field name; a field of the plan or of the
            recipe is named ``plan.epochs`` or ``recipe.learning_rate``.

    Raises:
        StudyMismatchError: A value differs; every option that differs is shown and a fresh
            name proposed.
    """
    owners = {"": vars(existing), "plan": vars(existing.plan), "recipe": existing.recipe}
    options, differing = [], set()
    for name, value in given.items():
        owner, _, field = name.rpartition(".")
        option = f"--set {field}" if owner == "recipe" else f"--{field.replace('_', '-')}"
        option, current = _OPTIONS.get(name, option), owners[owner].get(field)
        if current != value:
            differing.add(name)
            options.append(f"{option}: {_as_typed(name, current)} -> {_as_typed(name, value)}")
    if options:
        text = f"exists and was defined differently: {'; '.join(options)}. Leave these out"
        fits = differing <= LEAVE_TRIALS
        raise mismatch(folder, f"{text} to resume it", fits=fits)


def mismatch(folder: StudyFolder, text: str, *, fits: bool = False) -> StudyMismatchError:
    """Return the error of a study that is not resumed: what differs, and what to do beside it.

    Args:
        folder: Where the study lives.
        text: What differs.
        fits: Whether another study may take over its trials.
    """
    name, fresh = folder.name, fresh_name(folder.path.parent, folder.name)
    text = f"study {name!r} {text}, or begin another with --study {fresh}"
    more = f", and --trials-of {name} for those of its trials that fit"
    return StudyMismatchError(f"{text}{more * fits}")


def _as_typed(name: str, value: Any) -> str:
    if name == "known":  # its option has no value
        return "not given" if value else "given"
    values = value if isinstance(value, tuple) else (value,)
    return "none" if value is None else ",".join(map(str, values)) or "none"
