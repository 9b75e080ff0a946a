"""Gather what a visit's studies hold so far in one JSON object on standard output.

python -m benchmarks.gpu.records STUDIES --hardware NAME [--search STATUS.json]

`hardware` is the card's name, `search` what `cli.py status --format json` printed, or null, and
`trainings` holds every run folder: its curve as far as it got, and its metrics once it is done.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any


def training(curve: Path) -> dict[str, Any]:
    """Return what stands in the run folder that a curve.csv lies in."""
    metrics = curve.with_name("metrics.json")
    with curve.open(newline="") as file:
        epochs = list(csv.DictReader(file))
    return {
        "folder": str(curve.parent),
        "curve": epochs,
        "metrics": json.loads(metrics.read_text()) if metrics.exists() else None,
    }


def main() -> None:
    """Print the object."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("studies", type=Path)
    parser.add_argument("--hardware", required=True, metavar="NAME")
    parser.add_argument("--search", type=Path, metavar="STATUS.json")
    args = parser.parse_args()
    record = {
        "hardware": args.hardware,
        "search": json.loads(args.search.read_text()) if args.search else None,
        "trainings": [training(curve) for curve in sorted(args.studies.rglob("curve.csv"))],
    }
    json.dump(record, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
