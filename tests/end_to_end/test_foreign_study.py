"""A study that somebody else wrote: no file outside it is touched."""

import os
import shutil
import socket

import pytest
from optuna.trial import TrialState, create_trial

from nas.commands import main
from tests.support.searching import words


@pytest.fixture(scope="module")
def begun(tmp_path_factory, images):
    """The folder of a study of one trial; not to be changed."""
    path = tmp_path_factory.mktemp("begun")
    os.environ["NAS_CACHE"] = str(images / "cache")
    assert main([*words(images, trials=1), "--studies", str(path)]) == 0
    return path


@pytest.fixture
def own(begun, folder):
    """A copy of that study, in NAS_STUDIES."""
    shutil.copytree(begun, folder.path)
    return folder


RESUMED = ["search", "--trials", "2", "--workers", "1", "--study", "tiny-8k-folder"]


# -- files that a trial names ---------------------------------------------------------------------


@pytest.mark.parametrize("command", [RESUMED, ["worker"]], ids=lambda argv: argv[0])
def test_of_the_files_that_a_trial_names_as_its_lock_none_but_a_lock_file_is_removed(
    own, tmp_path, command, caplog
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
    said = [record.getMessage() for record in caplog.records]
    assert [text for text in said if "left alone" in text] == [
        f"trial {number} names {name!r} as its process's lock file, which was left alone"
        for number, name in enumerate(foreign, start=2)
    ]
    assert TrialState.RUNNING not in {trial.state for trial in own.trials()}
