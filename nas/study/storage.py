"""Where a study's trials are kept: an append-only journal, or a database by its URL."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage

from nas.errors import StorageError, UsageError
from nas.study.definition import StudyDefinition
from nas.study.folder import STORAGE_VARIABLE, StudyFolder, fresh_name
from nas.study.journal import MendingJournal

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

SQLITE_WAIT_SECONDS = 60  # for another process that writes
URL_RULE = "a store is sqlite:///FILE or postgresql+psycopg2://USER:PASSWORD@HOST/DB"


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
    from sqlalchemy.exc import ArgumentError

    parts, shown = parse_url(url), shown_url(url)
    is_sqlite = parts.get_backend_name() == "sqlite"
    wait = {} if "timeout" in parts.query else {"timeout": SQLITE_WAIT_SECONDS}
    template = url.replace("{", "{{").replace("}", "}}")  # which Optuna fills in
    try:
        return RDBStorage(
            template,
            engine_kwargs={"pool_pre_ping": True, "connect_args": wait if is_sqlite else {}},
        )
    except (ImportError, ValueError, ArgumentError) as error:
        # NOTE: from None, as the cause may hold the password
        raise UsageError(f"{URL_RULE}, but got {shown}: {_reason(error, url)}") from None
    except Exception as error:  # SQLAlchemy's and the driver's own trees, a line each
        reason = _reason(error, url)
        if re.search("password|authentication|denied", reason):
            reason += f"; user and password go into the URL in ${STORAGE_VARIABLE}"
        raise StorageError(f"cannot open {shown}: {reason}") from None


def parse_url(text: str) -> URL:
    """Return the parts of a storage URL, as SQLAlchemy reads it that opens it.

    Raises:
        UsageError: It is no URL, means no file of SQLite, or has an ``@`` or ``=`` where a part
            of a password may have been read as host or database. No part of it is shown.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    with suppress(ArgumentError, ValueError, TypeError):
        url = make_url(text)
        if url.get_backend_name() == "sqlite":
            is_file = url.database not in (None, "", ":memory:") and "uri" not in url.query
            is_sound = is_file and not any((url.username, url.password, url.host, url.port))
        else:
            is_misread = "=" in f"{url.host}{url.database}" or re.search(r"\?.*=.*@", text)
            is_sound = not is_misread and text.count("@") <= (url.username is not None)
        if is_sound and text.isprintable():
            return url
    raise UsageError(
        f"{URL_RULE}, with %40, %3F and %3D for @, ? and = in a password, but got something else; "
        "it is not shown, as it may hold a password"
    )


def shown_url(text: str) -> str:
    """Return what of a storage URL is shown and kept: driver, host, port and database.

    The path of an SQLite file is made absolute.

    Raises:
        UsageError: As in `parse_url`.
    """
    from sqlalchemy.engine import URL

    url, file = parse_url(text), store_file(text, Path())
    database = url.database if file is None else str(file.absolute())
    bare = URL.create(url.drivername, host=url.host, port=url.port, database=database)
    return bare.render_as_string()


def store_file(url: str | None, journal_path: Path) -> Path | None:
    """Return the file that a store is kept in; None is a database server's."""
    if url is None:
        return journal_path
    parts = parse_url(url)
    return Path(parts.database or "") if parts.get_backend_name() == "sqlite" else None


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
    except OSError as error:
        raise StorageError(f"cannot open {path}: {error.strerror}") from error
    except Exception as error:  # whatever Optuna makes of a record that is none of its own
        raise StorageError(
            f"the journal {path} is damaged and was left as it is: "
            f"{error or type(error).__name__}; "
            "restore it from a copy, or start a study under another name"
        ) from error


@contextmanager
def store_errors(study: Path, url: str | None) -> Iterator[None]:
    """Turn what a store or a full disk raises into one `StorageError`.

    Args:
        study: The folder of the study that is being written.
        url: Its store; None is the journal.

    Raises:
        StorageError: The disk is full, a permission is missing, the database failed, or another
            program took the study or a rung away.
    """
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except OSError as error:
        raise StorageError(f"cannot write the study {study}: {error.strerror or error}") from error
    except (StorageInternalError, SQLAlchemyError) as error:
        reason = _reason(error.__cause__ or error, url)
        raise StorageError(f"the database of the study {study} failed: {reason}") from None
    except KeyError:  # of a study or trial; or a fault of ours, which is shown as one
        folder = StudyFolder(study)
        name, storage = folder.load().name, open_storage(url, folder.journal)
        load_study(folder, name, storage)
        raise


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
    return own if recorded and own and shown_url(own) == shown_url(recorded) else recorded


def _reason(error: BaseException, url: str | None) -> str:
    """Return the first line of an error's text; what of the URL is not shown is blotted out.

    So is each word of it: a driver may quote a piece.
    """
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    if url is None:
        return line
    parts = parse_url(url)
    options = chain(parts.query, *parts.normalized_query.values())
    hidden = [value for value in (parts.username, parts.password, *options) if value]
    hidden = [*hidden, *map(quote_plus, hidden)]
    pieces = {*hidden, *re.findall(r"\w+", " ".join(hidden))}
    pattern = "|".join(map(re.escape, sorted(pieces, key=len, reverse=True)))
    return re.sub(rf"(?<!\w)(?:{pattern})(?!\w)", "***", line) if pieces else line


def load_study(folder: StudyFolder, name: str, storage: BaseStorage) -> optuna.Study:
    """Load an Optuna study that exists, neither it nor a rung missing whose trials its folder has.

    Another program renamed or deleted it; optuna-dashboard renames by a copy and a deletion.

    Args:
        folder: The study's folder.
        name: Its name; that of its folder may have been changed.
        storage: Its open store.

    Raises:
        StorageError: The study or a rung is missing, or the store is damaged.
    """
    for study, trials in folder.trained_studies(name).items():
        if has_study(study, storage):
            continue
        found = (item.study_name for item in storage.get_all_studies())
        others = " or ".join(repr(o) for o in found if not f"{o}@".startswith(f"{name}@"))
        # a journal is one study's alone: what else it has is the renamed one
        renamed = f" to {others}" if others and isinstance(storage, JournalStorage) else ""
        again = "" if study == name else f", remove {trials} to have them trained again"
        raise StorageError(
            f"the store has no study {study!r}, but {trials} has its trials: another program "
            f"deleted it, or renamed it{renamed}; rename it back, restore the "
            f"store from a copy{again}, or begin another study with --study "
            f"{fresh_name(folder.path.parent, folder.name)}"
        )
    try:
        return optuna.load_study(study_name=name, storage=storage)
    except KeyError as error:
        raise StorageError(
            f"the store has no study {name!r}; its folder exists without it: the same `search` "
            "command begins it anew, or start a study under another name"
        ) from error


def ensure_study(name: str, storage: BaseStorage, metric: str) -> optuna.Study:
    """Return the Optuna study of a name, which is made where the store has none.

    Args:
        name: The name.
        storage: The store.
        metric: What its values are, as the dashboard's pictures say.
    """
    if not has_study(name, storage):
        study = optuna.create_study(
            study_name=name, storage=storage, direction="maximize", load_if_exists=True
        )
        with warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):
            study.set_metric_names([metric])
    return optuna.load_study(study_name=name, storage=storage)


def has_study(name: str, storage: BaseStorage) -> bool:
    """Tell whether a store has an Optuna study of that name."""
    try:
        storage.get_study_id_from_name(name)
    except KeyError:
        return False
    return True
