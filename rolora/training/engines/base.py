"""Interface of an engine: jobs in, client updates out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from peft import PeftModel

from rolora.algorithms import Algorithm
from rolora.config import Config
from rolora.federation import ClientUpdate, ServerState, pack
from rolora.keys import Key
from rolora.training.examples import Examples
from rolora.training.local_update import HiddenStates, LocalTraining

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
        """Return the client's update, given its adapter and head after training and its mean loss."""
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
        """Return the engine's entries of a run's record."""
        ...


@dataclass
class LocalEngine:
    """State of an engine that trains in this process.

    Args:
        model: the shared model; its adapter is overwritten at every start.
        examples: all tokenised training examples.
        clients: for each client the indices of its examples, by its number.
        config: training and federation settings.
        key: the experiment's key.
        observe_start: called with the model's actual state when a client starts.
        after_client: called when a client has finished, for progress bars.
        prefix: the hidden states of the examples below the lowest adapted layer, if they are kept.
        train: trains one client; ``rolora.training.local_update.train`` if None.
    """

    model: PeftModel
    examples: Examples
    clients: Sequence[np.ndarray] | Mapping[int, np.ndarray]
    config: Config
    key: Key
    observe_start: Observer | None = None
    after_client: Callable[[], None] | None = None
    prefix: HiddenStates | None = None
    train: LocalTraining | None = None

    def __post_init__(self) -> None:
        self.algorithm = self.config.build_algorithm()
        self.trains_head = self.config.model.head == "trained"

    def job(self, t: int, client: int, start: ServerState, trainable: frozenset[str]) -> Job:
        """Return one client's local update of round t, yet to be done."""
        return Job(
            config=self.config,
            algorithm=self.algorithm,
            key=self.key.fold("client", client, "round", t),
            examples=self.examples,
            indices=self.clients[client],
            t=t,
            client=client,
            start=start,
            trainable=trainable,
        )
