"""Two rounds of each kind of `scripts/storm`; its docstring says what is checked after each."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_whatever_befalls_a_search_it_is_resumed_and_nothing_is_lost():
    words = [sys.executable, "-m", "tests.support.storm", "--rounds", "2", "--seed", "12"]
    storm = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert storm.returncode == 0, storm.stdout + storm.stderr
