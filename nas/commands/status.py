"""Show where a study stands: the funnel, the best, the time left."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from nas.commands.arguments import add_format, add_study
from nas.commands.common import OpenedStudy, open_study
from nas.network.caps import format_percent
from nas.printing import print_json, print_lines
from nas.units import format_duration, plural


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `status`."""
    add_study(parser)
    add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Print one screen."""
    from nas.confusion import METRIC_WORDS
    from nas.results.forecast import Forecast
    from nas.results.question import asks_paper, describe_answer
    from nas.results.rungs_text import describe_agreements
    from nas.results.study_rungs import begun_rungs, rungs_of
    from nas.study.attributes import CHANGES, DEVICE_HOURS, TARGET
    from nas.study.lineage import is_machines
    from nas.study.trials import count_workers

    opened = open_study(args)
    definition, attrs = opened.definition, opened.study.user_attrs
    forecast = Forecast(opened.rungs)
    studies = (opened.study, *begun_rungs(definition, opened.storage, rungs_of(attrs)).values())
    workers = sum(count_workers(study, opened.folder.workers) for study in studies)
    record = {
        **opened.record(),
        "target_trials": int(attrs.get(TARGET, 0)),
        "seconds_per_trial": forecast.training_seconds(),
        "seconds_left": forecast.search_seconds(workers),
        "device_hours": attrs.get(DEVICE_HOURS),
        "rungs_seconds_left": forecast.rung_seconds(workers),
        "workers": workers,
        "machine_failures": [
            {"trial": row.number, "reason": row.reason}
            for rung in opened.rungs.rungs
            for row in rung.rows
            if row.state == "failed" and is_machines(row.reason or "")
        ],
        "changes": attrs.get(CHANGES, []),
    }
    if args.format == "json":
        print_json(record)
    else:
        print_lines(*_lines(opened, record), indent=10)
        summary, answer = opened.summary, []
        if asks_paper(opened.definition):
            answer = describe_answer(summary.answer, METRIC_WORDS[summary.metric])
        if text := [*answer, *describe_agreements(opened.rungs)]:
            print_lines("", *text, indent=2)
    return 0


def _lines(opened: OpenedStudy, record: Mapping[str, Any]) -> list[str]:
    """Return the screen.

    Args:
        opened: The study.
        record: What the JSON has of it.
    """
    from nas.results.audit import audit, describe_audit
    from nas.results.budgets import describe_budgets
    from nas.results.rungs_text import describe_rungs
    from nas.results.spending import describe_spending
    from nas.results.summary import describe_majority_of, describe_measured, nothing_fits
    from nas.study.attributes import SAMPLER

    definition, summary, rungs = opened.definition, opened.summary, opened.rungs
    name, own = opened.folder.name, definition.name  # a renamed folder's store keeps the old one
    plan, funnel, best = definition.plan, summary.funnel, summary.best
    spent, saved = describe_spending(opened.spending)
    hours = record["device_hours"]
    limit = f"; none begins after {hours:g} hour{'s' * (hours != 1)}" if hours is not None else ""
    lines = [
        f"study     {name} in {opened.folder.path}{f' ({own} in its store)' * (name != own)}",
        f"search    {definition.space}, at most {definition.budget:,} parameters, "
        f"{definition.dataset}, sampler {opened.study.user_attrs.get(SAMPLER)}, "
        f"pruner {definition.pruner}",
        f"plan      {plural(plan.epochs, 'epoch')} on {plan.train_images:,} + "
        f"{plan.val_images:,} images{f' in {plan.folds} folds' * (plan.folds > 1)}, {plan.device}",
        f"trained   {funnel.trained} of {record['target_trials']}: {funnel.complete} to the end, "
        f"{funnel.pruned} pruned; {funnel.broken} broken",
        f"rejected  {funnel.num_over_budget} over budget and "
        f"{plural(funnel.num_repeats, 'repeat')}, before training",
        f"failed    {funnel.failed} (killed, interrupted, withdrawn); {funnel.waiting} waiting",
        f"spent     {spent}{limit}",
        f"saved     {saved}",
    ]
    if best is not None and summary.broken:
        lines.append(f"networks  {summary.broken}")
    if failures := record["machine_failures"]:
        text = "failures were" if len(failures) > 1 else "failure was"
        last = f"trial {failures[-1]['trial']}: {failures[-1]['reason']}"
        lines.append(f"machine   {len(failures)} {text} the machine's, not a network's; {last}")
    if definition.audit:
        lines.append(f"audit     {describe_audit(audit(opened.rows))}")
    if best is None:
        lines.append(f"best      {nothing_fits(summary)}")
    else:
        after = rungs.training(rungs.deciding_rung(definition.budget))
        lines.append(
            f"best      trial {best.number}: "
            f"{describe_measured(best, summary)}, "
            f"{best.num_params:,} parameters "
            f"({format_percent(best.num_params or 0, summary.budget)} of the budget), "
            f"{best.notation or best.id}, after {after}"
        )
    lines += [f"majority  {text}" for text in describe_majority_of(summary)]
    budgets = describe_budgets(opened.rows, definition)
    lines += [f"budget    {line}" for line in budgets]
    return [*lines, *describe_rungs(rungs), f"time      {_describe_time(opened, record)}"]


def _describe_time(opened: OpenedStudy, record: Mapping[str, Any]) -> str:
    """Return how long the study will still take, and how many of its trials train now."""
    rungs, workers = opened.rungs.rungs, record["workers"]
    running = f"{workers} training now" if workers else "nothing is training now"
    seconds, left = record["seconds_per_trial"], record["seconds_left"]
    by_rung = record["rungs_seconds_left"]
    if opened.rungs.is_hopeless:
        return f"the search was stopped, its first trials all broke; {running}"
    if all(rung.has_ended for rung in rungs):
        return f"the study has its trials; {running}"
    if seconds is None or left is None or by_rung is None:
        return f"not known before the first trial ends; {running}"
    own = "" if rungs[0].has_ended else f"{seconds:.1f} s a trial, "
    alone = "" if workers else " with one training at a time"
    in_rungs = f", {format_duration(sum(by_rung))} of it in the rungs" if by_rung else ""
    left += sum(by_rung)
    return f"{own}about {format_duration(left)} left{alone}{in_rungs}; {running}"
