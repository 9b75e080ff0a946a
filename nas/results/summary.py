"""What a study found: the best and their ties, found against baselines, and the next command."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nas.confusion import (
    ACCURACY,
    METRIC_WORDS,
    describe_majority,
    majority,
    names_a_best,
    resolution,
)
from nas.network.architecture import Architecture
from nas.network.caps import format_percent
from nas.network.presets import PRESETS
from nas.results.question import Answer
from nas.statistics import TYPICAL_ACCURACY, Z_95
from nas.study.attributes import KNOWN
from nas.study.rungs import describe_training
from nas.study.trials import (
    Funnel,
    TrialRow,
    count_funnel,
    error_of,
    pareto_front,
    rank,
    tied_with_first,
)
from nas.units import list_words, plural

TOP = 5
PARETO_ROWS = 8
HINTS = {  # by how the reason of a broken trial begins
    "diverged": "a lower rate (--set learning_rate=...)",
    # NOTE: not the batch: it has been taken in pieces, down to a few images a forward pass
    "out of memory": "a lower --max-activations or --workers 1",
}


@dataclass(frozen=True)
class Summary:
    """The outcome of a study within a budget.

    Args:
        name: The study.
        budget: Parameters a network may have.
        val_images: Images an accuracy was measured on.
        funnel: How many candidates went which way.
        ranked: Completed trials within the budget, the best score first.
        tied: Those within one standard error of the first.
        best: The first of them; None where nothing completed.
        smallest_tied: The smallest of the tied.
        best_found: The same among those the search proposed, in the highest rung that has both
            such and baselines.
        best_baseline: The same among the baselines, in that rung.
        pareto_front: Those whose score no network as small or smaller reaches, by parameters.
        smallest: Parameters of the smallest network trained to its end, whatever the budget.
        broken: How many trials broke, of what, and what may help; empty where none did.
        answer: What the trials near this budget say to the paper's question.
        epochs: Epochs of the trainings that `best_found` and `best_baseline` are compared by.
        images: Training images of each of these epochs.
        estimated: Of which training the estimates are; None of the search's own.
        metric: What the trials were measured by, a key of `nas.confusion.METRIC_WORDS`.
        class_counts: Validation images of each class; None of a study that did not record them.
    """

    name: str
    budget: int
    val_images: int
    funnel: Funnel
    ranked: tuple[TrialRow, ...]
    tied: tuple[TrialRow, ...]
    best: TrialRow | None
    smallest_tied: TrialRow | None
    best_found: TrialRow | None
    best_baseline: TrialRow | None
    pareto_front: tuple[TrialRow, ...]
    smallest: int | None
    broken: str
    answer: Answer
    epochs: int
    images: int
    estimated: str | None = None
    metric: str = ACCURACY
    class_counts: Mapping[str, int] | None = None

    @property
    def measured_on(self) -> Collection[int]:
        """Return the validation images of each class, where only their sum is known that."""
        return self.class_counts.values() if self.class_counts else (self.val_images,)

    @property
    def majority(self) -> dict[str, Any] | None:
        """Return what `nas.confusion.majority` says of the validation images."""
        return majority(self.class_counts) if self.class_counts else None

    @property
    def better(self) -> TrialRow | None:
        """Return the better of found and baseline, in the highest rung that has both.

        Where that is of the same kind as the best of the rung that decides, it is the latter.
        """
        if self.best is None or self.best_found is None or self.best_baseline is None:
            return self.best
        first = rank([self.best_found, self.best_baseline])[0]
        return self.best if (first.source == KNOWN) == (self.best.source == KNOWN) else first

    @property
    def is_estimated(self) -> bool:
        """Tell whether the scores are estimates, not the measured accuracies."""
        return self.best is not None and self.best.estimate is not None


def summarise(
    name: str,
    budget: int,
    val_images: int,
    rows: Sequence[TrialRow],
    epochs: int,
    images: int,
    answer: Answer,
) -> Summary:
    """Return the summary within a budget of one rung's trials, each of so many epochs."""
    ranked = rank(rows, budget)
    tied = tied_with_first(ranked, val_images)
    found = [row for row in ranked if row.source != KNOWN]
    baselines = [row for row in ranked if row.source == KNOWN]
    return Summary(
        name=name,
        budget=budget,
        val_images=val_images,
        funnel=count_funnel(rows),
        ranked=tuple(ranked),
        tied=tuple(tied),
        best=next(iter(ranked), None),
        smallest_tied=min(tied, key=lambda row: row.num_params or 0, default=None),
        best_found=next(iter(found), None),
        best_baseline=next(iter(baselines), None),
        pareto_front=tuple(pareto_front(ranked)),
        smallest=min((row.num_params or 0 for row in rank(rows)), default=None),
        broken=describe_broken(rows),
        answer=answer,
        epochs=epochs,
        images=images,
    )


