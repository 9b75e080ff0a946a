"""What the machine does to a training is told as such and never counts against its network."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from sqlalchemy.exc import OperationalError

from nas.commands import main
from nas.search import objective
from nas.search.failures import describe_failure
from tests.support.searching import assert_sound, words

ROOT = Path(__file__).parents[2]
CUDA_ERROR = "CUDA error: an illegal memory access was encountered"

# The command line on a machine whose GPU fails in as many trainings as are left in a file; what
# is left of the process then refuses everything, as CUDA does.
PROGRAM = f"""
import sys
from pathlib import Path
import torch
from nas.commands import main
from nas.search import objective

left, train, is_spoiled = Path(sys.argv.pop(1)), objective.train, []

def fail(*args, **more):
    number = int(left.read_text())
    if number or is_spoiled:
        left.write_text(str(number - 1))
        is_spoiled.append(True)
        raise torch.AcceleratorError({CUDA_ERROR!r})
    return train(*args, **more)

objective.train = fail
sys.exit(main(sys.argv[1:]))
"""


def run(tmp_path, argv, failures):
    program, left = tmp_path / "program.py", tmp_path / "left"
    program.write_text(PROGRAM)
    left.write_text(str(failures))
    return subprocess.run(
        [sys.executable, str(program), str(left), *argv],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def failed(folder):
    return [trial for trial in folder.trials() if trial.state == TrialState.FAIL]


@pytest.mark.slow
def test_after_a_cuda_error_a_fresh_process_goes_on(folder, images, tmp_path, capsys):
    ended = run(tmp_path, words(images, trials=3), failures=1)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("going on in a fresh process\n") == 1
    trials = assert_sound(folder, 3)
    assert trials[0].user_attrs["reason"] == f"machine: AcceleratorError: {CUDA_ERROR}"
    heir = next(trial for trial in trials if trial.user_attrs.get("resumes") == 0)
    assert heir.user_attrs["id"] == trials[0].user_attrs["id"]
    assert main(["status"]) == 0
    shown = capsys.readouterr().out
    assert "machine   1 failure was the machine's, not a network's; trial 0: machine: " in shown
    assert CUDA_ERROR in shown
    assert main(["status", "--format", "json"]) == 0
    (failure,) = json.loads(capsys.readouterr().out)["machine_failures"]
    assert failure["trial"] == 0


@pytest.mark.slow
def test_three_equal_cuda_errors_in_a_row_stop_the_search_and_count_against_nothing(
    folder, images, tmp_path
):
    ended = run(tmp_path, words(images, trials=3), failures=100)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        "error: stopped after 3 equal errors of the machine in a row, "
        f"trial {failed(folder)[-1].number}: machine: AcceleratorError: {CUDA_ERROR}"
    )
    assert "Traceback" not in ended.stderr
    assert len(failed(folder)) == 3
    assert {trial.user_attrs["given_back"] for trial in failed(folder)} == {True}
    assert main(words(images, trials=3)) == 0
    trials = assert_sound(folder, 3)
    assert all("reason" not in t.user_attrs for t in trials if t.state == TrialState.COMPLETE)


@pytest.fixture
def fail_with(monkeypatch):
    """Lets the next trainings end before their first epoch with these errors; None lets one be."""
    train = objective.train

    def install(*errors):
        left = iter(errors)

        def fail(*args, **more):
            error = next(left, None)
            if error is not None:
                raise error
            return train(*args, **more)

        monkeypatch.setattr(objective, "train", fail)

    return install


def no_space(path):
    return OSError(errno.ENOSPC, "No space left on device", path)


def test_a_search_goes_on_after_errors_of_the_machine_that_are_not_three_in_a_row(
    folder, images, fail_with, caplog
):
    broken = OSError(errno.EIO, "Input/output error")
    fail_with(no_space("a/1"), no_space("a/2"), broken, no_space("a/3"), None, *[broken] * 2)
    assert main(words(images, trials=3)) == 0
    assert_sound(folder, 3)
    reasons = [trial.user_attrs["reason"] for trial in failed(folder)]
    assert len(reasons) == 6
    assert all(reason.startswith("machine: OSError: [Errno") for reason in reasons)
    assert sum("its network goes first" in text for text in caplog.messages) == 6


def test_three_equal_errors_of_the_disk_in_a_row_stop_the_search(
    folder, images, fail_with, capsys
):
    fail_with(*(no_space(f"trials/{number}") for number in range(9)))
    assert main(words(images, trials=3)) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: stopped after 3 equal errors of the machine in a row, trial "
        f"{failed(folder)[-1].number}: machine: OSError: [Errno 28] No space left on device: "
        "'trials/2'"
    )
    assert len(failed(folder)) == 3


def test_what_is_the_network_s_is_no_error_of_the_machine(folder, images, capsys):
    argv = [*words(images, trials=2, epochs=2), "--set", "learning_rate=100"]
    argv += ["--set", "momentum=0.99"]
    main(argv)
    capsys.readouterr()
    assert main(["status", "--format", "json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["funnel"]["broken"] == 2
    assert record["machine_failures"] == []


@pytest.mark.parametrize("kind", ["of the driver", "of Optuna"])
def test_the_reason_of_a_database_s_error_is_the_machine_s_and_keeps_its_secrets(tmp_path, kind):
    url = "postgresql+psycopg2://martha:opensesame@db.example:5432/nas"
    text = 'connection to postgresql://martha:opensesame@db.example failed for user "martha"'
    error = OperationalError("SELECT 1", {}, Exception(text))
    if kind == "of Optuna":
        error = StorageInternalError(text)
        error.__cause__ = OperationalError("SELECT 1", {}, Exception(text))
    search = SimpleNamespace(url=url, folder=SimpleNamespace(path=tmp_path))
    reason = describe_failure(error, search)
    assert reason.startswith("machine: StorageError: the database of the study ")
    assert "db.example failed" in reason
    assert "opensesame" not in reason
    assert "martha" not in reason


@pytest.mark.parametrize(
    ("error", "beginning"),
    [
        (torch.AcceleratorError(CUDA_ERROR), "machine: AcceleratorError: CUDA error"),
        (RuntimeError("CUDA error: misaligned address"), "machine: RuntimeError"),
        (OSError(errno.EIO, "Input/output error"), "machine: OSError: [Errno 5] Input/output"),
        (RuntimeError("shape '[2]' is invalid"), "error: RuntimeError: shape"),
        (ValueError("no CUDA error"), "error: ValueError"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_whose_fault_an_error_is(tmp_path, error, beginning):
    search = SimpleNamespace(url=None, folder=SimpleNamespace(path=tmp_path))
    assert describe_failure(error, search).startswith(beginning)
