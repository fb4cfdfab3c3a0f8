"""Data of a round: the server's state, a client's update, and the round between broadcast and aggregation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rolora.adapter import FACTORS, Array, Layer
from rolora.federation.communication import Message

Personal = Mapping[str, Mapping[str, Array]]
"""Layer -> factor -> array: what one client keeps."""


class UpdateError(ValueError):
    """A client's update that must not be aggregated; the text names client, layer and reason."""


@dataclass(frozen=True)
class ServerState:
    """The adapter and the head as the server has them, and the factors that clients keep.

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
    """Result of one client's local update: the trained tensors and no others.

    Args:
        client: the client's number, from 0.
        round: the round it was trained in.
        weight: number of examples, or 1; positive.
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
class Refusal:
    """An update that is not aggregated, or that was not received.

    Args:
        client: the client's number; -1 if the update names none.
        reason: one line that names client, round, tensor and fault.
        bytes_up: bytes of the refused update by part; empty if none was received.
    """

    client: int
    reason: str
    bytes_up: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Accepted:
    """Updates that ``rolora.federation.validation.accept`` has checked, and its refusals."""

    updates: tuple[ClientUpdate, ...]
    refused: tuple[Refusal, ...] = ()

    def reached(self, clients: Sequence[int]) -> list[int]:
        """Return the clients that have replied, well or not: only they are known to hold what they were sent."""
        silent = {refusal.client for refusal in self.refused if not refusal.bytes_up}
        return [client for client in clients if client not in silent]


@dataclass(frozen=True)
class OpenRound:
    """A round between broadcast and aggregation.

    Args:
        t: the round, from 0.
        clients: its clients, in the order in which they run.
        trainable: the factors that they train.
        broadcasts: client -> the state it starts from.
        down: bytes by part of every message to a client that took part before.
        joining: bytes by part of every message to a newcomer.
    """

    t: int
    clients: tuple[int, ...]
    trainable: frozenset[str]
    broadcasts: Mapping[int, ServerState]
    down: Sequence[Mapping[str, int]]
    joining: Sequence[Mapping[str, int]]


def pack(state: ServerState, parts: frozenset[str]) -> Message:
    """Return the message that carries ``parts`` ("A", "B", "head") of a state."""
    return Message(
        factors={
            factor: {name: getattr(layer, factor) for name, layer in state.layers.items()}
            for factor in FACTORS
            if factor in parts
        },
        head=state.head if "head" in parts else {},
    )