def row_record(row: TrialRow, summary: Summary) -> dict[str, Any]:
    """Return a trial as JSON-ready values."""
    return {
        "trial": row.number,
        "id": row.id,
        f"val_{summary.metric}": row.val_accuracy or 0.0,
        "standard_error": error_of(row, summary.val_images),
        f"estimated_{summary.metric}": row.estimate,
        f"estimated_{summary.metric}_sd": row.estimate_sd,
        "num_trainings": row.num_trainings,
        "tied_with_best": row in summary.tied,
        "num_params": row.num_params,
        "budget_share": (row.num_params or 0) / summary.budget,
        "macs": row.macs,
        "source": row.source,
        "known_name": row.known_name,
        "notation": row.notation,
        "architecture": row.architecture,
    }


def summary_record(summary: Summary, top: int = TOP) -> dict[str, Any]:
    """Return the summary as JSON-ready values."""

    def optional(row: TrialRow | None) -> dict[str, Any] | None:
        return row_record(row, summary) if row is not None else None

    return {
        "study": summary.name,
        "budget": summary.budget,
        "val_images": summary.val_images,
        "metric": summary.metric,
        "majority": summary.majority,
        "funnel": asdict(summary.funnel),
        "ranked_by": f"{'estimated' if summary.is_estimated else 'val'}_{summary.metric}",
        "best": optional(summary.best),
        "no_best": nothing_fits(summary) if summary.best is None else None,
        "smallest_tied": optional(summary.smallest_tied),
        "best_found": optional(summary.best_found),
        "best_known": optional(summary.best_baseline),
        "difference": found_minus_baseline(summary),
        "top": [row_record(row, summary) for row in summary.ranked[:top]],
        "front": [row_record(row, summary) for row in summary.pareto_front],
        "question": asdict(summary.answer),
    }


def found_minus_baseline(summary: Summary) -> dict[str, float] | None:
    """Return what the best found measured less the best baseline's, and its standard error.

    The two are taken as measured on independent images, which overstates the error where both
    were measured on the same ones. None where there are not both.
    """
    if summary.best_found is None or summary.best_baseline is None:
        return None
    pair = summary.best_found, summary.best_baseline
    found, baseline = (row.val_accuracy or 0.0 for row in pair)
    return {
        f"val_{summary.metric}": found - baseline,
        "standard_error": math.hypot(*(error_of(row, summary.val_images) for row in pair)),
        "epochs": summary.epochs,
        "images": summary.images,
    }


