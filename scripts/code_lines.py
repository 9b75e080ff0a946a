"""Count the code lines of nas/: without comments, docstrings and blank lines, in all and by room.

python scripts/code_lines.py
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from pathlib import Path

NAS = Path(__file__).resolve().parents[1] / "nas"
NO_CODE = (
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
)
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(text: str) -> int:
    """Return how many lines of a Python source have code; a token of three lines has three."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, Documented) and ast.get_docstring(node, clean=False) is not None:
            docstring = node.body[0]
            lines.difference_update(range(docstring.lineno, (docstring.end_lineno or 0) + 1))
    return len(lines)


def main() -> None:
    """Print a line for each room, then the sum."""
    rooms: Counter[str] = Counter()
    for path in sorted(NAS.rglob("*.py")):
        *folders, _ = path.relative_to(NAS.parent).parts
        rooms["/".join(folders) + "/"] += code_lines(path.read_text(encoding="utf-8"))
    for room, lines in rooms.items():
        print(f"{lines:>7,}  {room}")
    print(f"{rooms.total():>7,}  in all")


if __name__ == "__main__":
    main()
