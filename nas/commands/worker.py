"""Work on a study that exists: one more process, here or on another machine.

On one machine `search` starts these itself. On many, keep the study in PostgreSQL and
start one per GPU under the site's scheduler.
"""

from __future__ import annotations

import argparse

from nas.commands.arguments import add_options, add_study, add_time_limit, add_track, expand_path
from nas.commands.common import find_folder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `worker`."""
    add_study(parser)
    add_options(parser, ("--data", expand_path, "DIR", "where the data are on this machine"))
    add_time_limit(parser)
    add_track(parser)


def run(args: argparse.Namespace) -> int:
    """Train trials until the study has its number; print why that was the end."""
    from nas.search.request import make_request
    from nas.search.run import work
    from nas.training.tracking import require_trackers

    require_trackers(args.track)
    request = make_request({**vars(args), "study": find_folder(args).name, "workers": 1})
    print(work(request))
    return 0
