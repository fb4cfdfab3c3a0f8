"""Laws 5, 8, 9 and 10 on the engine that trains, and the proof that the isolation test can fail."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from rolora.algorithms import ALGORITHMS
from rolora.experiment import loop
from rolora.federation import run_round, start_of
from rolora.federation.communication import Ledger
from rolora.models import peft_boundary
from rolora.training.engines import SequentialEngine
from tests.conftest import changed
from tests.training.rounds import entries


def differences(one, other):
    other = dict(entries(other))
    return {key for key, tensor in entries(one) if not torch.equal(tensor, other[key])}


def play(config, rounds=4, order=None):
    """Run some rounds; returns the states before and after each round and what each client started from."""
    setup = loop.prepare(config)
    starts = {}
    engine = SequentialEngine(
        setup.model, setup.train, setup.clients, config, setup.key,
        observe_start=lambda t, client, state: starts.setdefault((t, client), state),
    )  # fmt: skip
    server = peft_boundary.read(setup.model, head=config.model.head == "trained")
    states, ledger, reports = [server], Ledger(), []
    for t in range(rounds):
        clients = [client for client in order or range(len(setup.clients)) if client < len(setup.clients)]
        algorithm = config.build_algorithm()
        server, ledger, report = run_round(t, server, algorithm, clients, engine.local_update, ledger, setup.key)
        states.append(server)
        reports.append(report)
    return states, starts, reports


@pytest.fixture(scope="module")
def played():
    """``play`` of a config's four rounds, computed once."""
    runs = {}

    def run(config):
        return runs.get(config.hash()) or runs.setdefault(config.hash(), play(config))

    return run


def plain(table, name, **changes):
    """The config that laws 5 and 9 share: weight decay moves whatever is not frozen."""
    return changed(table, algorithm=name, training__weight_decay=0.1, **changes)


def leaks(config, run=play):
    """The (round, client, part) whose start differs from the broadcast: law 9's first half as a function."""
    states, starts, _ = run(config)
    algorithm = config.build_algorithm()
    return {
        (t, client, part)
        for (t, client), start in starts.items()
        for part, _ in differences(start, start_of(t, states[t], algorithm, client))
    }


