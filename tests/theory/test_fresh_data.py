"""Many instances at once measure what one model measures, and fresh data are fresh."""

import numpy as np

from rolora.keys import Key
from theory.linear import assumptions
from theory.linear.ensemble import stack
from theory.linear.fresh_data import angle_path, fresh, mean_noise, pooled_error, starts_at, unit_columns
from theory.linear.geometry import angle_distance
from theory.linear.model import random_truth, sample
from theory.linear.rounds import alt_min_gd

EPS = np.finfo(float).eps


def test_assumptions_are_those_of_one_model():
    models, columns = [], []
    for number in range(4):
        key = Key(number)
        models.append(sample(key.fold("data"), 3, 20, *random_truth(key, 5, 2), 2))
        columns.append(unit_columns(key.fold("a"), 1, 5)[0])
    ensemble, a = stack(models), np.stack(columns)
    a_star = np.stack([model.a_star[:, None] for model in models])
    for index, model in enumerate(models):
        np.testing.assert_allclose(pooled_error(ensemble)[index], assumptions.moment_error(model), rtol=1e-12)
        expected = np.mean(assumptions.xi(model, a[index, :, 0]))
        np.testing.assert_allclose(mean_noise(ensemble, a, a_star)[index], expected, rtol=0, atol=100 * EPS)
        run = alt_min_gd(model, a[index, :, 0], 0.1, 3).a
        found = angle_path(ensemble, a, a_star, 0.1, 3)[index]
        np.testing.assert_allclose(found, angle_distance(run, model.a_star), rtol=0, atol=1e3 * EPS)


def test_starts_have_the_distance_that_is_asked_for():
    a_star = unit_columns(Key(0), 6, 4)
    for delta in (1e-6, 0.5, 1.0):
        starts = starts_at(Key(1), a_star, delta)
        np.testing.assert_allclose(np.linalg.norm(starts, axis=1), 1, atol=8 * EPS)
        np.testing.assert_allclose(np.sum(starts * a_star, axis=1), np.sqrt(1 - delta**2), atol=8 * EPS)


def test_an_iteration_has_one_draw_and_the_next_another():
    a_star = unit_columns(Key(0), 2, 3)
    data = fresh(Key(1), 2, 7, a_star, np.ones((1, 1, 1, 1)), 1)
    first = data(0).moments
    assert not np.array_equal(first, data(1).moments)
    assert np.array_equal(first, data(0).moments)
    assert data(0).gradient_factor == 1
