"""The stores: a journal that stays readable, databases that several processes share."""

import json
import os
import random
import re
import shutil
import signal
import threading
from functools import partial
from urllib.parse import quote

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import nas.search.open_study
from nas.commands import main
from nas.errors import StorageError, UsageError
from nas.locks import locked
from nas.study.folder import StudyFolder
from nas.study.journal import MendingJournal
from nas.study.storage import (
    has_study,
    open_storage,
    require_optuna_5,
    shown_url,
    storage_url,
    store_file,
)
from tests.support.journals import mend
from tests.support.searching import Folder, Running, assert_sound, words
from tests.support.small_study import definition, searched_studies

LINE = b'{"op_code":0,"worker_id":"w","study_name":"s","directions":[2]}\n'
SECRET = "p@ss/wö?rd#1%"


@pytest.mark.parametrize("version", ["4.8.0", "4.0.0b1", "3.6.1", "6.0.0"])
def test_another_optuna_is_refused_with_one_line_that_says_what_to_install(version):
    with pytest.raises(UsageError, match=f"needs Optuna 5, but got {version}") as caught:
        require_optuna_5(version)
    assert "pip install" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_installed_optuna_is_of_the_right_version():
    require_optuna_5()
    require_optuna_5("5.1.0.dev0")


@pytest.mark.parametrize(
    "tail",
    [
        b'{"op_code":8,"trial_',
        b"\0" * 4096,  # a file system that grew the file and lost power
        b'{"op_code":8,"tri\n',
        b'"text"\n',
        b'{"op_code":8,"user_attr":"' + b"x" * 200_000,
    ],
    ids=["half a line", "zeros", "half a line ended", "no record", "a long half line"],
)
def test_a_torn_end_is_cut_back_and_a_copy_kept(tmp_path, tail):
    path = tmp_path / "journal.log"
    path.write_bytes(LINE + tail)
    (copy,) = mend(path)
    assert copy.read_bytes() == LINE + tail
    assert path.read_bytes() == LINE
    assert mend(path) == [copy]


@pytest.mark.parametrize("content", [b"", LINE, LINE * 3, b'{"a":"' + b"x" * 200_000 + b'"}\n'])
def test_a_whole_journal_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "journal.log"
    path.write_bytes(content)
    assert mend(path) == []
    assert [file.name for file in tmp_path.iterdir()] == ["journal.log"]
    assert path.read_bytes() == content


def die_half_way_through_the_copy(path):
    def copy_half(source, target):
        target.write_bytes(source.read_bytes()[:100])
        os.kill(os.getpid(), signal.SIGKILL)

    shutil.copy2 = copy_half
    mend(path)


def test_killed_while_it_copies_a_torn_journal_a_process_leaves_no_half_of_a_copy(tmp_path):
    path = tmp_path / "journal.log"
    path.write_bytes(LINE * 3 + b'{"op_code":8,"trial_')
    before = path.read_bytes()
    child = Running([], tmp_path / "out", partial(die_half_way_through_the_copy, path))
    assert child.wait() == -signal.SIGKILL
    assert path.read_bytes() == before
    (copy,) = mend(path)
    assert copy.read_bytes() == before


def test_a_journal_that_is_nothing_but_a_torn_line_becomes_empty(tmp_path):
    path = tmp_path / "journal.log"
    path.write_bytes(b'{"op_')
    mend(path)
    assert path.read_bytes() == b""


def test_many_writers_lose_nothing_and_mend_what_one_leaves_torn(tmp_path):
    path = tmp_path / "journal.log"

    def write(writer):
        journal = MendingJournal(path)  # its own lock, as in a process of its own
        for number in range(50):
            journal.append_logs([{"writer": writer, "number": number}])
            if number == 25 and writer == 0:
                with locked(path), path.open("ab") as file:  # killed while it wrote
                    file.write(b'{"writer":')

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(records) == 200
    for writer in range(4):
        own = [record["number"] for record in records if record["writer"] == writer]
        assert own == list(range(50))


def _write_too_much(path):
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    journal = MendingJournal(path)
    journal.append_logs([{"number": 1}])
    resource.setrlimit(resource.RLIMIT_FSIZE, (60, 60))
    try:
        journal.append_logs([{"number": 2, "text": "x" * 100}])
    except OSError:
        os._exit(7)
    os._exit(0)


