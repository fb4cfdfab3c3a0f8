"""One communication round: broadcast, local update, check, aggregate.

Everything here is pure and runs on any array-API backend; ``theory`` passes exact solvers as the local update, the
engines pass gradient training of a language model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import array_api_compat

from rolora.adapter import FACTORS, Array, Layer
from rolora.algorithms.base import Algorithm
from rolora.federation import interference
from rolora.federation.communication import Ledger, Message, total
from rolora.federation.state import (
    Accepted,
    ClientUpdate,
    OpenRound,
    Refusal,
    ServerState,
    UpdateError,
    pack,
)
from rolora.federation.validation import check_state, check_update, shown
from rolora.keys import Key


@dataclass(frozen=True)
class RoundReport:
    """Traffic, loss and movement of a round.

    ``bytes_joining`` were sent to clients without any state (all parts), ``bytes_down`` to the others; ``moved`` is the norm of the
    change of each of the server's factors: the root of the sum over layers of ||after - before||_F^2; ``lost`` holds the measurements
    of ``rolora.federation.interference``, where these are on; ``refused`` are the updates that were not aggregated, whose bytes
    count as sent.
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
    refused: tuple[Refusal, ...] = ()

    def entry(self) -> dict[str, Any]:
        """Return the report as a table, without empty ``lost`` and ``refused``."""
        return {name: value for name, value in asdict(self).items() if value or name not in ("lost", "refused")}


LocalUpdate = Callable[[int, int, ServerState, frozenset[str]], ClientUpdate]
"""(round, client, broadcast, trainable factors) -> what the client returns."""

Protect = Callable[["OpenRound", Sequence["ClientUpdate"]], Sequence["ClientUpdate"]]
"""(round, checked updates) -> the updates that are aggregated (``rolora.privacy.client_level``)."""


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
        clients: its clients, in the order in which they run; the result does not depend on it.
        local_update: trains one client from the broadcast.
        ledger: versions at the clients, for the count of bytes.
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
    """Broadcast: the first half of a round, with its bytes. Arguments as in :func:`run_round`."""
    broadcasts: dict[int, ServerState] = {}
    down: list[dict[str, int]] = []
    joining: list[dict[str, int]] = []
    for client in clients:
        broadcasts[client] = broadcast = start_of(t, server, algorithm, client, (ranks or {}).get(client))
        sent = sent_down(broadcast, ledger, client, algorithm).bytes_by_part()
        (joining if ledger.is_new(client) else down).append(sent)
    return OpenRound(t, tuple(clients), algorithm.trainable(t), broadcasts, down, joining)


def close_round(
    opened: OpenRound,
    server: ServerState,
    algorithm: Algorithm,
    updates: Sequence[ClientUpdate] | Accepted,
    ledger: Ledger,
    key: Key | None = None,
    measure_loss: bool = False,
    protect: Protect | None = None,
) -> tuple[ServerState, Ledger, RoundReport]:
    """Check, aggregate and account: the second half of a round.

    Args:
        opened: the round, of :func:`open_round`.
        server: the state before the round; it is not changed.
        algorithm: the method.
        updates: one of every client, in the order of ``opened.clients``, all of which have to be valid; or the result of
            ``rolora.federation.validation.accept``. A refused client keeps what it was sent, as all do.
        ledger: as in :func:`run_round`.
        key: as in :func:`run_round`.
        measure_loss: as in :func:`run_round`.
        protect: changes the accepted updates before they are aggregated.

    Raises:
        UpdateError: if an update is missing or malformed, or all of them together give no finite state; ``server`` is
            still good.
    """
    t, broadcasts = opened.t, opened.broadcasts
    accepted = updates if isinstance(updates, Accepted) else _all_valid(opened, updates, algorithm)
    taken = accepted.updates if protect is None else protect(opened, accepted.updates)
    try:
        state = aggregate(t, server, algorithm, taken, broadcasts, key)
    except (ValueError, RuntimeError) as error:  # NumPy's and torch's
        if "LinAlgError" not in type(error).__name__:
            raise
        raise UpdateError(f"round {t}: no decomposition of the finite updates: {shown(error)}") from None
    check_state(state, t)
    report = RoundReport(
        round=t,
        trained=tuple(sorted(opened.trainable)),
        clients=opened.clients,
        loss=mean_loss(taken),
        **cost(opened, accepted),
        moved={factor: movement(server, state, factor) for factor in sorted(algorithm.changed(t) & set(FACTORS))},
        lost=_lost(server, state, broadcasts, taken) if measure_loss and not algorithm.personal else {},
        refused=accepted.refused,
    )
    changed = algorithm.changed(t) | ({"head"} if server.head else set())
    return state, ledger.after_round(t, accepted.reached(opened.clients), changed), report


