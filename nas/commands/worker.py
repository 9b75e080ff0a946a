"""Work on a study that exists: one more process, here or on another machine.

On one machine `search` starts these itself. On many, keep the study in PostgreSQL and
start one per GPU under the site's scheduler.
"""

from __future__ import annotations

import argparse

from nas.commands.arguments import add_study, add_track
from nas.commands.common import find_folder, storage_url
from nas.units import parse_duration


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `worker`."""
    add_study(parser)
    parser.add_argument("--data", metavar="DIR", help="where the data are on this machine")
    parser.add_argument(
        "--time-limit", type=parse_duration, metavar="2h", help="begin no trial after this"
    )
    add_track(parser)


def run(args: argparse.Namespace) -> int:
    """Train trials until the study has its number; print why that was the end."""
    from nas.search.request import Request
    from nas.search.run import work
    from nas.training.tracking import require_trackers

    require_trackers(args.track)
    folder = find_folder(args)
    request = Request(
        study=folder.name,
        studies=args.studies,
        storage=storage_url(args, folder.load()),
        data=args.data,
        workers=1,
        time_limit_seconds=args.time_limit,
        track=tuple(args.track),
    )
    try:
        reason = work(request)
    except KeyboardInterrupt:
        return 130
    print(reason)
    return 0
