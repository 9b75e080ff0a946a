"""The line that a search shows while it runs, of the search and its rungs.

On a terminal it is redrawn in place; elsewhere one line is written whenever it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from nas.network.caps import format_count, format_percent
from nas.results.forecast import Forecast
from nas.results.study_rungs import Rung, StudyRungs
from nas.search.open_rungs import OpenRungs
from nas.study.attributes import TARGET
from nas.study.trials import Funnel, count_funnel, rank
from nas.units import format_duration, plural


def compose_line(study_rungs: StudyRungs, num_trials: int, workers: int = 1) -> str:
    """Return the progress line for the state of a study.

    Args:
        study_rungs: The study.
        num_trials: The trials that the search itself is to have in total.
        workers: Trainings that run at once.
    """
    rows, budget = study_rungs.rungs[0].rows, study_rungs.definition.budget
    funnel = count_funnel(rows)
    parts = [
        f"{funnel.trained}/{num_trials} trained",
        *map(_describe_rung, study_rungs.upper),
        f"{funnel.pruned} pruned",
        f"{funnel.num_over_budget} rejected before training",
        plural(funnel.num_repeats, "repeat"),
    ]
    num_broken = sum(rung.num_broken for rung in study_rungs.rungs)
    if num_broken:
        parts.append(f"{num_broken} broken")
    rung = study_rungs.deciding_rung(budget)
    best = next(iter(rank(rung.rows, budget)), None)
    if best is not None:
        size = best.num_params or 0
        parts.append(
            f"best {100 * (best.val_accuracy or 0):.2f}%{rung.label and ' '}{rung.label} "
            f"({format_count(size)}, {format_percent(size, budget)} of budget)"
        )
    forecast = Forecast(study_rungs)
    per_trial, left = forecast.training_seconds(), forecast.seconds_left(workers)
    if per_trial is not None and left is not None:
        parts.append(f"{per_trial:.1f} s/trial")
        parts.append(f"{format_duration(left)} left")
    return " · ".join(parts)


def _describe_rung(rung: Rung) -> str:
    """Return how far a rung is, ``@30 5/9``, and whether it trains."""
    assert rung.spec is not None
    num_running = sum(row.state == "running" for row in rung.rows)
    running = f" ({num_running} training)" if num_running else ""
    num_trained = rung.num_trained - rung.num_broken
    return f"{rung.label} {num_trained}/{rung.num_trials or rung.spec.count}{running}"


class ProgressLine:
    """Show a line on a console; use as a context manager.

    Redrawn in place on a terminal that can; elsewhere one line is written whenever a trial ended.
    A console that is gone ends the showing, not the search.

    Args:
        console: Where it goes; standard error in the command line.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._line = ""
        self._ended: list[Funnel] = []
        self._now = ""
        self._is_lost = False
        self._is_live = console.is_terminal and not console.is_dumb_terminal
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=4, transient=False
        )

    def __enter__(self) -> ProgressLine:
        if self._is_live:
            self._draw(self._live.start)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last state of the line behind."""
        if self._is_live:
            self._now = ""
            self._draw(self._live.stop)

    def update(self, line: str, funnels: Sequence[Funnel]) -> None:
        """Take a new line, and how many trials of each rung it counts."""
        ended = [replace(funnel, running=0, waiting=0) for funnel in funnels]
        if ended != self._ended and not self._is_live:  # not on every second of the time left
            self._print(line)
        self._line, self._ended = line, ended

    def show_now(self, text: str) -> None:
        """Say what is going on inside the running trial; shown on a terminal only."""
        self._now = text

    def _print(self, line: str) -> None:
        # NOTE: not through rich, which ends the program when a pipe's reader goes away
        self._draw(lambda: print(line, file=self._console.file, flush=True))

    def _draw(self, write: Callable[[], None]) -> None:
        if self._is_lost:
            return
        try:
            write()
        except (OSError, ValueError):  # a closed terminal, a pipe whose reader went away
            self._is_lost = True

    def _render(self) -> Text:
        text = Text(self._line, overflow="fold")
        if self._now:
            text.append(f" · {self._now}", style="dim")
        return text


class Display:
    """Keep a progress line at a study and its rungs, whichever process trains them.

    Args:
        progress: The line.
        rungs: The study and its rungs.
    """

    def __init__(self, progress: ProgressLine, rungs: OpenRungs) -> None:
        self._progress = progress
        self._rungs = rungs

    def show(self) -> int:
        """Show where the study stands; return how many trials of it and its rungs count."""
        state, search = self._rungs.read(), self._rungs.search
        attrs = self._rungs.first.study.user_attrs
        line = compose_line(state, attrs[TARGET], search.workers)
        self._progress.update(line, [count_funnel(rung.rows) for rung in state.rungs])
        return sum(rung.num_trained for rung in state.rungs)

    def on_change(self, text: str) -> None:
        """Show what a worker of this process says; without a text, where the study stands."""
        self._progress.show_now(text)
        if not text:
            self.show()
