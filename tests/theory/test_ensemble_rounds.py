"""All instances at once give what the loop over instances and clients gives; on any backend; at any rank."""

import array_api_strict
import numpy as np
import pytest
import torch

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear import model as linear
from theory.linear import rounds as linear_rounds
from theory.linear.ensemble import Ensemble, draw_moments, planted, stack
from theory.linear.ensemble_rounds import (
    SIMULATED,
    LocalTraining,
    alt_min_gd,
    retract,
    rounds,
    solve_a,
    solve_b,
    subspace_distance,
)
from theory.linear.geometry import angle_distance, random_unit

EPS = np.finfo(float).eps
N, M, D, K = 4, 30, 6, 3


def models(count, factor=2):
    found = []
    for number in range(count):
        key = Key(number)
        a_star, b_star = linear.random_truth(key, D, K)
        b_star = b_star / np.linalg.norm(b_star)
        found.append(linear.sample(key.fold("data"), N, M, a_star, b_star + 0.1 * np.arange(N)[:, None], factor))
    return found


def starts(count):
    return np.stack([random_unit(Key(number).fold("a0"), D) for number in range(count)])[..., None]


def rank_two(instances=3):
    stream = Key(5).generator()
    a_star = np.linalg.qr(stream.standard_normal((instances, D, 2)))[0]
    b_star = np.broadcast_to(stream.standard_normal((instances, 1, 2, K)), (instances, N, 2, K))
    moments, _ = draw_moments(Key(6), instances, N, M, D)
    return planted(moments, a_star, b_star, 2), a_star, np.linalg.qr(stream.standard_normal((instances, D, 2)))[0]


@pytest.mark.parametrize("method", SIMULATED)
@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("exact", [True, False])
def test_every_method_equals_the_loop_over_clients_and_instances(method, factor, exact):
    single, a0 = models(5, factor), starts(5)
    training = LocalTraining(0.05, 0.05, 3, frozenset({"B"}) if exact else frozenset())
    start = Layer(A=a0, B=np.zeros((5, 1, K)))
    together = list(rounds(stack(single), ALGORITHMS[method](), start, training, 6))
    for index, model in enumerate(single):
        update = linear_rounds.local_update(model, 0.05, 3, exact_b=exact)
        one = Layer(A=a0[index], B=np.zeros((1, K)))
        for layer, (expected, _) in zip(
            together, linear_rounds.rounds(model, ALGORITHMS[method](), one, update, 6), strict=True
        ):
            np.testing.assert_allclose(layer.A[index], expected.A, rtol=0, atol=1e3 * EPS)
            np.testing.assert_allclose(layer.B[index], expected.B, rtol=0, atol=1e3 * EPS)


@pytest.mark.parametrize("method", sorted(set(ALGORITHMS) - set(SIMULATED)))
def test_a_method_that_keeps_more_than_two_factors_is_refused(method):
    start = Layer(A=starts(2), B=np.zeros((2, 1, K)))
    with pytest.raises(ValueError, match="not simulated"):
        next(rounds(stack(models(2)), ALGORITHMS[method](), start, LocalTraining(0.1), 1))


@pytest.mark.parametrize("block", [1, 2, 100])
def test_algorithm_2_equals_the_loop_for_every_block_and_step(block):
    single, a0 = models(5), starts(5)
    eta = np.linspace(0.1, 0.4, 5)
    runs = alt_min_gd(stack(single), a0, eta, 8, block)
    for index, model in enumerate(single):
        expected = linear_rounds.alt_min_gd(model, a0[index, :, 0], float(eta[index]), 8)
        np.testing.assert_allclose(runs.a[index, ..., 0], expected.a, rtol=0, atol=1e3 * EPS)
        np.testing.assert_allclose(runs.b[index, :, 0], expected.b, rtol=0, atol=1e3 * EPS)


def test_fresh_data_are_asked_for_once_an_iteration_and_round():
    ensembles = [stack(models(2)), stack(models(3)[1:])]
    asked = []

    def data(iteration):
        asked.append(iteration)
        return ensembles[iteration]

    fresh = alt_min_gd(data, starts(2), 0.2, 2)
    first = alt_min_gd(ensembles[0], starts(2), 0.2, 1)
    second = alt_min_gd(ensembles[1], first.a[:, -1], 0.2, 1)
    np.testing.assert_array_equal(fresh.a[:, -1], second.a[:, -1])
    assert set(asked) == {0, 1}


