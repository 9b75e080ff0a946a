"""What another program does to a study in its store: optuna-dashboard, by real requests."""

import json
import os
import shutil
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from functools import partial
from wsgiref.simple_server import make_server

import optuna
import optuna_dashboard
import psutil
import pytest
from optuna.trial import TrialState

from nas.commands import main
from nas.commands.dashboard_server import _QuietHandler, _ThreadingServer
from nas.study.storage import open_storage, store_errors
from nas.study.trials import is_counted
from tests.support.searching import (
    Running,
    assert_sound,
    hold,
    in_workers,
    training,
    wait_until,
    words,
)

NAME = "tiny-8k-folder"


@contextmanager
def plain_dashboard(folder):
    """optuna-dashboard on the store of a study, without our guard: what sends it a request."""
    storage = open_storage(os.environ.get("NAS_STORAGE"), folder.study_folder.journal)
    app = optuna_dashboard.wsgi(storage)
    server = make_server("127.0.0.1", 0, app, _ThreadingServer, _QuietHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()

    def send(method, path, **body):
        request = urllib.request.Request(
            f"http://127.0.0.1:{server.server_port}/api{path}",
            json.dumps(body).encode() if body else None,
            {"Content-Type": "application/json", "Accept-Encoding": ""},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.loads(answer.read() or b"{}")

    try:
        yield send
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def id_of(send, name):
    """The number that the dashboard gives a study."""
    summaries = send("GET", "/studies")["study_summaries"]
    return next(item["study_id"] for item in summaries if item["study_name"] == name)


def take_away(folder, act, name=NAME):
    with plain_dashboard(folder) as send:
        path = f"/studies/{id_of(send, name)}"
        if act == "delete":
            send("DELETE", path)
        else:
            send("POST", f"{path}/rename", study_name=act)


def is_held(trials):
    """Tell whether the second trial waits before its last epoch."""
    return len(trials) > 1 and trials[1].intermediate_values


def assert_one_message(text, *parts):
    assert text.count("error:") == 1, text
    assert "Traceback" not in text
    for part in parts:
        assert part in text, text


@pytest.fixture(params=["journal", "sqlite"])
def store(request, tmp_path, monkeypatch):
    if request.param == "sqlite":
        monkeypatch.setenv("NAS_STORAGE", f"sqlite:///{tmp_path}/store.db")
    return request.param


@pytest.mark.slow
@pytest.mark.parametrize("act", ["renamed", "delete"])
def test_a_study_that_is_taken_away_ends_its_search_and_every_command_with_one_message(
    store, act, folder, images, tmp_path, capsys
):
    searching, gate = words(images, epochs=2), tmp_path / "gate"
    running = Running(searching, tmp_path / "search", partial(hold, gate, "trials/1"))
    folder.wait_for(is_held)
    take_away(folder, act)
    gate.touch()
    assert running.wait() == 1
    why = [f"no study {NAME!r}", "deleted it, or renamed it", "--study tiny-8k-folder-2"]
    if (store, act) == ("journal", "renamed"):
        why.append("renamed it to 'renamed'")
    assert_one_message(running.errors(), *why)
    for line in (
        *(["status"], ["best"], ["show", "0"], ["retrain", "--best"], ["dashboard"], ["worker"]),
        *(searching, [*searching, "--dry-run"]),
    ):
        assert main(line) == 1, line
        assert_one_message(capsys.readouterr().err, *why)
    if act == "renamed":  # what the message proposes works
        take_away(folder, NAME, "renamed")
        assert main(searching) == 0
        trials = assert_sound(folder, 3)
        assert not [trial for trial in trials if trial.state == TrialState.RUNNING]


@pytest.mark.slow
def test_a_study_that_is_deleted_ends_the_worker_processes_too(folder, images, tmp_path):
    searching = words(images, "--workers", 2, epochs=2)
    held = partial(in_workers, partial(hold, tmp_path / "never"))
    running = Running(searching, tmp_path / "search", held)
    workers = training(folder.wait_for(lambda trials: len(training(trials)) == 2))
    take_away(folder, "delete")
    assert running.wait() == 1
    assert_one_message(running.errors(), f"no study {NAME!r}")
    assert not [pid for pid in workers if psutil.pid_exists(pid)]


@pytest.mark.slow
def test_a_rung_that_is_deleted_is_trained_again_only_when_its_folder_is_removed(
    folder, images, tmp_path, capsys
):
    searching, gate = words(images, "--rungs", "2x3", trials=4), tmp_path / "gate"
    running = Running(searching, tmp_path / "search", partial(hold, gate, "rungs/3/*"))
    rung, trained = f"{NAME}@3", folder.study_folder.path / "rungs" / "3"

    def trials_of_rung():
        storage = open_storage(None, folder.study_folder.journal)
        return optuna.load_study(study_name=rung, storage=storage).trials

    wait_until(trained.exists)
    wait_until(lambda: any(len(trial.intermediate_values) == 2 for trial in trials_of_rung()))
    take_away(folder, "delete", rung)
    gate.touch()
    assert running.wait() == 1
    why = [f"no study {rung!r}", f"remove {trained}"]
    assert_one_message(running.errors(), *why)
    assert not [trial for trial in folder.trials() if trial.state == TrialState.RUNNING]
    for line in (["status"], searching):
        assert main(line) == 1
        assert_one_message(capsys.readouterr().err, *why)
    shutil.rmtree(trained)
    assert main(searching) == 0
    assert_sound(folder, 4)
    states = {trial.state for trial in trials_of_rung()}
    assert states == {TrialState.COMPLETE}


@pytest.mark.slow
def test_a_trial_that_is_told_fail_while_it_trains_does_not_end_its_search(
    store, folder, images, tmp_path
):
    searching, gate = words(images, epochs=2), tmp_path / "gate"
    running = Running(searching, tmp_path / "search", partial(hold, gate, "trials/1"))
    told = folder.wait_for(is_held)[1]
    with plain_dashboard(folder) as send:
        send("POST", f"/trials/{told._trial_id}/tell", state="Fail")
        with pytest.raises(urllib.error.HTTPError):  # it has ended
            send("POST", f"/trials/{told._trial_id}/user-attrs", user_attrs={"id": "x"})
    gate.touch()
    assert running.wait() == 0, running.errors()
    assert "Traceback" not in running.errors()
    trials = folder.trials()
    assert trials[1].state == TrialState.FAIL
    assert sum(map(is_counted, trials)) == 3
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    assert main(["status"]) == 0
    assert main(searching) == 0


def test_a_key_error_of_a_study_that_is_whole_is_shown_as_the_fault_it_is(folder, images):
    assert main(words(images, trials=1)) == 0
    with pytest.raises(KeyError, match="ours"), store_errors(folder.study_folder.path, None):
        raise KeyError("ours")
