"""The picture of a confusion matrix."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.files import write_figure_atomically

if TYPE_CHECKING:
    import numpy as np

MOST_NAMED = 100  # classes; beyond, their names would lie over each other
MOST_COUNTED = 30  # classes up to which each cell has its count
NAME_LENGTH = 24


def draw_confusion(path: Path, names: Sequence[str], confusion: np.ndarray) -> None:
    """Draw the fraction of each class that got each answer; what is right is on the diagonal.

    Args:
        path: The PNG file.
        names: The classes.
        confusion: Counts, (K, K), the classes by row.
    """
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    size, num_named = len(names), min(len(names), MOST_NAMED)
    side = 4.0 + 0.15 * num_named  # inches: a name of 7 points takes 0.1
    figure = Figure(figsize=(side + 1.0, side), layout="constrained")
    axes = figure.subplots()
    fractions = confusion / confusion.sum(1, keepdims=True).clip(min=1)
    image = axes.imshow(fractions, "Blues", PowerNorm(0.5, 0.0, 1.0))  # a few errors are seen too
    if size <= MOST_NAMED:
        shown = [n if len(n) <= NAME_LENGTH else f"{n[: NAME_LENGTH - 3]}..." for n in names]
        # a class may be called $100: nothing in a name is a formula
        axes.set_xticks(range(size), shown, rotation=90, fontsize=7, parse_math=False)
        axes.set_yticks(range(size), shown, fontsize=7, parse_math=False)
    for row, column in zip(*confusion.nonzero(), strict=True) if size <= MOST_COUNTED else ():
        color = "white" if fractions[row, column] > 0.4 else "black"
        text = str(confusion[row, column])
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=6)
    axes.set_xlabel("answer")
    axes.set_ylabel("class")
    figure.colorbar(image, label="fraction of the class", shrink=0.8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the font has not every script: a box is drawn
        write_figure_atomically(path, figure)