def test_a_write_for_which_the_disk_is_too_full_leaves_the_journal_as_it_was(tmp_path):
    path = tmp_path / "journal.log"
    child = Running([], tmp_path / "out", partial(_write_too_much, path))
    assert child.wait() == 7
    (line,) = path.read_text().splitlines()
    assert json.loads(line)["number"] == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:200] + b"\xff\xfe" + content[200:],
        lambda content: content.replace(b'"op_code"', b'"op_kode"', 1),
        lambda content: b"[1, 2]\n" + content,
        lambda content: content.replace(b'"op_code":4', b'"op_code":77', 1),
    ],
    ids=["bytes", "no code", "a list", "unknown code"],
)
def test_a_journal_damaged_in_the_middle_is_refused_and_left_as_it_is(
    folder, images, capsys, damage
):
    assert main(words(images, trials=1)) == 0
    journal = folder.study_folder.journal
    without_sums = re.sub(rb',"crc32":\d+', b"", journal.read_bytes())
    damaged = damage(without_sums) + b'{"torn'
    journal.write_bytes(damaged)
    names = sorted(path.name for path in journal.parent.iterdir())
    capsys.readouterr()
    for command in (words(images, trials=2), ["status"], ["best"]):
        assert main(command) == 1
        error = capsys.readouterr().err.splitlines()[-1]
        assert error.startswith("error: the journal")
        assert "damaged" in error
    assert journal.read_bytes() == damaged
    assert sorted(path.name for path in journal.parent.iterdir()) == names


def _read_trials(journal):
    (study,) = open_storage(None, journal).get_all_studies()
    return open_storage(None, journal).get_all_trials(study._study_id)


@pytest.fixture(scope="module")
def searched_journal(tmp_path_factory):
    """A journal that a real search wrote."""
    path = tmp_path_factory.mktemp("journal") / "journal.log"
    shutil.copy(StudyFolder(searched_studies() / "tiny-8k-digits").journal, path)
    return path


def test_a_flipped_bit_in_a_journal_is_refused_with_its_line_or_changes_nothing(
    searched_journal, tmp_path
):
    whole, expected = searched_journal.read_bytes(), _read_trials(searched_journal)
    random_bits, journal = random.Random(3), tmp_path / "journal.log"
    last = whole.rindex(b"\n", 0, -1)  # a last line that is no record is cut off, and said
    digits = [m.start() for m in re.finditer(rb"\d", whole[:last])]
    refused = []
    for position in random_bits.sample(digits, 100) + random_bits.sample(range(last), 100):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << random_bits.randrange(3)  # the low bits: a digit stays one
        journal.write_bytes(flipped)
        try:
            assert _read_trials(journal) == expected, flipped[position - 20 : position + 20]
        except StorageError as error:
            refused.append(str(error))
    assert all(f"{journal} is damaged" in text for text in refused)
    assert sum("the checksum of line" in text for text in refused) > 100


def test_a_journal_without_checksums_is_read_and_optunas_own_reader_reads_ours(
    searched_journal, tmp_path
):
    expected, older = _read_trials(searched_journal), tmp_path / "older.log"
    older.write_bytes(re.sub(rb',"crc32":\d+', b"", searched_journal.read_bytes()))
    assert b"crc32" not in older.read_bytes()
    assert _read_trials(older) == expected
    theirs = JournalStorage(JournalFileBackend(str(searched_journal)))
    assert theirs.get_all_trials(theirs.get_all_studies()[0]._study_id) == expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("sqlite:////a/b.db?timeout=100", "sqlite:////a/b.db"),
        ("sqlite:////a/u:x@h%20%C3%A9.db", "sqlite:////a/u%3Ax%40h %C3%A9.db"),
        ("postgresql://h/db", "postgresql://h/db"),
        ("postgresql+psycopg2://u:p@h:5432/db", "postgresql+psycopg2://h:5432/db"),
        ("postgresql://u:p%40/?#%q@h/db", "postgresql://h/db"),
        ("postgresql://u:p@[::1]:5/db", "postgresql://[::1]:5/db"),
        ("postgresql://:p@h", "postgresql://h"),
        ("postgresql://h/db?user=u&password=p&sslmode=require", "postgresql://h/db"),
        ("postgresql+psycopg2:///db?host=/run/sockets", "postgresql+psycopg2:///db"),
    ],
)
def test_of_a_url_driver_host_port_and_database_are_shown(url, shown):
    assert shown_url(url) == shown
    assert shown_url(shown) == shown


