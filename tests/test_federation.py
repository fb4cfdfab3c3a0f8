"""The round: what travels, what is counted, what is refused (laws 5, 7 and 11), on arrays made here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rolora.adapter import FACTORS, Layer
from rolora.algorithms import ALGORITHMS
from rolora.communication import PARTS, Ledger, Message, nbytes, total
from rolora.federation import ClientUpdate, ServerState, UpdateError, pack, run_round
from rolora.keys import Key


def state(d=6, rank=2, k=6, head=True):
    draw = Key(1).fold("state").generator()
    layers = {name: Layer(draw.standard_normal((d, rank)), draw.standard_normal((rank, k))) for name in ("q", "v")}
    return ServerState(layers, {"head.weight": draw.standard_normal((3, k))} if head else {})


def perturb(t, client, broadcast, trainable):
    """A local update without a model: noise of the client's own on what is trained."""
    draw = Key(2).fold("client", client, "round", t).generator()
    message = pack(broadcast, trainable | {"head"})
    return ClientUpdate(
        client=client,
        round=t,
        weight=1.0 + client,
        message=Message(
            factors={
                factor: {name: array + draw.standard_normal(array.shape) for name, array in layers.items()}
                for factor, layers in message.factors.items()
            },
            head={name: array + draw.standard_normal(array.shape) for name, array in message.head.items()},
        ),
        loss=0.5,
    )


def history(name, rounds, clients=(0, 1, 2), server=None):
    server, ledger, reports = server or state(), Ledger(), []
    for t in range(rounds):
        server, ledger, report = run_round(t, server, ALGORITHMS[name](), list(clients), perturb, ledger)
        reports.append(report)
    return server, reports


def traffic(reports):
    counted = total([*(r.bytes_up for r in reports), *(r.bytes_down for r in reports)])
    return counted["A"] + counted["B"]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_law_7_bytes_are_those_of_the_shapes_that_moved(name):
    algorithm, (_, reports) = ALGORITHMS[name](), history(name, 4)
    size = {"A": 2 * 6 * 2 * 8, "B": 2 * 2 * 6 * 8, "head": 3 * 6 * 8}
    for t, report in enumerate(reports):
        up = algorithm.trainable(t) | {"head"}
        assert report.bytes_up == {part: 3 * size[part] * (part in up) for part in PARTS}
        before = (algorithm.trainable(t - 1) | {"head"}) if t else set()
        assert report.bytes_down == {part: 3 * size[part] * (part in before) for part in PARTS}
        assert report.bytes_joining == {part: 3 * size[part] * (t == 0) for part in PARTS}


@pytest.mark.parametrize("first", [0, 1, 2])
def test_law_7_rolora_halves_fedavg_over_any_two_rounds(first):
    window = slice(first, first + 2)
    rolora, fedavg = (traffic(history(name, 4)[1][window]) for name in ("rolora", "fedavg-lora"))
    assert rolora * 2 == fedavg


def test_law_7_ffa_sends_the_share_of_b():
    server = state(d=10, k=4)
    ffa, fedavg = (traffic(history(name, 4, server=server)[1]) for name in ("ffa-lora", "fedavg-lora"))
    assert ffa / fedavg == pytest.approx(4 / (10 + 4), rel=1e-15)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_law_7_a_newcomer_and_a_returning_client_can_assemble_the_broadcast(name):
    """Each client keeps what it was sent; with every message added it must hold the server's state, bit for bit."""
    algorithm, server, ledger = ALGORITHMS[name](), state(), Ledger()
    held = {}
    for t, clients in enumerate([[0, 1], [0, 1], [0], [0, 2], [0, 1, 2], [0, 2]]):
        for client in clients:
            parts = ledger.missing(client)
            if client == 2 and t == 3:
                assert parts == frozenset(PARTS)
            if client == 1 and t == 4 and name == "rolora":
                assert {"A", "B"} <= parts
            mine = held.setdefault(client, {})
            for part, layer, array in pack(server, parts).arrays():
                mine[part, layer] = array
            whole = {(part, layer): array for part, layer, array in pack(server, frozenset(PARTS)).arrays()}
            assert mine.keys() == whole.keys()
            assert all(np.array_equal(mine[key], whole[key]) for key in whole)
        server, ledger, _ = run_round(t, server, algorithm, clients, perturb, ledger)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_law_5_a_frozen_factor_keeps_its_bits_on_the_server(name):
    algorithm, server, ledger = ALGORITHMS[name](), state(), Ledger()
    for t in range(3):
        after, ledger, _ = run_round(t, server, algorithm, [0, 1], perturb, ledger)
        for factor in set(FACTORS) - algorithm.trainable(t):
            for layer in server.layers:
                assert np.array_equal(getattr(after.layers[layer], factor), getattr(server.layers[layer], factor))
        server = after


