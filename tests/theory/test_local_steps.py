"""The variants' formulas against their limits, against enumeration, and against Algorithm 2 itself."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from scipy.optimize import minimize

from rolora.keys import Key
from theory.linear import bounds, local_steps
from theory.linear import model as linear

KEY = Key(0).fold("tests", "local_steps")


def models(count):
    found = []
    for number in range(count):
        a_star, b_star = linear.random_truth(KEY.fold(number), 5, 3)
        found.append(linear.sample(KEY.fold(number, "data"), 4, 30, a_star, b_star / np.linalg.norm(b_star), 2))
    return found


@pytest.mark.parametrize("factor", [1, 2])
def test_the_map_of_many_steps_has_its_limits(factor):
    theta = np.linspace(0.01, 1.5, 50)
    expected = bounds.population_step(theta, 0.3, factor)
    np.testing.assert_allclose(local_steps.population_step(theta, 0.3, 1, factor), expected, rtol=1e-12)
    near = local_steps.population_step(1e-6, 0.1, 7, factor)
    assert near / 1e-6 == pytest.approx(bounds.local_ratio(0.1, factor) ** 7, rel=1e-9)
    assert np.max(np.abs(local_steps.population_step(theta, 0.3, 10**6, factor))) < 1e-12


def test_the_drift_factor_falls_from_one_to_zero():
    for step in (0.01, 0.3, 0.9):
        factors = [local_steps.drift_factor(count, step) for count in (1, 2, 3, 5, 10, 100, 2000)]
        assert factors[0] == pytest.approx(1.0)
        assert all(later < earlier for earlier, later in pairwise(factors))
        assert factors[-1] < 1e-6
    assert local_steps.drift_factor(2000, 1e-3) == pytest.approx(2 / np.expm1(2), rel=2e-3)
    assert local_steps.drift_factor(1, 1.0) == 1.0


def test_one_local_step_has_the_matrix_of_the_fixed_data_rate():
    for model in models(3):
        found = local_steps.local_steps_matrix(model.moments, model.a_star, 0.4, 1)
        np.testing.assert_allclose(found, bounds.local_matrix(model, 0.2), atol=1e-14)


@pytest.mark.parametrize("participants", [1, 2, 4, 5])
def test_the_participation_floor_is_the_mean_over_all_subsets(participants):
    heads = KEY.fold("heads").generator().standard_normal((5, 3))
    mean = np.mean(heads, axis=0)
    variance = float(np.mean(np.sum((heads - mean) ** 2, axis=1)))
    errors = [
        np.sum((np.mean(heads[list(chosen)], axis=0) - mean) ** 2) for chosen in combinations(range(5), participants)
    ]
    assert local_steps.participation_floor(variance, participants, 5) == pytest.approx(
        float(np.mean(errors)), abs=1e-15
    )


def test_the_best_weights_are_proportional_to_the_samples_less_two():
    samples = [8, 12, 40]
    least = local_steps.weighted_noise([6.0, 10.0, 38.0], samples)
    assert least == pytest.approx(1 / 54)
    found = minimize(lambda logs: local_steps.weighted_noise(np.exp(logs).tolist(), samples), np.zeros(3), tol=1e-12)
    assert found.fun == pytest.approx(least, rel=1e-6)
    assert local_steps.weighted_noise([1.0, 1.0, 1.0], [7, 7, 7]) == pytest.approx(bounds.ffa_population_excess(3, 7))


def test_label_noise_costs_least_squares_more_than_the_pooled_problem():
    pooled = 0.1**2 / 2.0**2 * 4 / (3 * 20)
    assert local_steps.least_squares_noise(0.1, 2.0, 5, 3, 20) == pytest.approx(pooled * 20 / 14)
