"""A Gaussian process with a trend and one length scale: no optimiser, no random start.

    kernel(a, b) = Matern-5/2(|a - b| / length scale) + `LINEAR_WEIGHT` x (a . b) / columns

The length scale and the noise are the best of a grid by the marginal likelihood; the variance of
the signal follows in closed form. One eigendecomposition per length scale serves every noise.

Optuna's GPSampler is not used: it sees complete trials only, not the pruned ones, and models the
choices of a trial, not the network that they make. scikit-learn's process is not used: it runs an
optimiser at each fit, and where that ends depends on where it begins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve, eigh, solve_triangular
from scipy.spatial.distance import cdist

LENGTH_SCALES = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0)  # in square roots of the columns
NOISES = tuple(float(noise) for noise in np.logspace(-3, 0.5, 12))  # variance, in signal variances
LINEAR_WEIGHT = 0.3  # variance of a linear trend over standardised columns, in signal variances
LOG_LENGTH_SCALE_SD = 1.4  # of the prior around one square root of the columns


@dataclass(frozen=True)
class Hyperparameters:
    """What the likelihood chooses.

    Args:
        length_scale: In the units of the columns.
        noise: Variance of the noise in units of the signal's variance.
    """

    length_scale: float
    noise: float


@dataclass(frozen=True)
class GaussianProcess:
    """A zero-mean process given its observations.

    Args:
        x: Standardised features.  # (n, d)
        hyperparameters: Length scale and noise.
        factor: Lower Cholesky factor of the kernel with noise.  # (n, n)
        weights: Kernel with noise, inverted, times y.  # (n,)
        signal_variance: Variance of the signal.
    """

    x: np.ndarray
    hyperparameters: Hyperparameters
    factor: np.ndarray
    weights: np.ndarray
    signal_variance: float

    def predict(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the posterior mean and standard deviation of the signal, without noise.

        Args:
            z: Standardised features.  # (m, d)

        Returns:
            Mean and standard deviation.  # (m,), (m,)
        """
        kernel = _matern(cdist(z, self.x) / self.hyperparameters.length_scale)  # (m, n)
        kernel += _linear(z, self.x)
        # factor = L with L L^T = K: half = L^-1 k, and |half|^2 = k^T K^-1 k is what is known
        half = solve_triangular(self.factor, kernel.T, lower=True, check_finite=False)  # (n, m)
        prior = 1.0 + LINEAR_WEIGHT * (z * z).mean(axis=1)  # kernel(z, z)  # (m,)
        variance = self.signal_variance * np.maximum(prior - (half * half).sum(axis=0), 1e-9)
        return kernel @ self.weights, np.sqrt(variance)


def choose_hyperparameters(
    x: np.ndarray, y: np.ndarray, noise_ratios: np.ndarray
) -> Hyperparameters:
    """Return the grid's most likely length scale and noise.

    Costs one eigendecomposition of n x n per length scale.

    Args:
        x: Standardised features.  # (n, d)
        y: Scores around zero.  # (n,)
        noise_ratios: Noise variance of each score in units of the common one.  # (n,)

    Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, equation 5.8, with
    the signal's variance at its maximum.
    """
    # With D the noise ratios on a diagonal and r the noise, the kernel with noise is
    #     K + r D  =  D^1/2 (V diag(values) V^T + r I) D^1/2,   V, values of  D^-1/2 K D^-1/2
    # so that every noise r has its determinant and its quadratic form from the same V and values:
    #     log det  =  sum log(values + r) + what is the same for the whole grid
    #     y^T (K + r D)^-1 y  =  sum (V^T D^-1/2 y)^2 / (values + r)
    distances, trend = cdist(x, x), _linear(x, x)
    root = np.sqrt(noise_ratios)  # (n,) the diagonal of D^1/2
    noises = np.array(NOISES)[:, None]  # (k, 1)
    best, chosen = -np.inf, Hyperparameters(1.0, 1.0)
    for relative in LENGTH_SCALES:
        length_scale = relative * np.sqrt(max(1, x.shape[1]))
        kernel = (_matern(distances / length_scale) + trend) / np.outer(root, root)
        values, vectors = eigh(kernel, check_finite=False)
        spectrum = np.maximum(values, 0.0)[None] + noises  # (k, n)
        projected = (vectors.T @ (y / root)) ** 2  # (n,)
        # the signal's variance at its maximum is the quadratic form over n
        variances = np.maximum((projected[None] / spectrum).mean(axis=1), 1e-12)  # (k,)
        evidence = -0.5 * (len(y) * np.log(variances) + np.log(spectrum).sum(axis=1))
        evidence -= 0.5 * (np.log(relative) / LOG_LENGTH_SCALE_SD) ** 2  # the prior
        index = int(evidence.argmax())
        if evidence[index] > best:
            best, chosen = evidence[index], Hyperparameters(length_scale, NOISES[index])
    return chosen


def condition(
    x: np.ndarray, y: np.ndarray, noise_ratios: np.ndarray, hyperparameters: Hyperparameters
) -> GaussianProcess:
    """Return the process given its observations; costs one Cholesky factorisation of n x n.

    Args:
        x: Standardised features.  # (n, d)
        y: Scores around zero.  # (n,)
        noise_ratios: Noise variance of each score in units of the common one.  # (n,)
        hyperparameters: Length scale and noise.
    """
    kernel = _matern(cdist(x, x) / hyperparameters.length_scale) + _linear(x, x)
    kernel[np.diag_indices_from(kernel)] += hyperparameters.noise * noise_ratios
    factor, _ = cho_factor(kernel, lower=True, check_finite=False)
    weights = cho_solve((factor, True), y, check_finite=False)
    signal_variance = max(float(y @ weights) / len(y), 1e-12)  # at the likelihood's maximum
    return GaussianProcess(x, hyperparameters, factor, weights, signal_variance)


def _matern(distances: np.ndarray) -> np.ndarray:
    """Return the Matern-5/2 correlation at distances in length scales."""
    scaled = np.sqrt(5.0) * distances
    correlation: np.ndarray = (1.0 + scaled + scaled * scaled / 3.0) * np.exp(-scaled)
    return correlation


def _linear(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the covariance of the trend."""
    covariance: np.ndarray = (LINEAR_WEIGHT / a.shape[1]) * (a @ b.T)
    return covariance
