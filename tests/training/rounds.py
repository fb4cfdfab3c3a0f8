"""Rounds on an engine under test, and the distance between the states that they end in."""

from __future__ import annotations

from rolora.adapter import FACTORS
from rolora.federation import close_round, open_round
from rolora.federation.communication import Ledger
from rolora.federation.sampling import sample_clients
from rolora.models import peft_boundary
from rolora.training.engines import ENGINES


def engine_of(setup, **options):
    """The config's engine on its set-up."""
    config = setup.config
    return ENGINES[config.runtime.engine](setup.model, setup.train, setup.clients, config, setup.key, **options)


def play(setup, engine, rounds):
    """The server's state after some rounds, and their reports."""
    config, algorithm = setup.config, setup.config.build_algorithm()
    server, ledger, reports = peft_boundary.read(setup.model, head=config.model.head == "trained"), Ledger(), []
    ranks = {client: config.rank_of(client) for client in range(len(setup.clients))}
    for t in range(rounds):
        clients = sample_clients(setup.key, t, len(setup.clients), config.federation.clients_per_round)
        opened = open_round(t, server, algorithm, clients, ledger, ranks)
        updates = engine.local_updates(t, opened.broadcasts, opened.trainable)
        server, ledger, report = close_round(opened, server, algorithm, updates, ledger, setup.key)
        reports.append(report)
    return server, reports


def entries(state):
    """Every tensor of a state by (part, name)."""
    yield from ((("head", name), tensor) for name, tensor in state.head.items())
    for name, layer in state.layers.items():
        yield from (((factor, name), getattr(layer, factor)) for factor in FACTORS)


def furthest(one, other):
    """The largest difference between two states, over the largest entry of the tensor in which it is found."""
    other = dict(entries(other))
    return max(
        float((tensor - other[key]).abs().max() / other[key].abs().max().clamp(min=1e-3))
        for key, tensor in entries(one)
    )
