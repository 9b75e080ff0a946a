"""A study's folder and its definition: what makes two searches the same search.

`study.json` holds everything that defines a study, the plan chosen at its creation included, so
that the same command line resumes it and a different one is refused before anything is written.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from nas.architecture import InputSpec
from nas.budget import Caps
from nas.errors import StorageError, StudyMismatchError, UsageError
from nas.files import write_text_atomically
from nas.recipe import Recipe

DEFINITION_FILE = "study.json"
JOURNAL_FILE = "journal.log"
SCHEMA = 1
DEFAULT_FOLDER = "studies"
FOLDER_VARIABLE = "NAS_STUDIES"


@dataclass(frozen=True)
class Plan:
    """How each candidate of a study is trained.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        num_threads: CPU threads of a training; results repeat bit for bit at equal counts.
        train_images: Images of the stratified training slice.
        val_images: Images of the stratified validation slice.
        epochs: Epochs of every trial, over which its schedule is annealed to zero.
    """

    device: str
    num_threads: int
    train_images: int
    val_images: int
    epochs: int


@dataclass(frozen=True)
class StudyDefinition:
    """Everything that defines a study.

    `recipe` is the complete record of the recipe, batch size included; `versions` and `command`
    are recorded and never compared.
    """

    name: str
    space: str
    space_hash: str
    budget: int
    max_macs: int | None
    max_activations: int | None
    dataset: str
    data_dir: str | None
    data_fingerprint: str
    channels: int
    image_size: int
    num_classes: int
    val_fraction: float
    seed: int
    recipe_name: str
    recipe: Mapping[str, Any]
    pruner: str
    over_budget: str
    known: bool
    storage: str | None
    plan: Plan
    versions: Mapping[str, str]
    command: str
    created_at: str

    @property
    def input_spec(self) -> InputSpec:
        """Return the input that the study's networks take."""
        return InputSpec(self.channels, self.image_size, self.num_classes)

    @property
    def caps(self) -> Caps:
        """Return the caps that a candidate must keep."""
        return Caps(self.budget, self.max_macs, self.max_activations)

    def to_json(self) -> str:
        """Return the record as indented JSON."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> StudyDefinition:
        """Read what `to_json` wrote.

        Raises:
            ValueError: The text is no JSON, or a field is absent, unknown, or of another type or
                out of its range.
        """
        record = json.loads(text)
        if not isinstance(record, dict) or record.pop("schema", None) != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}")
        _check_fields(cls, record)
        _check_fields(Plan, record["plan"])
        definition = cls(**{**record, "plan": Plan(**record["plan"])})
        try:
            _ = definition.caps, definition.input_spec, Recipe.from_dict(definition.recipe)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return definition


_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "str | None": (str, type(None)),
    "int | None": (int, type(None)),
}


def _check_fields(record_type: type, record: Any) -> None:
    """Refuse a JSON value that is not the record's: its names, its types."""
    if not isinstance(record, dict):
        raise ValueError(f"{record_type.__name__} must be an object, but is {record!r}")
    known = {field.name: str(field.type) for field in fields(record_type)}
    wrong = set(record) ^ set(known)
    if wrong:
        raise ValueError(f"missing or unknown fields: {', '.join(sorted(wrong))}")
    for name, kind in known.items():
        value, types = record[name], _JSON_TYPES.get(kind, (dict,))
        is_bool = isinstance(value, bool) and bool not in types
        if is_bool or not isinstance(value, types):
            raise ValueError(f"{name} must be {kind}, but is {value!r}")


@dataclass(frozen=True)
class StudyFolder:
    """The paths of one study; nothing is created by naming them."""

    path: Path

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
        return self.path / "trials"

    @property
    def workers(self) -> Path:
        """Return the folder of the lock files."""
        return self.path / "workers"

    @property
    def claim_lock(self) -> Path:
        """Return the file whose lock the processes of a study take turns with."""
        return self.workers / "turn.lock"

    def trial(self, number: int) -> Path:
        """Return the folder of a trial."""
        return self.trials / str(number)

    def load(self) -> StudyDefinition:
        """Read the study's definition.

        Raises:
            StorageError: The file is absent, damaged, or may not be read.
        """
        try:
            return StudyDefinition.from_json(self.definition.read_text())
        except FileNotFoundError as error:
            raise StorageError(
                f"{self.path} holds a journal but no {DEFINITION_FILE}; restore the file from a "
                "copy, or start a study under another name"
            ) from error
        except OSError as error:
            raise StorageError(f"cannot read {self.definition}: {error.strerror}") from error
        except (ValueError, TypeError) as error:
            raise StorageError(
                f"{self.definition} is damaged and was left as it is: {error}; restore it from a "
                "copy, or start a study under another name"
            ) from error

    def create(self, definition: StudyDefinition) -> None:
        """Write the definition into the folder, which exists.

        Raises:
            StorageError: The folder may not be written, or the disk is full.
        """
        write_text_atomically(self.definition, definition.to_json())


def studies_folder(given: str | None) -> Path:
    """Return where studies live: as given, else `NAS_STUDIES`, else ``./studies``."""
    return Path(given or os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER)


def default_name(space: str, budget: int, dataset: str) -> str:
    """Return the name of a study that was given none, ``<space>-<budget>-<dataset>``."""
    stem = re.sub(r"[^A-Za-z0-9._@-]", "-", Path(space).stem).lstrip("._@-") or "space"
    for scale, suffix in ((10**6, "M"), (10**3, "k")):
        if budget % scale == 0:
            return f"{stem}-{budget // scale}{suffix}-{dataset}"
    return f"{stem}-{budget}-{dataset}"


def require_name(name: str) -> str:
    """Return a study's name, checked to be a plain folder name.

    Raises:
        UsageError: The name has characters that a folder or a URL would trip over.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}", name):
        raise UsageError(
            "a study's name has letters, digits, '.', '_', '-' and '@', at most 100 and first a "
            f"letter or digit, but got {name!r}"
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
    if name is not None:
        found = StudyFolder(folder / require_name(name))
        if not found.exists:
            known = [study.name for study in list_studies(folder)]
            raise UsageError(
                f"no study {name!r} in {folder}; "
                + (f"there: {', '.join(known)}" if known else "there is none yet")
            )
        return found
    studies = list_studies(folder)
    if not studies:
        raise UsageError(f"no study in {folder}; begin with: python cli.py search --budget 5e6")
    return max(studies, key=_last_written)


def list_studies(folder: Path) -> list[StudyFolder]:
    """Return the studies of a folder, by name."""
    if not folder.is_dir():
        return []
    found = (StudyFolder(path) for path in sorted(folder.iterdir()) if path.is_dir())
    return [study for study in found if study.exists]


def _last_written(study: StudyFolder) -> float:
    paths = (study.journal, study.definition, study.claim_lock, study.trials)
    return max(path.stat().st_mtime for path in paths if path.exists())


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
        StudyMismatchError: A value differs; every difference is shown and a fresh name proposed.
    """
    differences = []
    for name, value in given.items():
        owner, _, field = name.rpartition(".")
        if owner == "plan":
            current = getattr(existing.plan, field)
        elif owner == "recipe":
            current = existing.recipe.get(field)
        else:
            current = getattr(existing, field)
        if current != value:
            differences.append(f"{name.removeprefix('plan.')}: {current} -> {value}")
    if differences:
        raise StudyMismatchError(
            f"study {existing.name!r} exists and was defined differently: "
            f"{'; '.join(differences)}. Leave these out to resume it, or begin another with "
            f"--study {fresh_name(folder.path.parent, existing.name)}"
        )
