"""A study that somebody else wrote: no file outside it is touched, and no code of it runs."""

import json
import os
import shutil
import socket
from pathlib import Path

import pytest
from optuna.trial import TrialState, create_trial

from nas.commands import main
from nas.network.identity import identify
from nas.space import load_space
from tests.support.searching import TINY, assert_sound, begin, snapshot


@pytest.fixture(scope="module")
def begun(tmp_path_factory, images):
    """The folder of a study of one trial; not to be changed."""
    return begin(tmp_path_factory.mktemp("begun"), images)


@pytest.fixture
def own(begun, folder):
    """A copy of that study, in NAS_STUDIES."""
    shutil.copytree(begun, folder.path)
    return folder


def rewrite(own, left_out=(), **values):
    """Write values into the study.json, without the fields that an older version did not have."""
    record = own.definition() | values
    for name in left_out:
        record.pop(name, None)
    own.study_folder.definition.write_text(json.dumps(record))


RECORD = {"space_lists", "space_baseline"}
RESUMED = ["search", "--trials", "2", "--workers", "1", "--study", "tiny-8k-folder"]


# -- files that a trial names ---------------------------------------------------------------------


@pytest.mark.parametrize("command", [RESUMED, ["worker"]], ids=lambda argv: argv[0])
def test_of_the_files_that_a_trial_names_as_its_lock_none_but_a_lock_file_is_removed(
    own, tmp_path, command
):
    precious, workers = tmp_path / "precious.txt", own.study_folder.workers
    precious.write_text("mine")
    turn = tmp_path / "turn"
    os.link(own.study_folder.claim_lock, turn)  # removed and made anew it would be another file
    lock = f"{socket.gethostname()}-1-0123abcd.lock"
    (workers / lock).touch()
    foreign = [str(precious), "../../../precious.txt", "../study.json", "turn.lock", "..", 5]
    for name in [lock, *foreign]:  # each of a process that is gone
        worker = {"host": socket.gethostname(), "pid": os.getpid(), "started_at": 0.0}
        attrs = {"worker": worker | {"lock": name}}
        own.study().add_trial(create_trial(state=TrialState.RUNNING, user_attrs=attrs))
    before = own.study_folder.definition.read_bytes()
    assert main(command) == 0
    assert precious.read_text() == "mine"
    assert own.study_folder.definition.read_bytes() == before
    assert own.study_folder.claim_lock.samefile(turn)
    assert [path.name for path in workers.iterdir()] == ["turn.lock"]
    assert TrialState.RUNNING not in {trial.state for trial in own.trials()}


# -- the file of its space ------------------------------------------------------------------------


@pytest.fixture
def trap(tmp_path):
    """A file with the study's own space, which leaves a mark where it is run."""
    file, mark = tmp_path / "trap.py", tmp_path / "mark"
    file.write_text(Path(TINY).read_text() + f"\nopen({str(mark)!r}, 'w').close()\n")
    return file, mark


@pytest.mark.parametrize(
    "command", [RESUMED, [*RESUMED, "--dry-run"], ["worker"]], ids=["search", "dry run", "worker"]
)
def test_the_file_that_a_study_names_as_its_space_is_not_run(own, trap, command, capsys):
    file, mark = trap
    rewrite(own, space=str(file))
    assert main(command) == 0
    assert not mark.exists()
    kept = own.definition()
    path = str(file)
    for name in (path, f"{path}/", path.removesuffix(".py"), os.path.relpath(path), "../trap"):
        rewrite(own, left_out=RECORD, space=name)
        before = snapshot(own.path)
        assert main(command) == 2
        error = capsys.readouterr().err.splitlines()[-1]
        assert f"keeps no record of its space, and {name} is code, which is not run" in error
        assert "--space if you trust it" in error
        assert snapshot(own.path) == before
        assert not mark.exists()
    rewrite(own, left_out=["space_lists"], **kept)  # one half of the record is none
    assert main(command) == 2
    assert not mark.exists()


@pytest.mark.slow
def test_given_on_the_command_line_the_file_is_run_and_an_older_study_keeps_the_record(own, trap):
    file, mark = trap
    whole = own.definition()
    rewrite(own, left_out=RECORD, space=str(file))
    assert main([*RESUMED, "--space", str(file), "--dry-run"]) == 0
    assert own.definition().keys() == whole.keys() - RECORD
    argv = [*RESUMED, "--space", str(file), "--trials", "3", "--workers", "2"]
    assert main(argv) == 0
    assert own.definition() == whole | {"space": str(file)}
    assert mark.exists()
    mark.unlink()
    file.unlink()
    assert main(["worker"]) == 0
    assert main([*RESUMED, "--trials", "4"]) == 0
    assert_sound(own, 4)


def test_a_study_begins_with_its_own_baseline_though_its_file_is_gone(own, images):
    rewrite(own, space="/nowhere/tiny.py")
    own.study_folder.journal.unlink()  # as where it was killed before it had trials
    shutil.rmtree(own.study_folder.trials)
    assert main([*RESUMED, "--trials", "1"]) == 0
    (trial,) = assert_sound(own, 1)
    assert trial.user_attrs["id"] == identify(load_space(TINY).baseline).id
    assert trial.user_attrs["known_name"] == "baseline"


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("space_lists", lambda lists: lists.pop("stem"), "KeyError('stem')"),
        ("space_lists", lambda lists: lists["stage2_width"].append(24), "do not go together"),
        ("space_lists", lambda lists: lists["num_stages"].append(10**18), "'stage3_kind'"),
        ("space_lists", lambda lists: lists["stage1_kind"].append([]), "unhashable"),
        ("space_lists", lambda lists: lists.update(stage1_depth=5), "not iterable"),
        ("space_lists", lambda lists: lists.update(stage1_kind=["basik"]), "did you mean 'basic'"),
        ("space_lists", lambda lists: lists.update(num_stages=[]), "empty"),
        ("space_baseline", lambda network: network.pop("stem"), "missing: stem"),
        ("space_baseline", lambda network: network["stem"].update(kind="x"), "unknown stem 'x'"),
    ],
)
def test_a_damaged_record_of_a_space_is_one_message(own, capsys, name, change, reason):
    record = own.definition()
    change(record[name])
    rewrite(own, **record)
    before = snapshot(own.path)
    for command in (RESUMED, ["worker"]):
        assert main(command) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert f"the space in {own.study_folder.definition} cannot be used: " in error
        assert reason in error
    assert snapshot(own.path) == before


# -- what it has printed --------------------------------------------------------------------------


def test_what_a_study_says_of_itself_does_not_reach_the_terminal_as_it_is(own, capfd):
    versions = own.definition()["versions"] | {"nas": "\x9b2J"}
    rewrite(own, space="/x/\x1b[2Jtiny.py", versions=versions)
    for command in (RESUMED, ["worker"], ["status"]):
        assert main(command) == 0
        shown = "".join(capfd.readouterr())
        assert r"\x1b[2Jtiny" in shown or command == ["worker"]
        assert r"\x9b2J" in shown or command == ["status"]
        assert not {"\x1b", "\x9b"} & set(shown)


@pytest.mark.parametrize(("name", "value"), [("channels", 7), ("num_classes", 5)])
def test_an_input_that_is_not_that_of_the_images_is_refused_and_nothing_is_changed(
    own, name, value, capsys
):
    assert name in own.definition()
    rewrite(own, **{name: value})
    before = snapshot(own.path)
    for command in (RESUMED, [*RESUMED, "--dry-run"], ["worker"]):
        assert main(command) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert "study.json is damaged: it has InputSpec(" in error
        assert snapshot(own.path) == before
