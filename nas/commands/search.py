"""Search for the best network within a budget.

A sampler proposes networks, an exact counter rejects what is over the budget before anything is
trained, short trainings rank the rest, and a pruner stops those below the median. The same
command line resumes a search that was interrupted or killed; --trials is the study's total.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nas.commands.arguments import (
    add_format,
    add_study,
    add_track,
    add_training,
    list_names,
    parse_workers,
    require_at_least,
)
from nas.commands.common import storage_url
from nas.commands.search_end import print_end
from nas.errors import UsageError
from nas.network.caps import Caps, parse_budgets, parse_count
from nas.samplers import DEFAULT_SAMPLER, SAMPLERS
from nas.study.pruners import DEFAULT_PRUNER, PRUNERS
from nas.study.rungs import parse_rungs
from nas.units import parse_duration, parse_fraction, parse_hours

if TYPE_CHECKING:
    from nas.search.request import Request


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `search`."""
    group = parser.add_argument_group("search")
    group.add_argument(
        "--budget", type=parse_count, metavar="N", help="most parameters: 5e6, 5M, 300k, 5_000_000"
    )
    group.add_argument(
        "--targets",
        type=parse_budgets,
        metavar="N,N,...",
        help="several budgets for one study, 0.3e6,1e6,5e6: proposals take turns among them, and "
        "`best --budget 1e6` reads them; the largest is the --budget, which may be left out",
    )
    group.add_argument("--trials", metavar="N", help="trials in total (default: 200)")
    group.add_argument(
        "--space", metavar="NAME|FILE", help="the search space (default: resnet); see `spaces`"
    )
    group.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="epochs of every trial (default: chosen for the machine)",
    )
    group.add_argument(
        "--sampler",
        metavar="NAME",
        help=f"what proposes: {list_names(SAMPLERS)} (default: {DEFAULT_SAMPLER})",
    )
    group.add_argument(
        "--pruner",
        metavar="NAME",
        help=f"what stops early: {list_names(PRUNERS)} (default: {DEFAULT_PRUNER})",
    )
    group.add_argument(
        "--audit",
        type=parse_fraction,
        metavar="FRACTION",
        help="let this fraction of the trials that the pruner would stop run on, to learn how "
        "often pruning costs one of the best, for example 0.05 (default: 0)",
    )
    group.add_argument(
        "--max-macs",
        type=lambda text: parse_count(text, "max-macs"),
        metavar="N",
        help="most multiply-adds for one image",
    )
    group.add_argument(
        "--max-activations",
        type=lambda text: parse_count(text, "max-activations"),
        metavar="N",
        help="most output elements of all convolutions for one image",
    )
    group.add_argument(
        "--over-budget",
        choices=("resample", "prune"),
        help="redraw proposals over the budget (default), or record them as pruned trials",
    )
    group.add_argument(
        "--no-baselines",
        action="store_false",
        dest="known",
        default=None,
        help="leave out the baselines: the space's own network and two presets, trained first",
    )
    # what the option was called before
    group.add_argument(
        "--no-known", action="store_false", dest="known", default=None, help=argparse.SUPPRESS
    )
    group.add_argument(
        "--rungs",
        type=parse_rungs,
        metavar="24x30,6x100",
        help="when the trials are done, train the 24 best again from scratch for 30 epochs, then "
        "the 6 best of these for 100; the best baseline goes along. May be given later, to a "
        "study that is finished; none leaves them out (default: none)",
    )
    group.add_argument(
        "--workers",
        type=parse_workers,
        metavar="N",
        help="trainings at once (default: auto: one on a GPU; on a CPU the number that trains "
        "most in its cores and memory). With one, the seed decides all of a search; with several, "
        "what is proposed depends on which ends first, but each training on its own seed alone",
    )
    group.add_argument(
        "--time-limit", type=parse_duration, metavar="2h", help="begin no trial after this"
    )
    group.add_argument(
        "--gpu-hours",
        type=parse_hours,
        metavar="H",
        help="begin no trial once this study has trained for so many hours, summed over workers "
        "and restarts (on a CPU too: the hours of whatever device trains); kept until another H "
        "is given, none lifts it",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="say what would happen; write nothing"
    )
    add_study(parser, "<space>-<budget>-<dataset>")
    add_training(parser)
    add_track(parser)
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Prepare, say what will happen, search, say what was found."""
    trials = parse_count(args.trials, "trials") if args.trials is not None else None
    require_at_least(args, 1, "epochs", "workers", "image_size")
    require_at_least(args, 0, "seed")
    _take_budgets(args)
    _check_budget(args)
    from rich.console import Console

    from nas.search.preflight import describe_rungs_ahead, describe_search
    from nas.search.prepare import prepare
    from nas.search.request import DEFAULT_TRIALS
    from nas.search.run import run as run_search
    from nas.training.tracking import require_trackers

    require_trackers(args.track)
    request = _in_its_store(args, _make_request(args, trials))
    search = prepare(request)
    lines = describe_search(search, trials or DEFAULT_TRIALS)
    lines += describe_rungs_ahead(search, request)
    print("\n".join(lines), file=sys.stderr)
    if args.dry_run:
        print("dry run: nothing was written", file=sys.stderr)
        return 0
    print(file=sys.stderr)
    try:
        reason = run_search(search, request, Console(stderr=True))
    except KeyboardInterrupt:
        print("interrupted; the state is saved: the same command resumes", file=sys.stderr)
        return 130
    args.study = search.folder.name
    return print_end(args, reason)


def _take_budgets(args: argparse.Namespace) -> None:
    """Let the largest target be the budget, as it has to be where both are given."""
    if args.targets is None:
        return
    args.budget = args.budget or args.targets[-1]
    if args.budget != args.targets[-1]:
        raise UsageError(
            f"the largest target must be the budget, but got {args.targets[-1]:,} and a budget "
            f"of {args.budget:,}; leave --budget out"
        )


def _make_request(args: argparse.Namespace, trials: int | None) -> Request:
    from nas.search.request import Request, quote_command

    return Request(
        study=args.study,
        studies=args.studies,
        space=args.space,
        budget=args.budget,
        targets=args.targets,
        max_macs=args.max_macs,
        max_activations=args.max_activations,
        dataset=args.dataset,
        data=args.data,
        image_size=args.image_size,
        device=args.device,
        seed=args.seed,
        recipe=args.recipe,
        overrides=tuple(args.overrides),
        epochs=args.epochs,
        pruner=args.pruner,
        over_budget=args.over_budget,
        audit=args.audit,
        known=args.known,
        sampler=args.sampler,
        trials=trials,
        rungs=args.rungs,
        workers=args.workers,
        time_limit_seconds=args.time_limit,
        device_hours=args.gpu_hours,
        track=tuple(args.track),
        command=quote_command(sys.argv[1:]),
    )


def _in_its_store(args: argparse.Namespace, request: Request) -> Request:
    """Return the request with the study's store; say where $NAS_STORAGE is left out of account."""
    from nas.search.request import study_name
    from nas.study.folder import STORAGE_VARIABLE, StudyFolder, studies_folder

    folder = StudyFolder(studies_folder(request.studies) / study_name(request))
    definition = folder.load() if folder.exists else None
    url = storage_url(args, definition)
    if args.storage is None and os.environ.get(STORAGE_VARIABLE, "") not in ("", url):
        print(
            f"note: ${STORAGE_VARIABLE} is for new studies; {folder.name!r} stays in "
            f"{url or folder.journal}",
            file=sys.stderr,
        )
    return replace(request, storage=url)


def _check_budget(args: argparse.Namespace) -> None:
    """Refuse a budget below the smallest network before PyTorch and Optuna are imported.

    The data are not read yet: their input is taken from the table, or, of a folder, from the
    number of its classes. A study that exists is left to the comparison with its definition.
    """
    from nas.study.folder import StudyFolder, studies_folder

    if args.budget is None:
        return
    if args.study and StudyFolder(studies_folder(args.studies) / args.study).exists:
        return
    from nas.data.datasets import early_input_spec
    from nas.space import BudgetedSpace, load_space

    smallest = min(args.targets or (args.budget,))
    loaded = load_space(args.space or "resnet")
    data = Path(args.data) if args.data else None
    spec = early_input_spec(args.dataset or "cifar10", data, args.image_size)
    BudgetedSpace(
        loaded.space, spec, Caps(smallest, args.max_macs, args.max_activations), loaded.name
    )
