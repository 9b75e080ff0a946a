"""JSON and aligned tables on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

from nas.errors import printable


def print_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    json.dump(value, sys.stdout, indent=2, allow_nan=False)
    print()


def print_lines(*lines: str, file: IO[str] | None = None) -> None:
    """Print lines to standard output, or `file`, as `printable` makes each."""
    print("\n".join(map(printable, lines)), file=file)


def print_titles(titles: Mapping[str, str], name: str, title: str, form: str) -> None:
    """Print names with a title each, as text under the two headings, or json."""
    if form == "json":
        print_json([{"name": key, "title": value} for key, value in titles.items()])
    else:
        print_table((name, title), titles.items(), left=(0, 1))


def print_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], left: Iterable[int] = (0,)
) -> None:
    """Print aligned columns to standard output.

    Args:
        header: The column names.
        rows: The cells, already formatted.
        left: The indices of the columns that are aligned to the left, from the end where below 0;
            the others are aligned to the right.
    """
    cells = [tuple(header), *(tuple(map(printable, row)) for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    left = {index % len(header) for index in left}
    for row in cells:
        line = "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        print(line.rstrip())
