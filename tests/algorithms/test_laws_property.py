"""The laws of aggregation on drawn shapes, ranks, weights, dtypes and numbers of clients.

The default run tries a few dozen examples of each law; `pytest --hypothesis-profile thorough` tries 2,000.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from rolora.adapter import FACTORS, Layer
from rolora.algorithms import ALGORITHMS
from rolora.federation import ClientUpdate, ServerState, UpdateError, pack, run_round, start_of
from rolora.federation.communication import Ledger, Message
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


# The laws of the round: whatever the shapes, who takes part, and what is broken in an update.


@st.composite
def rounds_of(draw):
    """A method, its layers' shapes, and who takes part in each of a few rounds."""
    name = draw(st.sampled_from(sorted(ALGORITHMS)))
    pooled = ALGORITHMS[name].pooled
    mixed = not ALGORITHMS[name].mixed_ranks
    rank = draw(st.integers(1, 3))
    clients = 1 if pooled else draw(st.integers(1, 4))
    everyone = st.lists(st.integers(0, clients - 1), min_size=1, max_size=clients, unique=True)
    return {
        "name": name,
        "shapes": draw(st.lists(st.tuples(st.integers(3, 7), st.integers(3, 7)), min_size=1, max_size=3)),
        "rank": rank,
        "ranks": [draw(st.integers(1, rank)) if mixed else rank for _ in range(clients)],
        "present": [draw(everyone) for _ in range(draw(st.integers(1, 4)))],
        "head": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**32 - 1)),
    }


def server_of(case):
    stream = Key(case["seed"]).fold("server").generator()
    rank = case["rank"]
    layers = {
        f"layer {index}": Layer(stream.standard_normal((d, rank)), stream.standard_normal((rank, k)))
        for index, (d, k) in enumerate(case["shapes"])
    }
    return ServerState(layers, {"head": stream.standard_normal((2, 3))} if case["head"] else {})


def local(case, algorithm):
    """Noise of the client's own on what it trains; the shapes are those that it received."""

    def update(t, client, broadcast, trainable):
        stream = Key(case["seed"]).fold("client", client, "round", t).generator()
        trained = pack(broadcast, trainable | {"head"})
        factors = {
            f: {name: array + stream.standard_normal(array.shape) for name, array in layers.items()}
            for f, layers in trained.factors.items()
        }
        personal = algorithm.personal & trainable
        kept = {name: {f: factors[f][name] for f in personal} for name in broadcast.layers if personal}
        head = {name: array + stream.standard_normal(array.shape) for name, array in trained.head.items()}
        message = Message({f: factors[f] for f in sorted(algorithm.sent(t))}, head)
        return ClientUpdate(client, t, 1.0 + client, message, kept=kept)

    return update


def play(case, order=lambda clients: clients):
    algorithm, state, ledger, reports = ALGORITHMS[case["name"]](), server_of(case), Ledger(), []
    ranks = dict(enumerate(case["ranks"]))
    for t, present in enumerate(case["present"]):
        state, ledger, report = run_round(
            t, state, algorithm, order(present), local(case, algorithm), ledger, Key(case["seed"]), ranks
        )
        reports.append(report)
    return state, reports


@given(rounds_of())
def test_law_7_bytes(case):
    algorithm = ALGORITHMS[case["name"]]()
    _, reports = play(case)
    for t, report in enumerate(reports):
        entries = {"A": 0, "B": 0, "head": 6 * len(report.clients) * case["head"]}
        for client in report.clients:
            for d, k in case["shapes"]:
                entries["A"] += d * case["ranks"][client] * ("A" in algorithm.sent(t))
                entries["B"] += k * case["ranks"][client] * ("B" in algorithm.sent(t))
        assert report.bytes_up == {part: 8 * count for part, count in entries.items()}
        newcomers = [c for c in report.clients if not any(c in earlier.clients for earlier in reports[:t])]
        full = sum(case["ranks"][c] * (d + k) for c in newcomers for d, k in case["shapes"])
        assert report.bytes_joining["A"] + report.bytes_joining["B"] == 8 * full


@given(rounds_of())
def test_law_9_order(case):
    forwards, _ = play(case)
    backwards, _ = play(case, lambda clients: clients[::-1])
    for name, layer in forwards.layers.items():
        assert np.array_equal(layer.A, backwards.layers[name].A)
        assert np.array_equal(layer.B, backwards.layers[name].B)
        if layer.residual is not None:
            assert np.array_equal(layer.residual, backwards.layers[name].residual)
    assert forwards.personal.keys() == backwards.personal.keys()


@given(rounds_of())
def test_law_8_seeds(case):
    once, again = play(case)[0], play(case)[0]
    other = play(case | {"seed": case["seed"] + 1})[0]
    for name, layer in once.layers.items():
        assert np.array_equal(layer.A, again.layers[name].A)
        assert np.array_equal(layer.B, again.layers[name].B)
        assert not np.array_equal(layer.A, other.layers[name].A)


@given(rounds_of(), st.sampled_from(["NaN", "infinity", "shape", "missing", "surplus", "weight", "round"]), st.data())
def test_law_11_malformed_updates(case, kind, data):
    algorithm = ALGORITHMS[case["name"]]()
    assume(algorithm.sent(0))
    victim = data.draw(st.sampled_from(case["present"][0]))
    factor = data.draw(st.sampled_from(sorted(algorithm.sent(0))))
    good, name = local(case, algorithm), "layer 0"

    def update(t, client, broadcast, trainable):
        returned = good(t, client, broadcast, trainable)
        if client != victim:
            return returned
        factors = {f: dict(layers) for f, layers in returned.message.factors.items()}
        if kind == "NaN":
            factors[factor][name] = factors[factor][name] * np.nan
        elif kind == "infinity":
            factors[factor][name] = np.full_like(factors[factor][name], np.inf)
        elif kind == "shape":
            factors[factor][name] = factors[factor][name][:, :-1]
        elif kind == "missing":
            del factors[factor][name]
        elif kind == "surplus":
            factors[factor]["another layer"] = factors[factor][name]
        elif kind == "weight":
            return replace(returned, weight=-1.0)
        else:
            return replace(returned, round=t + 1)
        return replace(returned, message=Message(factors, returned.message.head))

    state = server_of(case)
    before = {key: (layer.A.copy(), layer.B.copy()) for key, layer in state.layers.items()}
    with pytest.raises(UpdateError, match=f"client {victim}, round 0"):
        run_round(0, state, algorithm, case["present"][0], update, Ledger(), Key(0), dict(enumerate(case["ranks"])))
    assert all(
        np.array_equal(layer.A, before[key][0]) and np.array_equal(layer.B, before[key][1])
        for key, layer in state.layers.items()
    )


@given(rounds_of())
def test_law_10_a_round_moves_the_model(case):
    algorithm = ALGORITHMS[case["name"]]()
    state, _ = play(case | {"present": case["present"][:1]})
    start = server_of(case)
    client = case["present"][0][0]
    one, other = (start_of(1, each, algorithm, client, case["ranks"][client]) for each in (start, state))
    assert all(not np.array_equal(one.layers[name].update, other.layers[name].update) for name in one.layers)
