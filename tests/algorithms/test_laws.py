"""The laws that concern one layer, for every algorithm, in NumPy, in array_api_strict and in torch.

Clients are random; what an algorithm does not train is common to them, because that is what they receive. Tolerances
are multiples of rounding: an error of a few operations in the dtype's unit, times the size of the sums. Identical clients, their
order and a common gauge (laws 1, 2 and 6) are drawn in ``test_laws_property`` and tried for every method in ``tests/conformance``.
"""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest
import torch

from rolora.adapter import FACTORS, Layer, product_of
from rolora.algorithms import ALGORITHMS
from rolora.algorithms.server_optimizer import ServerOptimizer
from rolora.errors import InputError
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


FEDERATED = [name for name, method in ALGORITHMS.items() if not method.pooled]


@pytest.fixture(params=FEDERATED)
def algorithm(request):
    return ALGORITHMS[request.param]()


def without_exception(algorithm, law):
    if law in algorithm.exceptions:
        pytest.skip(f"law {law} does not hold for {algorithm.name} by definition: {algorithm.exceptions[law]}")


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


def test_law_1_one_client(algorithm, asarray, t):
    without_exception(algorithm, 1)
    server = server_layer(asarray)
    (client,) = client_layers(asarray, algorithm, t, count=1)
    alone = algorithm.aggregate(t, server, [client], [1.0])
    assert relative_error(alone.update, ideal([client], [1.0])) < ROUNDING
    if algorithm.name in ("fedavg-lora", "ffa-lora", "rolora", "la-lora"):  # a mean of one is that one, bit for bit
        assert all(np.array_equal(np.asarray(getattr(alone, f)), np.asarray(getattr(client, f))) for f in FACTORS)


def test_law_3_exactness(algorithm, asarray, t):
    server, clients = server_layer(asarray), client_layers(asarray, algorithm, t)
    update = np.asarray(algorithm.aggregate(t, server, clients, WEIGHTS).update)
    wanted = ideal(clients, WEIGHTS)
    without_exception(algorithm, 3)
    if algorithm.exactness == "tail":
        singular = np.linalg.svd(wanted, compute_uv=False)
        tail = np.sqrt(np.sum(singular[RANK:] ** 2))
        assert abs(np.linalg.norm(wanted - update) - tail) < ROUNDING * singular[0]
        assert np.linalg.matrix_rank(update) == RANK < np.linalg.matrix_rank(wanted)
        return
    if algorithm.exactness == "exact":
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
        redrawn = algorithm.restarts and factor == "A"  # by restart, after the aggregation
        assert same == (factor not in algorithm.changed(t) and not (algorithm.restarts and factor == "B")) or redrawn
        assert np.array_equal(np.asarray(getattr(broadcast, factor)), np.asarray(getattr(server, factor)))


@pytest.mark.parametrize(
    ("name", "changes"), [("fedavg-lora", True), ("flexlora", False), ("flora", False), ("fedex-lora", False)]
)
def test_law_6_a_gauge_of_each_client(name, changes):
    """A gauge of each client: who averages coordinates depends on each client's own, who averages updates does not."""
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
    both = {name: ["AB"] * 4 for name in ALGORITHMS}
    assert schedule == both | {"ffa-lora": ["B"] * 4, "fedsvd": ["B"] * 4, "rolora": ["B", "A", "B", "A"]}
    mixture = ALGORITHMS["rolora"]("BABB")
    assert ["".join(mixture.trainable(t)) for t in range(6)] == ["B", "A", "B", "B", "B", "A"]
    sent = {name: ["".join(sorted(method().sent(t))) for t in range(2)] for name, method in ALGORITHMS.items()}
    assert sent == {name: letters[:2] for name, letters in schedule.items()} | {
        "fedsa-lora": ["A", "A"],
        "local-only": ["", ""],
    }


@pytest.mark.parametrize("schedule", ["", "BC", "b"])
def test_a_schedule_of_other_letters_is_refused(schedule):
    with pytest.raises(InputError, match="expected letters A and B"):
        ALGORITHMS["rolora"](schedule)


@pytest.mark.parametrize("name", [name for name in FEDERATED if not ALGORITHMS[name].mixed_ranks])
def test_mixed_ranks_go_down_truncated_and_come_back(name, asarray):
    """The broadcast of rank r_i is the first r_i directions; the aggregate has the server's rank again."""
    algorithm, server = ALGORITHMS[name](), server_layer(asarray)
    for rank in (1, 2, RANK):
        layer = algorithm.broadcast(0, server, rank)
        assert layer.rank == rank
        np.testing.assert_array_equal(np.asarray(layer.A), np.asarray(server.A)[:, :rank])
        np.testing.assert_array_equal(np.asarray(layer.B), np.asarray(server.B)[:rank])
    clients = [
        Layer(asarray(numbers(f"A {rank}", D, rank)), asarray(numbers(f"B {rank}", rank, K))) for rank in (1, 2, RANK)
    ]
    layer = algorithm.aggregate(0, server, clients, WEIGHTS)
    assert layer.rank == RANK
    if name == "flora":
        assert relative_error(layer.update, ideal(clients, WEIGHTS)) < ROUNDING


