"""Search for the best network within a budget.

  cli.py search --budget 5e6 --trials 200
  cli.py search --budget 300k --dataset folder --data ~/pets --hours 2

A sampler proposes networks, an exact counter rejects what is over the budget before anything is
trained, short trainings rank the rest, and a pruner stops those below the median. The best of
these climb to longer trainings while the search goes on. The same command line resumes a search
that was interrupted or killed; --trials is the study's total. Where the first 8 trials all diverge
or do not fit in memory, the search stops.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from nas.commands import arguments
from nas.commands.common import read_study
from nas.commands.search_end import print_end
from nas.confusion import METRIC_WORDS
from nas.errors import UsageError
from nas.network.caps import parse_budgets, parse_count
from nas.printing import print_lines
from nas.samplers import DEFAULT_SAMPLER, SAMPLERS
from nas.study.definition import OVER_BUDGET
from nas.study.folder import OTHER_FOLDERS, STORAGE_VARIABLE
from nas.study.pruners import DEFAULT_PRUNER, PRUNERS
from nas.study.rungs import parse_rungs
from nas.units import parse_fraction, parse_hours

if TYPE_CHECKING:
    from nas.search.request import Request

TARGETS_HELP = (
    "several budgets for one study, 0.3e6,1e6,5e6: proposals take turns among them, and "
    "`best --budget 1e6` reads them; the largest is the --budget, which may be left out"
)
AUDIT_HELP = (
    "let this fraction of the trials that the pruner would stop run on, to learn how "
    "often pruning costs one of the best, for example 0.05 (default: 0)"
)
METRIC_HELP = (
    "what the search maximises and prunes by, of the validation images (default: accuracy); the "
    "other two count every class alike, however few images it has"
)
RUNGS_HELP = (
    "train 24 of the best again from scratch for 30 epochs, and 6 of the best of these for "
    "100, while the search goes on; 27x1x30000,9x3x45000 says on how many images too; the best "
    "baseline goes along. May be given later, to a study that is finished; none leaves them "
    "out (default, from 18 trials on: one in six three to five times as long, a third of these "
    "as much longer again, and so once more)"
)
WORKERS_HELP = (
    "trainings at once (default: auto: one on a GPU; on a CPU the number that trains "
    "most in its cores and memory). With one, the seed decides all of a search; with several, "
    "what is proposed depends on which ends first, but each training on its own seed alone"
)
HOURS_HELP = (
    "time for search and rungs together, as --time-limit; a new study gets the rungs and as many "
    "trials as fit, unless --rungs and --trials say otherwise"
)
GPU_HOURS_HELP = (
    "begin no trial once this study has trained for so many hours, summed over workers "
    "and restarts (on a CPU too: the hours of whatever device trains); kept until another H "
    "is given, none lifts it"
)


TRIALS_OF_HELP = (
    "begin a new study as STUDY was but for another space, budget or cap, and take over those of "
    "its trials that fit"
)
FOLDS_HELP = (
    "train every trial on K stratified splits of the training images, which together validate on "
    "each image once; its accuracy is the mean, it takes K times as long (default: 5 where "
    "one split cannot tell two networks apart that differ by 10 points, else 1)"
)


def _choices(does: str, table: Iterable[str], default: str) -> str:
    return f"what {does}: {arguments.list_names(table)} (default: {default})"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `search`."""
    parser.usage = f"{parser.prog} --budget N [options]"
    group = parser.add_argument_group("search")
    macs = partial(parse_count, name="max-macs")
    activations = partial(parse_count, name="max-activations")
    space = "the search space, see `spaces` (default: resnet); a FILE is Python code, and is run"
    outputs = "most output elements of all convolutions for one image"
    arguments.add_options(
        group,
        ("--budget", parse_count, "N", "most parameters: 5e6, 5M, 300k, 5_000_000"),
        (
            "--trials",
            partial(parse_count, name="trials"),
            "N",
            "trials in total (default: 200, or what fits in --hours)",
        ),
        ("--hours", partial(parse_hours, name="hours", has_none=False), "H", HOURS_HELP),
        ("--space", str, "NAME|FILE", space),
        ("--epochs", int, "N", "epochs of every trial (default: chosen for the machine)"),
        ("--rungs", parse_rungs, "24x30,6x100", RUNGS_HELP),
        ("--workers", arguments.parse_workers, "N", WORKERS_HELP),
    )
    arguments.add_time_limit(group)
    arguments.add_flags(group, ("--dry-run", "say what would happen; write nothing"))
    arguments.add_study(parser, "<space>-<budget>-<data>, as in resnet-5M-cifar10")
    arguments.add_training(parser)
    arguments.add_format(parser)
    group = parser.add_argument_group("rarely needed")
    arguments.add_options(
        group,
        ("--max-macs", macs, "N", "most multiply-adds for one image"),
        ("--max-activations", activations, "N", outputs),
        ("--targets", parse_budgets, "N,N,...", TARGETS_HELP),
        ("--trials-of", str, "STUDY", TRIALS_OF_HELP),
        ("--folds", int, "K", FOLDS_HELP),
        ("--sampler", str, "NAME", _choices("proposes", SAMPLERS, DEFAULT_SAMPLER)),
        ("--pruner", str, "NAME", _choices("stops early", PRUNERS, DEFAULT_PRUNER)),
        ("--audit", parse_fraction, "FRACTION", AUDIT_HELP),
        ("--gpu-hours", parse_hours, "H", GPU_HOURS_HELP),
    )
    group.add_argument(
        "--over-budget",
        choices=OVER_BUDGET,
        help="redraw proposals over the budget (default), or record them as pruned trials",
    )
    group.add_argument("--metric", choices=tuple(METRIC_WORDS), help=METRIC_HELP)
    text = "leave out the baselines: the space's own network and two presets, trained first"
    # --no-known is what the option was called before
    for name, shown in (("--no-baselines", text), ("--no-known", argparse.SUPPRESS)):
        group.add_argument(name, action="store_false", dest="known", default=None, help=shown)
    arguments.add_track(group)


