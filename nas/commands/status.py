"""Show where a study stands: the funnel, the best, the time left."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nas.commands.arguments import add_format, add_study
from nas.commands.common import OpenedStudy, open_study
from nas.network.caps import format_percent
from nas.printing import print_json
from nas.units import format_duration

if TYPE_CHECKING:
    from nas.results.spending import Spending
    from nas.results.study_rungs import StudyRungs
    from nas.results.summary import Summary


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `status`."""
    add_study(parser)
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print one screen."""
    from nas.results.audit import audit
    from nas.results.budgets import budgets_record
    from nas.results.forecast import seconds_left, terms_of
    from nas.results.rungs_text import rungs_record
    from nas.results.study_rungs import begun_rungs, rungs_of
    from nas.results.summary import summary_record
    from nas.study.attributes import CHANGES, DEVICE_HOURS, TARGET
    from nas.study.trials import count_workers, mean_seconds

    opened = open_study(args)
    definition = opened.definition
    rungs = opened.study_rungs()
    summary = rungs.summarise(definition.budget)
    num_trials = int(opened.study.user_attrs.get(TARGET, 0))
    seconds = mean_seconds(opened.rows)
    specs = rungs_of(opened.study.user_attrs)
    studies = (opened.study, *begun_rungs(definition, opened.storage, specs).values())
    workers = sum(count_workers(study, opened.folder.workers) for study in studies)
    terms = terms_of(definition, opened.study.user_attrs)
    left = seconds_left(opened.rows, num_trials, terms, workers)
    spending = opened.spending()
    if args.format == "json":
        print_json(
            {
                **summary_record(summary),
                **rungs_record(rungs, definition.budget),
                "target_trials": num_trials,
                "seconds_per_trial": seconds,
                "seconds_left": left,
                "spending": spending.to_dict(),
                "targets": budgets_record(opened.rows, definition.targets),
                "audit": audit(opened.rows).to_dict() if definition.audit else None,
                "device_hours": opened.study.user_attrs.get(DEVICE_HOURS),
                "rungs_seconds_left": rungs.seconds_by_rung(workers),
                "workers": workers,
                "changes": opened.study.user_attrs.get(CHANGES, []),
            }
        )
        return 0
    print("\n".join(_lines(opened, rungs, summary, num_trials, seconds, left, workers, spending)))
    return 0


def _lines(
    opened: OpenedStudy,
    rungs: StudyRungs,
    summary: Summary,
    num_trials: int,
    seconds: float | None,
    left: float | None,
    workers: int,
    spending: Spending,
) -> list[str]:
    from nas.results.audit import audit, describe_audit
    from nas.results.budgets import describe_budgets
    from nas.results.question import describe_answer
    from nas.results.rungs_text import describe_agreements, describe_rungs
    from nas.results.spending import describe_spending
    from nas.results.summary import percent
    from nas.study.attributes import DEVICE_HOURS, SAMPLER

    definition, funnel = opened.definition, summary.funnel
    plan = definition.plan
    running = f"{workers} training now" if workers else "nothing is training now"
    alone = "" if workers else " with one training at a time"
    epochs = rungs.deciding_rung(definition.budget).epochs
    lines = [
        f"study     {definition.name} in {opened.folder.path}",
        f"search    {definition.space}, at most {definition.budget:,} parameters, "
        f"{definition.dataset}, sampler {opened.study.user_attrs.get(SAMPLER)}, "
        f"pruner {definition.pruner}",
        f"plan      {plan.epochs} epochs on {plan.train_images:,} + {plan.val_images:,} images, "
        f"{plan.device}",
        f"trained   {funnel.counted} of {num_trials}: {funnel.complete} to the end, "
        f"{funnel.pruned} pruned, {funnel.broken} broken",
        f"rejected  {funnel.num_over_budget} over budget and {funnel.num_repeats} repeats, "
        "before training",
        f"failed    {funnel.failed} (killed, interrupted, withdrawn); {funnel.waiting} waiting",
    ]
    spent, saved = describe_spending(spending)
    limit = opened.study.user_attrs.get(DEVICE_HOURS)
    lines += [
        f"spent     {spent}"
        + (f"; none begins after {limit:g} hours" if limit is not None else ""),
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
            f"({format_percent(best.num_params or 0, summary.budget)} of the budget), "
            f"{best.notation or best.id}" + (f", after {epochs} epochs" if rungs.upper else "")
        )
    lines += [
        f"budget    {line}"
        for line in describe_budgets(opened.rows, definition.targets, summary.val_images)
    ]
    lines += describe_rungs(rungs)
    by_rung = rungs.seconds_by_rung(workers)
    if all(rung.has_ended for rung in rungs.rungs):
        lines.append(f"time      the study has its trials; {running}")
    elif seconds is not None and left is not None and by_rung is not None:
        own = "" if rungs.rungs[0].has_ended else f"{seconds:.1f} s a trial, "
        in_rungs = f", {format_duration(sum(by_rung))} of it in the rungs" if by_rung else ""
        left += sum(by_rung)
        lines.append(
            f"time      {own}about {format_duration(left)} left{alone}{in_rungs}; {running}"
        )
    else:
        lines.append(f"time      not known before the first trial ends; {running}")
    return [*lines, "", *describe_answer(summary.answer), *describe_agreements(rungs)]
