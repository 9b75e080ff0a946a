"""One file from a host that may refuse, stall or trickle: fetched whole, or a clear error soon.

The transfer runs in a thread and is watched from outside, so that nothing (name look-up, headers
that never end, a byte a second) keeps the user waiting: a transfer that cannot end in time is
given up within about 15 s of its start.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from nas.data.cache import make_directory
from nas.errors import DataError, DownloadError
from nas.files import write_atomically

_CHUNK_BYTES = 1 << 16
_POLL_SECONDS = 0.05
_REPORT_SECONDS = 10.0
_SOCKET_SECONDS = 30.0  # when an abandoned thread ends; the watcher has left long before


@dataclass(frozen=True)
class Patience:
    """How long a transfer may take.

    Args:
        silence_seconds: The longest time without a byte, from the start on.
        judge_seconds: After this time since the first byte the whole is projected, and from then
            on over a window of this length.
        longest_seconds: The longest projected time for the whole.
    """

    silence_seconds: float = 8.0
    judge_seconds: float = 6.0
    longest_seconds: float = 600.0


def fetch(
    url: str, path: Path, md5: str, size_bytes: int, patience: Patience | None = None
) -> None:
    """Download a file and check it; `path` exists afterwards only with the right content.

    Args:
        url: An http or https address.
        path: Where it goes; the directory is made where absent.
        md5: Hexadecimal checksum.
        size_bytes: Its size, used where the host does not tell.
        patience: How long it may take; None is the default.

    Raises:
        DataError: `url` is no http or https address.
        DownloadError: The host refused, was silent, was too slow, or sent something else.
        StorageError: The file cannot be written.
    """
    if not _is_web_address(url):
        raise DataError(f"a mirror is an http:// or https:// address, but got {url!r}")
    make_directory(path.parent)
    write_atomically(
        path, lambda file: _transfer(url, file, md5, size_bytes, patience or Patience())
    )


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def md5_of(path: Path) -> str:
    """Return the MD5 of a file's content, in hexadecimal.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, _new_md5).hexdigest()


def _transfer(url: str, file: IO[bytes], md5: str, size_bytes: int, patience: Patience) -> None:
    transfer = _Transfer(url, file)
    threading.Thread(target=transfer.run, daemon=True, name="download").start()
    try:
        _watch(transfer, size_bytes, patience)
    finally:
        transfer.is_cancelled.set()
    _check(transfer, md5)


@dataclass(eq=False)
class _Transfer:
    """What the thread and its watcher share; the thread writes, the watcher cancels."""

    url: str
    file: IO[bytes]
    received_bytes: int = 0
    announced_bytes: int | None = None
    content_type: str = ""
    md5: str = ""
    failure: str | None = None
    storage_error: OSError | None = None
    is_done: threading.Event = field(default_factory=threading.Event)
    is_cancelled: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Receive the file; ends soon after a cancel, whatever the host does."""
        request = urllib.request.Request(self.url, headers={"User-Agent": "nas"})
        try:
            with urllib.request.urlopen(request, timeout=_SOCKET_SECONDS) as response:
                self._receive(response)
        except urllib.error.HTTPError as error:
            self.failure = f"the host answered {error.code} {error.reason}"
            error.close()
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            self.failure = getattr(reason, "strerror", None) or str(reason) or repr(error)
        finally:
            self.is_done.set()

    def _receive(self, response: HTTPResponse) -> None:
        self.announced_bytes = response.length
        self.content_type = response.headers.get("Content-Type", "")
        digest = _new_md5()
        while chunk := response.read1(_CHUNK_BYTES):  # what is there: a trickle shows at once
            if self.is_cancelled.is_set():
                return  # the file is no longer ours
            try:
                self.file.write(chunk)
            except OSError as error:
                self.storage_error = error
                return
            except ValueError:  # the watcher gave up and closed the file just now
                return
            digest.update(chunk)
            self.received_bytes += len(chunk)
        self.md5 = digest.hexdigest()


def _watch(transfer: _Transfer, size_bytes: int, patience: Patience) -> None:
    """Return when the transfer has ended; raise DownloadError when it will not in time."""
    host = urlsplit(transfer.url).netloc
    started_at = last_byte_at = window_at = reported_at = time.monotonic()
    seen_bytes = window_bytes = 0
    while not transfer.is_done.wait(_POLL_SECONDS):
        now, received = time.monotonic(), transfer.received_bytes
        total = max(transfer.announced_bytes or size_bytes, received)
        if received == 0:
            window_at = now
        if received > seen_bytes:
            seen_bytes, last_byte_at = received, now
        elif now - last_byte_at > patience.silence_seconds:
            raise DownloadError(f"{host} was silent for {patience.silence_seconds:g} s")
        if now - window_at >= patience.judge_seconds:
            rate = (received - window_bytes) / (now - window_at)  # bytes a second
            left_seconds = (total - received) / max(rate, 1.0)
            if now - started_at + left_seconds > patience.longest_seconds:
                raise DownloadError(
                    f"{host} sends {rate / 1e3:.1f} kB/s: the {total / 1e6:.0f} MB would take "
                    f"{left_seconds / 60:.0f} minutes"
                )
            window_at, window_bytes = now, received
        if now - reported_at >= _REPORT_SECONDS:
            reported_at = now
            share = f"{received / 1e6:.0f} of {total / 1e6:.0f} MB"
            print(f"downloading from {host}: {share}", file=sys.stderr, flush=True)


def _check(transfer: _Transfer, md5: str) -> None:
    if transfer.storage_error is not None:
        raise transfer.storage_error
    if transfer.failure is not None:
        raise DownloadError(f"{transfer.url}: {transfer.failure}")
    announced, received = transfer.announced_bytes, transfer.received_bytes
    if announced is not None and received < announced:
        raise DownloadError(
            f"{transfer.url}: the connection ended after {received} of {announced} bytes"
        )
    if transfer.md5 != md5:
        raise DownloadError(
            f"{transfer.url} sent something else: {received} bytes"
            + (f" of {transfer.content_type}" if transfer.content_type else "")
            + f" with md5 {transfer.md5} instead of {md5}"
        )


def _new_md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)
