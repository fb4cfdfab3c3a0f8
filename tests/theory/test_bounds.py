"""The closed forms against each other and against the ranges that they state."""

from itertools import product

import numpy as np
import pytest

from rolora.keys import Key
from theory.linear import bounds
from theory.linear.assumptions import alignment_variance, heterogeneity, kappa, moment_error, overlap, rho, xi
from theory.linear.geometry import angle_distance, orthogonal_unit, random_unit, start_at
from theory.linear.model import population, random_truth, sample
from theory.linear.rounds import alt_min_gd

KEY = Key(0).fold("tests", "bounds")


def ratio(x, k, f):
    """delta+ / delta of the population map at cos^2 = x."""
    theta = np.arccos(np.sqrt(x))
    return np.abs(np.sin(bounds.population_step(theta, k, f))) / np.sin(theta)


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("c0", [0.001, 0.05, 0.3, 0.64, 0.9, 0.999])
def test_the_range_of_the_contraction_is_the_stated_one(c0, factor):
    x = np.linspace(c0, 1 - 1e-9, 4001)
    end = bounds.largest_kappa(c0, factor)
    for share in np.linspace(0.01, 1, 40):
        assert np.all(ratio(x, share * end, factor) <= bounds.contraction(share * end, c0) + 1e-7)
    assert np.any(ratio(x, 1.01 * end, factor) ** 2 > 1 - 1.01 * end * c0)


@pytest.mark.parametrize("c0", [0.001, 0.05, 0.3, 0.64, 0.9, 0.999])
def test_the_sharp_contraction_is_below_the_claimed_one_and_holds(c0):
    x = np.linspace(c0, 1 - 1e-9, 2001)
    for k in np.linspace(0.01, 0.5, 30):
        assert np.all(ratio(x, k, 2) <= bounds.sharp_contraction(k, c0) + 1e-7)
        assert bounds.sharp_contraction(k, c0) <= 1 - k * c0 <= bounds.contraction(k, c0)


@pytest.mark.parametrize("c0", np.linspace(0.01, 0.999, 25))
def test_noise_up_to_a_ninth_of_c0_leaves_the_finite_sample_contraction(c0):
    """The step from the one-step inequality to the finite-sample theorem, on a grid of everything it allows."""
    limit = c0 / 9
    for x, e, noise, share in product(
        np.linspace(c0, 1, 15), (0, limit / 2, limit), (-limit, 0, limit), np.linspace(0.05, 1, 8)
    ):
        delta = np.sqrt(1 - x)
        if delta == 0:
            continue
        step = share / (2 * (1 + noise**2))
        bound = bounds.one_step(float(delta), float(step), float(np.sqrt(x) + delta * noise), float(noise), float(e))
        assert bound <= delta * (1 - step * c0) * (1 + 1e-12)


@pytest.mark.parametrize("factor", [1, 2])
def test_both_forms_of_the_population_map_agree(factor):
    for theta, k in product(np.linspace(0.01, 1.5, 20), np.linspace(0.01, 1.4, 15)):
        one = bounds.population_step(float(theta), float(k), factor)
        assert bounds.population_step_tangent(float(theta), float(k), factor) == pytest.approx(float(one), abs=1e-14)


def test_the_local_matrix_is_the_derivative_of_one_iteration():
    d, eta = 4, 0.1
    a_star, b_star = random_truth(KEY, d, 2)
    model = sample(KEY.fold("data"), 3, 9, a_star, b_star, 2)
    k, h = kappa(model, eta), 1e-6
    basis = np.linalg.svd(a_star[:, None])[0][:, 1:]
    columns = []
    for p in basis.T:
        ends = [alt_min_gd(model, (a_star + s * h * p) / np.sqrt(1 + h**2), eta, 1).a[1] for s in (1, -1)]
        columns.append(basis.T @ (ends[0] - ends[1]) / (2 * h))
    # Central differences miss the derivative by O(h^2) and rounding / h.
    assert np.allclose(bounds.local_matrix(model, k), np.stack(columns, axis=1), rtol=0, atol=1e-8)


def test_the_one_step_bound_is_the_populations_without_noise_to_first_order():
    assert bounds.one_step(0.1, 0.25, 1.0, 0.0, 0.0) == pytest.approx(0.1 * bounds.local_ratio(0.25, 2))
    assert bounds.one_step(0.9, 1.0, 1.0, 1.0, 1.0) == float("inf")


def test_the_floors_of_one_client_agree():
    # With one client the average is the minimiser.
    assert bounds.ffa_average_excess(1, 9) == bounds.ffa_minimiser_excess(1, 9)
    assert bounds.ffa_population_excess(10**6, 10**6) == pytest.approx(0, abs=1e-11)


def test_the_failure_probability_adds_up_over_iterations():
    assert bounds.failure_probability(4.0, 3, 500, 20) == pytest.approx(20 * bounds.failure_probability(4.0, 3, 500, 1))


def test_assumptions_vanish_in_the_population():
    a_star, b_star = random_truth(KEY, 6, 3)
    model, a = population(4, a_star, b_star, 2), start_at(KEY, a_star, 0.6)
    assert moment_error(model) == 0
    assert np.allclose(rho(model, a), 0.8)
    assert np.allclose(xi(model, a), 0, atol=1e-15)
    assert overlap(model, a) == pytest.approx(0.64)
    assert heterogeneity(model) == pytest.approx(0, abs=1e-30)
    assert alignment_variance(model) == pytest.approx(0, abs=1e-30)


def test_rho_and_xi_are_one_decomposition():
    a_star, b_star = random_truth(KEY, 6, 3)
    model, a = sample(KEY, 5, 7, a_star, b_star, 2), random_unit(KEY.fold("a"), 6)
    c, delta = float(a @ a_star), float(angle_distance(a, a_star))
    assert np.allclose(rho(model, a), c + delta * xi(model, a), rtol=1e-12)


def test_heterogeneity_splits_into_its_directions():
    rows = np.array([[2.0, 1.0], [2.0, -1.0]])  # the heads differ, but not along their mean (2, 0)
    model = population(2, np.eye(3)[0], rows, 2)
    assert heterogeneity(model) == 1
    assert alignment_variance(model) == 0
    assert bounds.heterogeneous_floor(alignment_variance(model), 2.0, 3, 10) == 0
    assert orthogonal_unit(KEY, model.a_star)[0] == pytest.approx(0, abs=1e-15)
