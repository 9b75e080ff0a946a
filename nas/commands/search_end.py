"""What `search` says when it ends."""

from __future__ import annotations

import argparse
import shlex
import sys

from nas.commands.best import print_best
from nas.commands.common import OpenedStudy
from nas.printing import print_json


def print_end(args: argparse.Namespace, opened: OpenedStudy, reason: str) -> None:
    """Print what a study found and spent, and what to do next.

    Args:
        args: The arguments of `search`.
        opened: The study.
        reason: Why it stopped, one of the constants of `nas.search.worker`.
    """
    from nas.results.audit import audit, describe_audit
    from nas.results.budgets import describe_budgets
    from nas.results.spending import describe_spending
    from nas.search.worker import ELSEWHERE, EXHAUSTED, FINISHED, HOURS_SPENT, TIME_LIMIT

    definition, summary = opened.definition, opened.summary
    if args.format == "json":
        print_json({"stopped": reason, **opened.record()})
        return
    ends = {
        FINISHED: "finished, the study has its trials",
        TIME_LIMIT: "the time limit is reached; the same command goes on",
        HOURS_SPENT: "the study's device hours are spent; a larger --gpu-hours goes on",
        EXHAUSTED: "finished, every architecture within the budget was tried",
        ELSEWHERE: "nothing left to begin here, the last trials run on other machines",
    }
    print(f"\n{ends[reason]}: {summary.funnel.counted} trained\n", file=sys.stderr)
    print_best(opened.rungs, summary)
    for line in describe_budgets(opened.rows, definition.targets, summary.val_images):
        print(line)
    spent, saved = describe_spending(opened.spending)
    print(f"spent {spent}\nsaved {saved}")
    if definition.audit:
        print(f"audit {describe_audit(audit(opened.rows))}")
    if summary.best is not None:
        where = f" --studies {shlex.quote(args.studies)}" if args.studies else ""
        print(f"\nnext: python cli.py retrain --best --study {opened.folder.name}{where}")
        print(f"      python cli.py dashboard --study {opened.folder.name}{where}")
