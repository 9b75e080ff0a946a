"""optuna-dashboard on a study, made safe to leave open on one's own machine.

The dashboard has no authentication, deletes a study on a plain request from any page in the
browser, and serves any Host header. So it is wrapped: loopback only, a list of host names, and
reading requests alone unless writing was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna_dashboard
from optuna.storages import BaseStorage

from nas.errors import RunError

HOST = "127.0.0.1"
ALLOWED_HOSTS = ("127.0.0.1", "localhost")
READING_METHODS = ("GET", "HEAD")

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


def guard(application: Application, port: int, allow_writing: bool) -> Application:
    """Wrap a WSGI application so that other pages and machines cannot use it.

    Args:
        application: The dashboard.
        port: The port it is served on; part of the Host header.
        allow_writing: Let other methods than GET and HEAD through.
    """
    hosts = {f"{name}:{port}" for name in ALLOWED_HOSTS}
    if port == 80:
        hosts |= set(ALLOWED_HOSTS)  # a browser leaves the scheme's own port out
    origins = {f"http://{host}" for host in hosts}

    def guarded(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("HTTP_HOST") not in hosts:
            return _refuse(start_response, "421 Misdirected Request", "unknown host name")
        if environ["REQUEST_METHOD"] not in READING_METHODS:
            if not allow_writing:
                return _refuse(
                    start_response, "403 Forbidden", "read-only; restart with --write to change"
                )
            if environ.get("HTTP_ORIGIN") not in origins | {None}:
                return _refuse(start_response, "403 Forbidden", "a request from another page")
        return application(environ, start_response)

    return guarded


def make_dashboard(storage: BaseStorage, port: int, allow_writing: bool = False) -> WSGIServer:
    """Return a server of the dashboard on a loopback port; `serve_forever` runs it.

    Args:
        storage: The store of the study.
        port: The port; 0 takes a free one.
        allow_writing: Let the page rename, annotate and delete.

    Raises:
        RunError: The port is taken or may not be opened.
    """
    try:
        server = make_server(HOST, port, _unready, _ThreadingServer, _QuietHandler)
    except OSError as error:
        raise RunError(
            f"cannot listen on {HOST}:{port}: {error.strerror}; choose another with --port"
        ) from error
    server.set_app(guard(optuna_dashboard.wsgi(storage), server.server_port, allow_writing))
    return server


def _unready(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
    return _refuse(start_response, "503 Service Unavailable", "starting")


def _refuse(start_response: StartResponse, status: str, reason: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [reason.encode()]


class _ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Keep the terminal for the address alone."""
