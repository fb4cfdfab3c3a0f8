"""The round, written once: broadcast, local update, check, aggregate.

Everything here is pure and runs on any array-API backend; ``theory`` passes exact solvers as the local update, the
engines pass gradient training of a language model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import array_api_compat

from rolora import interference
from rolora.adapter import FACTORS, Array, Layer
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import weighted_mean
from rolora.communication import Ledger, Message, total
from rolora.keys import Key

Personal = Mapping[str, Mapping[str, Array]]
"""Layer -> factor -> array: what one client keeps."""


class UpdateError(ValueError):
    """A client's update that must not be aggregated; the text names client, layer and reason."""


@dataclass(frozen=True)
class ServerState:
    """All that the server knows of the model, and what its clients keep.

    Args:
        layers: the adapted layers by name; with the server's memory, where a method has one.
        head: the trained part of the head.
        personal: client -> layer -> factor -> array: the factors that clients keep to themselves. In a simulation they
            lie here, so that one checkpoint holds everything; no part of them is ever sent, averaged or shown to another
            client. Empty for a method without personal factors, and for clients that have not taken part yet.
    """

    layers: Mapping[str, Layer]
    head: Mapping[str, Array] = field(default_factory=dict)
    personal: Mapping[int, Personal] = field(default_factory=dict)


@dataclass(frozen=True)
class ClientUpdate:
    """What one client returns: the trained tensors and no others.

    Args:
        client: its number.
        round: the round it was trained in.
        weight: what it counts for (number of examples, or 1); positive.
        message: the factors that the method sends in this round, and the head if it is trained.
        loss: mean training loss over its local steps; nan where the notion does not apply.
        kept: the client's personal factors after training; they do not travel.
    """

    client: int
    round: int
    weight: float
    message: Message
    loss: float = math.nan
    kept: Personal = field(default_factory=dict)


@dataclass(frozen=True)
class RoundReport:
    """What a round cost and how it went.

    ``bytes_joining`` is what clients without any state were sent (all parts), ``bytes_down`` what the others were sent;
    ``moved`` is how far the server's factors went, by factor: the root of the sum over layers of ||after - before||_F^2;
    ``lost`` is what ``rolora.interference`` measured of each layer, if it was asked to.
    """

    round: int
    trained: tuple[str, ...]
    clients: tuple[int, ...]
    loss: float
    bytes_up: Mapping[str, int]
    bytes_down: Mapping[str, int]
    bytes_joining: Mapping[str, int]
    moved: Mapping[str, float] = field(default_factory=dict)
    lost: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)


LocalUpdate = Callable[[int, int, ServerState, frozenset[str]], ClientUpdate]
"""(round, client, broadcast, trainable factors) -> what the client returns."""

Protect = Callable[["OpenRound", Sequence["ClientUpdate"]], Sequence["ClientUpdate"]]
"""(round, checked updates) -> what the server sees of them (``rolora.client_privacy``)."""


@dataclass(frozen=True)
class OpenRound:
    """A round between broadcast and aggregation: what the clients were given, and what that cost.

    Args:
        t: the round.
        clients: who takes part, in the order in which they were asked.
        trainable: the factors that they train.
        broadcasts: client -> the state it starts from.
        down: what those were sent that took part before, a count each.
        joining: what newcomers were sent, a count each.
    """

    t: int
    clients: tuple[int, ...]
    trainable: frozenset[str]
    broadcasts: Mapping[int, ServerState]
    down: Sequence[Mapping[str, int]]
    joining: Sequence[Mapping[str, int]]


def run_round(
    t: int,
    server: ServerState,
    algorithm: Algorithm,
    clients: Sequence[int],
    local_update: LocalUpdate,
    ledger: Ledger,
    key: Key | None = None,
    ranks: Mapping[int, int] | None = None,
    measure_loss: bool = False,
) -> tuple[ServerState, Ledger, RoundReport]:
    """One communication round of any algorithm (Algorithm 1 of arXiv 2502.01755v4, if the algorithm is RoLoRA).

    Args:
        t: the round's number, from 0.
        server: the state before the round; it is not changed.
        algorithm: the method's three decisions.
        clients: who takes part, in the order in which they run; the result does not depend on it.
        local_update: trains one client from the broadcast.
        ledger: which client holds what, for the count of bytes.
        key: names the streams of new adapters, for methods that restart them.
        ranks: client -> rank, where it is not the server's.
        measure_loss: whether interference and miss of every layer are measured (one dense product a client and layer).

    Returns:
        The state after the round, the ledger after the round, and the report.

    Raises:
        UpdateError: if a client's update is malformed; ``server`` is still good.
    """
    opened = open_round(t, server, algorithm, clients, ledger, ranks)
    updates = [local_update(t, client, opened.broadcasts[client], opened.trainable) for client in opened.clients]
    return close_round(opened, server, algorithm, updates, ledger, key, measure_loss)


