"""A Gaussian process with a trend and one length scale: no optimiser, no random start.

    kernel(a, b) = Matern-5/2(|a - b| / length scale) + `LINEAR_WEIGHT` x (a . b) / columns
                   + u v x gain x (a . b) / columns + (u v + min(u, v)) x `LEVEL`

u and v are the fidelities of two trainings, 0 of a short one. The third term is a trend over the
features that grows with the fidelity: which kinds of networks gain from a longer training. The
last is what all of them gain: a line, and a path (Brownian) where it is none. At fidelity 0 only
the first two are left. Sources: Swersky, Snoek and Adams 2014, Freeze-thaw Bayesian optimization;
Kandasamy et al. 2017, Multi-fidelity Bayesian optimisation with continuous approximations.

The length scale and the noise are the best of a grid by the marginal likelihood, then the gain of
another; the variance of the signal follows in closed form. One eigendecomposition per length
scale serves every noise.

Optuna's GPSampler is not used: it sees complete trials only, not the pruned ones, and models the
choices of a trial, not the network that they make. scikit-learn's process is not used: it runs an
optimiser at each fit, and where that ends depends on where it begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh, solve_triangular
from scipy.spatial.distance import cdist

LENGTH_SCALES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)  # in square roots of the columns
NOISES = tuple(float(noise) for noise in np.logspace(-3, 0.5, 12))  # variance, in signal variances
LINEAR_WEIGHT = 0.3  # variance of a linear trend over standardised columns, in signal variances
GAINS = (0.1, 0.3, 1.0, 3.0, 10.0)  # variance of the trend's growth up to fidelity 1, likewise
GAIN = 3.0  # while it is not chosen, and the centre of its prior
LEVEL = 100.0  # variance of what all gain up to fidelity 1, in signal variances: anything goes
LOG_LENGTH_SCALE_SD = 1.4  # of the prior around one square root of the columns
LOG_GAIN_SD = 1.0  # of the prior around `GAIN`: a few networks say little of it


@dataclass(frozen=True)
class Hyperparameters:
    """What the likelihood chooses.

    Args:
        length_scale: In the units of the columns.
        noise: Variance of the noise in units of the signal's variance.
        gain: Variance of the trend that grows with the fidelity, in the same units.
    """

    length_scale: float
    noise: float
    gain: float = GAIN


@dataclass(frozen=True)
class GaussianProcess:
    """A zero-mean process given its observations.

    Args:
        x: Standardised features.  # (n, d)
        fidelities: Of the trainings.  # (n,)
        hyperparameters: Length scale, noise and gain.
        factor: Lower Cholesky factor of the kernel with noise.  # (n, n)
        weights: Kernel with noise, inverted, times y.  # (n,)
        signal_variance: Variance of the signal.
    """

    x: np.ndarray
    fidelities: np.ndarray
    hyperparameters: Hyperparameters
    factor: np.ndarray
    weights: np.ndarray
    signal_variance: float

    def predict(
        self, z: np.ndarray, fidelities: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the posterior mean and standard deviation of the signal, without noise.

        Args:
            z: Standardised features.  # (m, d)
            fidelities: Of the trainings; None is 0.  # (m,)

        Returns:
            Mean and standard deviation.  # (m,), (m,)
        """
        u = np.zeros(len(z)) if fidelities is None else fidelities
        kernel = _kernel(z, u, self.x, self.fidelities, self.hyperparameters)  # (m, n)
        # factor = L with L L^T = K: half = L^-1 k, and |half|^2 = k^T K^-1 k is what is known
        half = solve_triangular(self.factor, kernel.T, lower=True, check_finite=False)  # (n, m)
        trend = (z * z).mean(axis=1)
        prior = 1.0 + LINEAR_WEIGHT * trend  # kernel(z, z)  # (m,)
        prior += u * u * self.hyperparameters.gain * trend + (u * u + u) * LEVEL
        variance = self.signal_variance * np.maximum(prior - (half * half).sum(axis=0), 1e-9)
        return kernel @ self.weights, np.sqrt(variance)


def choose_hyperparameters(
    x: np.ndarray, y: np.ndarray, noise_ratios: np.ndarray, fidelities: np.ndarray | None = None
) -> Hyperparameters:
    """Return the grid's most likely length scale and noise, with these the most likely gain.

    Costs one eigendecomposition of n x n per length scale, and per gain where the trainings
    differ in their fidelity.

    Args:
        x: Standardised features.  # (n, d)
        y: Scores around zero.  # (n,)
        noise_ratios: Noise variance of each score in units of the common one.  # (n,)
        fidelities: Of the trainings; None is 0.  # (n,)
    """
    u = np.zeros(len(x)) if fidelities is None else fidelities
    chosen = _most_likely(x, y, noise_ratios, u, [(scale, GAIN) for scale in LENGTH_SCALES])
    if not u.any():
        return chosen
    relative = chosen.length_scale / np.sqrt(max(1, x.shape[1]))
    return _most_likely(x, y, noise_ratios, u, [(relative, gain) for gain in GAINS])


