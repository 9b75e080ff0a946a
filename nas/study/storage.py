"""Where a study's trials are kept: an append-only journal, or a database by its URL."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage

from nas.errors import StorageError, UsageError
from nas.study.definition import StudyDefinition
from nas.study.folder import STORAGE_VARIABLE
from nas.study.journal import MendingJournal

SQLITE_WAIT_SECONDS = 60  # for another process that writes
SQLITE_PREFIX = "sqlite:///"
URL_RULE = "a store is sqlite:///FILE or postgresql+psycopg2://HOST/DB"


def require_optuna_5(version: str = optuna.__version__) -> None:
    """Refuse an Optuna whose samplers and constraints work differently.

    Raises:
        UsageError: The version is not 5.
    """
    if version.split(".")[0] != "5":
        raise UsageError(
            f"this tool needs Optuna 5, but got {version}; "
            "run: python -m pip install 'optuna>=5,<6'"
        )


def open_storage(url: str | None, journal_path: Path) -> BaseStorage:
    """Open the store of a study.

    Args:
        url: ``sqlite:///...`` or ``postgresql+psycopg2://...``; None is the journal file.
        journal_path: The journal file, used when `url` is None. Created when absent.

    Raises:
        UsageError: The URL is of no known kind, or its driver is not installed.
        StorageError: The store is damaged, unreachable, or may not be read.
    """
    require_optuna_5()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    if url is None:
        return _open_journal(journal_path)
    wait = {"connect_args": {"timeout": SQLITE_WAIT_SECONDS}} if url.startswith("sqlite") else {}
    try:
        return RDBStorage(url, engine_kwargs={"pool_pre_ping": True, **wait})
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"{URL_RULE}, but got {without_password(url)!r}: {_first_line(error, url)}"
        ) from None  # NOTE: the cause may hold the password
    except Exception as error:  # SQLAlchemy's and the driver's own trees, a line each
        if _is_malformed(error):
            raise UsageError(f"{URL_RULE}, but got {without_password(url)!r}") from None
        raise StorageError(
            f"cannot open {without_password(url)}: {_first_line(error, url)}; a password goes "
            "into $NAS_STORAGE or ~/.pgpass"
        ) from None


def store_file(url: str | None, journal_path: Path) -> Path | None:
    """Return the file that a store is kept in; None is a database server's."""
    if url is None:
        return journal_path
    return Path(url.removeprefix(SQLITE_PREFIX)) if url.startswith(SQLITE_PREFIX) else None


def let_readers_and_writers_meet(storage: BaseStorage) -> None:
    """Put a new SQLite file into write-ahead mode: three times faster, readers block no writer.

    The mode stays with the file. Other stores need nothing.
    """
    if isinstance(storage, RDBStorage) and storage.engine.dialect.name == "sqlite":
        with storage.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def _open_journal(path: Path) -> BaseStorage:
    try:
        return JournalStorage(MendingJournal(path))
    except PermissionError as error:
        raise StorageError(f"no permission for {path}: {error.strerror}") from error
    except OSError as error:
        raise StorageError(f"cannot open {path}: {error.strerror}") from error
    except Exception as error:  # whatever Optuna makes of a record that is none of its own
        raise StorageError(
            f"the journal {path} is damaged and was left as it is: "
            f"{error or type(error).__name__}; "
            "restore it from a copy, or start a study under another name"
        ) from error


@contextmanager
def store_errors(what: object) -> Iterator[None]:
    """Turn what a store or a full disk raises into one `StorageError`.

    Args:
        what: What is being written, for the message.

    Raises:
        StorageError: The disk is full, a permission is missing, or the database failed.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write {what}: {error.strerror or error}") from error
    except (StorageInternalError, SQLAlchemyError) as error:
        cause = error.__cause__ or error
        raise StorageError(f"the database of {what} failed: {_first_line(cause, '')}") from None


def without_password(url: str) -> str:
    """Return a storage URL without its password, fit for files, argument lists and messages.

    Raises:
        UsageError: It is no URL.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise UsageError(f"{URL_RULE}, but got {error}") from None  # not the URL: it has secrets
    login, at, host = parts.netloc.rpartition("@")
    user = login.partition(":")[0]
    query = parts.query
    if "password" in query.lower():
        pairs = parse_qsl(query, keep_blank_values=True)
        query = urlencode([pair for pair in pairs if pair[0].lower() != "password"])
    if login == user and query == parts.query:
        return url
    bare = parts._replace(netloc=f"{user}{at}{host}" if user else host, query=query)
    return urlunsplit(bare)


def canonical_url(url: str) -> str:
    """Return a storage URL as it is recorded: no password, the path of an SQLite file absolute."""
    if url.startswith(SQLITE_PREFIX) and url != f"{SQLITE_PREFIX}:memory:":
        path, question, query = url.removeprefix(SQLITE_PREFIX).partition("?")
        return f"{SQLITE_PREFIX}{Path(path).absolute()}{question}{query}"
    return without_password(url)


def storage_url(given: str | None, definition: StudyDefinition | None) -> str | None:
    """Return the store that is opened; None is the study's journal.

    A study stays where it was begun, whatever $NAS_STORAGE says: that is for new studies, and has
    the password of a study which is kept in that very database.

    Args:
        given: The URL on the command line.
        definition: The study; None for a new one.
    """
    if given is not None:
        return given
    own = os.environ.get(STORAGE_VARIABLE) or None
    if definition is None:
        return own
    recorded = definition.storage
    return own if recorded and own and canonical_url(own) == recorded else recorded


def _first_line(error: BaseException, url: str) -> str:
    """Return the first line of an error's text, the URL's password blotted out."""
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    login = urlsplit(url).netloc.rpartition("@")[0]
    secrets = [login.partition(":")[2]]
    secrets += re.findall(r"password=([^&\s]+)", url, flags=re.IGNORECASE)
    for secret in filter(None, secrets):
        text = text.replace(secret, "***").replace(unquote(secret), "***")
    return text


def _is_malformed(error: Exception) -> bool:
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    return isinstance(error, (ArgumentError, NoSuchModuleError))


def load_study(
    name: str, storage: BaseStorage, sampler: Any = None, pruner: Any = None
) -> optuna.Study:
    """Load an Optuna study that exists.

    Raises:
        StorageError: The store has no study of that name, or is damaged.
    """
    try:
        return optuna.load_study(study_name=name, storage=storage, sampler=sampler, pruner=pruner)
    except KeyError as error:
        raise StorageError(
            f"the store has no study {name!r}; its folder exists without it: the same `search` "
            "command begins it anew, or start a study under another name"
        ) from error


def ensure_study(name: str, storage: BaseStorage) -> None:
    """Make the Optuna study of a name where the store has none."""
    if not has_study(name, storage):
        optuna.create_study(
            study_name=name, storage=storage, direction="maximize", load_if_exists=True
        )


def has_study(name: str, storage: BaseStorage) -> bool:
    """Tell whether a store has an Optuna study of that name."""
    try:
        storage.get_study_id_from_name(name)
    except KeyError:
        return False
    return True
