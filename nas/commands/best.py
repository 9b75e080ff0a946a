"""Show the best trials of a study, at its own budget or at any smaller one.

The best has the highest estimated accuracy: half its measurement, half what a model of all trials
says of such a network, with rungs of a training in the highest (below ten trials: its
measurement). Trials within one standard error of it
are tied, and the smallest of them is named. Where the study has rungs (`search --rungs`), the
highest that has trained the best network within the budget decides. The first line says whether
anything found is better than the best baseline, in the highest rung that has both. Beside the
table stands the search's Pareto front of accuracy against parameters: the best trial of every
smaller budget; JSON has all of it.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from nas.commands.arguments import add_flags, add_format, add_study, require_range
from nas.commands.common import open_study
from nas.network.caps import parse_count
from nas.printing import print_json, print_lines, print_table

if TYPE_CHECKING:
    from nas.results.study_rungs import StudyRungs
    from nas.results.summary import Summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `best`."""
    text = "at most N parameters (default: the study's own budget)"
    parser.add_argument("--budget", type=parse_count, metavar="N", help=text)
    parser.add_argument(
        "--top", type=int, default=5, metavar="K", help="rows of the table (default: 5)"
    )
    question = "what the study says to the paper's question: are deep, narrow networks better?"
    add_flags(parser, ("--question", f"{question} (default: on cifar10 alone)"))
    add_study(parser)
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print the table; where there is no best trial, why, and exit with 1."""
    from nas.results.rungs_text import rungs_record
    from nas.results.summary import summary_record

    require_range(args, 1, "top")
    opened = open_study(args)
    most = opened.definition.budget
    budget = min(args.budget or most, most)
    if args.budget is not None and args.budget > most:
        print(f"the study's own budget is {most:,}: nothing larger was trained", file=sys.stderr)
    summary = opened.rungs.summarise(budget)
    if args.format == "json":
        record = summary_record(summary, args.top) | rungs_record(opened.rungs, budget)
        print_json(record | {"study": opened.folder.name})
    else:
        print_best(opened.rungs, summary, args.top, with_front=True, asks=args.question)
    return 0 if summary.best is not None else 1


def print_best(
    rungs: StudyRungs,
    summary: Summary,
    top: int = 5,
    with_front: bool = False,
    asks: bool = False,
) -> None:
    """Print the best trials and how sure the study is.

    Args:
        rungs: The study.
        summary: Its outcome within a budget.
        top: Rows of the table.
        with_front: Print the Pareto front too.
        asks: Answer the paper's question too; of a study on its data it is answered unasked.
    """
    from nas.confusion import METRIC_WORDS
    from nas.results.question import asks_paper, describe_answer
    from nas.results.rungs_text import describe_agreements, describe_deciding_rung
    from nas.results.summary import PARETO_ROWS, pareto_table, table_of, verdict_lines

    against_baseline, *verdict = verdict_lines(summary)
    print_lines(against_baseline, indent=0)
    if summary.best is None:
        return
    print()
    print_table(*table_of(summary, top), left=(-2, -1))
    print()
    if with_front and len(summary.pareto_front) > 1:
        print_table(*pareto_table(summary), left=())
        left_out = len(summary.pareto_front) - PARETO_ROWS
        if left_out > 0:
            print(f"{left_out} more on the Pareto front: see --format json")
        print()
    lines = [*describe_deciding_rung(rungs, summary.budget), *verdict]
    if asks or asks_paper(rungs.definition):
        lines += describe_answer(summary.answer, METRIC_WORDS[summary.metric])
    print_lines(*lines, *describe_agreements(rungs), indent=2)