def open_round(
    t: int,
    server: ServerState,
    algorithm: Algorithm,
    clients: Sequence[int],
    ledger: Ledger,
    ranks: Mapping[int, int] | None = None,
) -> OpenRound:
    """The first half of a round: who starts from what, and what it costs to send. Arguments as in :func:`run_round`."""
    broadcasts, down, joining = {}, [], []
    for client in clients:
        broadcasts[client] = broadcast = start_of(t, server, algorithm, client, (ranks or {}).get(client))
        sent = sent_down(broadcast, ledger, client, algorithm).bytes_by_part()
        (joining if ledger.is_new(client) else down).append(sent)
    return OpenRound(t, tuple(clients), algorithm.trainable(t), broadcasts, down, joining)


def close_round(
    opened: OpenRound,
    server: ServerState,
    algorithm: Algorithm,
    updates: Sequence[ClientUpdate],
    ledger: Ledger,
    key: Key | None = None,
    measure_loss: bool = False,
    protect: Protect | None = None,
) -> tuple[ServerState, Ledger, RoundReport]:
    """The second half of a round: check what came back, aggregate, account. ``updates`` follow ``opened.clients``.

    With ``protect``, it is what comes out of it that is aggregated.

    Raises:
        UpdateError: if an update is missing or malformed; ``server`` is still good.
    """
    t, broadcasts = opened.t, opened.broadcasts
    if len(updates) != len(opened.clients):
        raise UpdateError(f"round {t}: {len(updates)} updates, expected {len(opened.clients)}")
    for client, update in zip(opened.clients, updates, strict=True):
        check_update(update, t, client, broadcasts[client], algorithm)
    if protect is not None:
        updates = protect(opened, updates)
    state = aggregate(t, server, algorithm, updates, broadcasts, key)
    report = RoundReport(
        round=t,
        trained=tuple(sorted(opened.trainable)),
        clients=opened.clients,
        loss=mean_loss(updates),
        bytes_up=total(update.message.bytes_by_part() for update in updates),
        bytes_down=total(opened.down),
        bytes_joining=total(opened.joining),
        moved={factor: movement(server, state, factor) for factor in sorted(algorithm.changed(t) & set(FACTORS))},
        lost=_lost(server, state, broadcasts, updates) if measure_loss and not algorithm.personal else {},
    )
    changed = algorithm.changed(t) | ({"head"} if server.head else set())
    return state, ledger.after_round(t, opened.clients, changed), report


def start_of(t: int, server: ServerState, algorithm: Algorithm, client: int, rank: int | None = None) -> ServerState:
    """What a client starts round t from: the broadcast, with the factors that it kept in the place of the server's.

    Args:
        t: the round.
        server: the state before it.
        algorithm: the method.
        client: its number.
        rank: the client's, if it is not the server's.

    Returns:
        A state without any other client's factors and without the server's memory.
    """
    layers = {
        name: algorithm.broadcast(t, layer, layer.rank if rank is None else rank)
        for name, layer in server.layers.items()
    }
    own = server.personal.get(client, {})
    return ServerState({name: replace(layer, **own.get(name, {})) for name, layer in layers.items()}, server.head)


def sent_down(broadcast: ServerState, ledger: Ledger, client: int, algorithm: Algorithm) -> Message:
    """The parts of the broadcast that the client does not hold and cannot make itself.

    Personal factors are the client's own as soon as it has some, and an adapter that is drawn anew in every round is drawn
    by everyone from the same stream. A residual is sent as its last increment to a client that has all before it.
    """
    parts = ledger.missing(client)
    if not ledger.is_new(client):
        parts -= algorithm.personal
        if algorithm.restarts:
            parts -= frozenset(FACTORS)
    message = pack(broadcast, parts)
    if "residual" not in parts:
        return message
    residual = {}
    for name, layer in broadcast.layers.items():
        if layer.residual is None:
            continue
        if ledger.is_one_behind(client, "residual") and layer.increment:
            residual |= {f"{name}.added.{index}": array for index, array in enumerate(layer.increment)}
        else:
            residual[f"{name}.whole"] = layer.residual
    return replace(message, residual=residual)


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


