"""What an engine is asked for, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from rolora.algorithms import Algorithm
from rolora.config import Config
from rolora.federation import ClientUpdate, ServerState, pack
from rolora.keys import Key
from rolora.training.examples import Examples

Observer = Callable[[int, int, ServerState], None]
"""(round, client, what the model holds when the client starts), for those who want to see it."""


@dataclass(frozen=True)
class Job:
    """One client's local update in one round of one run.

    Args:
        config: the run's.
        algorithm: the run's.
        key: of this client in this round.
        examples: all tokenised training examples of the run.
        indices: which of them the client holds.
        t: the round.
        client: the client's number.
        start: what it starts from.
        trainable: the factors that it trains.
    """

    config: Config
    algorithm: Algorithm
    key: Key
    examples: Examples
    indices: np.ndarray
    t: int
    client: int
    start: ServerState
    trainable: frozenset[str]

    def update(self, trained: ServerState, loss: float) -> ClientUpdate:
        """What the client returns, given its adapter and head after training and its mean loss."""
        personal = self.algorithm.personal & self.trainable
        by_examples = self.config.federation.client_weights == "examples"
        return ClientUpdate(
            client=self.client,
            round=self.t,
            weight=float(self.examples.texts(self.indices)) if by_examples else 1.0,
            message=pack(trained, self.algorithm.sent(self.t) | {"head"}),
            loss=loss,
            kept={
                name: {factor: getattr(layer, factor) for factor in sorted(personal)}
                for name, layer in trained.layers.items()
                if personal
            },
        )


@runtime_checkable
class Engine(Protocol):
    """Executes the local updates of a round."""

    def local_updates(
        self, t: int, starts: Mapping[int, ServerState], trainable: frozenset[str]
    ) -> Sequence[ClientUpdate]:
        """The updates of the clients in ``starts``, in that order, each from the state given there."""
        ...

    def describe(self) -> dict[str, Any]:
        """What a record says of the engine beside the config."""
        ...
