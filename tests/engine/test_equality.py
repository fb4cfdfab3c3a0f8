"""Batched is sequential: every method, with everything that could tell them apart."""

from __future__ import annotations

import numpy as np
import pytest

from rolora import experiment, peft_boundary
from rolora.algorithms import ALGORITHMS
from rolora.communication import Ledger
from rolora.engine import ENGINES
from rolora.federation import close_round, open_round
from rolora.participation import sample_clients
from tests.conftest import changed
from tests.engine.test_isolation import entries


def final(config, rounds):
    """The state after some rounds by the config's engine."""
    setup = experiment.prepare(config)
    engine = ENGINES[config.runtime.engine](setup.model, setup.train, setup.clients, config, setup.key)
    server, ledger, algorithm = peft_boundary.read(setup.model, head=True), Ledger(), config.build_algorithm()
    ranks = {client: config.rank_of(client) for client in range(len(setup.clients))}
    losses = []
    for t in range(rounds):
        clients = sample_clients(setup.key, t, len(setup.clients), config.federation.clients_per_round)
        opened = open_round(t, server, algorithm, clients, ledger, ranks)
        updates = engine.local_updates(t, opened.broadcasts, opened.trainable)
        server, ledger, report = close_round(opened, server, algorithm, updates, ledger, setup.key)
        losses.append(report.loss)
    return server, losses


def furthest(one, other):
    """The largest difference of any entry over the largest entry of its tensor."""
    other = dict(entries(other))
    return max(
        float((tensor - other[key]).abs().max() / other[key].abs().max().clamp(min=1e-3))
        for key, tensor in entries(one)
    )


HARD = {
    "federation__num_clients": 5,
    "federation__clients_per_round": 4,
    "federation__partition": "dirichlet",
    "federation__dirichlet_alpha": 0.5,
    "training__local_steps": 4,
    "training__batch_size": 7,
    "training__max_grad_norm": 0.5,
    "training__weight_decay": 0.1,
    "runtime__dtype": "float64",
}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_batched_equals_sequential_in_float64(table, name):
    federation = {"federation__clients_per_round": 1} if ALGORITHMS[name]().pooled else {}
    configs = [changed(table, algorithm=name, **HARD | federation, runtime__engine=engine) for engine in ENGINES]
    (expected, losses), (found, batched_losses) = (final(config, 4) for config in configs)
    assert furthest(found, expected) < 1e-9
    np.testing.assert_allclose(batched_losses, losses, rtol=1e-9)
