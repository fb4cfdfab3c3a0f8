"""Schedules are RoLoRA in another order, and their closed forms are those of the populations they describe."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS, Algorithm
from rolora.algorithms.rolora import RoLoRA
from theory.linear.bounds import population_step
from theory.linear.schedules import (
    mixture,
    mode_factors,
    rate_a_round,
    repeated_a_steps,
    repeated_a_steps_retracted,
)


def test_the_two_known_patterns_are_the_two_algorithms():
    server = Layer(np.ones((3, 2)), np.ones((2, 4)))
    clients = [Layer(np.full((3, 2), 2.0), np.full((2, 4), 3.0)), Layer(np.zeros((3, 2)), np.zeros((2, 4)))]
    for pattern, name in (("BA", "rolora"), ("B", "ffa-lora")):
        schedule, known = RoLoRA(pattern), ALGORITHMS[name]()
        assert isinstance(schedule, Algorithm)
        for t in range(5):
            assert schedule.trainable(t) == known.trainable(t)
            assert schedule.broadcast(t, server, 2) == known.broadcast(t, server, 2)
            one, other = (method.aggregate(t, server, clients, [0.25, 0.75]) for method in (schedule, known))
            np.testing.assert_array_equal(one.A, other.A)
            np.testing.assert_array_equal(one.B, other.B)


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_a_mixture_trains_a_as_often_as_it_is_told(chosen):
    schedule = mixture(chosen)
    assert [schedule.trainable(2 * i + 1) == {"A"} for i in range(len(chosen))] == chosen
    assert all(schedule.trainable(2 * i) == {"B"} for i in range(len(chosen)))


@pytest.mark.parametrize("form", [repeated_a_steps, repeated_a_steps_retracted])
@pytest.mark.parametrize("factor", [1, 2])
def test_no_step_one_step_and_many_steps(form, factor):
    for theta in (0.1, 0.8, 1.4):
        assert form(theta, 0.2, factor, 0) == pytest.approx(theta, abs=1e-15)
        assert form(theta, 0.2, factor, 1) == pytest.approx(population_step(theta, 0.2, factor), abs=1e-15)
        assert form(theta, 0.2, factor, 5000) == pytest.approx(0, abs=1e-12)


@given(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.integers(1, 6), st.integers(1, 6))
def test_no_period_is_faster_than_the_balanced_one_or_twice_one_to_one(left_a, left_b, q, p):
    low, high = sorted((-np.log(left_a), -np.log(left_b)))
    rate = rate_a_round(left_a, left_b, 1, q, p)
    assert rate <= low * high / (low + high) * (1 + 1e-12)
    assert rate <= 2 * rate_a_round(left_a, left_b, 1, 1, 1)


def test_the_factors_depend_on_the_scale_as_the_gauge_does():
    for s in (0.5, 1.0, 3.0):
        assert mode_factors(0.1 * s**2, 0.2 / s**2, s, 1.5 / s, 2) == pytest.approx(mode_factors(0.1, 0.2, 1.0, 1.5, 2))
