"""optuna-dashboard on a study, made safe to leave open on one's own machine.

The dashboard has no authentication, deletes a study on a plain request from any page in the
browser, and serves any Host header. So it is wrapped: loopback only, a list of host names, in no
other page's frame, and reading requests alone unless writing was asked for.

Of what its page writes, only notes ever pass. A search finds its study by its name, and its
trials are its workers': a rename (which copies a study and deletes it), a deletion or a trial
told FAIL would pull them from under it. The page gives the reason of a refused note or trial,
but not that of a refused rename, deletion or creation, whose buttons are therefore hidden.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from contextlib import closing, nullcontext
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import optuna_dashboard
from optuna.storages import BaseStorage

from nas.errors import RunError

HOST = "127.0.0.1"
ALLOWED_HOSTS = ("127.0.0.1", "localhost")
READING_METHODS = ("GET", "HEAD")

NOTE_PATH = re.compile(r"/api/studies/[0-9]+(/[0-9]+)?/note")
READ_ONLY = "read-only, nothing was saved; begin the dashboard again with --write to save notes"
NOTES_ONLY = (
    "only notes are written here: a search finds its study by its name, and its trials are its "
    "own. Ctrl-C in its terminal stops it; to remove a study, remove its folder"
)
MOST_BYTES = 10_000_000  # of a refused request that are read
FRAMES = ("Content-Security-Policy", "frame-ancestors 'none'")  # beside the dashboard's own
# of what is always refused; icons have no other label
HIDDEN = (
    b'<style>[aria-label="rename study"], [aria-label="delete study"], '
    b'button:has([data-testid="AddBoxIcon"]), button:has([data-testid="StopCircleIcon"]) '
    b"{ display: none !important }</style>"
)

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


def guard(application: Application, port: int, allow_writing: bool) -> Application:
    """Wrap a WSGI application so that other pages and machines cannot use it.

    Args:
        application: The dashboard.
        port: The port it is served on; part of the Host header.
        allow_writing: Let notes through; else only GET and HEAD.
    """
    hosts = {f"{name}:{port}" for name in ALLOWED_HOSTS}
    if port == 80:
        hosts |= set(ALLOWED_HOSTS)  # a browser leaves the scheme's own port out
    origins = {f"http://{host}" for host in hosts}

    def refusal(environ: dict[str, Any]) -> tuple[str, str] | None:
        if environ.get("HTTP_HOST") not in hosts:
            return "421 Misdirected Request", "unknown host name"
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")
        if method in READING_METHODS:
            return None
        if not (method == "PUT" and NOTE_PATH.fullmatch(path)):
            return "403 Forbidden", NOTES_ONLY
        if not allow_writing:
            return "403 Forbidden", READ_ONLY
        if environ.get("HTTP_ORIGIN") not in origins:  # a browser names it with every write
            return "403 Forbidden", "a request without this page's Origin, as from another page"
        return None

    def guarded(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        refused = refusal(environ)
        if refused is not None:
            return _refuse(environ, start_response, *refused)
        environ.setdefault("HTTP_ACCEPT_ENCODING", "")  # which the dashboard takes for granted
        began: list[Any] = []
        answer: Any = application(environ, lambda *start: began.append(start))
        with closing(answer) if hasattr(answer, "close") else nullcontext():
            content = b"".join(answer)
        status, headers = began[-1][:2]
        if status.startswith("204"):  # the page reads JSON out of every answer
            status, content = "200 OK", b"{}"
        if environ["PATH_INFO"].startswith("/dashboard"):  # the page itself
            content = content.replace(b"</head>", HIDDEN + b"</head>", 1)
        if content:  # whose length the server tells; that of an answer to HEAD stays
            headers = [pair for pair in headers if pair[0] != "Content-Length"]
        start_response(status, [*headers, FRAMES])
        return [content]

    return guarded


def make_dashboard(storage: BaseStorage, port: int, allow_writing: bool = False) -> WSGIServer:
    """Return a server of the dashboard on a loopback port; `serve_forever` runs it.

    Args:
        storage: The store of the study.
        port: The port; 0 takes a free one.
        allow_writing: Let the page write notes.

    Raises:
        RunError: The port is taken or may not be opened.
    """
    try:
        server = _ThreadingServer((HOST, port), _QuietHandler)
    except OSError as error:
        raise RunError(
            f"cannot listen on {HOST}:{port}: {error.strerror}; choose another with --port"
        ) from error
    server.set_app(guard(optuna_dashboard.wsgi(storage), server.server_port, allow_writing))
    return server


def _refuse(
    environ: dict[str, Any], start_response: StartResponse, status: str, reason: str
) -> Iterable[bytes]:
    """Answer with a reason, as the dashboard does: its page shows it."""
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal():  # what is not read resets the connection, and the answer with it
        environ["wsgi.input"].read(min(int(length), MOST_BYTES))
    start_response(status, [("Content-Type", "application/json"), FRAMES])
    return [json.dumps({"reason": reason}).encode()]


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal for the address alone."""
