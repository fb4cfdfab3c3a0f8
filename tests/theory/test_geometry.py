"""Directions and angles."""

import numpy as np
import pytest

from rolora.keys import Key
from theory.linear.geometry import angle_distance, normalise, orthogonal_unit, random_unit, start_at

KEY = Key(0).fold("tests", "geometry")


@pytest.mark.parametrize("dimension", [2, 3, 50])
def test_the_angle_distance_is_the_projection_of_its_definition(dimension):
    a, a_star = random_unit(KEY.fold("a"), dimension), random_unit(KEY.fold("a*"), dimension)
    projection = np.eye(dimension) - np.outer(a, a)
    assert angle_distance(a, a_star) == pytest.approx(np.linalg.norm(projection @ a_star), abs=1e-15)
    assert angle_distance(a, a_star) == pytest.approx(angle_distance(a_star, a), abs=1e-15)


def test_the_angle_distance_ignores_length_and_sign():
    a, a_star = random_unit(KEY.fold("a"), 6), random_unit(KEY.fold("a*"), 6)
    assert angle_distance(-3.0 * a, a_star) == pytest.approx(angle_distance(a, a_star), rel=1e-14)


def test_tiny_angles_are_resolved():
    a_star = random_unit(KEY, 8)
    p = orthogonal_unit(KEY.fold("p"), a_star)
    assert angle_distance(a_star + 1e-12 * p, a_star) == pytest.approx(1e-12, rel=1e-3)


def test_the_angle_distance_works_on_stacks():
    a_star, stack = random_unit(KEY, 4), np.stack([random_unit(KEY.fold(i), 4) for i in range(6)])
    assert np.array_equal(angle_distance(stack, a_star), [angle_distance(a, a_star) for a in stack])


@pytest.mark.parametrize("delta", [0.0, 1e-6, 0.3, 0.999, 1.0])
def test_a_start_has_its_angle(delta):
    a_star = random_unit(KEY, 9)
    a0 = start_at(KEY.fold("start"), a_star, delta)
    assert np.linalg.norm(a0) == pytest.approx(1, abs=1e-15)
    assert angle_distance(a0, a_star) == pytest.approx(delta, abs=1e-15)


def test_impossible_requests_are_refused():
    with pytest.raises(ValueError, match="no direction"):
        normalise(np.zeros(3))
    with pytest.raises(ValueError, match="angle distance"):
        start_at(KEY, np.array([1.0, 0.0]), 1.5)


def test_a_random_start_has_the_stated_mean_square_distance():
    # E delta_0^2 = 1 - 1/d; the variance of delta_0^2 is 2 (d - 1) / (d^2 (d + 2)).
    d, n = 5, 4000
    squares = [float(angle_distance(random_unit(KEY.fold(i), d), np.eye(d)[0])) ** 2 for i in range(n)]
    assert abs(np.mean(squares) - (1 - 1 / d)) < 4 * np.sqrt(2 * (d - 1) / (d**2 * (d + 2)) / n)