@pytest.mark.parametrize(
    "url",
    [
        "secret-word",
        "postgresql:u:secret-word@h/db",
        "postgresql://u:secret-word/db",
        "postgresql://u:pa@secret-word@h/db",
        "postgresql://u:pa@secret-word/ss@h/db",
        "postgresql://u:pa@secret-word?ss@h/db",
        "postgresql://u/x:secret-word@h/db",
        "postgresql://h:5432/db?password=pa@secret-word",  # h as user, the rest as password
        "postgresql://h/db;password=secret-word",
        "postgresql://u:p@h/db\nsecret-word",
        "sqlite:///secret-word\udcff.db",
        "sqlite:///:memory:",  # what is no file is gone with its process
        "sqlite://",
        "sqlite:///file:secret-word?uri=true",
        "sqlite://secret-word/x.db",
        "sqlite://:secret-word@/x.db",
    ],
)
def test_what_is_no_url_of_a_store_is_refused_and_not_shown(url):
    with pytest.raises(UsageError, match="a store is sqlite:///FILE") as caught:
        shown_url(url)
    assert "secret-word" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("given", "environment", "recorded", "opened"),
    [
        (None, "postgresql://u:p@h/db", "postgresql://u@h/db", "postgresql://u:p@h/db"),
        (None, "postgresql://u:p@h/other", "postgresql://u@h/db", "postgresql://u@h/db"),
        (None, "postgresql://u:p@h/db", None, None),
        (None, "", "postgresql://u@h/db", "postgresql://u@h/db"),
        ("sqlite:///x.db", "postgresql://u:p@h/db", None, "sqlite:///x.db"),
    ],
    ids=["its password", "another database", "a journal", "empty", "given"],
)
def test_a_study_is_opened_where_it_was_begun(monkeypatch, given, environment, recorded, opened):
    monkeypatch.setenv("NAS_STORAGE", environment)
    assert storage_url(given, definition(storage=recorded)) == opened


def test_an_sqlite_file_is_recorded_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert shown_url("sqlite:///x.db?timeout=100") == f"sqlite:///{tmp_path}/x.db"


@pytest.mark.parametrize("query", ["", "?timeout=100"])
def test_an_sqlite_file_is_where_sqlalchemy_has_it(tmp_path, query):
    for name, path in (("x.db", "x.db"), ("a b%20c%3F{d}.db", "a b c?{d}.db")):
        url = f"sqlite:///{tmp_path}/{name}{query}"
        with open_storage(url, tmp_path / "unused").engine.connect() as connection:
            wait = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
        assert wait == (100_000 if query else 60_000)  # ms
        assert store_file(url, tmp_path / "unused") == tmp_path / path
        assert (tmp_path / path).is_file()


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("mysterious://u:secret-word@h/db", UsageError),
        ("no url at all", UsageError),
        ("mysterious://u:secret-word@[h/db", UsageError),
        ("mysterious://u:p@h/db?secret-word=secret-word", UsageError),
        ("sqlite:////nowhere/at/all/x.db", StorageError),
        *(
            (f"{driver}://{rest}", StorageError)
            for driver in ("postgresql+psycopg2", "mysql+pymysql")
            for rest in (
                "u:secret-word@127.0.0.1:1/db",
                "secret-word:/?#{}%40secret-word@127.0.0.1:1/db",
                "127.0.0.1:1/db?password=secret-word&secret-word=1",
                "127.0.0.1:1/db?sslpassword=secret-word",
                "127.0.0.1:1/db?passwd=secret-word",
                "127.0.0.1:1/db?sslmode=secret-word",
                "127.0.0.1:1/db?dsn=host%3Dh+password%3Dpa+secret-word",
            )
        ),
        ("postgresql+nodriver://u:secret-word@h/db", UsageError),
    ],
)
def test_a_store_that_cannot_be_opened_is_one_line_without_the_password(tmp_path, url, error):
    for driver in ("psycopg2", "pymysql"):
        if driver in url:
            pytest.importorskip(driver)
    with pytest.raises(error) as caught:
        open_storage(url, tmp_path / "journal.log")
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None  # which would be shown with --debug


