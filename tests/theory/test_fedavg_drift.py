"""Interference and displacement agree with what the algorithm's own file does."""

import numpy as np
import pytest

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.ensemble import draw_noisy, isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.linear.fedavg_drift import (
    BOTH,
    displacement,
    floor,
    heterogeneous_interference,
    interference,
    leading_interference,
)

HEADS = 1.0 + 0.5 * Key(1).generator().standard_normal((4, 3))


def population(heads=HEADS):
    return planted(isotropic(1, heads.shape[0], 3), np.eye(3)[None, :, :1], heads[None, :, None], 2)


def test_interference_is_what_the_mean_of_the_products_misses():
    data = draw_noisy(Key(0), 20, np.eye(4)[None, :, :2], np.ones((1, 3, 2, 3)), 0.3, 1)
    stream = Key(2).generator()
    server = Layer(A=stream.standard_normal((1, 4, 2)), B=stream.standard_normal((1, 2, 3)))
    training = LocalTraining(0.05, 0.02, 3, frozenset())
    clients = training(data, Layer(A=server.A[:, None], B=server.B[:, None]), BOTH)
    (after,) = rounds(data, ALGORITHMS["fedavg-lora"](), server, training, 1)
    missed = np.mean(clients.A @ clients.B, axis=1) - after.update
    np.testing.assert_allclose(interference(data, server, training), missed, atol=1e-14)


def test_one_step_has_its_leading_order_exactly():
    server = Layer(A=np.full((1, 3, 1), 0.5), B=np.full((1, 1, 3), 0.7))
    one = interference(population(), server, LocalTraining(0.1, 0.1, 1, frozenset()))
    np.testing.assert_allclose(one, 0.01 * leading_interference(population(), server), rtol=1e-12)


@pytest.mark.parametrize("scale", [0.6, 1.0, 1.7])
def test_the_mean_solution_is_kept_by_one_step_in_spite_of_interference(scale):
    mean = np.mean(HEADS, axis=0)
    server = Layer(A=scale * np.eye(3)[None, :, :1], B=mean[None, None] / scale)
    one = LocalTraining(0.02, 0.02, 1, frozenset())
    (after,) = rounds(population(), ALGORITHMS["fedavg-lora"](), server, one, 1)
    np.testing.assert_allclose(after.update, server.update, atol=1e-14)
    expected = heterogeneous_interference(HEADS, 0.02, 1, 2)
    np.testing.assert_allclose(interference(population(), server, one)[0, 0], expected, rtol=1e-10)
    assert np.linalg.norm(expected) > 1e-5


def test_equal_heads_and_one_step_have_no_bias():
    equal = np.ones((3, 2))
    assert not displacement(equal, 0.1, 5, 2).any()
    assert not displacement(HEADS, 0.1, 1, 2).any()
    assert not floor(HEADS, 1.3, 0.1, 1, 2).any()


def test_the_floor_balances_the_displacement():
    r, mean, a_norm, eta, steps = floor(HEADS, 1.2, 0.01, 4, 2), np.mean(HEADS, axis=0), 1.2, 0.01, 4
    along = (r @ mean) / (mean @ mean) * mean
    taken = 2 * steps * eta * (a_norm**2 * r + mean @ mean / a_norm**2 * along)
    np.testing.assert_allclose(taken, displacement(HEADS, eta, steps, 2), rtol=1e-12)
