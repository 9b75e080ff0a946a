"""What a running search shows: the progress line, of the stage that trains just now."""

from __future__ import annotations

from nas.progress import ProgressLine
from nas.results.forecast import terms_of
from nas.results.ladder import Ladder, Level, read_ladder
from nas.study.folder import StudyDefinition
from nas.study.ledger import Ledger
from nas.units import format_duration


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
        """Begin at the search itself."""
        self._progress = progress
        self._definition = definition
        self._ledger = ledger
        self._workers = workers
        self._shown = definition.plan.epochs

    def show(self) -> None:
        """Show where the study stands."""
        ladder = read_ladder(self._definition, self._ledger.storage, self._ledger.study)
        level = ladder.current()
        if level.epochs > self._shown:
            before = next(item for item in ladder.levels if item.epochs == self._shown)
            self._progress.update(before.rows)  # its last trials, which end between two looks
            self._shown = level.epochs
            definition = self._definition.at_rung(level.epochs)
            opening = "" if level.has_ended else self._opening(ladder, level)
            self._progress.turn_to_rung(
                definition, level.target or 0, terms_of(definition), opening
            )
        self._progress.update(level.rows)

    def on_change(self, text: str) -> None:
        """Show what a worker of this process says; without a text, where the study stands."""
        self._progress.show_now(text)
        if not text:
            self.show()

    def _opening(self, ladder: Ladder, level: Level) -> str:
        """Return what a rung will do, in a line."""
        by_rung = ladder.seconds_by_rung(self._workers)
        left = ""
        if by_rung is not None:
            seconds = by_rung[ladder.rungs.index(level)]
            left = f", about {format_duration(seconds)} left"
        return (
            f"rung @{level.epochs}: {level.target} networks again from scratch, {level.epochs} "
            f"epochs each{left}"
        )
