"""The formulas of label noise agree with each other where they must, and the best fit is one."""

import numpy as np
import pytest

from rolora.keys import Key
from theory.linear.bounds import ffa_population_excess
from theory.linear.ensemble import draw_noisy
from theory.linear.ensemble_rounds import LocalTraining, alt_min_gd, solve_b
from theory.linear.fedavg_drift import BOTH
from theory.linear.label_noise import (
    averaging_excess,
    best_rank_one,
    ffa_risk,
    fresh_data_floor,
    product_risk,
    statistical_floor,
)


def noisy(clients, samples=30, noise=0.1):
    a_star = np.eye(5)[None, :, :1]
    return draw_noisy(Key(3), samples, a_star, np.ones((1, clients, 1, 3)), noise, 2), a_star


def test_one_client_averages_nothing():
    assert averaging_excess(5, 1, 20) == 0
    n, d, k = 40, 6, 3
    assert product_risk(1.0, d, k, 1, n) == pytest.approx(d / (n - d - 1) + (k - 1) / (n - 2), rel=1e-14)


def test_many_rows_give_the_first_order_formulas():
    n, m, d, k = 5, 10**7, 6, 3
    assert statistical_floor(0.3, 2.0, d, n * m) == pytest.approx(0.09 / 4 * (d - 1) / (n * m), rel=1e-6)
    assert product_risk(0.3, d, k, n, m) == pytest.approx(0.09 * (d + k - 1) / (n * m), rel=1e-6)
    for kappa, factor in ((0.2, 2), (0.7, 1)):
        ratio = factor * kappa / (2 - factor * kappa)
        floor = statistical_floor(0.3, 2.0, d, n * m) * ratio
        assert fresh_data_floor(0.3, 2.0, kappa, factor, d, n, m) == pytest.approx(floor, rel=1e-6)


def test_a_step_too_long_has_no_stationary_variance():
    assert fresh_data_floor(0.1, 1.0, 1.0, 2, 5, 4, 20) == np.inf
    assert np.isfinite(fresh_data_floor(0.1, 1.0, 0.8, 2, 5, 4, 20))


def test_without_noise_ffa_has_its_noiseless_floor():
    assert ffa_risk(0.0, 2.0, 0.5, 3, 4, 9) == pytest.approx(1 + ffa_population_excess(4, 9), rel=1e-15)


def test_the_best_fit_is_stationary_and_no_worse_than_algorithm_2():
    data, a_star = noisy(4)
    best = best_rank_one(data)
    both = LocalTraining(1.0, 1.0, 1, frozenset())
    moved = both(data, type(best)(A=best.A[:, None], B=best.B[:, None]), BOTH)
    np.testing.assert_allclose(np.mean(moved.A, axis=1), best.A, atol=1e-13)
    np.testing.assert_allclose(np.mean(moved.B, axis=1), best.B, atol=1e-13)

    def loss(a, b):
        update = a @ b
        quadratic = np.sum(update * (np.mean(data.moments, axis=1) @ update))
        return quadratic - 2 * np.sum(update * np.mean(data.cross, axis=1))

    a = alt_min_gd(data, a_star, 0.1, 200).a[:, -1]
    other = loss(a, np.mean(solve_b(data, a[:, None]), axis=1))
    assert loss(best.A, best.B) < other < loss(best.A, best.B) * 0.99


def test_one_client_reaches_the_best_fit():
    data, a_star = noisy(1)
    a, best = alt_min_gd(data, a_star, 0.1, 400).a[:, -1], best_rank_one(data).A
    np.testing.assert_allclose(a, best * np.sign(best[:, :1] * a[:, :1]), atol=1e-12)