def test_a_server_that_is_not_there_is_no_matter_of_user_and_password(tmp_path):
    pytest.importorskip("psycopg2")
    with pytest.raises(StorageError, match="refused") as caught:
        open_storage("postgresql+psycopg2://u:p@127.0.0.1:1/db", tmp_path / "unused")
    assert "user and password" not in str(caught.value)


URLS_WITH_SECRETS = [
    "postgresql+psycopg2://secret:secret/?#%secret@127.0.0.1:1/db?passwd=secret",
    "postgresql+psycopg2://secret:secret@secret@127.0.0.1:1/db",
    "postgresql+psycopg2:secret:secret@127.0.0.1:1/db",
]


@pytest.mark.parametrize("way", ["option", "variable"])
def test_no_command_shows_or_keeps_more_of_a_url_than_where_the_database_is(
    folder, images, monkeypatch, capfd, way
):
    begun, searching = ["--study", "begun"], words(images, trials=1)
    assert main([*searching, *begun]) == 0
    path = folder.path / "begun" / "study.json"
    own = path.read_text()
    if way == "variable":  # and a study that was recorded before, with its user
        older = '"storage": "postgresql+psycopg2://secret@127.0.0.1:1/db"'
        path.write_text(own.replace('"storage": null', older))
    capfd.readouterr()
    for url in URLS_WITH_SECRETS:
        option = ["--storage", url] if way == "option" else []
        if way == "variable":
            monkeypatch.setenv("NAS_STORAGE", url)
        commands = [[command, *begun] for command in ("status", "worker", "dashboard")]
        for argv in (*commands, searching, ["search", f"--storag={url}"], ["search", url]):
            assert main([*argv, *option]) in (1, 2), argv
            out, err = capfd.readouterr()
            assert err.splitlines()[-1].startswith("error: ")
            assert "secret" not in out + err, argv
        main([*searching, *option, "--dry-run"])
    assert main([*searching, *begun, "--storage", URLS_WITH_SECRETS[0]]) in (1, 2)
    assert "secret" not in "".join(capfd.readouterr())
    path.write_text(own)
    assert [study.name for study in folder.path.iterdir()] == ["begun"]
    files = [file for file in folder.path.rglob("*") if file.is_file()]
    assert not [file for file in files if b"secret" in file.read_bytes()]


def test_a_wrong_store_leaves_no_study_behind(folder, images):
    argv = [*words(images), "--storage", "sqlite:////nowhere/at/all/x.db"]
    assert main(argv) == 1
    assert not folder.path.exists()
    for url in ("what", "sqlite:///:memory:"):
        assert main([*words(images), "--storage", url]) == 2
        assert main([*words(images), "--storage", url, "--dry-run"]) == 2
    assert not folder.path.exists()


