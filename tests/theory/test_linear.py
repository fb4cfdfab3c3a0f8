"""The linear model against brute force on the raw data."""

import numpy as np
import pytest

from rolora.keys import Key
from theory.linear.geometry import random_unit
from theory.linear.model import (
    LinearModel,
    b_step,
    gradient_a,
    gradient_b,
    heads,
    loss,
    mean_loss,
    population,
    random_truth,
    sample,
    sample_inputs,
    second_moments,
)

KEY = Key(0).fold("tests", "linear")
N, M, D, K = 3, 12, 5, 4


@pytest.fixture(params=[1, 2], ids=["factor 1", "factor 2"])
def case(request):
    """A heterogeneous model of either convention, its raw inputs, and a point that is not on the unit sphere."""
    inputs = sample_inputs(KEY.fold("data"), N, M, D)
    rows = KEY.fold("heads").generator().standard_normal((N, K))
    model = LinearModel(second_moments(inputs), random_unit(KEY.fold("a*"), D), rows, request.param)
    stream = KEY.fold("point").generator()
    return model, inputs, stream.standard_normal(D), stream.standard_normal(K)


def raw_loss(model, inputs, client, a, b):
    x = inputs[client]
    residual = x @ np.outer(a, b) - x @ np.outer(model.a_star, model.b_star[client])
    return model.gradient_factor / 2 * np.sum(residual**2) / x.shape[0]


def test_the_loss_is_the_one_of_the_raw_data(case):
    model, inputs, a, b = case
    for client in range(N):
        assert loss(model, client, a, b) == pytest.approx(raw_loss(model, inputs, client, a, b), rel=1e-13)
    assert mean_loss(model, a, b) == pytest.approx(np.mean([raw_loss(model, inputs, i, a, b) for i in range(N)]))


def test_the_gradients_are_numerical_derivatives(case):
    model, inputs, a, b = case
    h = 1e-6  # the loss is quadratic in each factor, so central differences are exact but for rounding / h
    for client in range(N):
        by_a = [
            (raw_loss(model, inputs, client, a + h * e, b) - raw_loss(model, inputs, client, a - h * e, b)) / (2 * h)
            for e in np.eye(D)
        ]
        by_b = [
            (raw_loss(model, inputs, client, a, b + h * e) - raw_loss(model, inputs, client, a, b - h * e)) / (2 * h)
            for e in np.eye(K)
        ]
        scale = 1e-15 * 100 * raw_loss(model, inputs, client, a, b) / h
        assert np.allclose(gradient_a(model, client, a, b), by_a, rtol=0, atol=scale)
        assert np.allclose(gradient_b(model, client, a, b), by_b, rtol=0, atol=scale)


def test_the_b_step_is_the_least_squares_solution(case):
    model, inputs, a, _ = case
    for client, x in enumerate(inputs):
        outputs = x @ np.outer(model.a_star, model.b_star[client])
        solved = np.linalg.lstsq((x @ a)[:, None], outputs, rcond=None)[0][0]
        assert np.allclose(b_step(model, client, a), solved, rtol=1e-12, atol=1e-14)
        assert np.allclose(gradient_b(model, client, a, solved), 0, atol=1e-13)


def test_the_two_conventions_differ_by_two_and_share_their_minimiser(case):
    model, _, a, b = case
    other = LinearModel(model.moments, model.a_star, model.b_star, 3 - model.gradient_factor)
    ratio = model.gradient_factor / other.gradient_factor
    assert loss(model, 0, a, b) == pytest.approx(ratio * loss(other, 0, a, b))
    assert np.allclose(gradient_a(model, 0, a, b), ratio * gradient_a(other, 0, a, b))
    assert np.array_equal(b_step(model, 0, a), b_step(other, 0, a))


def test_the_truth_is_a_stationary_point_of_loss_zero():
    a_star, b_star = random_truth(KEY, D, K)
    model = sample(KEY, N, M, a_star, b_star, 2)
    assert mean_loss(model, a_star, b_star) == 0
    assert np.all(gradient_a(model, 0, a_star, b_star) == pytest.approx(0, abs=1e-14))


def test_data_depend_on_the_client_alone():
    few, many = sample_inputs(KEY, 2, M, D), sample_inputs(KEY, 5, M, D)
    assert np.array_equal(few, many[:2])
    assert not np.array_equal(few[0], few[1])


def test_inputs_are_standard_normal():
    x = sample_inputs(KEY, 4, 5000, D)
    assert abs(x.mean()) < 4 / np.sqrt(x.size)
    assert abs(x.var() - 1) < 4 * np.sqrt(2 / x.size)
    # The pooled second moments tend to the population's: ||S - I|| <= 2 t + t^2 but for probability 2 exp(-s^2 / 2).
    t = (np.sqrt(D) + 4) / np.sqrt(4 * 5000)
    assert np.linalg.norm(second_moments(x).mean(axis=0) - np.eye(D), 2) <= 2 * t + t**2


def test_a_single_b_star_is_every_clients():
    model = population(N, np.eye(D)[0], np.arange(4.0), 1)
    assert np.array_equal(model.b_star, np.tile(np.arange(4.0), (N, 1)))
    assert np.array_equal(model.b_mean, np.arange(4.0))
    assert heads(model.b_star, N).shape == (N, 4)
