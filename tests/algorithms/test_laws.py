"""The laws that concern one layer, for every algorithm, in NumPy, in array_api_strict and in torch.

Clients are random; what an algorithm does not train is common to them, because that is what they receive. Tolerances
are multiples of rounding: an error of a few operations in the dtype's unit, times the size of the sums.
"""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import torch

from rolora.adapter import FACTORS, Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from tests.conftest import relative_error

D, RANK, K = 7, 3, 5
WEIGHTS = [0.1, 0.2, 0.7]
ROUNDING = 64 * np.finfo(np.float64).eps

BACKENDS = {
    "numpy": np.asarray,
    "array_api_strict": array_api_strict.asarray,
    "torch": torch.from_numpy,
}


@pytest.fixture(params=list(BACKENDS))
def asarray(request):
    return BACKENDS[request.param]


@pytest.fixture(params=list(ALGORITHMS))
def algorithm(request):
    return ALGORITHMS[request.param]()


@pytest.fixture(params=[0, 1], ids=["even", "odd"])
def t(request):
    return request.param


def numbers(name, *shape):
    return Key(0).fold("laws", name).generator().standard_normal(shape)


def server_layer(asarray):
    return Layer(asarray(numbers("A", D, RANK)), asarray(numbers("B", RANK, K)))


def client_layers(asarray, algorithm, t, count=3):
    """Layers that differ in what round t trains and agree in the rest."""
    server = server_layer(asarray)
    layers = []
    for client in range(count):
        trained = {
            factor: asarray(numbers(f"{factor} of {client}", *getattr(server, factor).shape))
            for factor in FACTORS
            if factor in algorithm.trainable(t)
        }
        layers.append(Layer(trained.get("A", server.A), trained.get("B", server.B)))
    return layers


def ideal(clients, weights):
    """D = sum_i p_i A_i B_i, in NumPy."""
    return sum(p * (np.asarray(c.A) @ np.asarray(c.B)) for p, c in zip(weights, clients, strict=True))


def test_law_1_one_client_or_identical_clients(algorithm, asarray, t):
    server = server_layer(asarray)
    (client,) = client_layers(asarray, algorithm, t, count=1)
    alone = algorithm.aggregate(t, server, [client], [1.0])
    if algorithm.name == "flexlora":  # it decomposes the product anew: other factors, the same update
        assert relative_error(alone.update, ideal([client], [1.0])) < ROUNDING
    else:
        assert all(np.array_equal(np.asarray(getattr(alone, f)), np.asarray(getattr(client, f))) for f in FACTORS)
    together = algorithm.aggregate(t, server, [client] * 3, WEIGHTS)
    assert relative_error(together.update, ideal([client], [1.0])) < ROUNDING


def test_law_2_permuting_clients_changes_nothing(algorithm, asarray, t):
    server, clients = server_layer(asarray), client_layers(asarray, algorithm, t)
    straight = algorithm.aggregate(t, server, clients, WEIGHTS)
    order = [2, 0, 1]
    permuted = algorithm.aggregate(t, server, [clients[i] for i in order], [WEIGHTS[i] for i in order])
    assert relative_error(permuted.update, straight.update) < ROUNDING


def test_law_3_exactness(algorithm, asarray, t):
    server, clients = server_layer(asarray), client_layers(asarray, algorithm, t)
    update = np.asarray(algorithm.aggregate(t, server, clients, WEIGHTS).update)
    wanted = ideal(clients, WEIGHTS)
    if algorithm.name == "flexlora":
        singular = np.linalg.svd(wanted, compute_uv=False)
        tail = np.sqrt(np.sum(singular[RANK:] ** 2))
        assert abs(np.linalg.norm(wanted - update) - tail) < ROUNDING * singular[0]
        assert np.linalg.matrix_rank(update) == RANK < np.linalg.matrix_rank(wanted)
        return
    if algorithm.name != "fedavg-lora":
        assert relative_error(update, wanted) < ROUNDING
        return
    mean_a = sum(p * np.asarray(c.A) for p, c in zip(WEIGHTS, clients, strict=True))
    mean_b = sum(p * np.asarray(c.B) for p, c in zip(WEIGHTS, clients, strict=True))
    interference = sum(
        p * (np.asarray(c.A) - mean_a) @ (np.asarray(c.B) - mean_b) for p, c in zip(WEIGHTS, clients, strict=True)
    )
    assert relative_error(wanted - update, interference) < ROUNDING
    assert np.abs(interference).max() > 0.1 * np.abs(wanted).max()  # the law would be empty otherwise


