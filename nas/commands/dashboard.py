"""Open optuna-dashboard on a study, in the browser of this machine.

It is served on 127.0.0.1 alone and changes nothing; --write lets it write notes, and nothing else.
The address is printed; Ctrl-C stops it. A search may go on meanwhile: the page shows its trials as
they come. From another machine, forward the port: ssh -L 8080:127.0.0.1:8080 HOST
"""

from __future__ import annotations

import argparse
import sys
from contextlib import suppress

from nas.commands.arguments import add_flags, add_study
from nas.commands.common import open_study
from nas.errors import UsageError
from nas.printing import print_lines

MAX_PORT = 65_535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `dashboard`."""
    add_study(parser)
    parser.add_argument(
        "--port", type=int, default=8080, metavar="N", help="port (default: 8080; 0: any free)"
    )
    add_flags(parser, ("--write", "let the page write notes"))


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from nas.commands.dashboard_server import make_dashboard
    from nas.signals import InterruptGuard

    if not 0 <= args.port <= MAX_PORT:
        raise UsageError(f"--port must be 0 to {MAX_PORT}, but got {args.port}")
    opened = open_study(args)
    server = make_dashboard(opened.storage, args.port, allow_writing=args.write)
    mode = "notes may be written" if args.write else "read-only"
    name, port = opened.folder.name, server.server_port
    print_lines(f"study {name}: http://127.0.0.1:{port}/  ({mode})")
    print("Ctrl-C stops it.", file=sys.stderr)
    sys.stdout.flush()
    with suppress(KeyboardInterrupt), server, InterruptGuard() as guard, guard.interruptible():
        server.serve_forever()
    return 0
