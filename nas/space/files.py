"""The files that hold search spaces: which there are, and how one is read.

A file has a docstring whose first line is what `spaces` lists, `BASELINE`, and `SPACE`. It is
Python code, which a study does not need again: it keeps the two records as JSON.
"""

from __future__ import annotations

import ast
import hashlib
import json
import runpy
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.errors import NasError, SpaceError, unknown_name
from nas.network.architecture import Architecture
from nas.network.identity import identify
from nas.space.record import SearchSpace

SPACES_DIR = Path(__file__).resolve().parents[2] / "search_spaces"


@dataclass(frozen=True)
class LoadedSpace:
    """A space file, read; or what a study keeps of it.

    Args:
        name: The file's name without its ending.
        title: The first line of its docstring; a study does not keep it.
        baseline: A network to compare with; the space need not contain it.
        space: What the networks are chosen from.
    """

    name: str
    title: str
    baseline: Architecture
    space: SearchSpace

    @property
    def content_hash(self) -> str:
        """Return the hex digest of the lists, which decide what choices exist."""
        content = json.dumps(asdict(self.space), sort_keys=True).encode()
        return hashlib.sha256(content).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return what a study keeps of it, by field of `StudyDefinition`."""
        return {"space_lists": self.space.to_lists(), "space_baseline": self.baseline.to_dict()}

    @classmethod
    def from_record(cls, name: str, lists: Mapping[str, Any], baseline: Any) -> LoadedSpace:
        """Return a space from what a study keeps of it; no file is run.

        Raises:
            UsageError: The lists are none of a space, or the baseline is no network.
        """
        network = Architecture.from_dict(baseline)
        identify(network)  # refuses unknown kinds and stems
        return cls(name, "", network, SearchSpace.from_lists(lists))


def load_space(name_or_path: str | Path) -> LoadedSpace:
    """Read a space by its name in `search_spaces/`, or by the path of a file.

    The file is run: load only what you trust.

    Args:
        name_or_path: A name as `list_spaces` gives it, or a path that ends in ``.py``.

    Raises:
        UnknownNameError: No shipped space has this name.
        SpaceError: The file is absent, does not run, or breaks the contract.
    """
    path = Path(name_or_path)
    if path.suffix != ".py":
        known = list_spaces()
        if str(name_or_path) not in known:
            raise unknown_name("search space", str(name_or_path), known)
        path = SPACES_DIR / f"{name_or_path}.py"
    if not path.is_file():
        raise SpaceError(f"a search space is a file, but there is none at {path}")
    try:
        return _read(path)
    except NasError as error:
        raise SpaceError(f"search space {path}: {error}") from error


def list_spaces() -> dict[str, str]:
    """Return the titles of the shipped spaces by name; no file is run."""
    return {path.stem: _title(path) for path in sorted(SPACES_DIR.glob("[!_]*.py"))}


def _read(path: Path) -> LoadedSpace:
    try:
        names = runpy.run_path(str(path))
    except NasError:
        raise
    except Exception as error:
        raise SpaceError(f"the file does not run: {type(error).__name__}: {error}") from error
    baseline, space = names.get("BASELINE"), names.get("SPACE")
    if not (names["__doc__"] or "").strip():
        raise SpaceError("the file must begin with a docstring: its first line is the title")
    if not isinstance(baseline, Architecture):
        raise SpaceError(f"BASELINE must be an Architecture, but is {baseline!r}")
    identify(baseline)  # refuses unknown kinds and stems
    if type(space) is not SearchSpace:  # a subclass may hold more than its record
        raise SpaceError(
            f"SPACE must be a SearchSpace, but the file gives {space!r}; "
            "write a record of lists, as search_spaces/resnet.py does"
        )
    return LoadedSpace(path.stem, _title(path), baseline, space)


def _title(path: Path) -> str:
    try:
        docstring = ast.get_docstring(ast.parse(path.read_bytes()))
    except (OSError, SyntaxError, ValueError) as error:
        return f"(unreadable: {error})"
    return (docstring or "(no docstring)").splitlines()[0]
