"""Where a study's device time went, and what was never spent. No PyTorch needed.

A trial's seconds are those of the process that trained it (`nas.study.trials.DEVICE_SECONDS`),
written at every epoch's end and at its own end, so that they outlast a kill. A trial that goes on
from a killed one's checkpoint counts its own part alone: nothing is counted twice. What a killed
process did after its last epoch is nowhere written; half an epoch stands for it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from nas.study.attributes import KNOWN
from nas.study.lineage import INTERRUPTED
from nas.study.trials import TrialRow
from nas.training.result import Ending
from nas.units import format_duration, plural

SECONDS_PER_HOUR = 3_600.0


@dataclass(frozen=True)
class Spending:
    """Device seconds of a study; a trial trains on one device.

    Args:
        finished_seconds: On trials trained to their end.
        pruned_seconds: On trials stopped early.
        broken_seconds: On trials that diverged or did not fit in memory.
        failed_seconds: On trials that were killed, interrupted or withdrawn.
        running_seconds: On trials that are still training.
        repeated_seconds: On networks that had been trained before; contained in the above.
        continued_seconds: Of the failed, what other trials went on from.
        estimated_seconds: Of the failed, estimated: half an epoch for each killed trial.
        num_rejected: Candidates over the budget or measured before, never trained.
        saved_by_rejecting_seconds: Estimate: as many average sampled trials.
        saved_by_pruning_seconds: Estimate: the epochs not run, each trial at its own pace.
    """

    finished_seconds: float
    pruned_seconds: float
    broken_seconds: float
    failed_seconds: float
    running_seconds: float
    repeated_seconds: float
    continued_seconds: float
    estimated_seconds: float
    num_rejected: int
    saved_by_rejecting_seconds: float
    saved_by_pruning_seconds: float

    @property
    def total_seconds(self) -> float:
        """Return all that was spent."""
        return (
            self.finished_seconds
            + self.pruned_seconds
            + self.broken_seconds
            + self.failed_seconds
            + self.running_seconds
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values."""
        return {"total_seconds": self.total_seconds, **asdict(self)}


def account(rows: Sequence[TrialRow], epochs: int, now: datetime | None = None) -> Spending:
    """Return what a study spent.

    Args:
        rows: Every trial of the study, by number.
        epochs: Epochs of a trial that runs to its end.
        now: Count running trials from their beginning until now; None counts whole epochs alone,
            which is right as well where their process may be dead.
    """
    own_epochs = _count_own_epochs(rows)
    paces = {  # seconds of an epoch
        row.number: row.device_seconds / own_epochs[row.number]
        for row in rows
        if row.device_seconds and own_epochs[row.number]
    }
    spent = {row.number: row.device_seconds or 0.0 for row in rows}
    if now is not None:
        for row in rows:
            if row.state == "running" and row.started_at is not None:
                since = (now - row.started_at).total_seconds()
                spent[row.number] = max(spent[row.number], since)
    mean_pace = statistics.fmean(paces.values()) if paces else 0.0
    lost = {
        row.number: 0.5 * paces.get(row.number, mean_pace) if _was_killed(row) else 0.0
        for row in rows
    }

    def total(word: str) -> float:
        return sum(spent[row.number] + lost[row.number] for row in rows if row.word == word)

    continued = {row.resumes for row in rows}
    num_rejected = sum(row.num_over_budget + row.num_repeats for row in rows)
    num_rejected += sum(row.state == "rejected" for row in rows)
    return Spending(
        finished_seconds=total("complete"),
        pruned_seconds=total("pruned"),
        broken_seconds=total("broken"),
        failed_seconds=total("failed"),
        running_seconds=total("running"),
        repeated_seconds=sum(spent[row.number] for row in _repeats(rows)),
        continued_seconds=sum(
            spent[row.number] for row in rows if row.state == "failed" and row.number in continued
        ),
        estimated_seconds=sum(lost.values()),
        num_rejected=num_rejected,
        saved_by_rejecting_seconds=num_rejected * _mean_trial_seconds(rows),
        saved_by_pruning_seconds=sum(
            paces.get(row.number, mean_pace) * (epochs - row.num_epochs)
            for row in rows
            if row.state is Ending.STOPPED
        ),
    )


def add_up(parts: Sequence[Spending]) -> Spending:
    """Return the sum of what several studies spent."""
    names = [field.name for field in fields(Spending)]
    return Spending(**{name: sum(getattr(part, name) for part in parts) for name in names})


def describe_spending(spending: Spending) -> list[str]:
    """Return the account in two lines, without their headings: spent, saved."""

    def where_any(seconds: float, what: str) -> list[str]:
        return [f"{format_duration(seconds)} {what}"] if seconds else []

    notes = where_any(spending.continued_seconds, "continued in other trials")
    notes += where_any(spending.estimated_seconds, "estimated")
    parts = [
        f"{format_duration(spending.finished_seconds)} finished",
        f"{format_duration(spending.pruned_seconds)} pruned",
        f"{format_duration(spending.repeated_seconds)} repeated",
        *where_any(spending.broken_seconds, "broken"),
        f"{format_duration(spending.failed_seconds)} failed"
        + (f" ({', '.join(notes)})" if notes else ""),
        *where_any(spending.running_seconds, "running"),
    ]
    saved = where_any(spending.saved_by_pruning_seconds, "by pruning")
    if spending.num_rejected:
        seconds = format_duration(spending.saved_by_rejecting_seconds)
        rejected = plural(spending.num_rejected, "candidate")
        saved.insert(0, f"{seconds} by rejecting {rejected} before training")
    return [
        f"{format_duration(spending.total_seconds)} of training: {', '.join(parts)}",
        f"about {', '.join(saved)} (estimated)" if saved else "nothing was rejected or pruned yet",
    ]


def _repeats(rows: Sequence[TrialRow]) -> list[TrialRow]:
    """Return the counted trials whose network an earlier counted one had."""
    seen: set[str] = set()
    repeats = []
    for row in rows:
        if row.is_counted:
            if row.id in seen:
                repeats.append(row)
            seen.add(row.id)
    return repeats


def _count_own_epochs(rows: Sequence[TrialRow]) -> dict[int, int]:
    """Return how many epochs each trial trained itself; those it went on from are reported too."""
    reported = {row.number: row.num_epochs for row in rows}
    return {
        row.number: max(row.num_epochs - reported.get(row.resumes, 0), 0)
        if row.resumes is not None
        else row.num_epochs
        for row in rows
    }


def _was_killed(row: TrialRow) -> bool:
    """Tell whether a trial's training ended before its time was recorded."""
    return row.state == "failed" and row.num_params is not None and row.reason != INTERRUPTED


def _mean_trial_seconds(rows: Sequence[TrialRow]) -> float:
    """Return the mean of the sampled trials; of all while none of those has ended."""
    timed = [row for row in rows if row.is_counted and row.device_seconds is not None]
    chosen = [row for row in timed if row.source != KNOWN] or timed
    return statistics.fmean(row.device_seconds or 0.0 for row in chosen) if chosen else 0.0