def aggregate(
    t: int,
    server: ServerState,
    algorithm: Algorithm,
    updates: Sequence[ClientUpdate],
    broadcasts: Mapping[int, ServerState] | None = None,
    key: Key | None = None,
) -> ServerState:
    """The server's step of round t: every layer by the algorithm, the head by the weighted mean.

    Updates are taken in the order of their client's number, so the order of arrival cannot change a bit.

    Args:
        t: the round.
        server: the state before it.
        algorithm: the method.
        updates: what the clients returned.
        broadcasts: client -> what it was given; derived from ``server`` if left out.
        key: names the streams of new adapters.

    Returns:
        The state after the round.
    """
    updates = sorted(updates, key=lambda update: update.client)
    weights = shares(updates)
    starts = [(broadcasts or {}).get(u.client) or start_of(t, server, algorithm, u.client) for u in updates]
    layers = {}
    for name, layer in server.layers.items():
        trained = [trained_layer(start, update, name) for start, update in zip(starts, updates, strict=True)]
        layers[name] = algorithm.aggregate(t, layer, trained, weights)
        if algorithm.restarts:
            if key is None:
                raise ValueError(f"{algorithm.name} draws new adapters; got no key to draw them from")
            layers[name] = algorithm.restart(t, layers[name], key.fold("restart", t, name))
    head = {name: weighted_mean([update.message.head[name] for update in updates], weights) for name in server.head}
    kept = {update.client: update.kept for update in updates if update.kept}
    return ServerState(layers=layers, head=head, personal=dict(server.personal) | kept)


def shares(updates: Sequence[ClientUpdate]) -> list[float]:
    """The updates' weights, summing to one."""
    whole = sum(update.weight for update in updates)
    return [update.weight / whole for update in updates]


def trained_layer(start: ServerState, update: ClientUpdate, name: str) -> Layer:
    """A client's layer after its local update: what it started from, with what it trained in its place."""
    sent = {factor: arrays[name] for factor, arrays in update.message.factors.items()}
    return replace(start.layers[name], **sent, **update.kept.get(name, {}))


def _lost(
    server: ServerState, after: ServerState, starts: Mapping[int, ServerState], updates: Sequence[ClientUpdate]
) -> dict[str, Mapping[str, float | None]]:
    weights = shares(updates)
    return {
        name: interference.lost(
            layer, after.layers[name], [trained_layer(starts[u.client], u, name) for u in updates], weights
        )
        for name, layer in server.layers.items()
    }


def movement(before: ServerState, after: ServerState, factor: str) -> float:
    """How far a factor went in all layers together: the Frobenius norm of its change."""
    squares = 0.0
    for name, layer in before.layers.items():
        change = getattr(after.layers[name], factor) - getattr(layer, factor)
        squares += float(array_api_compat.array_namespace(change).sum(change * change))
    return math.sqrt(squares)


def mean_loss(updates: Sequence[ClientUpdate]) -> float:
    """The weighted mean of the clients' training losses."""
    whole = sum(update.weight for update in updates)
    return sum(update.weight * update.loss for update in updates) / whole


def check_update(update: ClientUpdate, t: int, client: int, broadcast: ServerState, algorithm: Algorithm) -> None:
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
    expected = pack(broadcast, algorithm.sent(t) | {"head"})
    sent = {(part, name): array for part, name, array in update.message.arrays()}
    wanted = {(part, name): array for part, name, array in expected.arrays()}
    kept = {(factor, name): array for name, own in update.kept.items() for factor, array in own.items()}
    personal = pack(broadcast, algorithm.trainable(t) & algorithm.personal)
    _compare(sender, sent, wanted, "sent")
    _compare(sender, kept, {(part, name): array for part, name, array in personal.arrays()}, "kept")


def _compare(
    sender: str, given: Mapping[tuple[str, str], Array], wanted: Mapping[tuple[str, str], Array], verb: str
) -> None:
    """Refuse arrays that are not those that were asked for."""
    for part, name in sorted(given.keys() - wanted.keys()):
        raise UpdateError(f"{sender}: {part} of {name} was {verb} but is frozen or unknown in this round")
    for (part, name), reference in wanted.items():
        if (part, name) not in given:
            raise UpdateError(f"{sender}: {part} of {name} is missing")
        array = given[part, name]
        if tuple(array.shape) != tuple(reference.shape) or array.dtype != reference.dtype:
            raise UpdateError(
                f"{sender}: {part} of {name} is {tuple(array.shape)} {array.dtype}, "
                f"expected {tuple(reference.shape)} {reference.dtype}"
            )
        xp = array_api_compat.array_namespace(array)
        if not bool(xp.all(xp.isfinite(array))):
            raise UpdateError(f"{sender}: {part} of {name} has a value that is not finite")
