"""The journal that a study is kept in: Optuna's file format, written so that it stays readable.

A process killed while it wrote leaves a torn last line. Optuna reads past it, but the next line is
appended to it and the file is unreadable from then on. Here every writer looks at the last line
first, under the lock, and cuts a torn one back; a copy of the file is kept. The kernel releases
the lock when its holder dies, so nobody waits for a dead process.

Optuna's own writer is not used: it appends to a torn line, and its lock is a file that a killed
process leaves behind, for which the next one waits 30 seconds.

Each record ends with a checksum of the rest, a field that Optuna passes over: a flipped bit can
make another digit of a digit, and the line is JSON as before. A record without one, of Optuna's
own writer or of an older version, is taken as it is.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
import zlib
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from optuna.storages.journal import BaseJournalBackend, JournalFileBackend

from nas.locks import take_lock

logger = logging.getLogger(__name__)

TAIL_BYTES = 2**16  # of the end of the file that are looked at; a line longer than this is rare
CHECKSUM = "crc32"


class MendingJournal(BaseJournalBackend):
    """An append-only journal in one file, for any number of processes of one machine.

    Args:
        path: The file; made when absent.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = JournalFileBackend(str(path))  # for reading, which needs no lock

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Yield the records from a number on; a torn last line is left out.

        Raises:
            ValueError: A record is damaged.
        """
        for number, log in enumerate(self._file.read_logs(log_number_from), log_number_from):
            checksum = log.pop(CHECKSUM, None)
            if checksum is not None and checksum != zlib.crc32(_as_json(log)):
                raise ValueError(f"the checksum of line {number + 1} is wrong")
            yield log

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append records, all of them or none, and flush them to disk.

        Raises:
            OSError: The disk is full, the file is gone or may not be written; it is as it was.
        """
        summed = [log | {CHECKSUM: zlib.crc32(_as_json(log))} for log in logs]
        content = b"".join(_as_json(log) + b"\n" for log in summed)
        with self._path.open("r+b", buffering=0) as file:  # a journal that is gone stays gone
            take_lock(file.fileno(), self._path)
            _mend(self._path, file)
            size = file.seek(0, os.SEEK_END)
            try:
                while content:
                    content = content[file.write(content) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(size)
                raise


def _as_json(log: dict[str, Any]) -> bytes:
    return json.dumps(log, separators=(",", ":")).encode()


def _mend(path: Path, file: IO[bytes]) -> None:
    """Cut a torn last line off, under the lock; a copy of the file is kept beside it."""
    length = _length_of_whole_lines(file)
    if length is None:
        return
    copy = path.with_name(f"{path.name}.torn-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}")
    unfinished = path.with_name(f"{path.name}.torn")  # killed here, the next one writes it anew
    shutil.copy2(path, unfinished)
    unfinished.replace(copy)
    file.truncate(length)
    os.fsync(file.fileno())
    logger.warning("a torn last line was cut off the journal %s; copy: %s", path, copy.name)


def _length_of_whole_lines(file: IO[bytes]) -> int | None:
    """Return where the torn last line begins, or None where the last line is whole."""
    size = file.seek(0, os.SEEK_END)
    for start in (max(size - TAIL_BYTES, 0), 0):
        file.seek(start)
        tail = file.read()
        begin = tail[:-1].rfind(b"\n") + 1
        if begin:
            break
    last = tail[begin:]
    with suppress(ValueError, RecursionError):
        if not last or (last.endswith(b"\n") and isinstance(json.loads(last), dict)):
            return None
    return start + begin
