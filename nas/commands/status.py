"""Show where a study stands: the funnel, the best, the time left."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nas.budget import format_share
from nas.commands.common import OpenedStudy, add_format, add_study, open_study, print_json
from nas.units import format_duration

if TYPE_CHECKING:
    from nas.spending import Spending
    from nas.summary import Summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `status`."""
    add_study(parser)
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print one screen."""
    from nas.audit import audit
    from nas.forecast import seconds_left, terms_of
    from nas.spending import account
    from nas.summary import summarise, summary_record
    from nas.trials import DEVICE_HOURS, TARGET, count_workers, mean_seconds

    opened = open_study(args)
    definition = opened.definition
    summary = summarise(
        definition.name, definition.budget, definition.plan.val_images, opened.rows
    )
    target = int(opened.study.user_attrs.get(TARGET, 0))
    seconds = mean_seconds(opened.rows)
    workers = count_workers(opened.study, opened.folder.workers)
    terms = terms_of(definition, opened.study.user_attrs)
    left = seconds_left(opened.rows, target, terms, workers)
    spending = account(opened.rows, definition.plan.epochs)
    if args.format == "json":
        print_json(
            {
                **summary_record(summary),
                "target_trials": target,
                "seconds_per_trial": seconds,
                "seconds_left": left,
                "spending": spending.to_dict(),
                "audit": audit(opened.rows).to_dict() if definition.audit else None,
                "device_hours": opened.study.user_attrs.get(DEVICE_HOURS),
                "workers": workers,
                "changes": opened.study.user_attrs.get("changes", []),
            }
        )
        return 0
    print("\n".join(_lines(opened, summary, target, seconds, left, workers, spending)))
    return 0


def _lines(
    opened: OpenedStudy,
    summary: Summary,
    target: int,
    seconds: float | None,
    left: float | None,
    workers: int,
    spending: Spending,
) -> list[str]:
    from nas.audit import audit, describe_audit
    from nas.question import describe_answer
    from nas.spending import describe_spending
    from nas.summary import percent
    from nas.trials import DEVICE_HOURS

    definition, funnel = opened.definition, summary.funnel
    plan = definition.plan
    running = f"{workers} training now" if workers else "nothing is training now"
    lines = [
        f"study     {definition.name} in {opened.folder.path}",
        f"search    {definition.space}, at most {definition.budget:,} parameters, "
        f"{definition.dataset}, sampler {opened.study.user_attrs.get('sampler')}, "
        f"pruner {definition.pruner}",
        f"plan      {plan.epochs} epochs on {plan.train_images:,} + {plan.val_images:,} images, "
        f"{plan.device}",
        f"trained   {funnel.counted} of {target}: {funnel.complete} to the end, "
        f"{funnel.pruned} pruned, {funnel.broken} broken",
        f"rejected  {funnel.num_over_budget} over budget and {funnel.num_repeats} repeats, "
        "before training",
        f"failed    {funnel.failed} (killed, interrupted, withdrawn); {funnel.waiting} waiting",
    ]
    spent, saved = describe_spending(spending)
    limit = opened.study.user_attrs.get(DEVICE_HOURS)
    lines += [
        f"spent     {spent}" + (f"; at most {limit:g} hours" if limit is not None else ""),
        f"saved     {saved}",
    ]
    if definition.audit:
        lines.append(f"audit     {describe_audit(audit(opened.rows))}")
    best = summary.best
    if best is not None:
        lines.append(
            f"best      trial {best.number}: "
            f"{percent(best.val_accuracy or 0.0, summary.val_images)}, "
            f"{best.num_params:,} parameters "
            f"({format_share(best.num_params or 0, summary.budget)} of the budget), "
            f"{best.notation or best.id}"
        )
    if funnel.counted >= target:
        lines.append(f"time      the study has its trials; {running}")
    elif seconds is not None and left is not None:
        lines.append(
            f"time      {seconds:.1f} s a trial, about {format_duration(left)} left; {running}"
        )
    else:
        lines.append(f"time      not known before the first trial ends; {running}")
    return [*lines, "", *describe_answer(summary.answer)]
