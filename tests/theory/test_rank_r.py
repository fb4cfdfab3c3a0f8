"""The rank-r closed forms: coordinates that do not depend on a basis, and rank 1 as a special case."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles

from rolora.keys import Key
from theory.linear import local_steps, rank_r
from theory.linear.ensemble_rounds import alt_min_gd, subspace_distance

KEY = Key(0).fold("tests", "rank_r")
EPS = np.finfo(float).eps


def draw(rank, instances=5, spread=3.0):
    sigma = np.linspace(spread, 1.0, rank)
    a_star, b_star = rank_r.random_factors(KEY.fold("truth", rank), instances, 2 * rank + 3, rank + 1, sigma)
    right, _ = rank_r.random_factors(KEY.fold("right", rank), instances, rank, rank, np.ones(rank))
    angles = -np.sort(-KEY.fold("angles", rank).generator().uniform(0.05, 1.4, (instances, rank)))
    return sigma, a_star, b_star, rank_r.start_at(KEY.fold("a0", rank), a_star, right, angles), angles


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_the_factors_are_what_is_asked_for(rank):
    sigma, a_star, b_star, _, _ = draw(rank)
    eye = np.broadcast_to(np.eye(rank), (5, rank, rank))
    np.testing.assert_allclose(np.swapaxes(a_star, 1, 2) @ a_star, eye, atol=1e-14)
    np.testing.assert_allclose(np.linalg.svd(b_star)[1], np.broadcast_to(sigma, (5, rank)), rtol=1e-13)


@pytest.mark.parametrize("rank", [1, 2, 4])
def test_the_angles_are_the_principal_angles_in_any_basis(rank):
    _, a_star, _, a0, angles = draw(rank)
    np.testing.assert_allclose(rank_r.principal_angles(a0, a_star), angles, rtol=1e-11)
    mixed = a0 @ KEY.fold("basis").generator().standard_normal((rank, rank))
    np.testing.assert_allclose(rank_r.principal_angles(mixed, a_star), angles, rtol=1e-9)
    np.testing.assert_allclose(np.sin(angles[:, 0]), subspace_distance(a0, a_star), rtol=1e-12)
    for index in range(5):
        np.testing.assert_allclose(angles[index], subspace_angles(a0[index], a_star[index]), rtol=1e-11)


def test_small_angles_keep_their_relative_accuracy():
    _, a_star, _, _, _ = draw(3)
    angles = np.array([[1e-3, 1e-7, 1e-11]])
    a0 = rank_r.start_at(KEY, a_star, np.eye(3)[None], angles)
    np.testing.assert_allclose(rank_r.principal_angles(a0, a_star), np.repeat(angles, 5, axis=0), rtol=1e-3, atol=1e-15)


def test_tangents_and_their_inverse():
    _, a_star, _, a0, _ = draw(3)
    tangent = rank_r.tangents(a0, a_star)
    np.testing.assert_allclose(np.swapaxes(a_star, 1, 2) @ tangent, 0, atol=1e-13)
    np.testing.assert_allclose(rank_r.tangents(rank_r.at_tangents(tangent, a_star), a_star), tangent, atol=1e-12)


@pytest.mark.parametrize("factor", [1, 2])
def test_at_rank_one_the_map_is_the_tangent_form_of_the_angle_map(factor):
    _, a_star, b_star, a0, angles = draw(1)
    after = rank_r.population_map(rank_r.tangents(a0, a_star), b_star, 0.3, factor)
    expected = local_steps.population_step(angles[:, 0], 0.3 * np.sum(b_star**2, axis=(1, 2)), 1, factor)
    np.testing.assert_allclose(np.linalg.norm(after, axis=(1, 2)), np.abs(np.tan(expected)), rtol=1e-12)


def test_the_best_step_has_the_best_ratio_and_no_other_step_is_better():
    sigma = [3.0, 2.0, 0.7]
    for factor in (1, 2):
        best = rank_r.best_step(sigma, factor)
        assert np.max(rank_r.local_ratios(sigma, best, factor)) == pytest.approx(
            rank_r.best_ratio(3.0 / 0.7), rel=1e-14
        )
        others = [np.max(rank_r.local_ratios(sigma, best * share, factor)) for share in np.linspace(0.01, 2, 400)]
        assert min(others) >= rank_r.best_ratio(3.0 / 0.7) - 4 * EPS


def test_the_scaled_step_at_rank_one_is_algorithm_2_with_a_step_for_the_length_of_b_bar():
    _, a_star, b_star, a0, angles = draw(1)
    model = rank_r.population(a_star, b_star, 2)
    length = (np.cos(angles[:, 0]) ** 2) * np.sum(b_star**2, axis=(1, 2))
    expected = alt_min_gd(model, a0, 0.2 / length, 1).a[:, -1]
    np.testing.assert_allclose(rank_r.scaled_step(model, a0, 0.2), expected, atol=1e-14)


def test_a_scaled_step_that_solves_for_a_is_exact():
    _, a_star, b_star, a0, angles = draw(3, spread=50.0)
    after = rank_r.scaled_step(rank_r.population(a_star, b_star, 1), a0, 1.0)
    assert np.max(subspace_distance(after, a_star)) < 1e-10
    np.testing.assert_array_equal(rank_r.scaled_angles(angles, 1.0, 1), np.zeros_like(angles))
