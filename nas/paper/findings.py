"""How `study` tells what it found: as a record, and as text."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nas.paper.metrics import METRICS, SHOWN_IN_PERCENT
from nas.units import format_duration, plural

if TYPE_CHECKING:
    from nas.paper.run_study import Finding, Record, Sitting


def describe_result(
    command: str, sitting: Sitting, records: list[Record], findings: list[Finding]
) -> dict[str, Any]:
    """Return all that was found, as JSON-ready values."""
    num_train, num_val = sitting.sizes()
    kept = ("arm", "seed", "status", "reason", "val_accuracy", "num_params", "elapsed_seconds")
    return {
        "study": sitting.study.name,
        "title": sitting.study.title,
        "section": sitting.comparison.section,
        "command": command,
        "scale": sitting.folder.name,
        "dataset": sitting.data.name,
        "train_images": num_train,
        "val_images": num_val,
        "epochs": sitting.epochs,
        "hardware": sorted({record["hardware"] for record in records}),
        "findings": [asdict(finding) for finding in findings],
        "trainings": [{name: record[name] for name in kept} for record in records],
    }


def print_findings(sitting: Sitting, records: list[Record], findings: list[Finding]) -> None:
    """Print every claim with what was measured for it, and its verdict."""
    num_train, num_val = sitting.sizes()
    seconds = sum(record["elapsed_seconds"] for record in records)
    scale = sitting.scale.what.partition(":")[0]
    print(
        f"{sitting.study.title}\n{scale}: {plural(sitting.epochs, 'epoch')} on "
        f"{num_train:,} images, ",
        end="",
    )
    print(f"{num_val:,} for validation; {format_duration(seconds)} in all\n")
    for finding in findings:
        claim = finding.claim
        print(f'"{claim.wording}"')
        print(f"  {METRICS[claim.metric]}; claimed: {claim.first} {claim.direction}", end=" ")
        print(f"{'as' if claim.direction == 'same' else 'than'} {claim.second}")
        for name, values in ((claim.first, finding.first), (claim.second, finding.second)):
            print(f"  {name}: {', '.join(_value(claim.metric, value) for value in values)}")
        print(f"  {_verdict(finding)}\n")


def _verdict(finding: Finding) -> str:
    claim, verdict = finding.claim, finding.verdict
    words = f"{verdict.word}: {claim.first} - {claim.second}"
    if verdict.mean is not None:
        words += f" = {_difference(claim.metric, verdict.mean)}"
    if verdict.low is not None and verdict.high is not None:
        low, high = (_difference(claim.metric, end) for end in (verdict.low, verdict.high))
        words += f", 95% interval {low} to {high} ({verdict.num_pairs} paired seeds, Student's t)"
    if claim.margin:
        words += f"; equal within {_difference(claim.metric, claim.margin).lstrip('+')}"
    return words + (f"; {verdict.reason}" if verdict.reason else "")


def _value(metric: str, value: float | None) -> str:
    if value is None:
        return "not measurable"
    return f"{100 * value:.1f}%" if metric in SHOWN_IN_PERCENT else f"{value:.3f}"


def _difference(metric: str, value: float) -> str:
    return f"{100 * value:+.2f} points" if metric in SHOWN_IN_PERCENT else f"{value:+.3f}"
