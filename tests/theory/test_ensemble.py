"""Statistics of many models at once, held against the models and the data that they stand for."""

import numpy as np
import pytest
from scipy import stats

from rolora.keys import Key
from theory.linear import model as linear
from theory.linear.ensemble import draw_moments, draw_noisy, planted, stack
from theory.verification.statistics import mean_interval

EPS = np.finfo(float).eps


def model(number, factor=2):
    key = Key(number)
    a_star, b_star = linear.random_truth(key, 5, 3)
    return linear.sample(key.fold("data"), 4, 12, a_star, b_star + np.arange(4)[:, None], factor)


def test_stacked_models_keep_every_statistic_of_the_single_ones():
    models = [model(number) for number in range(3)]
    ensemble = stack(models)
    for index, one in enumerate(models):
        truth = one.a_star[:, None] * one.b_star[:, None, :]
        np.testing.assert_allclose(ensemble.cross[index], one.moments @ truth, rtol=1e-13)
        np.testing.assert_array_equal(ensemble.moments[index], one.moments)
    assert ensemble.num_clients == 4
    assert ensemble[1:].moments.shape[0] == 2


def test_models_of_two_conventions_are_refused():
    with pytest.raises(ValueError, match="one convention"):
        stack([model(0), model(1, factor=1)])


@pytest.mark.parametrize("samples", [3, 4, 9])
def test_moments_have_the_wishart_distribution(samples):
    """Mean, every kind of second moment, and the trace's law; below, at and above m = d."""
    moments, root = draw_moments(Key(samples), 20_000, 1, samples, 4)
    moments = moments[:, 0]
    np.testing.assert_allclose(moments, (root @ np.swapaxes(root, -1, -2))[:, 0], atol=1e-12)
    for i, j, mean, square in [(0, 0, 1, 1 + 2 / samples), (3, 3, 1, 1 + 2 / samples), (0, 2, 0, 1 / samples)]:
        entry = moments[:, i, j]
        assert abs(mean_interval(entry).estimate - mean) <= mean_interval(entry).half_width
        assert abs(mean_interval(entry**2).estimate - square) <= mean_interval(entry**2).half_width
    trace = samples * np.trace(moments, axis1=1, axis2=2)
    assert stats.kstest(trace, stats.chi2(4 * samples).cdf).pvalue > 1e-4
    if samples >= 4:
        smallest = np.linalg.eigvalsh(moments)[:, 0]
        direct = draw_direct(samples)
        assert stats.ks_2samp(smallest, direct).pvalue > 1e-4


def draw_direct(samples):
    inputs = Key(99).fold(samples).generator().standard_normal((20_000, samples, 4))
    return np.linalg.eigvalsh(linear.second_moments(inputs))[:, 0]


@pytest.mark.parametrize("samples", [3, 8])
def test_noisy_labels_have_the_statistics_of_noisy_labels(samples):
    """The loss at the truth is the mean square of the noise; the cross moments differ by X^T Z / m."""
    d, k, sigma, instances = 4, 2, 0.7, 20_000
    a_star, b_star = np.broadcast_to(np.eye(d)[:, :1], (instances, d, 1)), np.ones((instances, 1, 1, k))
    noisy = draw_noisy(Key(1), samples, a_star, b_star, sigma, 2)
    truth = a_star[:, None] @ b_star
    error = noisy.cross - noisy.moments @ truth
    loss = noisy.energy - 2 * np.sum(truth * noisy.cross, (-2, -1)) + np.sum(truth * (noisy.moments @ truth), (-2, -1))
    assert stats.kstest(loss[:, 0] * samples / sigma**2, stats.chi2(samples * k).cdf).pvalue > 1e-4
    square = mean_interval(np.sum(error**2, axis=(-2, -1))[:, 0])
    assert abs(square.estimate - sigma**2 * d * k / samples) <= square.half_width
    # The least squares loss keeps (m - d) k degrees of freedom of the noise.
    if samples > d:
        best = np.linalg.solve(noisy.moments, noisy.cross)
        rest = (noisy.energy - np.sum(best * noisy.cross, axis=(-2, -1)))[:, 0]
        assert stats.kstest(rest * samples / sigma**2, stats.chi2((samples - d) * k).cdf).pvalue > 1e-4


def test_no_noise_is_the_planted_model():
    a_star, b_star = np.eye(3)[None, :, :1], np.ones((1, 2, 1, 2))
    noiseless = draw_noisy(Key(0), 10, a_star, b_star, 0.0, 1)
    again = planted(noiseless.moments, a_star, b_star, 1)
    np.testing.assert_array_equal(noiseless.cross, again.cross)
