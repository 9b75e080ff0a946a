"""Imports go one way (STYLE.md), and what answers at once needs the standard library alone."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# STYLE.md, "The way through the code"; a room it does not name is judged by what it leads to
LEVELS = (
    "errors architecture",
    "blocks",
    "complexity identity budget presets space",
    "model",
    "data recipe train",
    "samplers objective study",  # study.py is the record of a study, which the objective reads
    "search retrain report",
    "commands",
)
LEVEL_BY_ROOM = {room: level for level, rooms in enumerate(LEVELS) for room in rooms.split()}
STANDARD_LIBRARY_ONLY = (
    "errors architecture blocks complexity identity budget presets units "
    "paper verdict comparison commands commands.count commands.presets commands.common"
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


def import_graph():
    """Which rooms (files and folders of nas/) each room imports."""
    graph = {}
    for path in (ROOT / "nas").rglob("*.py"):
        room = path.relative_to(ROOT / "nas").with_suffix("").parts[0]
        targets = {target for _, target, *_ in imports_of(path)}
        graph.setdefault(room, set()).update(targets - {room, "__version__"})
    return graph


def test_imports_go_one_way():
    graph = import_graph()
    reached = {}
    for room in TopologicalSorter(graph).static_order():  # refuses a cycle
        direct = graph.get(room, set())
        reached[room] = direct.union(*(reached[target] for target in direct))
    wrong = [
        (low, high)
        for low, rooms in reached.items()
        for high in rooms
        if LEVEL_BY_ROOM.get(low, 99) < LEVEL_BY_ROOM.get(high, -1)
    ]
    assert not wrong, "a lower room imports a higher one"


def test_a_space_file_imports_only_the_records_of_spaces():
    for path in (ROOT / "search_spaces").glob("*.py"):
        assert {target for _, target, *_ in imports_of(path)} <= {"architecture", "space"}, path


@pytest.mark.parametrize("module", STANDARD_LIBRARY_ONLY.split())
def test_what_answers_at_once_needs_the_standard_library_alone(module):
    # -S leaves site-packages out: any other import fails
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import nas.{module}"
    subprocess.run([sys.executable, "-S", "-c", program], check=True)
