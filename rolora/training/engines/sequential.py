"""One client after another on one model: the readable engine, and the specification of any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from rolora.federation import ClientUpdate, ServerState
from rolora.federation.communication import PARTS
from rolora.models import peft_boundary
from rolora.training import local_update
from rolora.training.engines.base import LocalEngine
from rolora.training.local_update import LocalTraining


class SequentialEngine(LocalEngine):
    """Runs local updates in the order in which it is asked for them.

    The clients share one model object to save memory, and nothing else: before a client starts, all of the broadcast is
    written over whatever the client before it left (both factors and the head), the optimiser is new, and its random
    streams are named after the client and the round.

    With ``client_state = "shared"`` that reset is limited, from the second client of a round on, to what the *previous
    round* trained. A method that trains the same factors in every round is then still reset rightly; RoLoRA's active
    factor goes on from client to client, and the server averages snapshots along that chain. This is wrong on purpose:
    it is a fault that was seen in public implementations, kept by name so that its effect can be measured. With
    ``client_state = "chained"`` the factors that this round trains are never reset between clients, whatever the method: the
    chain that "shared" makes for RoLoRA alone, for every method, so that the effects of chain and method can be separated.
    """

    def __post_init__(self) -> None:
        """
        Raises:
            ValueError: example-level privacy is configured and no private ``train`` is given.
        """
        super().__post_init__()
        if self.config.privacy.mode == "example" and self.train is None:
            raise ValueError('privacy.mode: got "example" and train=None, expected a private local update')
        self._train: LocalTraining = self.train or partial(local_update.train, config=self.config.training)
        self._device = next(self.model.parameters()).device
        self._round: int | None = None

    def local_updates(
        self, t: int, starts: Mapping[int, ServerState], trainable: frozenset[str]
    ) -> Sequence[ClientUpdate]:
        """The updates of the clients in ``starts``, one after another."""
        return [self.local_update(t, client, start, trainable) for client, start in starts.items()]

    def local_update(self, t: int, client: int, broadcast: ServerState, trainable: frozenset[str]) -> ClientUpdate:
        """Reset, train, and return the trained tensors (the ``LocalUpdate`` of ``rolora.federation``)."""
        job = self.job(t, client, broadcast, trainable)
        peft_boundary.write(self.model, broadcast, self._parts_to_reset(t))
        if self.observe_start is not None:
            self.observe_start(t, client, peft_boundary.read(self.model, head=self.trains_head))
        parts = peft_boundary.set_trainable(self.model, trainable, head=self.trains_head)
        loss = self._train(
            self.model,
            parts,
            self.examples,
            job.indices,
            key=job.key,
            device=self._device,
            schedule=self.algorithm.local_schedule,
            prefix=self.prefix,
        )
        ranks = {name: layer.rank for name, layer in broadcast.layers.items()}
        trained = peft_boundary.read(self.model, head=self.trains_head, ranks=ranks)
        if self.after_client is not None:
            self.after_client()
        return job.update(trained, loss)

    def describe(self) -> dict[str, Any]:
        """Return the engine's entries of a run's record."""
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
