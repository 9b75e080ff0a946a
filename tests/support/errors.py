"""The standard error of an accuracy, from SciPy's interval."""

import math

from scipy.stats import binomtest, norm


def wilson_error(count, total):
    """Of a binomial fraction of z^2 more trials, at the centre of SciPy's 95% Wilson interval."""
    interval = binomtest(round(count), total).proportion_ci(0.95, method="wilson")
    centre = (interval.low + interval.high) / 2
    return math.sqrt(centre * (1 - centre) / (total + norm.ppf(0.975) ** 2))
