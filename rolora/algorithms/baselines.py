"""The two references between which federated methods lie: all data in one place, and no federation at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rolora.adapter import Layer
from rolora.algorithms.base import BOTH, Algorithm


@dataclass(frozen=True)
class Centralised(Algorithm):
    """LoRA on the data of all clients in one place: one client, whose result is the model.

    Example:
        >>> import numpy as np
        >>> client = Layer(np.eye(2), np.eye(2))
        >>> Centralised().aggregate(0, client, [client], [1.0]) is client
        True
    """

    name = "centralised"
    pooled = True
    mixed_ranks = "one client has one rank"

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """Return the one client's layer."""
        (client,) = clients
        return client


@dataclass(frozen=True)
class LocalOnly(Algorithm):
    """LoRA at every client by itself: nothing is sent, and evaluation is over the clients' own models.

    Example:
        >>> sorted(LocalOnly().sent(0))
        []
    """

    name = "local-only"
    exactness = "there is no common model"
    exceptions: ClassVar = {law: "nothing is aggregated: there is no common model" for law in (1, 3, 4)}
    personal = BOTH
    mixed_ranks = "the server's layer gives every client its start, at one rank"

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The server's layer stays what it was."""
        return server
