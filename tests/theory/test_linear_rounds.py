"""Rounds on the linear model: the algorithm files against loops that are written out here."""

import numpy as np
import pytest

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.geometry import angle_distance, random_unit, start_at
from theory.linear.model import b_step, gradient_a, gradient_b, random_truth, sample
from theory.linear.rounds import alt_min_gd, local_update, relative_error, retract, rounds

KEY = Key(0).fold("tests", "linear rounds")
N, M, D, K = 4, 15, 6, 3


@pytest.fixture
def model():
    return sample(KEY.fold("data"), N, M, *random_truth(KEY, D, K), 2)


@pytest.fixture
def start():
    return Layer(random_unit(KEY.fold("a0"), D)[:, None], np.zeros((1, K)))


def test_algorithm_2_is_the_loop_that_it_describes(model, start):
    eta, a = 0.05, start.A[:, 0]
    run = alt_min_gd(model, a, eta, 5)
    for t in range(5):
        b = np.mean([b_step(model, i, a) for i in range(N)], axis=0)
        a = a - eta * np.mean([gradient_a(model, i, a, b) for i in range(N)], axis=0)
        a = a / np.linalg.norm(a)
        assert np.allclose(run.b[t], b, rtol=1e-13, atol=1e-14)
        assert np.allclose(run.a[t + 1], a, rtol=1e-13, atol=1e-14)


def test_fedavg_lora_is_the_mean_of_local_descents(model, start):
    eta, steps = 0.02, 3
    *_, (layer, _) = rounds(model, ALGORITHMS["fedavg-lora"](), start, local_update(model, eta, steps, False), 2)
    a, b = start.A[:, 0], start.B[0]
    for _ in range(2):
        ends = []
        for i in range(N):
            local_a, local_b = a, b
            for _ in range(steps):
                step = gradient_a(model, i, local_a, local_b), gradient_b(model, i, local_a, local_b)
                local_a, local_b = local_a - eta * step[0], local_b - eta * step[1]
            ends.append((local_a, local_b))
        a, b = np.mean([end[0] for end in ends], axis=0), np.mean([end[1] for end in ends], axis=0)
    assert np.allclose(layer.A[:, 0], a, rtol=1e-13, atol=1e-15)
    assert np.allclose(layer.B[0], b, rtol=1e-13, atol=1e-15)


def test_ffa_lora_never_moves_a(model, start):
    for layer, report in rounds(model, ALGORITHMS["ffa-lora"](), start, local_update(model, 0.1), 4):
        assert np.array_equal(layer.A, start.A)
        assert report.trained == ("B",)


def test_rolora_trains_b_first_and_one_factor_a_round(model, start):
    reports = [report for _, report in rounds(model, ALGORITHMS["rolora"](), start, local_update(model, 0.1), 4)]
    assert [report.trained for report in reports] == [("B",), ("A",), ("B",), ("A",)]
    assert reports[0].bytes_up == {"A": 0, "B": 8 * K * N, "head": 0}


def test_one_iteration_is_two_communication_rounds(model, start):
    run = alt_min_gd(model, start.A[:, 0], 0.1, 3)
    layers = rounds(model, ALGORITHMS["rolora"](), start, local_update(model, 0.1), 6, retracted=True)
    a = [layer.A[:, 0] for layer, report in layers if report.trained == ("A",)]
    assert np.array_equal(run.a[1:], np.stack(a))


def test_the_retraction_keeps_the_product_and_no_later_iterate_depends_on_b(model):
    stream = KEY.fold("retract").generator()
    layer = Layer(3 * stream.standard_normal((D, 1)), stream.standard_normal((1, K)))
    assert np.linalg.norm(retract(layer).A) == pytest.approx(1, abs=1e-15)
    assert np.allclose(retract(layer).update, layer.update, rtol=1e-14)
    first = rounds(model, ALGORITHMS["rolora"](), retract(layer), local_update(model, 0.1), 2, retracted=True)
    other = Layer(retract(layer).A, stream.standard_normal((1, K)))
    second = rounds(model, ALGORITHMS["rolora"](), other, local_update(model, 0.1), 2, retracted=True)
    assert np.array_equal([x.A for x, _ in first], [x.A for x, _ in second])


def test_the_relative_error_is_one_at_zero_and_the_floor_under_a_frozen_a(model, start):
    assert relative_error(start, model) == pytest.approx(1, rel=4 * np.finfo(float).eps)
    a0 = start_at(KEY, model.a_star, 0.4)
    best = Layer(a0[:, None], (a0 @ model.a_star) * model.b_mean[None, :])
    assert relative_error(best, model) == pytest.approx(float(angle_distance(a0, model.a_star)), rel=1e-13)