@pytest.mark.parametrize("head", ["trained", "frozen"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_law_9_every_client_starts_from_the_broadcast_bit_for_bit(table, played, name, head):
    assert leaks(plain(table, name, model__head=head), played) == set()


def test_law_9_the_test_fails_on_an_engine_that_leaks_on_purpose(table):
    """client_state = "shared": from round 1 on, RoLoRA's second and third client start from another client's factor."""
    found = leaks(changed(table, federation__client_state="shared"))
    assert found == {(t, client, "B" if t % 2 == 0 else "A") for t in (1, 2, 3) for client in (1, 2)}


@pytest.mark.parametrize("name", ["fedavg-lora", "ffa-lora", "flexlora"])
def test_the_shared_state_resets_methods_that_train_the_same_factors_every_round(table, name):
    """Which is why the fault favours one method in a comparison."""
    assert leaks(changed(table, algorithm=name, federation__client_state="shared")) == set()


@pytest.mark.parametrize(("name", "factors"), [("fedavg-lora", "AB"), ("ffa-lora", "B"), ("rolora", None)])
def test_the_chained_state_hands_on_the_active_factors_of_every_method(table, name, factors):
    """And no others, nor the head: for RoLoRA the same chain as "shared", from round 0 on."""
    found = leaks(changed(table, algorithm=name, federation__client_state="chained"))
    assert found == {
        (t, client, factor)
        for t in range(4) for client in (1, 2) for factor in factors or ("B" if t % 2 == 0 else "A")
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "optimizer"), [*((name, "adamw") for name in ALGORITHMS), ("fedavg-lora", "sgd"), ("rolora", "sgd")]
)
def test_law_9_the_order_of_clients_does_not_change_a_bit(table, played, name, optimizer):
    momentum = {"training__momentum": 0.9} if optimizer == "sgd" else {}
    config = plain(table, name, training__optimizer=optimizer, model__head="trained", **momentum)
    forwards, _, _ = played(config)
    backwards, _, _ = play(config, order=[2, 1, 0])
    assert differences(forwards[-1], backwards[-1]) == set()


def test_law_9_the_order_matters_where_state_is_shared(table):
    config = changed(table, federation__client_state="shared")
    assert differences(play(config)[0][-1], play(config, order=[2, 1, 0])[0][-1])


def test_nothing_outside_the_named_streams_reaches_a_client(table):
    """Dropout and all: drawing from torch's global generator between runs changes nothing, and is not disturbed."""
    config = changed(table)
    first, _, _ = play(config, rounds=2)
    before = torch.random.get_rng_state()
    torch.rand(100)
    moved = torch.random.get_rng_state()
    second, _, _ = play(config, rounds=2)
    assert torch.equal(torch.random.get_rng_state(), moved)
    torch.random.set_rng_state(before)
    assert differences(first[-1], second[-1]) == set()


@pytest.mark.parametrize("name", ALGORITHMS)
def test_law_5_a_frozen_factor_keeps_its_bits_through_training(table, played, name):
    states, _, _ = played(plain(table, name))
    for t, (before, after) in enumerate(itertools.pairwise(states)):
        moved = {part for part, _ in differences(before, after)}
        algorithm = ALGORITHMS[name]()
        redrawn = {"A"} if algorithm.restarts else set()  # B is zero before and after
        assert moved == (algorithm.changed(t) & {"A", "B"}) | redrawn | {"head"}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_law_10_the_first_round_moves_the_model(table, played, name):
    states, _, _ = played(plain(table, name, model__head="frozen"))
    assert all(torch.all(layer.update == 0) for layer in states[0].layers.values())
    model = start_of(1, states[1], ALGORITHMS[name](), 0)  # the server's, or a client's own
    assert all(torch.any(layer.update != 0) for layer in model.layers.values())


def test_law_10_a_first_would_be_a_void_round(table):
    """The control: at B = 0 the gradient with respect to A vanishes, so a round of A leaves the model where it was."""
    config = changed(table, model__head="frozen", method={"schedule": "AB"})
    setup = loop.prepare(config)
    server = peft_boundary.read(setup.model, head=False)
    engine = SequentialEngine(setup.model, setup.train, setup.clients, config, setup.key)
    update = engine.local_update(0, 0, server, frozenset({"A"}))
    for name, layer in server.layers.items():
        trained = replace(layer, A=update.message.factors["A"][name])
        assert torch.all(trained.update == 0)


def test_law_8_same_seed_same_bits_other_seed_other_draws(table):
    config = changed(table)
    once, _, reports = play(config)
    again, _, _ = play(config)
    assert differences(once[-1], again[-1]) == set()
    other, _, other_reports = play(changed(table, seed=1))
    moved = differences(once[0], other[0])
    assert {part for part, _ in moved} == {"A", "head"}  # B starts at zero whatever the seed
    assert differences(once[-1], other[-1]) == {key for key, _ in entries(once[-1])}
    assert all(one.loss != two.loss for one, two in zip(reports, other_reports, strict=True))


def test_law_8_all_algorithms_get_the_same_data_clients_and_first_adapter(table):
    setups = [loop.prepare(changed(table, algorithm=name)) for name in ALGORITHMS]
    states = [peft_boundary.read(setup.model, head=True) for setup in setups]
    for setup, state in zip(setups[1:], states[1:], strict=True):
        assert differences(states[0], state) == set()
        assert setup.data.train.texts == setups[0].data.train.texts
        if setup.config.build_algorithm().pooled:
            assert [sorted(part) for part in setup.clients] == [sorted(np.concatenate(setups[0].clients))]
        else:
            assert all(np.array_equal(a, b) for a, b in zip(setup.clients, setups[0].clients, strict=True))


def test_law_8_first_batches_do_not_depend_on_the_algorithm(table):
    """The factor B of a first client after one step on the same batch: FFA-LoRA and RoLoRA are the same there."""
    one, two = (play(changed(table, algorithm=name), rounds=1)[0][-1] for name in ("ffa-lora", "rolora"))
    assert differences(one, two) == set()


def test_the_shared_chain_moves_the_active_factor_about_half_n_plus_one_times_as_far(table):
    """Client k starts from k - 1 steps of the others, so the mean of the chain has moved 1 + ... + N steps over N.

    With whole-shard batches and small SGD steps the clients' gradients are nearly the same; then the ratio is
    (N + 1) / 2. Round 0 is equal under both settings, so round 1 starts from the same state.
    """
    changes = {
        "federation__num_clients": 6, "training__optimizer": "sgd", "training__learning_rate": 0.5, "lora__alpha": 400,
        "training__local_steps": 1, "training__batch_size": 30, "lora__dropout": 0.0, "model__dropout": 0.0,
    }  # fmt: skip
    moved = {}
    for kept in ("isolated", "shared"):
        states, _, _ = play(changed(table, **changes, federation__client_state=kept), rounds=2)
        before, after = states[1], states[2]
        moved[kept] = sum(float((after.layers[n].A - before.layers[n].A).norm()) for n in before.layers)
    assert moved["shared"] / moved["isolated"] == pytest.approx(7 / 2, rel=0.1)