def test_a_new_adapter_depends_on_key_and_round_and_changes_nothing_else():
    algorithm, server = ALGORITHMS["flora"](), server_layer(np.asarray)
    layer = algorithm.aggregate(0, server, client_layers(np.asarray, algorithm, 0), WEIGHTS)
    one, two = (algorithm.restart(0, layer, Key(0).fold("restart", t)) for t in (0, 1))
    assert not np.array_equal(one.A, two.A)
    assert not np.array_equal(one.A, server.A)
    np.testing.assert_array_equal(one.update, layer.residual)
    again = algorithm.restart(0, layer, Key(0).fold("restart", 0))
    np.testing.assert_array_equal(one.A, again.A)


def test_increments_add_up_to_the_residual():
    for name in ("flora", "fedex-lora"):
        algorithm, layer, total = ALGORITHMS[name](), server_layer(np.asarray), 0.0
        for t in range(3):
            layer = algorithm.aggregate(t, layer, client_layers(np.asarray, algorithm, t), WEIGHTS)
            total = total + product_of(layer.increment)
        np.testing.assert_allclose(layer.residual, total, atol=1e-13)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
def test_a_server_optimiser_keeps_its_memory_apart(optimizer):
    """The memory is the server's: never broadcast, one moment for each factor that was trained, nothing for the others."""
    method = ServerOptimizer(ALGORITHMS["rolora"](), optimizer, 0.5, 0.9, 0.99, 1e-3)
    layer = server_layer(np.asarray)
    after = method.aggregate(0, layer, client_layers(np.asarray, method, 0), WEIGHTS)
    assert {name[-1] for name in after.memory} == {"B"}
    assert np.array_equal(after.A, layer.A)
    assert method.broadcast(1, after, after.rank).memory == {}
    once = method.aggregate(1, after, client_layers(np.asarray, method, 1), WEIGHTS)
    assert {name[-1] for name in once.memory} == {"A", "B"}


def test_a_server_optimiser_of_rate_1_without_memory_is_the_method():
    inner = ALGORITHMS["fedavg-lora"]()
    method = ServerOptimizer(inner, "momentum", 1.0, 0.0, 0.0, 1.0)
    server, clients = server_layer(np.asarray), client_layers(np.asarray, inner, 0)
    plain = inner.aggregate(0, server, clients, WEIGHTS)
    np.testing.assert_allclose(method.aggregate(0, server, clients, WEIGHTS).A, plain.A, atol=1e-15)


@pytest.mark.parametrize("name", ["flexlora", "flora", "fedex-lora", "fedsvd", "hetlora", "local-only"])
def test_a_server_optimiser_is_refused_where_factors_do_not_last(name):
    with pytest.raises(InputError, match=r"server\.optimizer"):
        ServerOptimizer(ALGORITHMS[name](), "adam", 1.0, 0.9, 0.99, 1e-3)


def test_sixteen_bit_means_are_rounded_once():
    """The mean of many bf16 factors: accumulated in float32, its error is one rounding, not one for each client."""
    values = torch.from_numpy(numbers("many", 64, 4, 4)).to(torch.bfloat16)
    from rolora.algorithms import weighted_mean

    mean = weighted_mean(list(values), [1 / 64] * 64)
    assert mean.dtype == torch.bfloat16
    exact = values.double().mean(dim=0)
    assert torch.all((mean.double() - exact).abs() <= exact.abs() * 2**-8 + 1e-6)


def test_fedrot_undoes_rotations_of_each_client():
    """Clients that hold one update in rotated bases are averaged exactly, and rotations of the clients change nothing."""
    algorithm, server = ALGORITHMS["fedrot-lora"](), server_layer(np.asarray)
    clients = client_layers(np.asarray, algorithm, 0)
    turns = [np.linalg.qr(numbers(f"turn {i}", RANK, RANK))[0] for i in range(3)]
    one = Layer(server.A, clients[0].B)
    spread = [Layer(one.A @ turn, turn.T @ one.B) for turn in turns]
    assert relative_error(algorithm.aggregate(0, server, spread, WEIGHTS).update, one.update) < ROUNDING
    turned = [Layer(c.A @ turn, turn.T @ c.B) for c, turn in zip(clients, turns, strict=True)]
    plain = algorithm.aggregate(0, server, clients, WEIGHTS).update
    assert relative_error(algorithm.aggregate(0, server, turned, WEIGHTS).update, plain) < 100 * ROUNDING
    with pytest.raises(InputError, match="expected A or B"):
        ALGORITHMS["fedrot-lora"]("C")
