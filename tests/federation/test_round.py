"""The round: what travels, what is counted, what stays frozen (laws 2, 5 and 7), on arrays made here."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from rolora.adapter import FACTORS, Layer, product_of
from rolora.algorithms import ALGORITHMS
from rolora.federation import ClientUpdate, ServerState, pack, run_round, sent_down, start_of
from rolora.federation.communication import PARTS, Ledger, Message, nbytes, total
from rolora.keys import Key


def state(d=6, rank=2, k=6, head=True):
    draw = Key(1).fold("state").generator()
    layers = {name: Layer(draw.standard_normal((d, rank)), draw.standard_normal((rank, k))) for name in ("q", "v")}
    return ServerState(layers, {"head.weight": draw.standard_normal((3, k))} if head else {})


def perturbing(algorithm):
    """A local update without a model: noise of the client's own on what is trained."""

    def local_update(t, client, broadcast, trainable):
        draw = Key(2).fold("client", client, "round", t).generator()
        trained = pack(broadcast, trainable | {"head"})
        factors = {
            factor: {name: array + draw.standard_normal(array.shape) for name, array in layers.items()}
            for factor, layers in trained.factors.items()
        }
        kept = {
            name: {factor: factors[factor][name] for factor in algorithm.personal & trainable}
            for name in broadcast.layers
            if algorithm.personal & trainable
        }
        head = {name: array + draw.standard_normal(array.shape) for name, array in trained.head.items()}
        message = Message({factor: factors[factor] for factor in sorted(algorithm.sent(t))}, head)
        return ClientUpdate(client, t, 1.0 + client, message, loss=0.5, kept=kept)

    return local_update


def play(t, server, algorithm, clients, ledger, ranks=None):
    return run_round(t, server, algorithm, clients, perturbing(algorithm), ledger, Key(5), ranks)


def history(name, rounds, clients=(0, 1, 2), server=None):
    server, ledger, reports = server or state(), Ledger(), []
    for t in range(rounds):
        server, ledger, report = play(t, server, ALGORITHMS[name](), list(clients), ledger)
        reports.append(report)
    return server, reports


def traffic(reports):
    counted = total([*(r.bytes_up for r in reports), *(r.bytes_down for r in reports)])
    return counted["A"] + counted["B"]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_law_7_bytes_are_those_of_the_shapes_that_moved(name):
    algorithm = ALGORITHMS[name]()
    clients = range(1 if algorithm.pooled else 3)
    _, reports = history(name, 4, clients)
    n = len(clients)
    size = {"A": 2 * 6 * 2 * 8, "B": 2 * 2 * 6 * 8, "head": 3 * 6 * 8}
    # Two layers, dense (6 x 6): the stack of three clients of rank 2, and what FedEx-LoRA adds, are no smaller.
    residual = {"residual": n * 2 * 6 * 6 * 8}
    for t, report in enumerate(reports):
        up = algorithm.sent(t) | {"head"}
        assert report.bytes_up == {part: n * size[part] * (part in up) for part in PARTS}
        before = (algorithm.changed(t - 1) | {"head"}) if t else set()
        down = {part: n * size[part] * (part in before) for part in PARTS}
        assert report.bytes_down == down | (residual if "residual" in before else {})
        assert report.bytes_joining == {part: n * size[part] * (t == 0) for part in PARTS}


def test_law_7_a_stack_travels_as_a_stack_where_it_is_smaller():
    """FLoRA with three clients of ranks 1, 2, 2 on layers of 40 x 30: q = 5 columns of 40 and rows of 30."""
    algorithm, server, ledger = ALGORITHMS["flora"](), state(d=40, k=30), Ledger()
    ranks = {0: 1, 1: 2, 2: 2}
    for t in range(3):
        server, ledger, report = play(t, server, algorithm, [0, 1, 2], ledger, ranks)
        assert report.bytes_up["A"] == 2 * 5 * 40 * 8
        assert report.bytes_up["B"] == 2 * 5 * 30 * 8
        assert report.bytes_down.get("residual", 0) == (3 * 2 * 5 * (40 + 30) * 8 if t else 0)


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
    schedule = [[0, 1], [0, 1], [0], [0, 2], [0, 1, 2], [0, 2]]
    for t, clients in enumerate([[0]] * 4 if algorithm.pooled else schedule):
        for client in clients:
            start = start_of(t, server, algorithm, client)
            message = sent_down(start, ledger, client, algorithm)
            if client == 2 and t == 3:
                assert {"A", "B", "head"} <= {part for part, _, _ in message.arrays()}
            if client == 1 and t == 4 and name == "rolora":
                assert {"A", "B"} <= message.factors.keys()
            mine = held.setdefault(client, {})
            receive(mine, message)
            for layer, wanted in start.layers.items():
                if not algorithm.restarts:  # A and B of a restart are drawn by the client itself
                    assert np.array_equal(mine["A", layer], wanted.A)
                    assert np.array_equal(mine["B", layer], wanted.B)
                if wanted.residual is not None:
                    np.testing.assert_allclose(mine["residual", layer], wanted.residual, atol=1e-12)
            assert np.array_equal(mine["head", "head.weight"], start.head["head.weight"])
        server, ledger, _ = play(t, server, algorithm, clients, ledger)
        for client, layers in server.personal.items():
            held[client] |= {(factor, layer): x for layer, own in layers.items() for factor, x in own.items()}


