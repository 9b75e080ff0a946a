"""What a confusion matrix says of a network: three metrics, their standard errors, the majority.

A matrix is (K, K): a row for each class of the images, a column for each answer. NumPy is imported
where it is used: `search --help` names the metrics without it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from nas.statistics import (
    TYPICAL_ACCURACY,
    WORST_RESOLUTION,
    Z_95,
    resolvable_difference,
    standard_error,
)

if TYPE_CHECKING:
    import numpy as np

ACCURACY = "accuracy"
METRIC_WORDS = {  # what a search may maximise, in words
    ACCURACY: "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
}
NOTABLE_SHARE = 0.02  # a largest class so far above 1 / classes is more than rounding
UNEVEN = 3  # times as many images in the largest class as in the smallest: accuracy misleads


class Score(NamedTuple):
    """A metric's value in [0, 1] and its standard error, never 0."""

    value: float
    error: float


class ClassFigures(NamedTuple):
    """What was measured of each class, (K,) each.

    Recall and F1 of a class that does not occur are NaN; precision is 0 where it was never
    answered.
    """

    support: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    f1: np.ndarray


def class_figures(confusion: Any) -> ClassFigures:
    """Return recall, precision, F1 and number of images of each class of a matrix (K, K)."""
    import numpy as np

    matrix = np.asarray(confusion, dtype=float)
    hits, support, answered = matrix.diagonal(), matrix.sum(1), matrix.sum(0)
    with np.errstate(invalid="ignore"):
        recall, f1 = hits / support, 2 * hits / (support + answered)
    return ClassFigures(support, recall, hits / np.maximum(answered, 1e-12), f1)


def score(metric: str, confusion: Any) -> Score:
    """Return a metric of a confusion matrix, with its standard error.

    Balanced accuracy is the mean recall of the classes that have images; macro F1 the mean F1 of
    those that have images or were answered. The error of accuracy is `standard_error`. That of
    balanced accuracy is sqrt(sum of the recalls' variances) / classes, as each recall is a
    fraction of images of its own. Macro F1's is of the delta method: with g the gradient by the
    matrix's proportions p, n times the variance is sum(p g^2) - sum(p g)^2.

    Args:
        metric: A key of `METRIC_WORDS`.
        confusion: Counts, (K, K), at least one image.

    Source: Brodersen et al. 2010, The balanced accuracy and its posterior distribution; Takahashi
    et al. 2022, Confidence interval for micro-averaged F1 and macro-averaged F1 scores.
    """
    import numpy as np

    matrix = np.asarray(confusion, dtype=float)
    found = class_figures(matrix)
    if metric == ACCURACY:
        accuracy = float(matrix.trace() / matrix.sum())
        return Score(accuracy, standard_error(accuracy, int(matrix.sum())))
    if metric == "balanced_accuracy":
        has_images = found.support > 0
        pairs = zip(found.recall[has_images], found.support[has_images], strict=True)
        variances = [standard_error(recall, count) ** 2 for recall, count in pairs]
        value = float(found.recall[has_images].mean())
        return Score(value, math.sqrt(sum(variances)) / len(variances))
    occurs = ~np.isnan(found.f1)
    return Score(float(found.f1[occurs].mean()), _f1_error(matrix[np.ix_(occurs, occurs)]))


def other_scores(confusion: Any) -> dict[str, Score]:
    """Return the metrics of a matrix beside the accuracy."""
    return {name: score(name, confusion) for name in METRIC_WORDS if name != ACCURACY}


def _f1_error(matrix: np.ndarray) -> float:
    """Return the standard error of the macro F1 of a matrix whose classes all occur.

    As if one more image of each class had been seen, half of it right: the delta method's own is
    0 where all are right. The z^2 images of `standard_error` are too many here: with 400 and 20
    images they are 12% short of what is simulated, one is 7% (tests/test_confusion.py).
    """
    import numpy as np

    num_classes = len(matrix)
    if num_classes == 1:
        return standard_error(1.0, int(matrix.sum()))
    unseen = np.full_like(matrix, 0.5 / (num_classes - 1))
    np.fill_diagonal(unseen, 0.5)
    seen = matrix + unseen
    both = seen.sum(0) + seen.sum(1)  # of F1 = 2 hits / both
    # an image in row i and column j enlarges both of i and both of j; on the diagonal, hits too
    loss = 2 * seen.diagonal() / both**2
    gradient = -(loss[:, None] + loss[None, :])
    gradient[np.diag_indices(num_classes)] += 2 / both
    gradient /= num_classes  # of the counts; that of the proportions is seen.sum() times as much
    mean = (seen * gradient).sum() / seen.sum()
    return float(np.sqrt((seen * gradient**2).sum() - seen.sum() * mean**2))


def worst_class(names: Sequence[str], confusion: Any) -> dict[str, Any]:
    """Return which class that has images has the lowest recall, that, and its images."""
    import numpy as np

    found = class_figures(confusion)
    index = int(np.nanargmin(found.recall))
    recall, support = float(found.recall[index]), int(found.support[index])
    return {"class": names[index], "recall": recall, "images": support}


def resolution(metric: str, class_counts: Collection[int]) -> float:
    """Return the difference of two networks near 90% that 95% of the noise stays below.

    Near 90% has 90% of each class right, and the errors spread evenly over the other classes.

    Args:
        metric: A key of `METRIC_WORDS`.
        class_counts: Images of each class that are measured on; of the accuracy only their sum
            matters.
    """
    if metric == ACCURACY:
        return resolvable_difference(TYPICAL_ACCURACY, sum(class_counts))
    import numpy as np

    counts = np.array([count for count in class_counts if count], dtype=float)
    wrong, others = 1 - TYPICAL_ACCURACY, max(len(counts) - 1, 1)
    typical = np.full((len(counts), len(counts)), wrong / others)
    np.fill_diagonal(typical, TYPICAL_ACCURACY)
    return Z_95 * math.sqrt(2.0) * score(metric, counts[:, None] * typical).error


def names_a_best(metric: str, class_counts: Collection[int]) -> bool:
    """Tell whether a measurement resolves `WORST_RESOLUTION` of a metric."""
    return resolution(metric, class_counts) <= WORST_RESOLUTION


def majority(class_counts: Mapping[str, int]) -> dict[str, Any]:
    """Return the largest class and its share: the accuracy of always answering it."""
    name = max(class_counts, key=lambda key: class_counts[key])
    return {"class": name, "share": class_counts[name] / sum(class_counts.values())}


def describe_majority(found: Mapping[str, Any] | None, num_classes: int) -> str:
    """Return what always answering the largest class gives, empty where it is 1 / classes.

    Args:
        found: What `majority` returned; None is not known.
        num_classes: Classes.
    """
    if found is None or found["share"] - 1 / num_classes <= NOTABLE_SHARE:
        return ""
    return f"always answering {found['class']!r} gives {100 * found['share']:.2f}%"
