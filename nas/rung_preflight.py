"""What the rungs of a search will train and what that takes, said before its first training."""

from __future__ import annotations

from dataclasses import replace

from nas.ladder import read_ladder, rungs_of
from nas.prepare import Search
from nas.request import DEFAULT_TRIALS, Request
from nas.rungs import Rung, check_rungs
from nas.sizing import Sizing
from nas.storage import has_study, load_study, open_storage, store_file
from nas.trials import TARGET
from nas.units import format_duration


def describe_rungs_ahead(search: Search, request: Request) -> list[str]:
    """Return the preflight of a search's rungs: a line, or none; nothing is written.

    Raises:
        UsageError: The rungs do not train fewer networks for longer than the search.
        StorageError: The store is damaged, unreachable, or may not be read.
    """
    if search.sizing is not None:
        rungs = request.rungs or ()
        seconds: list[float] | None = _seconds_new(search.sizing, request)
    else:
        rungs, seconds = _read_existing(search, request)
    if not rungs:
        return []
    times = [None] * len(rungs) if seconds is None else seconds
    parts = [_describe(rung, time) for rung, time in zip(rungs, times, strict=True)]
    return [f"rungs     the best again, and the best known: {', then '.join(parts)}"]


def _describe(rung: Rung, seconds: float | None) -> str:
    text = f"{rung.count} x {rung.epochs} epochs"
    if seconds is None:
        return text
    return f"{text} about {format_duration(seconds)}" if seconds else f"{text} done"


def _seconds_new(sizing: Sizing, request: Request) -> list[float]:
    """Return what each rung of a new study will take with networks of typical cost."""
    return [
        rung.count
        * sizing.speed.trial_seconds(replace(sizing.plan, epochs=rung.epochs))
        / min(request.workers, rung.count)
        for rung in request.rungs or ()
    ]


def _read_existing(
    search: Search, request: Request
) -> tuple[tuple[Rung, ...], list[float] | None]:
    """Return the rungs that a resumed search will have, and what each still takes, if known."""
    definition, journal = search.definition, search.folder.journal
    url = request.storage or definition.storage
    path = store_file(url, journal)
    if path is not None and not path.is_file():
        return request.rungs or (), None
    storage = open_storage(url, journal)
    if not has_study(definition.name, storage):
        return request.rungs or (), None
    study = load_study(definition.name, storage)
    attrs = study.user_attrs
    rungs = rungs_of(attrs) if request.rungs is None else request.rungs
    check_rungs(rungs, request.trials or attrs.get(TARGET, DEFAULT_TRIALS), definition.plan.epochs)
    ladder = read_ladder(definition, storage, study, rungs=rungs)
    return rungs, ladder.seconds_by_rung(request.workers)
