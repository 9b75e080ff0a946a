"""A search that is killed, interrupted or torn anywhere goes on with the same command."""

import json
import os
import shutil
import signal
import time
from functools import partial

import optuna
import pytest
from optuna.trial import TrialState

from nas.commands import main
from nas.results.spending import account
from nas.study import liveness
from nas.study.storage import open_storage
from nas.training.state import load_checkpoint
from tests.support.deaths import die_at_write, die_for_want_of_memory, die_in_training
from tests.support.searching import (
    Folder,
    Running,
    assert_sound,
    count_deaths,
    hold,
    snapshot,
    words,
)

TORN = b'{"op_code":8,"worker_id":"somebody who was kil'


def has_epochs(number, epochs):
    """A condition: the trial runs and has finished some epochs."""

    def holds(trials):
        if len(trials) <= number:
            return False
        trial = trials[number]
        return trial.state == TrialState.RUNNING and len(trial.intermediate_values) >= epochs

    return holds


def curve(folder, number):
    return json.loads((folder.study_folder.trial(number) / "curve.json").read_text())


def without_times(records):
    return [{k: v for k, v in record.items() if k != "elapsed_seconds"} for record in records]


def test_a_killed_trial_is_continued_first_of_all_from_its_checkpoint(folder, images, tmp_path):
    argv = words(images, trials=3, epochs=40)
    running = Running(argv, tmp_path / "out", partial(hold, tmp_path / "gate", "trials/1"))
    folder.wait_for(has_epochs(1, 4))
    running.kill_group()
    assert running.wait() == -signal.SIGKILL
    dead = curve(folder, 1)
    assert 2 <= len(dead) < 40  # an epoch is reported before its line is written
    checkpoint = load_checkpoint(folder.study_folder.trial(1) / "checkpoint.pt")
    # it may have died between the checkpoint of an epoch and that epoch's report
    assert len(dead) <= len(checkpoint["curve"]) <= len(dead) + 1
    folder.study().enqueue_trial(folder.trials()[0].params)  # something else that waits

    assert main(argv) == 0
    trials = assert_sound(folder, 3)
    assert trials[1].state == TrialState.FAIL
    assert trials[1].user_attrs["reason"] == "killed"
    heir = trials[3]
    assert heir.user_attrs["resumes"] == 1
    assert heir.user_attrs["id"] == trials[1].user_attrs["id"]
    assert heir.user_attrs["source"] == trials[1].user_attrs["source"]
    later = [t.datetime_start for t in trials[2:] if t.number != 3 and t.datetime_start]
    assert heir.datetime_start < min(later)
    continued = curve(folder, 3)
    assert len(continued) == 40
    done = len(checkpoint["curve"])
    assert continued[:done] == checkpoint["curve"]  # to the microsecond: no epoch trained again
    assert dead == checkpoint["curve"][: len(dead)]
    assert not (folder.study_folder.trial(3) / "checkpoint.pt").exists()

    rows = folder.rows()  # each has its own part of the time
    assert dead[-1]["elapsed_seconds"] <= rows[1].device_seconds + 1e-6
    before = checkpoint["curve"][-1]["elapsed_seconds"]
    assert rows[3].device_seconds >= heir.user_attrs["training_seconds"] - before
    assert account(rows, 40).continued_seconds == rows[1].device_seconds


@pytest.mark.slow
@pytest.mark.parametrize("step", [1, 3, 7])
def test_killed_at_any_write_a_search_goes_on_and_trains_nothing_twice(
    folder, images, tmp_path, step
):
    argv = words(images, trials=3, epochs=2)
    deaths = count_deaths(argv, tmp_path / "out", die_at_write, step)
    trials = assert_sound(folder, 3)
    assert deaths >= 3
    names = [t.user_attrs.get("known_name") for t in trials if t.state == TrialState.COMPLETE]
    assert names.count("baseline") == 1
    copies = list(folder.study_folder.path.glob("journal.log.torn-*"))
    assert all(not copy.read_bytes().endswith(b"\n") for copy in copies)


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)],
)
def test_a_signal_gives_the_trial_back_and_the_same_command_goes_on(
    folder, images, tmp_path, number
):
    argv = words(images, trials=2, epochs=20)
    running = Running(argv, tmp_path / "out", partial(hold_and_insist, tmp_path / "gate", number))
    folder.wait_for(has_epochs(0, 3))
    running.signal(number)
    assert running.wait() == 130, running.errors()
    assert "the same command resumes" in running.errors()
    trials = folder.trials()
    assert not [trial for trial in trials if trial.state == TrialState.RUNNING]
    assert trials[0].user_attrs["reason"] == "interrupted"
    dead = curve(folder, 0)
    assert main(argv) == 0
    trials = assert_sound(folder, 2)
    heir = next(trial for trial in trials if trial.user_attrs.get("resumes") == 0)
    assert heir.user_attrs["known_name"] == "baseline"
    assert curve(folder, heir.number)[: len(dead)] == dead