def table_of(summary: Summary, top: int = TOP) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and cells of the best trials; the last two columns are text."""
    estimate = ("estimate",) if summary.is_estimated else ()
    rest = ("parameters", "budget", "multiply-adds", "", "network")
    header = ("trial", f"val {METRIC_WORDS[summary.metric]}", *estimate, *rest)
    cells: list[tuple[str, ...]] = []
    for row in summary.ranked[:top]:
        marks = [row.known_name or row.source]
        if row is summary.best:
            marks.append("best")
        elif row in summary.tied:
            marks.append("smallest tied" if row is summary.smallest_tied else "tied")
        stem = (row.architecture or {}).get("stem", {}).get("kind", "")
        cells.append(
            (
                str(row.number),
                measured(row, summary),
                *([f"{100 * row.score:.2f}%"] if summary.is_estimated else []),
                f"{row.num_params:,}",
                format_percent(row.num_params or 0, summary.budget),
                f"{row.macs:,}",
                ", ".join(filter(None, marks)),
                f"{stem} {row.notation or row.id}".strip(),  # the notation has no stem
            )
        )
    return header, cells


def pareto_table(summary: Summary) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return header and cells of the Pareto front, largest first, at most `PARETO_ROWS`.

    Of a longer one the two ends stay and what is evenly spaced between them.
    """
    front = summary.pareto_front[::-1]
    last = len(front) - 1
    if len(front) > PARETO_ROWS:
        step = last / (PARETO_ROWS - 1)
        front = tuple(front[round(index * step)] for index in range(PARETO_ROWS))
    estimate = ("estimate",) if summary.is_estimated else ()
    metric = f"val {METRIC_WORDS[summary.metric]}"
    return ("up to parameters", "the best is", metric, *estimate), [
        (
            f"{row.num_params:,}",
            f"trial {row.number}",
            measured(row, summary),
            *([f"{100 * row.score:.2f}%"] if estimate else []),
        )
        for row in front
    ]


def percent(value: float, error: float) -> str:
    """Return an accuracy with its standard error: ``93.00 ± 0.36%``."""
    return f"{100 * value:.2f} ± {100 * error:.2f}%"


def measured(row: TrialRow, summary: Summary) -> str:
    """Return what was measured of a trial, with its standard error."""
    return percent(row.val_accuracy or 0.0, error_of(row, summary.val_images))


def describe_measured(row: TrialRow, summary: Summary) -> str:
    """Return the same with the metric's name, of the accuracy without."""
    name = f"{METRIC_WORDS[summary.metric]} " if summary.metric != ACCURACY else ""
    return f"{name}{measured(row, summary)}"


def describe_majority_of(summary: Summary) -> list[str]:
    """Return what accuracy always answering the largest class has; nothing of other metrics."""
    text = describe_majority(summary.majority, len(summary.measured_on))
    return [text] if text and summary.metric == ACCURACY else []


def describe_trial(row: TrialRow, study: str, num_images: int, metric: str) -> list[str]:
    """Return in two lines which trial this is and how it ended."""
    origin = row.known_name or row.source
    lines = [f"trial {row.number} of study {study}" + (f", from {origin}" if origin else "")]
    parts = [row.word]
    if row.val_accuracy is not None and not row.is_broken:
        value = percent(row.val_accuracy, error_of(row, num_images))
        parts.append(f"val {METRIC_WORDS[metric]} {value}")
    if row.num_epochs:
        parts.append(plural(row.num_epochs, "epoch"))
    if row.reason:
        parts.append(row.reason)
    return [*lines, ", ".join(parts)]


def describe_broken(rows: Sequence[TrialRow]) -> str:
    """Return how many trials broke of what, one of them, and what may help; empty where none."""
    broken = [row for row in rows if row.is_broken]
    if not broken:
        return ""
    kinds = [next((k for k in HINTS if (row.reason or "").startswith(k)), "") for row in broken]
    counts = Counter(kinds).most_common()
    common = counts[0][0]
    shown = broken[kinds.index(common)]
    told = ", ".join(f"{count} {kind or 'broke'}" for kind, count in counts)
    hint = f". What may help: {HINTS[common]} in another study (--study NAME)" if common else ""
    return f"{told} (trial {shown.number}: {shown.reason}){hint}"


def nothing_fits(summary: Summary) -> str:
    """Return why there is no best trial within the budget."""
    text = f"No trial within {summary.budget:,} parameters was trained to its end"
    if summary.smallest is not None:
        return f"{text}; the smallest that was has {summary.smallest:,}"
    return f"{text}: {summary.broken}" if summary.broken else f"{text} yet"


