"""A capture that cannot be ended breaks its process: a fresh one goes on, without graphs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.support.searching import assert_sound, words

ROOT = Path(__file__).parents[2]

# The command line on a machine whose captures break: a GPU's is faked, the rest is real.
PROGRAM = """
import sys, time
from contextlib import contextmanager
import nas.training.open_training
from nas.commands import main
from nas.training.cuda_graph import GraphedStep, record

@contextmanager
def broken():
    yield
    time.sleep({seconds})
    raise RuntimeError("operation failed due to a previous error during capture")

def with_graph(step, engine, recipe):
    if not engine.cuda_graph:
        return step
    return GraphedStep(step, lambda launch: launch(), lambda launch: record(launch, broken()))

nas.training.open_training.with_graph = with_graph
sys.exit(main(sys.argv[1:]))
"""


def run(tmp_path, argv, seconds=0):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("{seconds}", str(seconds)))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(program), *argv]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


@pytest.mark.slow
def test_a_search_requeues_the_trial_and_goes_on_in_a_fresh_process(folder, images, tmp_path):
    argv = [*words(images, trials=3, epochs=2), "--set", "batch_size=4"]
    ended = run(tmp_path, argv)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("could not be captured") == 1
    assert "previous error during capture" in ended.stderr
    assert "in a fresh process without graphs" in ended.stderr
    trials = assert_sound(folder, 3)
    broken, heir = trials[0], next(t for t in trials if t.user_attrs.get("resumes") == 0)
    assert broken.state == TrialState.FAIL
    assert broken.user_attrs["reason"].startswith("machine: BrokenCaptureError")
    assert heir.user_attrs["id"] == broken.user_attrs["id"]


@pytest.mark.slow
def test_the_time_limit_does_not_begin_anew(folder, images, tmp_path):
    argv = [*words(images, trials=3, epochs=2), "--set", "batch_size=4", "--time-limit", "30s"]
    ended = run(tmp_path, argv, seconds=31)
    assert ended.returncode == 0, ended.stderr
    states = [trial.state for trial in folder.trials()]
    assert states == [TrialState.FAIL, TrialState.WAITING]


@pytest.mark.slow
def test_a_full_training_goes_on_in_a_fresh_process(images, tmp_path):
    argv = ["retrain", "--arch", "resnet20", "--dataset", "folder", "--data", str(images)]
    argv += ["--image-size", "8", "--epochs", "2", "--set", "batch_size=4"]
    ended = run(tmp_path, [*argv, "--studies", str(tmp_path / "runs")])
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("without graphs") == 1
    (metrics,) = (tmp_path / "runs").rglob("metrics.json")
    found = json.loads(metrics.read_text())
    assert found["status"] == "finished"
    assert found["engine"]["cuda_graph"] is False