@pytest.mark.parametrize("name", ALGORITHMS)
def test_law_2_the_order_of_clients_does_not_change_a_bit(name):
    forwards, _ = history(name, 3, (0, 1, 2))
    backwards, _ = history(name, 3, (2, 1, 0))
    for layer in forwards.layers:
        for factor in FACTORS:
            assert np.array_equal(getattr(forwards.layers[layer], factor), getattr(backwards.layers[layer], factor))
    assert np.array_equal(forwards.head["head.weight"], backwards.head["head.weight"])


def broken(kind):
    """A local update of client 1 that is malformed in one way."""

    def local_update(t, client, broadcast, trainable):
        update = perturb(t, client, broadcast, trainable)
        if client != 1:
            return update
        b = dict(update.message.factors["B"])
        factors = {"B": b}
        if kind == "weight":
            return replace(update, weight=0.0)
        if kind == "round":
            return replace(update, round=t + 1)
        if kind == "missing":
            del b["q"]
        if kind == "surplus":
            factors["A"] = {name: layer.A for name, layer in broadcast.layers.items()}
        if kind == "shape":
            b["q"] = b["q"][:, :-1]
        if kind == "dtype":
            b["q"] = b["q"].astype(np.float32)
        if kind == "nan":
            b["q"] = np.full_like(b["q"], np.nan)
        if kind == "infinity":
            b["q"] = b["q"] * np.inf
        return replace(update, message=Message(factors, update.message.head))

    return local_update


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("weight", "weight 0.0"),
        ("round", "round 1"),
        ("missing", "B of q is missing"),
        ("surplus", "A of q was sent but is frozen"),
        ("shape", r"\(2, 5\)"),
        ("dtype", "float32"),
        ("nan", "not finite"),
        ("infinity", "not finite"),
    ],
)
def test_law_11_a_malformed_update_is_refused_and_named(kind, words):
    server = state()
    before = {name: layer.B.copy() for name, layer in server.layers.items()}
    with pytest.raises(UpdateError, match=words) as refusal, np.errstate(invalid="ignore"):
        run_round(0, server, ALGORITHMS["rolora"](), [0, 1], broken(kind), Ledger())
    assert str(refusal.value).startswith("client 1, round 0: ")
    assert all(np.array_equal(server.layers[name].B, before[name]) for name in before)


def test_a_frozen_head_does_not_travel():
    server, _, report = run_round(0, state(head=False), ALGORITHMS["rolora"](), [0, 1], perturb, Ledger())
    assert server.head == {}
    assert report.bytes_up["head"] == report.bytes_joining["head"] == 0


@pytest.mark.parametrize(("dtype", "width"), [(np.float64, 8), (np.float32, 4), (np.int64, 8)])
def test_nbytes_is_entries_times_width(dtype, width):
    assert nbytes(np.zeros((3, 5), dtype=dtype)) == 15 * width == np.zeros((3, 5), dtype=dtype).nbytes