def test_participants_and_weights_are_those_of_a_smaller_federation():
    ensemble, start = stack(models(3)), Layer(A=starts(3), B=np.zeros((3, 1, K)))
    training, algorithm = LocalTraining(0.2), ALGORITHMS["rolora"]()
    chosen = rounds(
        ensemble, algorithm, start, training, 4, participants=lambda t: [3, 1], weights=[9.0, 1.0, 9.0, 3.0]
    )
    smaller = Ensemble(ensemble.moments[:, [1, 3]], ensemble.cross[:, [1, 3]], ensemble.energy[:, [1, 3]], 2)
    alone = rounds(smaller, algorithm, start, training, 4, weights=[0.25, 0.75])
    for one, other in zip(chosen, alone, strict=True):
        np.testing.assert_array_equal(one.A, other.A)
        np.testing.assert_array_equal(one.B, other.B)


def test_the_exact_steps_are_stationary_at_rank_two():
    ensemble, _, a0 = rank_two()
    a, training = a0[:, None], LocalTraining(1.0, 1.0, 1, frozenset())
    b = solve_b(ensemble, a)
    moved = training(ensemble, Layer(A=a, B=b), frozenset({"B"}))
    np.testing.assert_allclose(moved.B, b, atol=1e-12)
    a = solve_a(ensemble, b[:, :1])
    moved = training(ensemble, Layer(A=a, B=b[:, :1]), frozenset({"A"}))
    np.testing.assert_allclose(moved.A, a, atol=1e-11)


def test_alternating_least_squares_solves_for_both_factors():
    ensemble, _, a0 = rank_two()
    training = LocalTraining(0.0, exact=frozenset({"A", "B"}))
    start = Layer(A=a0, B=np.zeros((3, 2, K)))
    first, second = rounds(ensemble, ALGORITHMS["rolora"](), start, training, 2)
    np.testing.assert_allclose(second.A, np.mean(solve_a(ensemble, first.B[:, None]), axis=1), atol=1e-12)


def test_retraction_keeps_the_product_and_makes_columns_orthonormal():
    stream = Key(2).generator()
    for rank in (1, 3):
        layer = Layer(stream.standard_normal((4, D, rank)), stream.standard_normal((4, rank, K)))
        after = retract(layer)
        np.testing.assert_allclose(after.update, layer.update, atol=1e-13)
        np.testing.assert_allclose(
            np.swapaxes(after.A, 1, 2) @ after.A, np.broadcast_to(np.eye(rank), (4, rank, rank)), atol=1e-14
        )
        assert np.all(np.linalg.diagonal(np.swapaxes(after.A, 1, 2) @ layer.A) > 0)


def test_the_subspace_distance_is_the_sine_of_the_largest_principal_angle():
    from scipy.linalg import subspace_angles

    _, a_star, a0 = rank_two()
    expected = [np.sin(subspace_angles(a, b)[0]) for a, b in zip(a0, a_star, strict=True)]
    np.testing.assert_allclose(subspace_distance(a0, a_star), expected, rtol=1e-12)
    unit, truth = random_unit(Key(0), D), random_unit(Key(1), D)
    assert subspace_distance(unit[:, None], truth[:, None]) == pytest.approx(float(angle_distance(unit, truth)))


@pytest.mark.parametrize("backend", [torch.asarray, array_api_strict.asarray], ids=["torch", "array_api_strict"])
@pytest.mark.parametrize("rank", [1, 2])
def test_any_array_api_backend_gives_the_same(backend, rank):
    if rank == 1:
        ensemble, a0 = stack(models(3)), starts(3)
    else:
        ensemble, _, a0 = rank_two()
    expected = alt_min_gd(ensemble, a0, 0.1, 5)
    found = alt_min_gd(ensemble.on(backend), backend(a0), 0.1, 5)
    assert type(found.a) is type(backend(a0))
    np.testing.assert_allclose(np.asarray(found.a), expected.a, atol=1e-12)
    distance = subspace_distance(found.a[:, -1, :, :], backend(a0))
    np.testing.assert_allclose(np.asarray(distance), subspace_distance(expected.a[:, -1], a0), atol=1e-12)
