"""Open optuna-dashboard on a study: http on loopback, read-only unless --write."""

from __future__ import annotations

import argparse
import sys

from nas.commands.common import add_study, open_study


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `dashboard`."""
    add_study(parser)
    parser.add_argument("--port", type=int, default=8080, help="port (default: 8080; 0: any free)")
    parser.add_argument(
        "--write", action="store_true", help="let the page rename, annotate and delete"
    )


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    from nas.dashboard import make_dashboard

    opened = open_study(args)
    server = make_dashboard(opened.storage, args.port, allow_writing=args.write)
    mode = "changes allowed" if args.write else "read-only"
    print(f"study {opened.definition.name}: http://127.0.0.1:{server.server_port}/  ({mode})")
    print("Ctrl-C stops it.", file=sys.stderr)
    sys.stdout.flush()
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        return 0
    finally:
        server.server_close()
    return 0
