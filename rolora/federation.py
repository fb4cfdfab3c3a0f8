"""The round, written once: broadcast, local update, check, aggregate.

Everything here is pure and runs on any array-API backend; ``theory`` passes exact solvers as the local update, the
engines pass gradient training of a language model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import array_api_compat

from rolora.adapter import FACTORS, Array, Layer
from rolora.algorithms.base import Algorithm, weighted_mean
from rolora.communication import Ledger, Message, total


class UpdateError(ValueError):
    """A client's update that must not be aggregated; the text names client, layer and reason."""


@dataclass(frozen=True)
class ServerState:
    """All that the server knows of the model: the adapted layers by name, and the trained part of the head."""

    layers: Mapping[str, Layer]
    head: Mapping[str, Array] = field(default_factory=dict)


@dataclass(frozen=True)
class ClientUpdate:
    """What one client returns: the trained tensors and no others.

    Args:
        client: its number.
        round: the round it was trained in.
        weight: what it counts for (number of examples, or 1); positive.
        message: the factors that were trainable in this round, and the head if it is trained.
        loss: mean training loss over its local steps; nan where the notion does not apply.
    """

    client: int
    round: int
    weight: float
    message: Message
    loss: float = math.nan


@dataclass(frozen=True)
class RoundReport:
    """What a round cost and how it went.

    ``bytes_joining`` is what clients without any state were sent (all parts), ``bytes_down`` what the others were sent.
    """

    round: int
    trained: tuple[str, ...]
    clients: tuple[int, ...]
    loss: float
    bytes_up: Mapping[str, int]
    bytes_down: Mapping[str, int]
    bytes_joining: Mapping[str, int]


LocalUpdate = Callable[[int, int, ServerState, frozenset[str]], ClientUpdate]
"""(round, client, broadcast, trainable factors) -> what the client returns."""


def run_round(
    t: int,
    server: ServerState,
    algorithm: Algorithm,
    clients: Sequence[int],
    local_update: LocalUpdate,
    ledger: Ledger,
) -> tuple[ServerState, Ledger, RoundReport]:
    """One communication round of any algorithm (Algorithm 1 of arXiv 2502.01755v4, if the algorithm is RoLoRA).

    Args:
        t: the round's number, from 0.
        server: the state before the round; it is not changed.
        algorithm: the method's three decisions.
        clients: who takes part, in the order in which they run; the result does not depend on it.
        local_update: trains one client from the broadcast.
        ledger: which client holds what, for the count of bytes.

    Returns:
        The state after the round, the ledger after the round, and the report.

    Raises:
        UpdateError: if a client's update is malformed; ``server`` is still good.
    """
    trainable = algorithm.trainable(t)
    updates, down, joining = [], [], []
    for client in clients:
        broadcast = replace(
            server, layers={name: algorithm.broadcast(t, layer, layer.rank) for name, layer in server.layers.items()}
        )
        sent = pack(broadcast, ledger.missing(client)).bytes_by_part()
        (joining if ledger.is_new(client) else down).append(sent)
        update = local_update(t, client, broadcast, trainable)
        check_update(update, t, client, broadcast, trainable)
        updates.append(update)

    state = aggregate(t, server, algorithm, updates)
    report = RoundReport(
        round=t,
        trained=tuple(sorted(trainable)),
        clients=tuple(clients),
        loss=mean_loss(updates),
        bytes_up=total(update.message.bytes_by_part() for update in updates),
        bytes_down=total(down),
        bytes_joining=total(joining),
    )
    changed = trainable | ({"head"} if server.head else set())
    return state, ledger.after_round(t, clients, changed), report


def pack(state: ServerState, parts: frozenset[str]) -> Message:
    """The message that carries ``parts`` of a state: what a client is sent, and what it sends back."""
    return Message(
        factors={
            factor: {name: getattr(layer, factor) for name, layer in state.layers.items()}
            for factor in FACTORS
            if factor in parts
        },
        head=state.head if "head" in parts else {},
    )


def aggregate(t: int, server: ServerState, algorithm: Algorithm, updates: Sequence[ClientUpdate]) -> ServerState:
    """The server's step of round t: every layer by the algorithm, the head by the weighted mean.

    Updates are taken in the order of their client's number, so the order of arrival cannot change a bit.
    """
    updates = sorted(updates, key=lambda update: update.client)
    whole = sum(update.weight for update in updates)
    weights = [update.weight / whole for update in updates]
    layers = {}
    for name, layer in server.layers.items():
        broadcast = algorithm.broadcast(t, layer, layer.rank)
        trained = [
            replace(broadcast, **{factor: arrays[name] for factor, arrays in update.message.factors.items()})
            for update in updates
        ]
        layers[name] = algorithm.aggregate(t, layer, trained, weights)
    head = {name: weighted_mean([update.message.head[name] for update in updates], weights) for name in server.head}
    return ServerState(layers=layers, head=head)


def mean_loss(updates: Sequence[ClientUpdate]) -> float:
    """The weighted mean of the clients' training losses."""
    whole = sum(update.weight for update in updates)
    return sum(update.weight * update.loss for update in updates) / whole


def check_update(update: ClientUpdate, t: int, client: int, broadcast: ServerState, trainable: frozenset[str]) -> None:
    """Refuse an update that the server must not aggregate.

    Raises:
        UpdateError: wrong client or round, weight that is not a positive number, a missing or surplus tensor (a frozen
            factor is surplus), a changed shape or dtype, a value that is not finite.
    """
    sender = f"client {client}, round {t}"
    if update.client != client or update.round != t:
        raise UpdateError(f"{sender}: the update is of client {update.client}, round {update.round}")
    if not (math.isfinite(update.weight) and update.weight > 0):
        raise UpdateError(f"{sender}: weight {update.weight} is not a positive number")
    expected = pack(broadcast, trainable | {"head"})
    sent = {(part, name): array for part, name, array in update.message.arrays()}
    wanted = {(part, name): array for part, name, array in expected.arrays()}
    for part, name in sorted(sent.keys() - wanted.keys()):
        raise UpdateError(f"{sender}: {part} of {name} was sent but is frozen or unknown in this round")
    for (part, name), reference in wanted.items():
        if (part, name) not in sent:
            raise UpdateError(f"{sender}: {part} of {name} is missing")
        array = sent[part, name]
        if tuple(array.shape) != tuple(reference.shape) or array.dtype != reference.dtype:
            raise UpdateError(
                f"{sender}: {part} of {name} is {tuple(array.shape)} {array.dtype}, "
                f"expected {tuple(reference.shape)} {reference.dtype}"
            )
        xp = array_api_compat.array_namespace(array)
        if not bool(xp.all(xp.isfinite(array))):
            raise UpdateError(f"{sender}: {part} of {name} has a value that is not finite")
