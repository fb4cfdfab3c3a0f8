"""Interface of an algorithm: three pure functions on one layer, and a few declarations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rolora.adapter import FACTORS, Array, Layer
from rolora.algorithms.means import weighted_mean
from rolora.keys import Key

AVERAGING = ("fedavg-lora", "ffa-lora", "rolora", "fedsa-lora", "la-lora")
"""The methods whose server takes nothing but the mean of each factor that was sent, in a basis that lasts: another mean can
stand in its place, and a memory of the round before points where the next one's factors lie."""

BOTH = frozenset(FACTORS)
"""A and B."""


class Algorithm:
    """The three decisions in which federated LoRA methods differ; local training and the round loop are common.

    Rounds are numbered from 0. ``weights`` sum to one and follow the order of ``clients``. What stands here is the
    plainest case: both factors are trained, sent and averaged somehow, the server's layer is broadcast as it is, nothing
    is kept by anyone.
    """

    name: ClassVar[str]
    personal: ClassVar[frozenset[str]] = frozenset()
    """The factors that every client keeps to itself: trained from its own last state, never sent, never aggregated."""
    mixed_ranks: ClassVar[str] = "a mean of factors needs factors of one rank"
    """Why clients of different rank are refused; empty where they are defined."""
    restarts: ClassVar[bool] = False
    """True if the adapter is drawn anew after every aggregation (``restart``)."""
    pooled: ClassVar[bool] = False
    """True if one client holds the data of all: the centralised reference, not a federation."""
    averages: ClassVar[bool] = False
    """True if all that the server takes from the clients is the weighted mean of each factor that was sent: what is
    added to that factor of every client then comes out added to the server's, and nothing else changes."""
    exactness: ClassVar[str] = "exact"
    """Relation of the result to the mean update D of what clients hold after training: "exact"; "interference", D less the
    mean of the products of deviations; "tail", the best approximation of D at the server's rank; or a sentence why not."""
    exceptions: ClassVar[Mapping[int, str]] = {}
    """Law (``rolora.conformance``) -> why it does not hold for this method, by its definition."""
    local_schedule: str = ""
    """Within a local update, which factor step j trains: the j-th letter, repeated; all trainable ones if empty."""

    def trainable(self, t: int) -> frozenset[str]:
        """The factors that clients train in round t."""
        return BOTH

    def sent(self, t: int) -> frozenset[str]:
        """The factors that clients send in round t: what they train, but for what is personal."""
        return self.trainable(t) - self.personal

    def changed(self, t: int) -> frozenset[str]:
        """The parts of the server's layer that round t's aggregation changes: of "A", "B" and "residual"."""
        return self.sent(t)

    def broadcast(self, t: int, server: Layer, rank: int) -> Layer:
        """The layer from which a client of this rank starts round t."""
        return replace(server, memory={})

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The server's layer after round t."""
        raise NotImplementedError

    def mean(self, arrays: Sequence[Array], weights: Sequence[float]) -> Array:
        """The server's tensor from the clients' of a part that belongs to no layer: the head."""
        return weighted_mean(arrays, weights)

    def restart(self, t: int, layer: Layer, key: Key) -> Layer:
        """The layer with a new adapter, for methods that ``restart`` after every aggregation."""
        return layer


@dataclass(frozen=True)
class WrappedAlgorithm(Algorithm):
    """Wraps an algorithm and replaces its aggregation.

    Args:
        inner: the wrapped algorithm.
    """

    inner: Algorithm

    # A method's constants are those of the wrapped one.
    @property
    def name(self) -> str:  # type: ignore[override]
        return self.inner.name

    @property
    def personal(self) -> frozenset[str]:  # type: ignore[override]
        return self.inner.personal

    @property
    def local_schedule(self) -> str:  # type: ignore[override]
        return self.inner.local_schedule

    def trainable(self, t: int) -> frozenset[str]:
        return self.inner.trainable(t)

    def changed(self, t: int) -> frozenset[str]:
        return self.inner.changed(t)
