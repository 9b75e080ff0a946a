"""The limits of a worker: a deadline, and the study's device time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from nas.results.forecast import Forecast
from nas.results.spending import SECONDS_PER_HOUR
from nas.results.study_rungs import StudyRungs

TIME_LIMIT, HOURS_SPENT = "time limit", "device hours spent"


@dataclass(frozen=True)
class Limits:
    """When a worker stops.

    Args:
        deadline: Value of `time.monotonic` by which trials are to have ended; None is never.
        device_seconds_left: Tells how much of the study's device time is left; infinity is no
            limit.
        began: Value of `time.monotonic` when the worker began.
    """

    deadline: float | None
    device_seconds_left: Callable[[], float]
    began: float = field(default_factory=time.monotonic)

    def is_over(self, after: float = 0.0) -> bool:
        """Tell whether the deadline will have passed after so many seconds."""
        return self.deadline is not None and time.monotonic() + after >= self.deadline

    def closing(self, state: StudyRungs, hours: float | None) -> str | None:
        """Return the limit before which what one more trial may find could not climb to the top.

        Before it does, the rungs need the time for what they would lack if the search ended now. A
        run that is too short for all of this closes nothing: it is one of many.

        Args:
            state: The study as it stands.
            hours: Device time of the study and its rungs; None is no limit.
        """
        first = state.rungs[0]
        if first.has_ended or not state.upper or (self.deadline is None and hours is None):
            return None
        climb = Forecast(state).climb_seconds() or 0.0
        closed = Forecast(state.closed())
        num_running = sum(row.state == "running" for rung in state.rungs for row in rung.rows)
        limits = []  # each with its whole, what is left of it, and what is needed
        if self.deadline is not None:
            whole, left = self.deadline - self.began, self.deadline - time.monotonic()
            needed = climb + sum(closed.rung_seconds(num_running + 1) or [])
            limits.append((TIME_LIMIT, whole, left, needed))
        if hours is not None:
            left, needed = self.device_seconds_left(), climb + sum(closed.rung_seconds() or [])
            limits.append((HOURS_SPENT, hours * SECONDS_PER_HOUR, left, needed))
        reached = (name for name, whole, left, needed in limits if left < needed <= whole)
        return next(reached, None)