def test_a_study_in_sqlite_finds_its_file_whatever_the_url_has_beside_it(
    folder, images, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    argv = [*words(images, trials=1), "--storage", "sqlite:///a%20b%3F.db?timeout=100"]
    assert main(argv) == 0
    assert (tmp_path / "a b?.db").is_file()
    assert folder.definition()["storage"] == f"sqlite:///{tmp_path}/a b%3F.db"
    assert "timeout" not in folder.study_folder.definition.read_text()  # nor in the command
    assert folder.study_folder.definition.stat().st_mode & 0o777 == 0o600
    monkeypatch.chdir(images)
    for command in (["status"], ["worker"], words(images, trials=2)):
        assert main(command) == 0
    assert_sound(folder, 2)


def test_a_study_that_was_recorded_with_all_of_its_url_goes_on(folder, images, tmp_path):
    url = f"sqlite:///{tmp_path}/x.db"
    argv = [*words(images, trials=1), "--storage", url]
    assert main(argv) == 0
    path = folder.study_folder.definition
    older = url.replace("x.db", "x%2Edb?timeout=100")
    path.write_text(path.read_text().replace(f'"{url}"', f'"{older}"'))
    assert folder.definition()["storage"] == older
    assert main(argv) == 0
    assert main(["status"]) == 0
    assert main([*argv, "--storage", f"{url}.other"]) == 2


@pytest.mark.slow
def test_a_study_in_sqlite_is_shared_by_processes_that_begin_together(
    folder, images, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    argv = [*words(images, trials=6, epochs=2), "--storage", f"sqlite:///{tmp_path}/x.db"]
    three = [Running(argv, tmp_path / name) for name in "abc"]
    assert [running.wait() for running in three] == [0, 0, 0], three[0].errors()
    assert_sound(folder, 6)
    assert not folder.study_folder.journal.exists()
    assert folder.definition()["storage"] == f"sqlite:///{tmp_path}/x.db"
    assert main(words(images, trials=7, epochs=2)) == 0  # the folder knows where its trials are
    assert_sound(folder, 7)


def test_a_study_whose_database_fails_as_it_begins_goes_on_with_the_same_command(
    folder, images, tmp_path, monkeypatch
):
    def fail(*args):
        raise OSError(5, "Input/output error")

    argv = [*words(images), "--storage", f"sqlite:///{tmp_path}/x.db"]
    with monkeypatch.context() as patch:
        patch.setattr(nas.search.open_study, "_enqueue_baselines", fail)
        assert main(argv) == 1
    assert main(argv) == 0
    assert_sound(folder, 3)


def test_a_study_that_the_store_has_and_the_folder_does_not_is_left_alone(
    folder, images, tmp_path, capsys
):
    url = f"sqlite:///{tmp_path}/x.db"
    storage = open_storage(url, tmp_path / "unused")
    optuna.create_study(study_name="tiny-8k-folder", storage=storage).add_trial(
        optuna.trial.create_trial(value=1.0)
    )
    assert main([*words(images), "--storage", url]) == 2
    assert "--study tiny-8k-folder-2" in capsys.readouterr().err
    assert not folder.path.exists()
    assert len(optuna.load_study(study_name="tiny-8k-folder", storage=storage).trials) == 1


@pytest.fixture
def postgres(tmp_path):
    """A fresh database on the server that NAS_TEST_POSTGRES names, as a role with a password."""
    if "NAS_TEST_POSTGRES" not in os.environ:
        pytest.skip("NAS_TEST_POSTGRES names no server (a URL of a superuser)")
    sqlalchemy = pytest.importorskip("sqlalchemy")
    server = sqlalchemy.make_url(os.environ["NAS_TEST_POSTGRES"])
    engine = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT")
    name = f"nas_{os.getpid()}"
    escaped = SECRET.replace("'", "''")
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"CREATE ROLE {name} LOGIN PASSWORD '{escaped}'"))
        connection.execute(sqlalchemy.text(f"CREATE DATABASE {name} OWNER {name}"))
    password = SECRET.replace("%", "%25").replace("@", "%40")  # the rest as it is typed
    yield f"{server.drivername}://{name}:{password}@{server.host}:{server.port or 5432}/{name}"
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(f"DROP DATABASE {name} WITH (FORCE)"))
        connection.execute(sqlalchemy.text(f"DROP ROLE {name}"))
    engine.dispose()


def test_a_study_in_postgresql_is_shared_killed_and_resumed_and_hides_its_password(
    folder, images, tmp_path, postgres, monkeypatch, capsys
):
    monkeypatch.setenv("NAS_STORAGE", postgres)
    argv = words(images, trials=8, epochs=10)
    both = [Running([*argv, "--storage", postgres], tmp_path / name) for name in "ab"]
    folder.wait_for(lambda trials: any(trial.intermediate_values for trial in trials))
    for running in both:
        running.kill_group()
    assert main([*argv, "--workers", "2"]) == 0
    assert_sound(folder, 8)
    assert folder.study_folder.definition.stat().st_mode & 0o777 == 0o600
    monkeypatch.delenv("NAS_STORAGE")
    assert main(argv) == 1  # the folder alone does not know the password
    shown = capsys.readouterr()
    files = b"".join(p.read_bytes() for p in folder.path.rglob("*") if p.is_file())
    for secret in (SECRET, quote(SECRET, safe=""), SECRET.replace("@", "%40"), "wö"):
        assert secret.encode() not in files
        assert secret not in shown.out + shown.err + both[0].errors() + both[1].errors()


def test_has_study_says_whether_a_store_has_it(tmp_path):
    storage = open_storage(None, tmp_path / "journal.log")
    assert not has_study("a", storage)
    optuna.create_study(study_name="a", storage=storage)
    assert has_study("a", storage)
    assert Folder(tmp_path, "a").trials() == []
