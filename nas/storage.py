"""Where a study's trials are kept: an append-only journal, or a database by its URL.

The journal is one file on one machine. A process killed while it wrote leaves a torn last line
that would make the file unreadable after the next write, so it is cut back before it is opened.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from nas.errors import StorageError, UsageError

LOCK_GRACE_SECONDS = 5  # a journal lock older than this belongs to a process that was killed


def require_optuna_5() -> None:
    """Refuse an Optuna whose samplers and constraints work differently.

    Raises:
        UsageError: The installed Optuna is not of version 5.
    """
    if optuna.__version__.split(".")[0] != "5":
        raise UsageError(
            f"this tool needs Optuna 5, but got {optuna.__version__}; "
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
    try:
        return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
    except (ImportError, ValueError) as error:
        raise UsageError(
            f"--storage takes sqlite:///FILE or postgresql+psycopg2://HOST/DB, but got "
            f"{without_password(url)!r}: {error}"
        ) from error
    except Exception as error:  # SQLAlchemy's and the driver's own trees, a line each
        reason = str(error).strip().splitlines()[0]
        raise StorageError(f"cannot open {without_password(url)}: {reason}") from error


def _open_journal(path: Path) -> BaseStorage:
    lock = JournalFileSymlinkLock(str(path), grace_period=LOCK_GRACE_SECONDS)
    try:
        return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))
    except PermissionError as error:
        raise StorageError(f"no permission for {path}: {error.strerror}") from error
    except OSError as error:
        raise StorageError(f"cannot open {path}: {error.strerror}") from error
    except (ValueError, KeyError, AssertionError) as error:  # json.JSONDecodeError is a ValueError
        raise StorageError(
            f"the journal {path} is damaged and was left as it is: {error}; "
            "restore it from a copy, or start a study under another name"
        ) from error


def repair_journal(path: Path) -> Path | None:
    """Cut a torn last line off a journal, under its lock; a copy of the file is kept beside it.

    Returns:
        The copy's path, or None where the journal was whole or is absent.

    Raises:
        StorageError: The file may not be read or written.
    """
    if not path.exists() or _is_whole(path):
        return None
    lock = JournalFileSymlinkLock(str(path), grace_period=LOCK_GRACE_SECONDS)
    lock.acquire()
    try:
        if _is_whole(path):  # the writer that we met had merely not finished
            return None
        copy = path.with_name(f"{path.name}.torn-{time.strftime('%Y%m%d-%H%M%S')}")
        shutil.copy2(path, copy)
        content = path.read_bytes()
        with path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
        return copy
    except OSError as error:
        raise StorageError(f"cannot mend the journal {path}: {error.strerror}") from error
    finally:
        lock.release()


def _is_whole(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.seek(0, 2) == 0:
                return True
            file.seek(-1, 2)
            return file.read(1) == b"\n"
    except OSError as error:
        raise StorageError(f"cannot read the journal {path}: {error.strerror}") from error


def without_password(url: str) -> str:
    """Return a storage URL without its password, fit for files and messages."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    user = f"{parts.username}@" if parts.username else ""
    return urlunsplit(parts._replace(netloc=f"{user}{host}{port}"))


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
            f"the store has no study {name!r}; its folder exists without it: start a study under "
            "another name"
        ) from error


def set_trial_attr(
    storage: BaseStorage, study_name: str, number: int, name: str, value: Any
) -> None:
    """Write a user attribute into an unfinished trial that another process began."""
    study_id = storage.get_study_id_from_name(study_name)
    trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, number)
    storage.set_trial_user_attr(trial_id, name, value)