def hold_and_insist(gate, number):
    """In the child: an impatient user's further signals come while it gives its trial back."""
    from nas.study.ledger import Ledger

    hold(gate)
    requeue = Ledger.requeue

    def requeue_signalled(self, *args):
        for _ in range(5):
            os.kill(os.getpid(), number)
        requeue(self, *args)

    Ledger.requeue = requeue_signalled


@pytest.mark.slow
def test_a_signal_that_the_process_was_told_to_ignore_stays_ignored(folder, images, tmp_path):
    gate = tmp_path / "gate"
    running = Running(words(images, epochs=20), tmp_path / "out", partial(ignore_hangup, gate))
    folder.wait_for(has_epochs(0, 1))
    running.signal(signal.SIGHUP)  # nohup
    gate.touch()
    assert running.wait() == 0
    assert_sound(folder, 3)


def ignore_hangup(gate):
    hold(gate)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def die_between_asking_and_claiming(journal):
    storage = open_storage(None, journal)
    study_id = storage.get_all_studies()[0]._study_id
    storage.create_new_trial(study_id)
    waiting = storage.get_all_trials(study_id, states=(TrialState.WAITING,))
    for trial in waiting[:1]:
        storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_trial_whose_process_died_before_it_signed_is_found_at_once(folder, images, tmp_path):
    assert main(words(images, trials=1)) == 0
    folder.study().enqueue_trial({**folder.trials()[0].params, "stage1_depth": 2})
    child = Running(
        ["--version"],
        tmp_path / "out",
        partial(die_between_asking_and_claiming, folder.study_folder.journal),
    )
    assert child.wait() == -signal.SIGKILL
    trials = folder.trials()
    nameless = [trial.number for trial in trials if trial.state == TrialState.RUNNING]
    assert nameless == [1, 2]
    assert main(words(images, trials=3)) == 0
    trials = assert_sound(folder, 3)
    assert [trials[number].state for number in nameless] == [TrialState.FAIL] * 2
    heir = next(trial for trial in trials if trial.user_attrs.get("resumes") == 1)
    assert heir.state == TrialState.COMPLETE  # it had been enqueued; the other had no network yet


def test_a_torn_line_is_cut_back_and_a_copy_kept(folder, images, capsys):
    assert main(words(images, trials=1)) == 0
    journal = folder.study_folder.journal
    whole = journal.read_bytes()
    journal.write_bytes(whole + TORN)
    (journal.parent / "journal.log.lock").symlink_to(journal)  # of a tool that was killed
    started = time.monotonic()
    assert main(words(images, trials=2)) == 0
    assert time.monotonic() - started < 25  # nobody waits for a lock of the dead
    assert_sound(folder, 2)
    assert journal.read_bytes().startswith(whole)
    (copy,) = journal.parent.glob("journal.log.torn-*")
    assert copy.read_bytes() == whole + TORN


def test_a_line_torn_while_others_write_loses_nothing(folder, images, tmp_path):
    gate = tmp_path / "gate"
    argv = words(images, trials=2, epochs=15)
    running = Running(argv, tmp_path / "out", partial(hold, gate))
    folder.wait_for(has_epochs(0, 2))
    from nas.locks import locked

    journal = folder.study_folder.journal
    with locked(journal), journal.open("ab") as file:
        file.write(TORN)
    gate.touch()
    assert running.wait() == 0, running.errors()
    trials = assert_sound(folder, 2)
    assert all(len(t.intermediate_values) == 15 for t in trials if t.state == TrialState.COMPLETE)
    assert len(list(journal.parent.glob("journal.log.torn-*"))) == 1


def test_a_study_killed_before_its_journal_was_made_begins_anew(folder, images):
    assert main(words(images, trials=1)) == 0
    for path in (folder.study_folder.journal, *folder.study_folder.trials.glob("*/*")):
        path.unlink()
    for path in (*folder.study_folder.trials.iterdir(), folder.study_folder.trials):
        path.rmdir()
    assert main(words(images, trials=2)) == 0
    assert_sound(folder, 2)


def test_a_journal_that_is_gone_with_its_trials_is_not_begun_anew(folder, images, capsys):
    assert main(words(images, trials=1)) == 0
    folder.study_folder.journal.unlink()
    before = snapshot(folder.path)
    assert main(words(images, trials=2)) == 1
    assert "is gone" in capsys.readouterr().err
    assert snapshot(folder.path) == before


def test_in_two_parts_a_search_proposes_what_it_would_have_in_one(folder, images):
    argv = [*words(images), "--study"]
    assert main([*argv, "whole", "--trials", "9"]) == 0
    assert main([*argv, "parts", "--trials", "6"]) == 0
    assert main([*argv, "parts", "--trials", "9"]) == 0
    ids = [
        [trial.user_attrs["id"] for trial in Folder(folder.path, name).trials()]
        for name in ("whole", "parts")
    ]
    assert ids[0] == ids[1]


