"""The files that hold search spaces: which there are, and how one is read.

A file has a docstring whose first line is what `spaces` lists, `BASELINE`, and `SPACE`.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType

from nas.errors import NasError, SpaceError, unknown_name
from nas.network.architecture import Architecture
from nas.network.identity import identify
from nas.space.record import SearchSpace

SPACES_DIR = Path(__file__).resolve().parents[2] / "search_spaces"


@dataclass(frozen=True)
class SpaceTitle:
    """A shipped space, as `spaces` lists it."""

    name: str
    title: str


@dataclass(frozen=True)
class LoadedSpace:
    """A space file, read.

    Args:
        name: The file's name without its ending.
        title: The first line of its docstring.
        baseline: A network to compare with; the space need not contain it.
        space: What the networks are chosen from.
        content_hash: Hex digest of the record, which decides what choices exist; an edit of the
            docstring leaves it.
        path: The file.
    """

    name: str
    title: str
    baseline: Architecture
    space: SearchSpace
    content_hash: str
    path: Path


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
        known = [entry.name for entry in list_spaces()]
        if str(name_or_path) not in known:
            raise unknown_name("search space", str(name_or_path), known)
        path = SPACES_DIR / f"{name_or_path}.py"
    if not path.is_file():
        raise SpaceError(f"a search space is a file, but there is none at {path}")
    try:
        return _read_module(_run_file(path), path)
    except NasError as error:
        raise SpaceError(f"search space {path}: {error}") from error


def list_spaces() -> tuple[SpaceTitle, ...]:
    """Return the shipped spaces by name; no file is run."""
    paths = sorted(SPACES_DIR.glob("[!_]*.py"))
    return tuple(SpaceTitle(path.stem, _title(path)) for path in paths)


def _run_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"search_spaces.{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SpaceError("the file is no Python module")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except NasError:
        raise
    except Exception as error:
        raise SpaceError(f"the file does not run: {type(error).__name__}: {error}") from error
    return module


def _read_module(module: ModuleType, path: Path) -> LoadedSpace:
    baseline, space = getattr(module, "BASELINE", None), getattr(module, "SPACE", None)
    if not (module.__doc__ or "").strip():
        raise SpaceError("the file must begin with a docstring: its first line is the title")
    if not isinstance(baseline, Architecture):
        raise SpaceError(f"BASELINE must be an Architecture, but is {baseline!r}")
    identify(baseline)  # refuses unknown kinds and stems
    if not isinstance(space, SearchSpace):
        is_function = space is None and hasattr(module, "suggest")
        found = "a function suggest(trial)" if is_function else repr(space)
        raise SpaceError(
            f"SPACE must be a SearchSpace, but the file gives {found}; "
            "write a record of lists, as search_spaces/resnet.py does"
        )
    content = json.dumps(asdict(space), sort_keys=True).encode()
    digest = hashlib.sha256(content).hexdigest()[:16]
    return LoadedSpace(path.stem, _title(path), baseline, space, digest, path)


def _title(path: Path) -> str:
    try:
        docstring = ast.get_docstring(ast.parse(path.read_bytes()))
    except (OSError, SyntaxError, ValueError) as error:
        return f"(unreadable: {error})"
    return (docstring or "(no docstring)").splitlines()[0]
