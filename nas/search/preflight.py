"""What a search will do, said before its first training: space, plan, time; and its rungs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nas.confusion import (
    ACCURACY,
    METRIC_WORDS,
    UNEVEN,
    describe_majority,
    majority,
    names_a_best,
    resolution,
)
from nas.data.mirroring import describe_mirroring
from nas.data.split import num_train
from nas.network.caps import format_percent
from nas.results.forecast import Forecast
from nas.results.spending import SECONDS_PER_HOUR
from nas.search.ahead import read_ahead
from nas.search.plan import (
    FOLDS,
    GOOD_TAU,
    expected_tau,
    is_measured,
    seconds_to_rank,
    trial_seconds,
)
from nas.search.prepare import Search, version_notes
from nas.search.sizing import Sizing
from nas.space import BudgetedSpace
from nas.statistics import TYPICAL_ACCURACY
from nas.study.pruners import STARTUP_TRIALS
from nas.study.rungs import RungSpec
from nas.units import format_duration, list_words, plural


def describe_search(search: Search) -> list[str]:
    """Return the preflight of a search, one line each; nothing is written.

    Raises:
        UsageError: The rungs do not train fewer networks for longer than the search.
        StorageError: The store is damaged, unreachable, or may not be read.
    """
    definition, recipe = search.definition, search.definition.recipe
    lines = [
        f"study     {search.folder.name} ({'new' if search.is_new else 'exists, resumed'})",
        f"space     {_describe_space(search.space)}",
        f"plan      {_describe_plan(search)}",
        f"recipe    {definition.recipe_name}: {recipe['optimizer']}, {recipe['schedule']} to "
        f"{recipe['floor_learning_rate']:g} from {recipe['learning_rate']:g}, "
        f"batch {recipe['batch_size']}",
        f"pruner    {_describe_pruner(definition.pruner, definition.audit)}",
        f"resolves  {_describe_resolution(search)}",
    ]
    lines += [f"metric    {text}" for text in _describe_metric(search)]
    if mirroring := describe_mirroring(search.data, recipe["flip"]):
        lines.append(f"mirrored  {mirroring}")
    if definition.targets:
        budgets = ", ".join(f"{budget:,}" for budget in definition.targets)
        lines.insert(2, f"budgets   {budgets}: each trial has one")
    if search.baselines:
        names = (f"{n} (the space's own)" if n == "baseline" else n for n in search.baselines)
        lines.append(f"baselines {list_words(names)}: networks to beat, trained first")
    if search.sizing is not None:
        lines.append(f"time      {_describe_time(search, search.sizing)}")
    lines += [f"note      {note}" for note in (*search.data.notes, *version_notes(definition))]
    return lines + _describe_rungs(search) + _describe_ranking(search)


def _describe_space(space: BudgetedSpace) -> str:
    """Return how many networks a space has and how many of them fit."""
    total, fitting = space.feasible_set.num_distinct(), space.feasible_set.count()
    percent = format_percent(fitting.value, total)
    within = space.caps.describe()
    if fitting.is_exact:
        return f"{space.name}: {total:,} networks, {fitting.value:,} ({percent}) within {within}"
    return (
        f"{space.name}: {total:,} networks, about {fitting.value:,} "
        f"± {fitting.standard_error:,.0f} ({percent}) within {within} (estimated)"
    )


def _describe_plan(search: Search) -> str:
    definition, plan, data = search.definition, search.definition.plan, search.data
    total = len(data.train) + (len(data.val) if data.val is not None else 0)
    used = plan.train_images + plan.val_images
    what = "the whole training split" if used == total else f"a stratified slice of {total:,}"
    if plan.folds > 1:
        what = f"{plan.folds} folds: each of {plan.val_images:,} images validates once"
    aside = data.train.num_set_aside
    return (
        f"{_describe_workers(search)}: {plural(plan.epochs, 'epoch')} on {plan.train_images:,} + "
        f"{plan.val_images // plan.folds:,} images of {definition.dataset} ({what}), "
        f"{definition.image_size}x{definition.image_size}"
        + (f"; {aside:,} more set aside for test" if aside else "")
    )


def _describe_resolution(search: Search) -> str:
    """Return what difference the validation images resolve, and what would resolve a smaller."""
    plan, data = search.definition.plan, search.data
    metric, counts = search.definition.metric, (search.definition.class_counts or {}).values()
    text = (
        f"{100 * resolution(metric, counts):.1f} points between two networks near "
        f"{100 * TYPICAL_ACCURACY:.0f}% ({plan.val_images:,} validation images, 95%)"
    )
    if names_a_best(metric, counts):
        return text
    text += ": too few to name a best; "
    if plan.folds > 1 or data.val is not None:
        return f"{text}more images would help"
    finer = 100 * resolution(metric, data.train.class_counts)
    return f"{text}--folds {FOLDS} resolves {finer:.1f}"


def _describe_metric(search: Search) -> list[str]:
    """Return what is maximised, and what would judge uneven classes alike; a line, or none."""
    metric, counts = search.definition.metric, search.definition.class_counts or {}
    if metric != ACCURACY:
        return [f"{METRIC_WORDS[metric]} of the validation images, every class alike"]
    text = describe_majority(majority(counts), len(counts))
    images = search.data.train.class_counts
    times = max(images) / max(min(images), 1)
    if times > UNEVEN:
        text += (
            f"; the largest class has {times:.3g} times the images of the smallest: --metric "
            "balanced_accuracy judges each alike, and --set class_weights=balanced trains so"
        )
    return [f"accuracy; {text.removeprefix('; ')}"] if text else []


def _describe_workers(search: Search) -> str:
    """Return the device, how many trainings it does at once, and a CPU's threads for each."""
    plan, is_one = search.definition.plan, search.workers == 1
    at_once = "one training at a time" if is_one else f"{search.workers} trainings at once"
    if plan.device != "cpu":
        return f"{plan.device}, {at_once}"
    if search.is_short:
        at_once += " (more would take longer to start than they save)"
    threads = plural(plan.num_threads, "thread")
    return f"CPU, {at_once}, {threads}{'' if is_one else ' each'}"


