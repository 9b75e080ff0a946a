"""One file from a host that may refuse, stall or trickle: fetched whole, or a clear error soon.

A socket that is silent times out, and the rate is checked as the bytes arrive: a transfer that
cannot end in time is given up within about 20 s of its start.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO
from urllib.parse import urlsplit

from nas.data.cache import make_directory
from nas.errors import DataError, DownloadError
from nas.files import write_atomically

_CHUNK_BYTES = 1 << 16
_REPORT_SECONDS = 10.0


@dataclass(frozen=True)
class Patience:
    """How long a transfer may take.

    Args:
        silence_seconds: The longest time without a byte, from the start on.
        judge_seconds: After this time since the answer the whole is projected, and from then
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
    digest, received = _new_md5(), 0
    with _reporting(url, patience):
        response = _ask(url, patience.silence_seconds)
    with response:
        announced = response.length
        pace = _Pace(urlsplit(url).netloc, announced or size_bytes, patience)
        while True:
            with _reporting(url, patience):
                chunk = response.read1(_CHUNK_BYTES)  # what is there: a trickle shows at once
            if not chunk:
                break
            file.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            pace.check(received)
    if announced is not None and received < announced:
        raise DownloadError(f"{url}: the connection ended after {received} of {announced} bytes")
    if digest.hexdigest() != md5:
        kind = response.headers.get("Content-Type")
        raise DownloadError(
            f"{url} sent something else: {received} bytes"
            + (f" of {kind}" if kind else "")
            + f" with md5 {digest.hexdigest()} instead of {md5}"
        )


def _ask(url: str, seconds: float) -> HTTPResponse:
    """Return the host's answer, its header read; its socket times out after so long a silence.

    NOTE: in a thread, because no time-out of Python's ends a name look-up or a header that comes
    in byte by byte.

    Raises:
        TimeoutError: No answer came in time.
        OSError, HTTPException, ValueError: The host cannot be reached or answered wrongly.
    """
    answers: SimpleQueue[HTTPResponse | Exception] = SimpleQueue()

    def ask() -> None:
        request = urllib.request.Request(url, headers={"User-Agent": "nas"})
        try:
            answers.put(urllib.request.urlopen(request, timeout=seconds))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, daemon=True, name="download").start()
    try:
        answer = answers.get(timeout=seconds)
    except Empty:
        raise TimeoutError from None
    if isinstance(answer, Exception):
        raise answer
    return answer


@contextmanager
def _reporting(url: str, patience: Patience) -> Iterator[None]:
    """Tell a failure of the network as a DownloadError."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadError(f"{url}: the host answered {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:  # the last: a host that is no name
        reason = getattr(error, "reason", None) or error
        if isinstance(reason, TimeoutError):
            host, seconds = urlsplit(url).netloc, patience.silence_seconds
            raise DownloadError(f"{host} was silent for {seconds:g} s") from error
        text = getattr(reason, "strerror", None) or str(reason) or repr(error)
        raise DownloadError(f"{url}: {text}") from error


class _Pace:
    """Gives up a transfer that would take too long; says now and then how far it is."""

    def __init__(self, host: str, total_bytes: int, patience: Patience) -> None:
        self._host, self._total_bytes, self._patience = host, total_bytes, patience
        self._started_at = self._window_at = self._reported_at = time.monotonic()
        self._window_bytes = 0

    def check(self, received: int) -> None:
        """Take the bytes received so far; raise DownloadError where the rest would take long."""
        now, total = time.monotonic(), max(self._total_bytes, received)
        window_seconds = now - self._window_at
        if window_seconds >= self._patience.judge_seconds:
            rate = (received - self._window_bytes) / window_seconds  # bytes a second
            left_seconds = (total - received) / max(rate, 1.0)
            if now - self._started_at + left_seconds > self._patience.longest_seconds:
                raise DownloadError(
                    f"{self._host} sends {rate / 1e3:.1f} kB/s: the {total / 1e6:.0f} MB would "
                    f"take {left_seconds / 60:.0f} minutes"
                )
            self._window_at, self._window_bytes = now, received
        if now - self._reported_at >= _REPORT_SECONDS:
            self._reported_at = now
            share = f"{received / 1e6:.0f} of {total / 1e6:.0f} MB"
            print(f"downloading from {self._host}: {share}", file=sys.stderr, flush=True)


def _new_md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)