def run(args: argparse.Namespace) -> int:
    """Prepare, say what will happen, search, say what was found."""
    arguments.require_range(args, 1, "epochs", "folds", "image_size")
    arguments.require_range(args, 1, "workers", most=1_000)
    arguments.require_range(args, 0, "seed")
    _take_budgets(args)
    from nas.search.request import make_request

    request = make_request({**vars(args), "command": args.command_line})
    if not request.folder.exists:
        _refuse_reserved(request.folder.name)
        if args.budget is not None:
            _check_budget(request)
    from rich.console import Console

    from nas.search.preflight import describe_search
    from nas.search.prepare import prepare
    from nas.search.run import run as run_search
    from nas.training.tracking import require_trackers

    require_trackers(args.track)
    _note_storage(request)
    search = prepare(request)
    print_lines(*describe_search(search), file=sys.stderr, indent=10)
    if args.dry_run:
        print("dry run: nothing was written", file=sys.stderr)
        return 0
    print(file=sys.stderr)
    try:
        reason = run_search(search, Console(stderr=True))
    except KeyboardInterrupt:
        text = "interrupted; the state is saved: the same command resumes"
        raise KeyboardInterrupt(text) from None
    return print_end(args, read_study(search.folder, args.storage), reason)


def _refuse_reserved(name: str) -> None:
    """Refuse the name of a folder that another command writes into, beside the studies."""
    from nas.paper.study import list_claim_studies

    if name in (*OTHER_FOLDERS, *list_claim_studies()):
        raise UsageError(
            f"{name!r} is where another command keeps its results; give another --study NAME"
        )


def _note_storage(request: Request) -> None:
    """Say where $NAS_STORAGE is left out of account, before the study is opened."""
    from nas.study.storage import shown_url, storage_url

    own, folder = os.environ.get(STORAGE_VARIABLE), request.folder
    url = storage_url(request.storage, folder.load() if folder.exists else None)
    if own and request.storage is None and own != url:
        print_lines(
            f"note: ${STORAGE_VARIABLE} is for new studies; {folder.name!r} stays in "
            f"{shown_url(url) if url else folder.journal}",
            file=sys.stderr,
        )


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


def _check_budget(request: Request) -> None:
    """Refuse a budget below the smallest network before PyTorch and Optuna are imported.

    The data are not read yet: their input is taken from the table, or, of a folder, from the
    number of its classes. A study that exists is left to the comparison with its definition.
    """
    from nas.data.datasets import early_input_spec
    from nas.space import BudgetedSpace, load_space

    new, caps = request.new, request.caps
    loaded = load_space(new["space"])
    data = request.data if new.get("labels") is None else None  # its classes are the table's
    spec = early_input_spec(new["dataset"], data, new.get("image_size"))
    smallest = min(new.get("targets", (caps.budget,)))
    BudgetedSpace(loaded.space, spec, replace(caps, budget=smallest), loaded.name)
