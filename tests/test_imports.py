"""Imports go one way, rooms stay small, and what answers at once needs no library."""

import ast
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAS = ROOT / "nas"
# a room imports what is before it; those between two bars know nothing of each other
LINE = (
    "network < space | data < training < retraining | samplers < study < results "
    "< search | report | export | paper | bench < cluster < api < commands"
)
LEVELS = {
    room: level for level, rooms in enumerate(LINE.split(" < ")) for room in rooms.split(" | ")
}
# what every room may use
BASE = (
    "errors",
    "fields",
    "units",
    "seeds",
    "files",
    "locks",
    "machine",
    "signals",
    "statistics",
    "confusion",
    "printing",
)
MOST_FILES = 22
STANDARD_LIBRARY_ONLY = (
    "nas.errors nas.network.architecture nas.network.blocks nas.network.complexity "
    "nas.network.identity nas.network.caps nas.network.presets nas.space nas.units "
    "nas.paper.table nas.paper.verdict nas.paper.study nas.commands nas.commands.count "
    "nas.commands.presets nas.commands.common"
)


def imports_of(path):
    """The modules of the project that a file imports anywhere, functions included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.split(".") for name in names if name.startswith("nas."))


def room_of(path):
    return path.relative_to(NAS).with_suffix("").parts[0]


def files_of_rooms():
    return [path for path in NAS.rglob("*.py") if room_of(path) not in ("__init__", "__main__")]


def test_a_room_imports_only_what_is_before_it_on_the_line():
    wrong = []
    for path in files_of_rooms():
        room = room_of(path)
        for _, other, *_ in imports_of(path):
            if other in (room, "__version__") or other in BASE:
                continue
            if room in BASE or LEVELS[room] <= LEVELS[other]:  # so there is no circle either
                wrong.append(f"{path.relative_to(ROOT)} imports {other}")
    assert not wrong, f"{wrong}: {LINE}"


def test_no_room_grows_too_large_to_look_over():
    files = defaultdict(list)
    for path in files_of_rooms():
        files[path.parent.relative_to(NAS)].append(path.stem)
    del files[Path("commands")]  # one file per command
    assert {
        str(room): len(names) for room, names in files.items() if len(names) > MOST_FILES
    } == {}


def public_names(path):
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names = [node.name]
        elif isinstance(node, ast.Assign):
            names = [target.id for target in node.targets if isinstance(target, ast.Name)]
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names = [node.target.id]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_") and name != "logger")


def test_no_two_rooms_have_a_public_name_in_common():
    rooms = defaultdict(set)
    for path in files_of_rooms():
        room = room_of(path)
        if room != "commands":  # where every file has `run` and `add_arguments`
            for name in public_names(path):
                rooms[name].add(room)
    twice = {name: sorted(found) for name, found in rooms.items() if len(found) > 1}
    assert twice == {}


def test_a_space_file_imports_only_the_records_of_spaces():
    for path in (ROOT / "search_spaces").glob("*.py"):
        assert {target for _, target, *_ in imports_of(path)} <= {"space"}, path


@pytest.mark.parametrize("module", STANDARD_LIBRARY_ONLY.split())
def test_what_answers_at_once_needs_the_standard_library_alone(module):
    # -S leaves site-packages out: any other import fails
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {module}"
    subprocess.run([sys.executable, "-S", "-c", program], check=True)
