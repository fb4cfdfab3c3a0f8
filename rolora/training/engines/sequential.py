"""One client after another on one model: the readable engine, and the specification of any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from peft import PeftModel

from rolora.config import Config
from rolora.federation import ClientUpdate, ServerState
from rolora.federation.communication import PARTS
from rolora.keys import Key
from rolora.models import peft_boundary
from rolora.training import local_update
from rolora.training.engines.base import Job, Observer
from rolora.training.examples import Examples
from rolora.training.local_update import HiddenStates, LocalTraining


class SequentialEngine:
    """Runs local updates in the order in which it is asked for them.

    The clients share one model object to save memory, and nothing else: before a client starts, all of the broadcast is
    written over whatever the client before it left (both factors and the head), the optimiser is new, and its random
    streams are named after the client and the round.

    With ``client_state = "shared"`` that reset is limited, from the second client of a round on, to what the *previous
    round* trained. A method that trains the same factors in every round is then still reset rightly; RoLoRA's active
    factor goes on from client to client, and the server averages snapshots along that chain. This is wrong on purpose:
    it is a fault that was seen in public implementations, kept by name so that its effect can be measured. With
    ``client_state = "chained"`` the factors that this round trains are never reset between clients, whatever the method: the
    chain that "shared" makes for RoLoRA alone, for every method, so that the chain and the method can be told apart.
    """

    def __init__(
        self,
        model: PeftModel,
        examples: Examples,
        clients: Sequence[np.ndarray] | Mapping[int, np.ndarray],
        config: Config,
        key: Key,
        observe_start: Observer | None = None,
        after_client: Callable[[], None] | None = None,
        prefix: HiddenStates | None = None,
        train: LocalTraining | None = None,
    ) -> None:
        """
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

        Raises:
            ValueError: example-level privacy is configured and no private ``train`` is given.
        """
        if config.privacy.mode == "example" and train is None:
            raise ValueError('privacy.mode: got "example" and train=None, expected a private local update')
        self.model = model
        self.examples = examples
        self.clients = clients
        self.config = config
        self.algorithm = config.build_algorithm()
        self.key = key
        self.observe_start = observe_start
        self.after_client = after_client
        self.prefix = prefix
        self.trains_head = config.model.head == "trained"
        self.device = next(model.parameters()).device
        self.train: LocalTraining = train or partial(local_update.train, config=config.training)
        self._round: int | None = None

    def local_updates(
        self, t: int, starts: Mapping[int, ServerState], trainable: frozenset[str]
    ) -> Sequence[ClientUpdate]:
        """The updates of the clients in ``starts``, one after another."""
        return [self.local_update(t, client, start, trainable) for client, start in starts.items()]

    def local_update(self, t: int, client: int, broadcast: ServerState, trainable: frozenset[str]) -> ClientUpdate:
        """Reset, train, and return the trained tensors (the ``LocalUpdate`` of ``rolora.federation``)."""
        job = Job(
            config=self.config,
            algorithm=self.algorithm,
            key=self.key.fold("client", client, "round", t),
            examples=self.examples,
            indices=self.clients[client],
            t=t,
            client=client,
            start=broadcast,
            trainable=trainable,
        )
        peft_boundary.write(self.model, broadcast, self._parts_to_reset(t))
        if self.observe_start is not None:
            self.observe_start(t, client, peft_boundary.read(self.model, head=self.trains_head))
        parts = peft_boundary.set_trainable(self.model, trainable, head=self.trains_head)
        loss = self.train(
            self.model,
            parts,
            self.examples,
            job.indices,
            key=job.key,
            device=self.device,
            schedule=self.algorithm.local_schedule,
            prefix=self.prefix,
        )
        ranks = {name: layer.rank for name, layer in broadcast.layers.items()}
        trained = peft_boundary.read(self.model, head=self.trains_head, ranks=ranks)
        if self.after_client is not None:
            self.after_client()
        return job.update(trained, loss)

    def describe(self) -> dict[str, Any]:
        """What a record says of the engine beside the config."""
        return {}

    def _parts_to_reset(self, t: int) -> frozenset[str]:
        first_of_round = self._round != t
        self._round = t
        state = self.config.federation.client_state
        if state == "isolated" or first_of_round:
            return frozenset(PARTS)
        if state == "chained":
            return frozenset(PARTS) - self.algorithm.trainable(t)
        if t == 0:
            return frozenset(PARTS)
        return self.algorithm.trainable(t - 1) | {"head"}