def _most_likely(
    x: np.ndarray,
    y: np.ndarray,
    noise_ratios: np.ndarray,
    fidelities: np.ndarray,
    grid: Sequence[tuple[float, float]],
) -> Hyperparameters:
    """Return the most likely of a grid of relative length scales and gains, with its noise.

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, equation 5.8, with
    the signal's variance at its maximum.
    """
    # With D the noise ratios on a diagonal and r the noise, the kernel with noise is
    #     K + r D  =  D^1/2 (V diag(values) V^T + r I) D^1/2,   V, values of  D^-1/2 K D^-1/2
    # so that every noise r has its determinant and its quadratic form from the same V and values:
    #     log det  =  sum log(values + r) + what is the same for the whole grid
    #     y^T (K + r D)^-1 y  =  sum (V^T D^-1/2 y)^2 / (values + r)
    root = np.sqrt(noise_ratios)  # (n,) the diagonal of D^1/2
    noises = np.array(NOISES)[:, None]  # (k, 1)
    best, chosen = -np.inf, Hyperparameters(1.0, 1.0)
    for relative, gain in grid:
        tried = Hyperparameters(relative * np.sqrt(max(1, x.shape[1])), 1.0, gain)
        kernel = _kernel(x, fidelities, x, fidelities, tried) / np.outer(root, root)
        values, vectors = eigh(kernel, check_finite=False)
        spectrum = np.maximum(values, 0.0)[None] + noises  # (k, n)
        projected = (vectors.T @ (y / root)) ** 2  # (n,)
        # the signal's variance at its maximum is the quadratic form over n
        variances = np.maximum((projected[None] / spectrum).mean(axis=1), 1e-12)  # (k,)
        evidence = -0.5 * (len(y) * np.log(variances) + np.log(spectrum).sum(axis=1))
        evidence -= 0.5 * (np.log(relative) / LOG_LENGTH_SCALE_SD) ** 2  # the priors
        evidence -= 0.5 * (np.log(gain / GAIN) / LOG_GAIN_SD) ** 2
        index = int(evidence.argmax())
        if evidence[index] > best:
            best, chosen = evidence[index], replace(tried, noise=NOISES[index])
    return chosen


def condition(
    x: np.ndarray,
    y: np.ndarray,
    noise_ratios: np.ndarray,
    hyperparameters: Hyperparameters,
    fidelities: np.ndarray | None = None,
) -> GaussianProcess:
    """Return the process given its observations; costs one Cholesky factorisation of n x n.

    Args:
        x: Standardised features.  # (n, d)
        y: Scores around zero.  # (n,)
        noise_ratios: Noise variance of each score in units of the common one.  # (n,)
        hyperparameters: Length scale, noise and gain.
        fidelities: Of the trainings; None is 0.  # (n,)
    """
    u = np.zeros(len(x)) if fidelities is None else fidelities
    kernel = _kernel(x, u, x, u, hyperparameters)
    kernel[np.diag_indices_from(kernel)] += hyperparameters.noise * noise_ratios
    factor, _ = cho_factor(kernel, lower=True, check_finite=False)
    weights = cho_solve((factor, True), y, check_finite=False)
    signal_variance = max(float(y @ weights) / len(y), 1e-12)  # at the likelihood's maximum
    return GaussianProcess(x, u, hyperparameters, factor, weights, signal_variance)


def _kernel(
    a: np.ndarray, u: np.ndarray, b: np.ndarray, v: np.ndarray, hyperparameters: Hyperparameters
) -> np.ndarray:
    """Return the covariance of trainings of the networks a and b at the fidelities u and v."""
    trend = a @ b.T
    scaled = np.sqrt(5.0) * (cdist(a, b) / hyperparameters.length_scale)
    kernel: np.ndarray = (1.0 + scaled + scaled * scaled / 3.0) * np.exp(-scaled)  # Matern-5/2
    kernel += (LINEAR_WEIGHT / a.shape[1]) * trend
    if u.any() and v.any():
        both = np.outer(u, v)
        kernel += (hyperparameters.gain / a.shape[1]) * both * trend
        kernel += LEVEL * (both + np.minimum.outer(u, v))
    return kernel