def _describe_pruner(name: str, audit: float) -> str:
    text = name
    if name == "median":
        text = f"median, after {STARTUP_TRIALS} trials and 20% of the epochs"
    return text + (
        f"; {100 * audit:.4g}% of what it would stop runs on as an audit" if audit else ""
    )


def _describe_time(search: Search, sizing: Sizing) -> str:
    num_trials = search.request.num_trials()
    typical = trial_seconds(sizing.speed, sizing.plan)
    baselines = [trial_seconds(item, sizing.plan) for item in sizing.baseline_speeds[:num_trials]]
    slowest = max(typical, *baselines) if baselines else typical
    seconds = sizing.search_seconds(num_trials, search.definition.pruner)
    seconds = max(seconds / search.workers, slowest)
    return (
        f"about {format_duration(seconds)} for {plural(num_trials, 'trial')}, a "
        f"baseline up to {format_duration(slowest)}, a typical one "
        f"{format_duration(typical)} (timed here)"
    )


def _describe_rungs(search: Search) -> list[str]:
    """Return the preflight of a search's rungs: a line, or none."""
    parts = []
    for rung, seconds in _rung_times(search):
        text = f"{rung.count} x {rung.training}"
        if seconds is not None:
            text += f" about {format_duration(seconds)}" if seconds else " done"
        parts.append(text)
    if not parts:
        return []
    return [f"rungs     the best again, and the best baseline: {', then '.join(parts)}"]


def _describe_ranking(search: Search) -> list[str]:
    """Return how trainings as long as these have ranked networks; nothing of a whole data set."""
    plan, sizing, asked = search.definition.plan, search.sizing, search.asked
    images = num_train(search.data, plan.folds, search.definition.seed)
    if sizing is None or not is_measured(plan.train_images, images):
        return []
    seen = [plan.epochs * plan.train_images]
    seen += [
        rung.epochs * (rung.images or plan.train_images) for rung in search.request.rungs or ()
    ]
    taus = [round(expected_tau(number), 1) for number in seen]
    text = f"networks as longer trainings do, with Kendall tau about {taus[0]}"
    if len(taus) > 1:
        text += f", the highest rung {taus[-1]}"
    hours = seconds_to_rank(sizing.speed) / search.workers / SECONDS_PER_HOUR
    is_free = not (asked.trials or asked.rungs is not None or search.definition.targets)
    if taus[-1] < GOOD_TAU and is_free and (asked.hours or 0.0) < hours < math.inf:
        text += f"; for {GOOD_TAU} give --hours {math.ceil(10 * hours) / 10:g}"
    return [f"ranks     {text} (as 18 networks did on CIFAR-10 at 16x16)"]


def _rung_times(search: Search) -> list[tuple[RungSpec, float | None]]:
    """Return the rungs that a search will have, and what each still takes, if that is known."""
    asked, sizing = search.request.rungs or (), search.sizing
    if sizing is not None:
        return [
            (rung, sizing.rung_seconds(rung) / min(search.workers, rung.count)) for rung in asked
        ]
    ahead = read_ahead(search)
    if ahead is None:
        return [(rung, None) for rung in asked]
    specs = [rung.spec for rung in ahead.upper if rung.spec is not None]
    known = Forecast(ahead).rung_seconds(search.workers)
    seconds: Sequence[float | None] = known or [None] * len(specs)
    return list(zip(specs, seconds, strict=True))
