"""The laws of aggregation on drawn shapes, ranks, weights, dtypes and numbers of clients.

The default run tries a few dozen examples of each law; `pytest --hypothesis-profile thorough` tries 2,000.
"""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from rolora.adapter import FACTORS, Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key

FEDERATED = [name for name, method in ALGORITHMS.items() if not (method.pooled or method.personal)]
EPSILON = {"float64": 2.0**-52, "float32": 2.0**-23, "bfloat16": 2.0**-7}


@st.composite
def situations(draw, mixed=False):
    """Numbers only: the tensors are made by ``built``, outside of the drawing."""
    name = draw(st.sampled_from([name for name in FEDERATED if not (mixed and ALGORITHMS[name].mixed_ranks)]))
    d, k = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    rank, count = draw(st.integers(1, min(d, k))), draw(st.integers(1, 6))
    return {
        "name": name,
        "t": draw(st.integers(0, 3)),
        "shape": (d, rank, k),
        "ranks": [draw(st.integers(1, rank)) if mixed else rank for _ in range(count)],
        "counts": draw(st.lists(st.integers(1, 1000), min_size=count, max_size=count)),
        "dtype": draw(st.sampled_from(sorted(EPSILON))),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def built(situation):
    """Algorithm, round, server, its clients after the round, their shares, and the dtype."""
    algorithm, t, dtype = ALGORITHMS[situation["name"]](), situation["t"], situation["dtype"]
    (d, rank, k), key = situation["shape"], Key(situation["seed"])

    def factor(owner, name, *shape):
        numbers = key.fold(owner, name).generator().standard_normal(shape)
        return torch.from_numpy(numbers).to(getattr(torch, dtype))

    server = Layer(factor("server", "A", d, rank), factor("server", "B", rank, k))
    trained, clients = algorithm.trainable(t), []
    for index, own in enumerate(situation["ranks"]):
        start = algorithm.broadcast(t, server, own)
        clients.append(
            Layer(
                factor(index, "A", d, own) if "A" in trained else start.A,
                factor(index, "B", own, k) if "B" in trained else start.B,
            )
        )
    shares = [count / sum(situation["counts"]) for count in situation["counts"]]
    return algorithm, t, server, clients, shares, dtype


def dense(layer):
    product = layer.A.double() @ layer.B.double()
    return (product if layer.residual is None else product + layer.residual.double()).numpy()


def ideal(clients, shares):
    return sum(p * dense(client) for p, client in zip(shares, clients, strict=True))


def size(clients):
    return max(float(client.A.double().norm() * client.B.double().norm()) for client in clients)


def allowed(clients, dtype, server, condition=1.0):
    """Rounding of the factors' entries, of their sums over clients and rank, and of the result's own dtype."""
    return 8 * EPSILON[dtype] * (len(clients) + server.rank + 8) * (1 + size(clients)) * condition


def without(algorithm, law):
    assume(law not in algorithm.exceptions)


def gap(matrix, rank):
    singular = np.linalg.svd(matrix, compute_uv=False)
    if len(singular) <= rank:
        return 1.0
    return float((singular[rank - 1] - singular[rank]) / max(singular[0], 1e-300))


@given(situations())
def test_law_1_identical_clients(situation):
    algorithm, t, server, clients, shares, dtype = built(situation)
    without(algorithm, 1)
    result = algorithm.aggregate(t, server, [clients[0]] * len(shares), shares)
    assert np.abs(dense(result) - dense(clients[0])).max() <= allowed(clients, dtype, server)


@given(situations(), st.data())
def test_law_2_order(situation, data):
    algorithm, t, server, clients, shares, dtype = built(situation)
    order = data.draw(st.permutations(range(len(clients))))
    condition = 1 / max(gap(ideal(clients, shares), server.rank), 1e-3) if algorithm.exactness == "tail" else 1.0
    assume(condition < 1e3)
    straight = algorithm.aggregate(t, server, clients, shares)
    turned = algorithm.aggregate(t, server, [clients[i] for i in order], [shares[i] for i in order])
    assert np.abs(dense(straight) - dense(turned)).max() <= allowed(clients, dtype, server, condition)


@given(situations())
def test_law_3_exactness(situation):
    algorithm, t, server, clients, shares, dtype = built(situation)
    without(algorithm, 3)
    wanted, condition = ideal(clients, shares), 1.0
    if algorithm.exactness == "interference":
        mean = {f: sum(p * getattr(c, f).double() for p, c in zip(shares, clients, strict=True)) for f in FACTORS}
        wanted = (mean["A"] @ mean["B"]).numpy()
    if algorithm.exactness == "tail":
        condition = 1 / max(gap(wanted, server.rank), 1e-3)
        assume(condition < 1e3)
        left, singular, right = np.linalg.svd(wanted, full_matrices=False)
        wanted = left[:, : server.rank] * singular[: server.rank] @ right[: server.rank]
    result = algorithm.aggregate(t, server, clients, shares)
    assert np.abs(dense(result) - wanted).max() <= allowed(clients, dtype, server, condition)


@given(situations(mixed=True))
def test_law_4_mixed_ranks(situation):
    algorithm, t, server, clients, shares, dtype = built(situation)
    without(algorithm, 4)
    wanted, condition = ideal(clients, shares), 1.0
    if algorithm.exactness == "tail":
        condition = 1 / max(gap(wanted, server.rank), 1e-3)
        assume(condition < 1e3)
        left, singular, right = np.linalg.svd(wanted, full_matrices=False)
        wanted = left[:, : server.rank] * singular[: server.rank] @ right[: server.rank]
    result = algorithm.aggregate(t, server, clients, shares)
    assert result.rank == server.rank
    assert np.abs(dense(result) - wanted).max() <= allowed(clients, dtype, server, condition)


@given(situations())
def test_law_5_frozen_factors(situation):
    algorithm, t, server, clients, shares, _ = built(situation)
    without(algorithm, 5)
    result = algorithm.aggregate(t, server, clients, shares)
    for factor in set(FACTORS) - algorithm.trainable(t):
        assert torch.equal(getattr(result, factor), getattr(server, factor))


@given(situations())
def test_law_6_common_gauge(situation):
    algorithm, t, server, clients, shares, dtype = built(situation)
    without(algorithm, 6)
    assume(dtype == "float64")
    turn = torch.from_numpy(Key(9).fold(server.rank).generator().standard_normal((server.rank, server.rank)))
    condition = float(torch.linalg.cond(turn)) ** 2
    if algorithm.exactness == "tail":
        condition /= max(gap(ideal(clients, shares), server.rank), 1e-3)
    inverse = torch.linalg.inv(turn)

    def turned(layer):
        return Layer(layer.A @ turn, inverse @ layer.B)

    plain = algorithm.aggregate(t, server, clients, shares)
    gauged = algorithm.aggregate(t, turned(server), [turned(client) for client in clients], shares)
    assert np.abs(dense(plain) - dense(gauged)).max() <= allowed(clients, dtype, server, condition)
