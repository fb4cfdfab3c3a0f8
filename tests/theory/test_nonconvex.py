"""The objective that is not convex: its gradients, its smoothness, and rounds of SGD on it."""

import numpy as np
import pytest

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.nonconvex import best_eta, random_waves, sgd_rounds, stationarity, stationarity_bound

OBJECTIVE, START = random_waves(Key(0), 3, 2, 4, 5, (3, 2, 2))
ROLORA = ALGORITHMS["rolora"]()


@pytest.mark.parametrize("block", ["A", "B"])
def test_gradients_are_those_of_the_value(block):
    step = 1e-6
    gradient = np.mean(OBJECTIVE.gradients(START, block), axis=1)
    factor = getattr(START, block)
    for index in np.ndindex(factor.shape[1:]):
        move = np.zeros(factor.shape[1:])
        move[index] = step
        both = [Layer(**{"A": START.A, "B": START.B, block: factor + sign * move}) for sign in (1, -1)]
        difference = (OBJECTIVE.value(both[0]) - OBJECTIVE.value(both[1])) / (2 * step)
        np.testing.assert_allclose(difference, gradient[(slice(None), *index)], atol=1e-7)


@pytest.mark.parametrize("block", ["A", "B"])
def test_smoothness_bounds_the_change_of_the_gradient(block):
    factor = getattr(START, block)
    for number in range(20):
        move = 0.1 * Key(number).generator().standard_normal(factor.shape)
        moved = Layer(**{"A": START.A, "B": START.B, block: factor + move})
        change = np.mean(OBJECTIVE.gradients(moved, block) - OBJECTIVE.gradients(START, block), axis=1)
        lengths = [np.linalg.norm(one, axis=(1, 2)) for one in (change, move)]
        assert np.all(lengths[0] <= OBJECTIVE.smoothness(block) * lengths[1] * (1 + 1e-12))


def test_it_is_not_convex():
    zero = Layer(np.zeros_like(START.A), np.zeros_like(START.B))
    middle = Layer(START.A / 2, START.B / 2)
    many, start = random_waves(Key(3), 40, 1, 1, 3, (2, 1, 2))
    ends = (many.value(start) + many.value(Layer(-start.A, -start.B))) / 2
    assert np.any(many.value(Layer(0 * start.A, 0 * start.B)) > ends)
    assert OBJECTIVE.value(zero).shape == OBJECTIVE.value(middle).shape == (6,)


def test_rounds_without_noise_descend_and_train_b_first():
    eta = np.minimum(1 / OBJECTIVE.smoothness("A"), 1 / OBJECTIVE.smoothness("B"))
    path = [START, *sgd_rounds(OBJECTIVE, ROLORA, START, eta, 0.0, Key(1), 6)]
    values = np.array([OBJECTIVE.value(layer) for layer in path])
    assert np.all(np.diff(values, axis=0) <= 1e-12)
    assert np.array_equal(path[1].A, START.A) and not np.array_equal(path[1].B, START.B)
    assert np.array_equal(path[2].B, path[1].B) and not np.array_equal(path[2].A, START.A)


def test_averaging_divides_independent_errors_and_not_common_ones():
    still, start = random_waves(Key(4), 1, 4000, 16, 2, (2, 1, 2))
    one = np.ones(4000)
    exact = next(iter(sgd_rounds(still, ROLORA, start, one, 0.0, Key(5), 1))).B
    for common, variance in ((False, 9 / 16), (True, 9.0)):
        moved = next(iter(sgd_rounds(still, ROLORA, start, one, 3.0, Key(5), 1, common))).B
        assert np.mean(np.sum((moved - exact) ** 2, axis=(1, 2))) == pytest.approx(variance, rel=0.1)


def test_the_best_step_minimises_the_bound():
    best = best_eta(OBJECTIVE, START, 5.0, 1000)
    least = stationarity_bound(OBJECTIVE, START, best, 5.0, 1000)
    for share in (0.5, 0.9, 1.1, 2.0):
        assert np.all(stationarity_bound(OBJECTIVE, START, share * best, 5.0, 1000) >= least)
    found = stationarity(OBJECTIVE, ROLORA, START, best_eta(OBJECTIVE, START, 1.0, 50), 1.0, Key(6), 50)
    assert found.shape == (6,) and np.all(found > 0)
