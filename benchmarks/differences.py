"""How paired accuracies are told."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence


def describe_points(differences: Sequence[float]) -> str:
    """Return the mean of paired differences of accuracy with its standard error, in points.

    Args:
        differences: Of accuracies in [0, 1], one a pair, at least two.
    """
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return f"{100 * statistics.fmean(differences):+.2f} ± {100 * error:.2f} points"