def test_killed_in_its_first_trial_a_search_proposes_what_it_would_have(folder, images, tmp_path):
    argv = [*words(images, trials=9), "--study"]
    assert main([*argv, "whole"]) == 0
    running = Running([*argv, "killed"], tmp_path / "out", die_in_training)
    assert running.wait() == -signal.SIGKILL, running.errors()
    assert main([*argv, "killed"]) == 0
    whole, killed = (Folder(folder.path, name).trials() for name in ("whole", "killed"))
    assert [trial.user_attrs.get("given_back") for trial in killed][:1] == [True]
    ids = [trial.user_attrs["id"] for trial in killed if trial.state != TrialState.FAIL]
    assert ids == [trial.user_attrs["id"] for trial in whole]


def test_a_study_whose_folder_is_removed_under_it_ends_with_one_message(folder, images, tmp_path):
    gate = tmp_path / "gate"
    running = Running(words(images, epochs=40), tmp_path / "out", partial(hold, gate))
    folder.wait_for(has_epochs(0, 1))
    shutil.rmtree(folder.study_folder.path, ignore_errors=True)
    gate.touch()
    assert running.wait() == 1
    assert running.errors().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in running.errors()
    assert not folder.study_folder.journal.exists()


def test_a_trial_with_a_damaged_checkpoint_begins_anew_and_reaches_what_it_would_have(
    folder, images, tmp_path
):
    argv = words(images, trials=1, epochs=40)
    running = Running(argv, tmp_path / "out", partial(hold, tmp_path / "gate"))
    folder.wait_for(has_epochs(0, 3))
    running.kill_group()
    checkpoint = folder.study_folder.trial(0) / "checkpoint.pt"
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 3] ^= 64  # in the weights: PyTorch reads it without a word
    checkpoint.write_bytes(content)
    resumed = Running(argv, tmp_path / "out")
    assert resumed.wait() == 0
    told = resumed.errors()
    assert told.count("cannot be used") == told.count("begins anew") == 1
    assert str(folder.study_folder.trial(1) / "checkpoint.pt") in told
    assert "Traceback" not in told
    assert_sound(folder, 1)
    anew = without_times(curve(folder, 1))
    assert main([*argv, "--study", "whole"]) == 0
    whole = Folder(folder.path, "whole")
    assert anew == without_times(curve(whole, 0))
    values = [next(r.value for r in f.trials() if r.value is not None) for f in (folder, whole)]
    assert values[0] == values[1] == anew[-1]["val_accuracy"]


def test_a_trial_on_another_machine_is_left_alone_and_said(folder, images, capsys):
    assert main(words(images, trials=1)) == 0
    study = folder.study()
    other = {"host": "another-machine", "pid": 1, "started_at": 0.0, "lock": "none.lock"}
    study.add_trial(
        optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs={"worker": other})
    )
    assert main(words(images, trials=3)) == 0
    trials = folder.trials()
    assert [trial.state for trial in trials] == [
        TrialState.COMPLETE,
        TrialState.RUNNING,
        TrialState.COMPLETE,
    ]
    assert "run on other machines" in capsys.readouterr().err


@pytest.mark.slow
def test_a_network_that_is_killed_again_and_again_is_trained_at_last(folder, images, tmp_path):
    argv = words(images, trials=2, epochs=1)
    for _ in range(4):
        running = Running(argv, tmp_path / "out", die_in_training)
        assert running.wait() == -signal.SIGKILL, running.errors()
    assert main(argv) == 0
    trials = assert_sound(folder, 2)
    assert [t.user_attrs["reason"] for t in trials if t.state == TrialState.FAIL] == ["killed"] * 4
    assert not [t for t in trials if t.state == TrialState.COMPLETE and "reason" in t.user_attrs]


def test_a_network_that_the_system_kills_for_want_of_memory_is_left_and_not_counted(
    folder, images, tmp_path, monkeypatch
):
    argv, count = words(images, trials=2, epochs=1), tmp_path / "count"
    count.write_text("7")
    for _ in range(3):
        running = Running(argv, tmp_path / "out", partial(die_for_want_of_memory, count))
        assert running.wait() == -signal.SIGKILL, running.errors()
    monkeypatch.setattr(liveness, "oom_kills", lambda: int(count.read_text()))
    assert main(argv) == 0
    trials = assert_sound(folder, 2)
    reasons = [t.user_attrs["reason"] for t in trials if t.state == TrialState.FAIL]
    assert reasons[:2] == ["killed: the system ran out of memory"] * 2
    assert reasons[2:] == [
        "killed: the system ran out of memory, 3 times before an epoch ended: given up"
    ]
    assert not [t for t in trials if t.state == TrialState.COMPLETE and "reason" in t.user_attrs]