def receive(mine, message):
    """What a client makes of a message."""
    for part, name, array in message.arrays():
        if part != "residual":
            mine[part, name] = array
    layers = {name.rpartition(".whole")[0] or name.partition(".added.")[0] for name in message.residual}
    for layer in layers:
        if f"{layer}.whole" in message.residual:
            mine["residual", layer] = message.residual[f"{layer}.whole"]
        else:
            parts = [message.residual[key] for key in sorted(message.residual) if key.startswith(f"{layer}.added.")]
            mine["residual", layer] = mine.get(("residual", layer), 0.0) + product_of(tuple(parts))


def test_personal_factors_stay_with_their_client():
    """FedSA-LoRA: each client starts from its own B and nobody else's; the server's stays at the start; nothing of B travels."""
    algorithm, server, ledger = ALGORITHMS["fedsa-lora"](), state(), Ledger()
    first = {name: layer.B for name, layer in server.layers.items()}
    for t, clients in enumerate([[0, 1], [1, 2], [0, 1, 2]]):
        for client in clients:
            start = start_of(t, server, algorithm, client)
            assert start.personal == {}
            for name, layer in start.layers.items():
                own = server.personal.get(client, {}).get(name, {"B": first[name]})["B"]
                assert np.array_equal(layer.B, own)
        server, ledger, report = play(t, server, algorithm, clients, ledger)
        assert report.bytes_up["B"] == report.bytes_down["B"] == 0
        assert all(np.array_equal(layer.B, first[name]) for name, layer in server.layers.items())
    firsts = [server.personal[client]["q"]["B"] for client in (0, 1, 2)]
    assert not any(np.array_equal(one, other) for one, other in itertools.combinations(firsts, 2))


def test_a_method_without_state_shows_none():
    for name in ("fedavg-lora", "ffa-lora", "rolora", "flexlora", "lora-fair", "hetlora", "fedsvd", "la-lora"):
        server, _ = history(name, 2)
        assert server.personal == {}
        assert all(layer.memory == {} and layer.residual is None for layer in server.layers.values())


@pytest.mark.parametrize("name", ALGORITHMS)
def test_law_5_a_frozen_factor_keeps_its_bits_on_the_server(name):
    algorithm, server, ledger = ALGORITHMS[name](), state(), Ledger()
    for t in range(3):
        after, ledger, _ = play(t, server, algorithm, [0] if algorithm.pooled else [0, 1], ledger)
        for factor in set(FACTORS) - algorithm.changed(t) - (set(FACTORS) if algorithm.restarts else set()):
            for layer in server.layers:
                assert np.array_equal(getattr(after.layers[layer], factor), getattr(server.layers[layer], factor))
        server = after


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if not ALGORITHMS[name].pooled])
def test_law_2_the_order_of_clients_does_not_change_a_bit(name):
    forwards, _ = history(name, 3, (0, 1, 2))
    backwards, _ = history(name, 3, (2, 1, 0))
    for layer in forwards.layers:
        for factor in FACTORS:
            assert np.array_equal(getattr(forwards.layers[layer], factor), getattr(backwards.layers[layer], factor))
    assert np.array_equal(forwards.head["head.weight"], backwards.head["head.weight"])


def test_a_frozen_head_does_not_travel():
    server, _, report = play(0, state(head=False), ALGORITHMS["rolora"](), [0, 1], Ledger())
    assert server.head == {}
    assert report.bytes_up["head"] == report.bytes_joining["head"] == 0


@pytest.mark.parametrize(("dtype", "width"), [(np.float64, 8), (np.float32, 4), (np.int64, 8)])
def test_nbytes_is_entries_times_width(dtype, width):
    assert nbytes(np.zeros((3, 5), dtype=dtype)) == 15 * width == np.zeros((3, 5), dtype=dtype).nbytes


def test_a_report_says_how_far_the_server_went_in_the_factors_that_were_averaged():
    """By hand: both layers' changes in one vector; RoLoRA moves B, then A, and the other factor is not in the report."""
    server, algorithm = state(), ALGORITHMS["rolora"]()
    after, ledger, first = play(0, server, algorithm, [0, 1, 2], Ledger())
    _, _, second = play(1, after, algorithm, [0, 1, 2], ledger)
    change = np.concatenate([(after.layers[name].B - layer.B).ravel() for name, layer in server.layers.items()])
    assert first.moved == {"B": pytest.approx(np.linalg.norm(change), rel=1e-12)}
    assert set(second.moved) == {"A"}
    assert second.moved["A"] > 0
