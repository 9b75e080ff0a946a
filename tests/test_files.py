"""Files that are whole or absent, whenever their writer is killed."""

import signal
import subprocess
import sys
from pathlib import Path

from nas.files import remove_leftovers, write_atomically, write_text_atomically

ROOT = Path(__file__).resolve().parent.parent
DIE_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from nas.files import write_atomically

def write(file):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

write_atomically(Path(sys.argv[1]), write)
"""


def kill_a_writer(path):
    """Leave behind what a writer does that is killed in the middle; its name."""
    before = set(path.parent.iterdir())
    command = [sys.executable, "-c", DIE_WHILE_WRITING, str(path)]
    assert subprocess.run(command, cwd=ROOT).returncode == -signal.SIGKILL
    (leftover,) = set(path.parent.iterdir()) - before
    assert leftover.read_bytes() == b"half"
    return leftover


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_a_killed_writer_left_is_removed_by_the_next_one(tmp_path):
    path = tmp_path / "check[1].pt"  # a name that a pattern would read otherwise
    write_text_atomically(path, "old")
    kill_a_writer(path)
    assert path.read_text() == "old"
    write_text_atomically(path, "new")
    assert names(tmp_path) == ["check[1].pt"]
    assert path.read_text() == "new"


def test_leftovers_of_other_files_and_files_of_others_stay(tmp_path):
    path = tmp_path / "curve.json"
    other = kill_a_writer(tmp_path / "checkpoint.pt")
    (tmp_path / ".curve.json.swp").write_text("an editor's")
    kill_a_writer(path)
    remove_leftovers(path)
    assert names(tmp_path) == sorted([".curve.json.swp", other.name])


def test_what_a_living_writer_is_writing_stays(tmp_path):
    path = tmp_path / "file"

    def write(file):
        file.write(b"the slower one")
        write_text_atomically(path, "the faster one")
        assert path.read_text() == "the faster one"

    write_atomically(path, write)
    assert path.read_text() == "the slower one"
    assert names(tmp_path) == ["file"]
