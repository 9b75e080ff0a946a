"""The line that a search shows while it runs, of the rung that trains just now.

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
from nas.results.forecast import Terms, seconds_left, seconds_per_trial, terms_of
from nas.results.study_rungs import Rung, StudyRungs, read_study_rungs
from nas.study.attributes import TARGET
from nas.study.definition import StudyDefinition
from nas.study.ledger import Ledger
from nas.study.trials import Funnel, TrialRow, count_funnel, rank
from nas.units import format_duration


def compose_line(
    rows: Sequence[TrialRow],
    num_trials: int,
    budget: int,
    terms: Terms,
    workers: int = 1,
    rung: str = "",
) -> str:
    """Return the progress line for the state of a study.

    Args:
        rows: Every trial of the study.
        num_trials: The trials the study is to have in total.
        budget: Parameters a network may have.
        terms: What the trials have in common, for the time left.
        workers: Trainings that run at once.
        rung: The rung that the trials are of, ``@30``; nothing of the search itself.
    """
    funnel = count_funnel(rows)
    parts = [f"{funnel.counted}/{num_trials} trained"]
    if rung:
        parts.insert(0, f"rung {rung}")
    else:
        parts += [
            f"{funnel.pruned} pruned",
            f"{funnel.num_over_budget} rejected before training",
            f"{funnel.num_repeats} repeats",
        ]
    if funnel.broken:
        parts.append(f"{funnel.broken} broken")
    best = next(iter(rank(rows)), None)
    if best is not None:
        size = best.num_params or 0
        parts.append(
            f"best {100 * (best.val_accuracy or 0):.2f}% "
            f"({format_count(size)}, {format_percent(size, budget)} of budget)"
        )
    per_trial = seconds_per_trial(rows, terms)
    if per_trial is not None:
        parts.append(f"{per_trial:.1f} s/trial")
    left = seconds_left(rows, num_trials, terms, workers)
    if left is not None:
        parts.append(f"{format_duration(left)} left")
    return " · ".join(parts)


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
        self._ended: Funnel | None = None
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

    def turn_to_rung(self, opening: str) -> None:
        """Go on with the trials of a rung; the line so far stays, a line that opens it follows."""
        before = self._line
        self._line, self._ended, self._now = "", None, ""
        for line in [before] * self._is_live + [opening]:
            if line:
                self._print(line)

    def update(self, line: str, funnel: Funnel) -> None:
        """Take a new line, and how many trials it counts."""
        ended = replace(funnel, running=0, waiting=0)
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
    """Keep a progress line at the search or the rung that trains, whichever process trains it.

    Args:
        progress: The line; it begins with the search.
        definition: The search.
        ledger: Its trials.
        workers: Trainings that run at once.
    """

    def __init__(
        self, progress: ProgressLine, definition: StudyDefinition, ledger: Ledger, workers: int
    ) -> None:
        self._progress = progress
        self._definition = definition
        self._ledger = ledger
        self._workers = workers
        self._shown = 0

    def show(self) -> None:
        """Show where the study stands."""
        study_rungs = read_study_rungs(self._definition, self._ledger.storage, self._ledger.study)
        rung = study_rungs.current()
        index = study_rungs.rungs.index(rung)
        if index > self._shown:
            # its last trials, which end between two looks
            self._update(study_rungs.rungs[self._shown])
            self._shown = index
            self._progress.turn_to_rung("" if rung.has_ended else self._opening(study_rungs, rung))
        self._update(rung)

    def on_change(self, text: str) -> None:
        """Show what a worker of this process says; without a text, where the study stands."""
        self._progress.show_now(text)
        if not text:
            self.show()

    def _update(self, rung: Rung) -> None:
        attrs, budget = self._ledger.study.user_attrs, self._definition.budget
        if rung.spec is None:
            terms, num_trials = terms_of(self._definition, attrs), attrs[TARGET]
        else:
            terms, num_trials = terms_of(rung.definition), rung.num_trials or 0
        line = compose_line(rung.rows, num_trials, budget, terms, self._workers, rung.label)
        self._progress.update(line, count_funnel(rung.rows))

    def _opening(self, study_rungs: StudyRungs, rung: Rung) -> str:
        """Return what a rung will do, in a line."""
        by_rung = study_rungs.seconds_by_rung(self._workers)
        left = ""
        if by_rung is not None:
            seconds = by_rung[study_rungs.upper.index(rung)]
            left = f", about {format_duration(seconds)} left"
        return (
            f"rung {rung.label}: {rung.num_trials} networks again from scratch, "
            f"{study_rungs.training(rung)} each{left}"
        )