def _all_valid(opened: OpenRound, updates: Sequence[ClientUpdate], algorithm: Algorithm) -> Accepted:
    if len(updates) != len(opened.clients):
        raise UpdateError(f"round {opened.t}: {len(updates)} updates, expected {len(opened.clients)}")
    for client, update in zip(opened.clients, updates, strict=True):
        check_update(update, opened.t, client, opened.broadcasts[client], algorithm)
    return Accepted(tuple(updates))


def cost(opened: OpenRound, accepted: Accepted) -> dict[str, dict[str, int]]:
    """Return the bytes of a round by direction and part; refused updates were sent too."""
    sent = [update.message.bytes_by_part() for update in accepted.updates]
    return {
        "bytes_up": total([*sent, *(refusal.bytes_up for refusal in accepted.refused)]),
        "bytes_down": total(opened.down),
        "bytes_joining": total(opened.joining),
    }


def start_of(t: int, server: ServerState, algorithm: Algorithm, client: int, rank: int | None = None) -> ServerState:
    """Return a client's start of round t: the broadcast, with its personal factors in the place of the server's.

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
    """Return the parts of the broadcast that the client does not hold and cannot compute.

    Personal factors stay at the client once it has some, and an adapter that is drawn anew in every round is drawn by all sides
    from the same stream. A residual is sent as its last increment to a client that has all before it.
    """
    parts = ledger.missing(client)
    if not ledger.is_new(client):
        parts -= algorithm.personal
        if algorithm.restarts:
            parts -= frozenset(FACTORS)
    message = pack(broadcast, parts)
    if "residual" not in parts:
        return message
    residual: dict[str, Array] = {}
    for name, layer in broadcast.layers.items():
        if layer.residual is None:
            continue
        if ledger.is_one_behind(client, "residual") and layer.increment:
            residual |= {f"{name}.added.{index}": array for index, array in enumerate(layer.increment)}
        else:
            residual[f"{name}.whole"] = layer.residual
    return replace(message, residual=residual)


def aggregate(
    t: int,
    server: ServerState,
    algorithm: Algorithm,
    updates: Sequence[ClientUpdate],
    broadcasts: Mapping[int, ServerState] | None = None,
    key: Key | None = None,
) -> ServerState:
    """Aggregate round t: every layer by the algorithm, the head by its mean.

    Updates are taken in the order of their client's number, so the order of arrival cannot change a bit.

    Args:
        t: the round.
        server: the state before it.
        algorithm: the method.
        updates: the clients' updates.
        broadcasts: client -> its start; derived from ``server`` if left out.
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
    head = {name: algorithm.mean([u.message.head[name] for u in updates], weights) for name in server.head}
    kept = {update.client: update.kept for update in updates if update.kept}
    return ServerState(layers=layers, head=head, personal=dict(server.personal) | kept)


def shares(updates: Sequence[ClientUpdate]) -> list[float]:
    """Return the updates' weights, normalised to a sum of one."""
    sum_of_weights = sum(update.weight for update in updates)
    return [update.weight / sum_of_weights for update in updates]


def trained_layer(start: ServerState, update: ClientUpdate, name: str) -> Layer:
    """Return a client's layer after its local update: its start, with the trained factors."""
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
    """Return the Frobenius norm of a factor's change, over all layers."""
    squares = 0.0
    for name, layer in before.layers.items():
        change = getattr(after.layers[name], factor) - getattr(layer, factor)
        xp = array_api_compat.array_namespace(change)
        in_order = xp.reshape(change, (-1,))  # a sum over another layout in memory would have other last digits
        squares += float(xp.sum(in_order * in_order))
    return math.sqrt(squares)


def mean_loss(updates: Sequence[ClientUpdate]) -> float:
    """Return the weighted mean of the clients' training losses."""
    return sum(update.weight * update.loss for update in updates) / sum(update.weight for update in updates)
