"""Subjects under examination: this project's methods as aggregators over PEFT state dicts, or a foreign one by its name."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from rolora.adapter import FACTORS, Layer
from rolora.algorithms import ALGORITHMS, Algorithm
from rolora.conformance.probe import MODULES, Adapter, Aggregated, Aggregator, State
from rolora.errors import InputError
from rolora.federation import ClientUpdate, ServerState, run_round
from rolora.federation.communication import Ledger, Message
from rolora.keys import Key


@dataclass(frozen=True)
class Subject:
    """An aggregator and what it says of itself.

    Args:
        name: for the table.
        aggregate: the aggregator.
        trained: round -> the factors that clients train in it.
        exactness: how its result lies to the mean update D: "exact"; "interference", D less the mean of the products of
            deviations; "tail", the best approximation of D at the server's rank; or a sentence why it is neither.
        mixed_ranks: why clients of different rank are refused, or empty.
        exceptions: law -> why it does not hold for this method by its definition.
        most_clients: how many clients it can have at most.
        working: the widest dtype in which it computes, whatever it is given.
        dtypes: those that it takes.
    """

    name: str
    aggregate: Aggregator
    trained: Callable[[int], frozenset[str]] = field(default=lambda t: frozenset(FACTORS))
    exactness: str = "exact"
    mixed_ranks: str = ""
    exceptions: Mapping[int, str] = field(default_factory=dict)
    most_clients: int | float = math.inf
    working: str = "float64"
    dtypes: tuple[str, ...] = ("float64", "float32", "bfloat16")


def of_method(algorithm: Algorithm) -> Subject:
    """A method of this project, through the round that also fine-tunes language models."""

    def aggregate(clients: Sequence[Adapter], weights: Sequence[float], server: Adapter, t: int) -> Aggregated:
        state = state_of(server)
        sent, personal = algorithm.sent(t), algorithm.trainable(t) & algorithm.personal

        def update(t: int, client: int, broadcast: ServerState, trainable: frozenset[str]) -> ClientUpdate:
            held = state_of(clients[client])
            factors = {f: {name: getattr(layer, f) for name, layer in held.layers.items()} for f in sorted(sent)}
            kept = {name: {f: getattr(layer, f) for f in personal} for name, layer in held.layers.items() if personal}
            return ClientUpdate(client, t, weights[client], Message(factors, held.head), kept=kept)

        ranks = {index: client.rank for index, client in enumerate(clients)}
        after, _, _ = run_round(t, state, algorithm, range(len(clients)), update, Ledger(), Key(0), ranks)
        backbone = {
            name: server.scale * (layer.residual if name == "conv" else layer.residual.T)
            for name, layer in after.layers.items()
            if layer.residual is not None
        }
        return Aggregated(replace(server, state=peft_state(after)), backbone)

    return Subject(
        name=algorithm.name,
        aggregate=aggregate,
        trained=algorithm.trainable,
        exactness=algorithm.exactness,
        mixed_ranks=algorithm.mixed_ranks,
        exceptions=algorithm.exceptions,
        most_clients=1 if algorithm.pooled else math.inf,
    )


def state_of(adapter: Adapter) -> ServerState:
    """PEFT's tensors in the paper's orientation."""
    layers = {
        name: Layer(
            A=adapter.state[f"base_model.model.{name}.lora_A.weight"].T,
            B=adapter.state[f"base_model.model.{name}.lora_B.weight"].T,
        )
        for name in MODULES
    }
    return ServerState(layers, {name: value for name, value in adapter.state.items() if "head" in name})


def peft_state(state: ServerState) -> State:
    """And back."""
    found = dict(state.head)
    for name, layer in state.layers.items():
        found[f"base_model.model.{name}.lora_A.weight"] = layer.A.T.contiguous()
        found[f"base_model.model.{name}.lora_B.weight"] = layer.B.T.contiguous()
    return found


def mean_of_state_dicts(clients: Sequence[Adapter], weights: Sequence[float], server: Adapter, t: int) -> Aggregated:
    """Return the weighted mean of every tensor of the state dicts, as most code does."""
    whole = sum(weights)
    state = {
        name: torch.stack([w / whole * c.state[name] for w, c in zip(weights, clients, strict=True)]).sum(dim=0)
        for name in server.state
    }
    return Aggregated(replace(server, state=state))


SUBJECTS: dict[str, Callable[[], Subject]] = {
    name: (lambda method=method: of_method(method())) for name, method in ALGORITHMS.items()
}
"""The methods of this project by name."""


def load(name: str) -> Subject:
    """A foreign subject from ``module:attribute``: an aggregator, or a ``Subject`` that says more of itself.

    Raises:
        InputError: what was given and what was expected.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        raise InputError(f"--against: got {name!r}, expected module:attribute, for example my_package.server:aggregate")
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise InputError(f"--against: got {name!r}, expected module:attribute that can be imported; {error}") from None
    if isinstance(found, Subject):
        return found
    if not callable(found):
        raise InputError(
            f"--against: {name} is a {type(found).__name__}, expected a function (clients, weights, server, round) -> "
            "Aggregated, or a Subject"
        )
    return Subject(name=name, aggregate=found, mixed_ranks="not declared")
