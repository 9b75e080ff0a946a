"""What `search` says when it ends."""

from __future__ import annotations

import argparse
import shlex
import sys

from nas.commands.best import print_best
from nas.commands.common import OpenedStudy
from nas.printing import print_json, print_lines, program


def print_end(args: argparse.Namespace, opened: OpenedStudy, reason: str) -> int:
    """Print what a study found and spent, and what to do next; return the exit code.

    It is 1 where the search is over and no trial was trained to its end.

    Args:
        args: The arguments of `search`.
        opened: The study.
        reason: Why it stopped, one of the constants of `nas.search.worker` and `limits`.
    """
    from nas.results.audit import audit, describe_audit
    from nas.results.budgets import describe_budgets
    from nas.results.spending import describe_spending
    from nas.search import limits, worker

    definition, summary = opened.definition, opened.summary
    code = 0 if summary.best is not None or reason in (limits.TIME_LIMIT, worker.ELSEWHERE) else 1
    if args.format == "json":
        print_json({"stopped": reason, **opened.record()})
        return code
    ends = {
        worker.FINISHED: "finished, the study has its trials",
        limits.TIME_LIMIT: "the time limit is reached; the same command goes on",
        limits.HOURS_SPENT: "the study's device hours are spent; a larger --gpu-hours goes on",
        worker.EXHAUSTED: "finished, every architecture within the budget was tried",
        worker.BROKEN: f"stopped for good, {worker.BROKEN}",
        worker.ELSEWHERE: "nothing left to begin here, the last trials run on other machines",
    }
    funnel = summary.funnel
    broken = f", {funnel.broken} broken" if funnel.broken else ""
    print(f"\n{ends[reason]}: {funnel.trained} trained{broken}\n", file=sys.stderr)
    print_best(opened.rungs, summary)
    spent, saved = describe_spending(opened.spending)
    lines = describe_budgets(opened.rows, definition)
    lines += [f"spent {spent}", f"saved {saved}"]
    if definition.audit:
        lines.append(f"audit {describe_audit(audit(opened.rows))}")
    print_lines(*lines, indent=6)
    if summary.best is not None:
        where = shlex.quote(opened.folder.name)
        where += f" --studies {shlex.quote(args.studies)}" if args.studies else ""
        kept = {name: definition.recipe[name] for name in ("flip", "class_weights")}
        sets = [f" --set {n}={str(v).lower()}" for n, v in kept.items() if v not in (True, "none")]
        print_lines("", f"next: {program()} retrain --best --study {where}{''.join(sets)}")
        print_lines(f"      {program()} dashboard --study {where}")
    return code
