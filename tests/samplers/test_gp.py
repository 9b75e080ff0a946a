import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import (
    ConstantKernel,
    DotProduct,
    Matern,
    WhiteKernel,
)

from nas.samplers.gp import (
    LENGTH_SCALES,
    LINEAR_WEIGHT,
    NOISES,
    Hyperparameters,
    choose_hyperparameters,
    condition,
)


def peer_kernel(variance, length_scale, num_columns=5):
    """The kernel that the head of the module states, of scikit-learn's parts."""
    trend = ConstantKernel(LINEAR_WEIGHT * variance / num_columns) * DotProduct(1e-12, "fixed")
    return ConstantKernel(variance) * Matern(length_scale, nu=2.5) + trend


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5))
    y = np.sin(x[:, 0]) + 0.3 * x[:, 1] + 0.1 * rng.normal(size=40)
    return x, y, rng.normal(size=(17, 5))


def test_the_posterior_is_that_of_scikit_learn(data):
    x, y, z = data
    ratios = np.linspace(1.0, 4.0, len(y))
    process = condition(x, y, ratios, Hyperparameters(length_scale=2.0, noise=0.3))
    kernel = peer_kernel(process.signal_variance, 2.0)
    alpha = process.signal_variance * 0.3 * ratios
    peer = GaussianProcessRegressor(kernel, alpha=alpha, optimizer=None).fit(x, y)
    expected_mean, expected_deviation = peer.predict(z, return_std=True)
    mean, deviation = process.predict(z)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(deviation, expected_deviation, rtol=1e-6)


def test_the_variance_of_the_signal_is_the_most_likely_one(data):
    x, y, _ = data
    process = condition(x, y, np.ones(len(y)), Hyperparameters(2.0, 0.3))

    def likelihood(variance):
        kernel = peer_kernel(variance, 2.0) + WhiteKernel(0.3 * variance)
        peer = GaussianProcessRegressor(kernel, optimizer=None, alpha=0.0).fit(x, y)
        return peer.log_marginal_likelihood_value_

    best = likelihood(process.signal_variance)
    assert best > likelihood(1.1 * process.signal_variance)
    assert best > likelihood(0.9 * process.signal_variance)


def test_the_hyperparameters_are_as_likely_as_any_of_the_grid(data):
    x, y, _ = data
    ratios = np.ones(len(y))
    chosen = choose_hyperparameters(x, y, ratios)

    def likelihood(length_scale, noise):
        variance = condition(x, y, ratios, Hyperparameters(length_scale, noise)).signal_variance
        kernel = peer_kernel(variance, length_scale)
        peer = GaussianProcessRegressor(
            kernel + WhiteKernel(noise * variance), optimizer=None, alpha=0.0
        ).fit(x, y)
        prior = -0.5 * (np.log(length_scale / np.sqrt(5)) / 1.4) ** 2
        return peer.log_marginal_likelihood_value_ + prior

    grid = [likelihood(scale * np.sqrt(5), noise) for scale in LENGTH_SCALES for noise in NOISES]
    assert likelihood(chosen.length_scale, chosen.noise) == pytest.approx(max(grid), abs=1e-6)


def test_equal_rows_and_constant_targets_break_nothing():
    x, y = np.zeros((12, 3)), np.zeros(12)
    chosen = choose_hyperparameters(x, y, np.ones(12))
    mean, deviation = condition(x, y, np.ones(12), chosen).predict(x)
    assert np.all(np.isfinite(mean))
    assert np.all(np.isfinite(deviation))
