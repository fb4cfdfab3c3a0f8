"""Numbers that the recalled statements and their corrections name."""

import numpy as np
import pytest

from theory.claims.contraction.iterations_loose import enough, recalled
from theory.linear.bounds import contraction, largest_kappa


def worst_ratio(c0, kappa, factor):
    """The one-step inequality's largest right-hand side at e = c0/16 over delta <= delta_0 and |xi| <= c0/16."""
    delta, xi = np.meshgrid(np.sqrt(1 - c0) * np.linspace(0, 1, 201), c0 / 16 * np.linspace(-1, 1, 41))
    rho, noise, step = np.sqrt(1 - delta**2) + delta * xi, c0 / 16 * np.sqrt(1 + xi**2), factor * kappa
    return np.max((np.abs(1 - step * rho**2) + step * rho * noise) / (1 - step * rho * delta * (np.abs(xi) + noise)))


@pytest.mark.parametrize("c0", [1e-4, 0.01, 0.1, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 0.9999])
def test_the_corrected_ranges_hold_for_all_noise_that_is_allowed(c0):
    for factor, end in ((1, 0.99), (2, 1 - c0 / 3)):
        for kappa in end * np.linspace(0.01, 1, 60):
            assert worst_ratio(c0, kappa, factor) <= contraction(kappa, c0)


def test_the_corrected_range_lies_inside_the_populations():
    for c0 in (0.1, 0.5, 0.99):
        assert 1 - c0 / 3 < largest_kappa(c0, 2)


def test_the_recalled_number_of_iterations_and_what_is_enough():
    assert recalled(0.25, 1000, 1e-6) == 110_521
    assert np.ceil(enough(0.25, 1000, 1e-6)) == 29