def verdict_lines(summary: Summary) -> list[str]:
    """Return how sure the study is, in sentences; the first is of found against baseline."""
    best, number = summary.best, len(summary.ranked)
    if best is None:
        return [f"{nothing_fits(summary)}."]
    lines = [_found_against_baseline(summary)]
    lines += [f"{text[0].upper()}{text[1:]}." for text in describe_majority_of(summary)]
    enough = names_a_best(summary.metric, summary.measured_on)
    if not enough:
        finest = resolution(summary.metric, summary.measured_on)
        lines.append(
            f"{summary.val_images:,} validation images are too few to name a best: they resolve "
            f"{100 * finest:.1f} points between two networks near {100 * TYPICAL_ACCURACY:.0f}%."
        )
    is_best = "is the best" if enough else "comes first"
    by = f"{'estimated ' if summary.is_estimated else ''}{METRIC_WORDS[summary.metric]}"
    smallest = summary.smallest_tied
    others = [row for row in summary.tied if row is not best]
    if others:
        numbers: list[object] = [row.number for row in others[:8]]
        numbers += [f"{len(others) - 8} more"] * (len(others) > 8)
        lines.append(
            f"Trial {best.number} {is_best} by its {by}, tied within one standard error with "
            f"trial{'s' * (len(others) > 1)} {list_words(numbers)}."
        )
        if smallest is not None and smallest is not best:
            lines.append(
                f"Within one standard error the smallest is trial {smallest.number}, "
                f"{smallest.num_params:,} parameters."
            )
    elif number > 1:
        lines.append(
            f"Trial {best.number} {is_best} by its {by}, by more than one standard error."
        )
    else:
        lines.append(f"Trial {best.number} is the only one trained to its end.")
    if number > 1:
        lines.append(
            f"The best of {number} measured on the same {summary.val_images:,} images reads "
            "high: expect less from a fresh measurement."
        )
    if summary.is_estimated and summary.estimated is None:
        lines.append(
            "The estimate is half the measurement, half what a model of all trials says of such "
            "a network."
        )
    elif summary.is_estimated:
        lines.append(
            f"The estimate is of {summary.estimated}, the highest rung: what a model of all "
            "trainings says of such a network, plus half of what its own longest training "
            "differs from the model."
        )
    return lines


def _found_against_baseline(summary: Summary) -> str:
    found, baseline = summary.best_found, summary.best_baseline
    difference = found_minus_baseline(summary)
    if found is None or baseline is None or difference is None:
        missing = "network that the search found" if found is None else "baseline"
        return f"No {missing} was trained to its end: there is nothing to compare with."
    ahead, limit = found.score - baseline.score, Z_95 * difference["standard_error"]
    name = f"the baseline {name_baseline(baseline)}"
    if ahead <= 0:
        text = f"Nothing found is better than {name} here"
    elif ahead <= limit:
        text = f"Whether anything found is better than {name} cannot be told here"
    else:
        text = f"The best found is ahead of {name} here"
    first, second = (
        f"trial {row.number} ({plural(row.num_trainings, 'training')})"
        for row in (found, baseline)
    )
    by = " by the estimate" if found.estimate is not None else ""
    length = describe_training(summary.epochs, summary.images)
    if by and summary.estimated not in (None, length):
        by += f" of {summary.estimated}"
    return (
        f"{text}: after {length}, {first} against {second}, "
        f"{100 * ahead:+.2f} points{by}, {'more' if abs(ahead) > limit else 'less'} than the "
        f"{100 * limit:.2f} that this validation set resolves."
    )


def name_baseline(row: TrialRow) -> str:
    """Return a baseline's name; of the space's own a preset's title, else the notation."""
    if row.known_name in PRESETS or row.architecture is None:
        return row.known_name or row.id
    architecture = Architecture.from_dict(row.architecture)
    titles = (item.title for item in PRESETS.values() if item.architecture == architecture)
    return next(titles, row.notation or row.id)
