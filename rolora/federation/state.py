"""What a round is made of: the server's state, what a client returns, and the form that this must have."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real

import array_api_compat

from rolora.adapter import FACTORS, Array, Layer
from rolora.algorithms.base import Algorithm
from rolora.federation.communication import Message

MOST_WEIGHT = 2.0**53
"""The most that an update may weigh: as many examples as float64 counts exactly. A few of them have a finite sum."""

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
        declared: what a client of a deployment says of itself, such as its ``backbone``'s hash, its ``version`` and the
            ``phase`` (the factors that it trained); empty in a simulation, which has one of each.
    """

    client: int
    round: int
    weight: float
    message: Message
    loss: float = math.nan
    kept: Personal = field(default_factory=dict)
    declared: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """An update that is not aggregated, or that never came.

    Args:
        client: whose it is.
        reason: one line that names client, round, tensor and fault.
        bytes_up: what was sent all the same, by part.
    """

    client: int
    reason: str
    bytes_up: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Accepted:
    """Updates that have been checked, and what has been refused (``rolora.federation.acceptance``)."""

    updates: tuple[ClientUpdate, ...]
    refused: tuple[Refusal, ...] = ()


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


def check_update(
    update: ClientUpdate,
    t: int,
    client: int,
    broadcast: ServerState,
    algorithm: Algorithm,
    *,
    values: bool = True,
    personal: bool = True,
) -> None:
    """Refuse an update that the server must not aggregate.

    Args:
        update: what came.
        t: the round.
        client: whose turn it was.
        broadcast: what it was given.
        algorithm: the method.
        values: whether weight and entries are looked at too, and not the form alone.
        personal: whether personal factors come along.

    Raises:
        UpdateError: wrong client or round, weight that is not a positive number, a missing or surplus tensor (a frozen
            factor is surplus), a changed shape or dtype, a value that is not finite.
    """
    sender = f"client {client}, round {t}"
    if update.client != client or update.round != t:
        raise UpdateError(f"{sender}: the update is of client {shown(update.client)}, round {shown(update.round)}")
    if values and not (isinstance(update.weight, Real) and 0 < update.weight <= MOST_WEIGHT):
        raise UpdateError(
            f"{sender}: weight {shown(update.weight)} is not a positive number (of at most {MOST_WEIGHT:g})"
        )
    sent = {(part, name): array for part, name, array in update.message.arrays()}
    wanted = pack(broadcast, algorithm.sent(t) | {"head"})
    _compare(sender, sent, by_place(wanted), "sent", values)
    kept = {(factor, name): array for name, own in update.kept.items() for factor, array in own.items()}
    own = by_place(pack(broadcast, algorithm.trainable(t) & algorithm.personal)) if personal else {}
    _compare(sender, kept, own, "kept", values)


def by_place(message: Message) -> dict[tuple[str, str], Array]:
    """(part, name) -> array, in the order of these: a state has another order when it comes from a checkpoint."""
    found = {(part, name): array for part, name, array in message.arrays()}
    return {place: found[place] for place in sorted(found)}


def _compare(
    sender: str,
    given: Mapping[tuple[str, str], Array],
    wanted: Mapping[tuple[str, str], Array],
    verb: str,
    values: bool,
) -> None:
    """Refuse arrays that are not those that were asked for."""
    for part, name in sorted(given.keys() - wanted.keys(), key=str):
        place = f"{shown(part)} of {shown(name)}"
        raise UpdateError(f"{sender}: {place} was {verb} but is frozen or unknown in this round")
    for (part, name), reference in sorted(wanted.items(), key=lambda item: item[0]):
        if (part, name) not in given:
            raise UpdateError(f"{sender}: {part} of {name} is missing")
        array = given[part, name]
        if not _is_array(array):
            raise UpdateError(f"{sender}: {part} of {name} is a {type(array).__name__}, expected an array")
        if tuple(array.shape) != tuple(reference.shape) or array.dtype != reference.dtype:
            raise UpdateError(
                f"{sender}: {part} of {name} is {tuple(array.shape)} {array.dtype}, "
                f"expected {tuple(reference.shape)} {reference.dtype}"
            )
        if values and not _is_finite(array):
            raise UpdateError(f"{sender}: {part} of {name} has a value that is not finite")


def check_state(state: ServerState, t: int) -> None:
    """Refuse a state that finite updates have led to all the same: products and squares of huge numbers overflow.

    Raises:
        UpdateError: a tensor of the server's has a value that is not finite.
    """
    for name, layer in state.layers.items():
        tensors = {"A": layer.A, "B": layer.B, "residual": layer.residual} | dict(layer.memory)
        for part, array in tensors.items():
            if array is not None and not _is_finite(array):
                raise UpdateError(f"round {t}: {part} of {name} is not finite after aggregation, of finite updates")
    for name, array in state.head.items():
        if not _is_finite(array):
            raise UpdateError(f"round {t}: head of {name} is not finite after aggregation, of finite updates")


def shown(value: object, most: int = 80) -> str:
    """What a client has written, fit for a line of a log: no control character, no more than ``most`` characters.

    Example:
        >>> shown("query"), shown("a\\nb"), len(shown("x" * 1000))
        ('query', 'a\\\\nb', 80)
    """
    text = value if isinstance(value, str) else repr(value)
    text = text[: 2 * most].encode("unicode_escape").decode("ascii")
    return text if len(text) <= most else text[: most - 3] + "..."


def _is_array(value: object) -> bool:
    return array_api_compat.is_array_api_obj(value)


def _is_finite(array: Array) -> bool:
    xp = array_api_compat.array_namespace(array)
    return bool(xp.all(xp.isfinite(array)))
