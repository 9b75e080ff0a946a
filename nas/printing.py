"""JSON and aligned tables on standard output, and what this program is called."""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

from nas.errors import printable

LEAST_TEXT = 20  # columns that text is broken into beside others
GAP = "  "  # between two columns


def program() -> str:
    """Return the words that start this program: ``nas`` where it was started by that name."""
    called = Path(sys.argv[0])
    if called.parts[-2:] == ("nas", "__main__.py"):
        return "python -m nas"
    return "nas" if called.stem == "nas" else "python cli.py"  # Windows has nas.exe


def print_json(value: Any) -> None:
    """Print one JSON document to standard output."""
    json.dump(value, sys.stdout, indent=2, allow_nan=False)
    print()


def terminal_columns() -> int:
    """Return how wide a line may be; one that goes to a file or a pipe is never broken."""
    is_seen = sys.stdout.isatty() or "COLUMNS" in os.environ
    return shutil.get_terminal_size().columns if is_seen else sys.maxsize


def print_lines(*lines: str, file: IO[str] | None = None, indent: int | None = None) -> None:
    """Print lines to standard output, or `file`, as `printable` makes each.

    Args:
        lines: The lines.
        file: Where they go.
        indent: Of what follows where a line is broken at the terminal's width; None leaves that
            to the terminal, so that a command can be copied.
    """
    texts = [printable(line) for line in lines]
    if indent is not None:
        wrapper = textwrap.TextWrapper(terminal_columns(), subsequent_indent=" " * indent)
        wrapper.break_long_words = wrapper.break_on_hyphens = False
        texts = ["\n".join(wrapper.wrap(text)) for text in texts]
    print("\n".join(texts), file=file)


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

    On a terminal that is too narrow, the last column's text is broken; where that is not enough,
    the columns that do not fit come below the others, each beside the first again.

    Args:
        header: The column names.
        rows: The cells, already formatted.
        left: The indices of the columns that are aligned to the left, from the end where below 0;
            the others are aligned to the right.
    """
    cells = [tuple(header), *(tuple(map(printable, row)) for row in rows)]
    texts = {index % len(header) for index in left}
    _print_columns(cells, range(len(header)), texts, terminal_columns())


def _print_columns(
    cells: Sequence[Sequence[str]], columns: Sequence[int], left: Collection[int], room: int
) -> None:
    widths = {column: max(len(row[column]) for row in cells) for column in columns}
    ends = [0, *accumulate(widths[column] + len(GAP) for column in columns)]
    last, most = columns[-1], room - ends[-2]  # what the last column may take
    if last in left and (most >= LEAST_TEXT or len(columns) <= 2):
        widths[last] = min(widths[last], max(most, LEAST_TEXT))
    elif widths[last] > most and len(columns) > 2:
        number = max(2, sum(end - len(GAP) <= room for end in ends[1:]))
        _print_columns(cells, columns[:number], left, room)
        print()
        _print_columns(cells, (columns[0], *columns[number:]), left, room)
        return
    for row in cells:
        text = row[last]
        if len(text) > widths[last]:  # a notation is broken between two stages
            text = textwrap.fill(text.replace("],[", "], ["), widths[last])
        for number, part in enumerate(text.split("\n")):
            own = [row[column] if number == 0 else "" for column in columns[:-1]]
            line = GAP.join(
                cell.ljust(widths[column]) if column in left else cell.rjust(widths[column])
                for column, cell in zip(columns, (*own, part), strict=True)
            )
            print(line.rstrip())
