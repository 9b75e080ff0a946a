"""What `search` says when it ends."""

from __future__ import annotations

import argparse
import shlex
import sys

from nas.commands.common import open_study
from nas.printing import print_json, print_table


def print_end(args: argparse.Namespace, reason: str) -> int:
    """Print what the study of `args.study` found and spent, and what to do next.

    Args:
        args: The arguments of `search`.
        reason: Why it stopped, one of the constants of `nas.search.worker`.

    Returns:
        The exit code, 0.
    """
    from nas.results.audit import audit, describe_audit
    from nas.results.budgets import budgets_record, describe_budgets
    from nas.results.rungs_text import describe_agreements, describe_deciding_rung, rungs_record
    from nas.results.spending import describe_spending
    from nas.results.summary import summary_record, table_of, verdict_lines
    from nas.search.worker import ELSEWHERE, EXHAUSTED, FINISHED, HOURS_SPENT, TIME_LIMIT

    opened = open_study(args)
    definition, study_rungs, spending = opened.definition, opened.study_rungs(), opened.spending()
    summary = study_rungs.summarise(definition.budget)
    if args.format == "json":
        print_json(
            {
                "stopped": reason,
                **summary_record(summary),
                **rungs_record(study_rungs, definition.budget),
                "spending": spending.to_dict(),
                "targets": budgets_record(opened.rows, definition.targets),
                "audit": audit(opened.rows).to_dict() if definition.audit else None,
            }
        )
        return 0
    ends = {
        FINISHED: "finished, the study has its trials",
        TIME_LIMIT: "the time limit is reached; the same command goes on",
        HOURS_SPENT: "the study's device hours are spent; a larger --gpu-hours goes on",
        EXHAUSTED: "finished, every architecture within the budget was tried",
        ELSEWHERE: "nothing left to begin here, the last trials run on other machines",
    }
    print(f"\n{ends[reason]}: {summary.funnel.counted} trained\n", file=sys.stderr)
    if summary.best is not None:
        print_table(*table_of(summary), left=(-2, -1))
        print()
    lines = [*describe_deciding_rung(study_rungs, definition.budget), *verdict_lines(summary)]
    print("\n".join([*lines, *describe_agreements(study_rungs)]))
    where = f" --studies {shlex.quote(args.studies)}" if args.studies else ""
    for line in describe_budgets(opened.rows, definition.targets, summary.val_images):
        print(line)
    spent, saved = describe_spending(spending)
    print(f"spent {spent}\nsaved {saved}")
    if definition.audit:
        print(f"audit {describe_audit(audit(opened.rows))}")
    if summary.best is not None:
        print(f"\nnext: python cli.py retrain --best --study {args.study}{where}")
        print(f"      python cli.py dashboard --study {args.study}{where}")
    return 0