def test_law_5_a_frozen_factor_keeps_its_bits(algorithm, asarray, t):
    server, clients = server_layer(asarray), client_layers(asarray, algorithm, t)
    aggregated = algorithm.aggregate(t, server, clients, WEIGHTS)
    broadcast = algorithm.broadcast(t, server, server.rank)
    for factor in FACTORS:
        same = np.array_equal(np.asarray(getattr(aggregated, factor)), np.asarray(getattr(server, factor)))
        assert same == (factor not in algorithm.trainable(t))
        assert np.array_equal(np.asarray(getattr(broadcast, factor)), np.asarray(getattr(server, factor)))


def test_law_6_a_common_gauge_changes_nothing(algorithm, asarray, t):
    rotate = numbers("gauge", RANK, RANK)
    inverse = np.linalg.inv(rotate)

    def turned(layer):
        return Layer(layer.A @ asarray(rotate), asarray(inverse) @ layer.B)

    server, clients = server_layer(asarray), client_layers(asarray, algorithm, t)
    plain = algorithm.aggregate(t, server, clients, WEIGHTS).update
    gauged = algorithm.aggregate(t, turned(server), [turned(client) for client in clients], WEIGHTS).update
    # The inverse loses as many digits as the condition number says.
    assert relative_error(gauged, plain) < ROUNDING * np.linalg.cond(rotate)


@pytest.mark.parametrize(("name", "changes"), [("fedavg-lora", True), ("flexlora", False)])
def test_law_6_a_gauge_of_each_client(name, changes):
    """The other half of the law: who averages coordinates depends on each client's own, who averages updates does not."""
    algorithm = ALGORITHMS[name]()
    clients = client_layers(np.asarray, algorithm, 0)
    gauges = [numbers(f"gauge {i}", RANK, RANK) for i in range(len(clients))]
    turned = [Layer(c.A @ rotate, np.linalg.inv(rotate) @ c.B) for c, rotate in zip(clients, gauges, strict=True)]
    plain = algorithm.aggregate(0, clients[0], clients, WEIGHTS).update
    error = relative_error(algorithm.aggregate(0, turned[0], turned, WEIGHTS).update, plain)
    assert error > 0.1 if changes else error < ROUNDING * max(np.linalg.cond(rotate) for rotate in gauges)


def test_flexlora_splits_the_singular_values_evenly_and_needs_no_dense_product():
    """The thin path (few clients on a large layer) and the dense one agree, and A^T A = B B^T = diag(s)."""
    algorithm = ALGORITHMS["flexlora"]()
    for d, k in [(40, 30), (4, 5)]:  # 2 clients of rank 3: 6 columns, fewer and more than the smaller side
        clients = [Layer(numbers(f"A {i} {d}", d, RANK), numbers(f"B {i} {k}", RANK, k)) for i in range(2)]
        layer = algorithm.aggregate(0, clients[0], clients, [0.3, 0.7])
        left, singular, right = np.linalg.svd(ideal(clients, [0.3, 0.7]))
        best = left[:, :RANK] * singular[:RANK] @ right[:RANK]
        assert relative_error(layer.update, best) < ROUNDING
        np.testing.assert_allclose(layer.A.T @ layer.A, np.diag(singular[:RANK]), atol=ROUNDING * singular[0])
        np.testing.assert_allclose(layer.B @ layer.B.T, np.diag(singular[:RANK]), atol=ROUNDING * singular[0])


def test_trainable_factors_follow_the_papers():
    schedule = {name: ["".join(sorted(method().trainable(t))) for t in range(4)] for name, method in ALGORITHMS.items()}
    assert schedule == {
        "fedavg-lora": ["AB"] * 4,
        "ffa-lora": ["B"] * 4,
        "rolora": ["B", "A", "B", "A"],
        "flexlora": ["AB"] * 4,
    }


def test_sixteen_bit_means_are_rounded_once():
    """The mean of many bf16 factors: accumulated in float32, its error is one rounding, not one for each client."""
    values = torch.from_numpy(numbers("many", 64, 4, 4)).to(torch.bfloat16)
    from rolora.algorithms import weighted_mean

    mean = weighted_mean(list(values), [1 / 64] * 64)
    assert mean.dtype == torch.bfloat16
    exact = values.double().mean(dim=0)
    assert torch.all((mean.double() - exact).abs() <= exact.abs() * 2**-8 + 1e-6)
