"""A client: a ClientApp that trains on data of its own, from the server's state to the bit.

It holds what it was sent, so that the next round sends it only what has changed. Before it trains it compares the digest of what
it has put together with the one that the server names: where they differ it says so, and is sent everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

import rolora
from rolora import data as tasks
from rolora import records
from rolora.adapter import FACTORS, Layer, product_of
from rolora.config import Config
from rolora.deployment import protocol, support
from rolora.deployment.protocol import Answer, Greeting, Question, Reason
from rolora.errors import InputError
from rolora.experiment.setup import Setup, keep_hidden_states, prepare
from rolora.federation import ServerState, communication
from rolora.keys import Key
from rolora.models import peft_boundary
from rolora.privacy import accounting, example_level
from rolora.training.engines import ENGINES, Engine


@dataclass(frozen=True)
class Workshop:
    """What the clients of one process share: data, backbone, and the engine that trains on them, one client at a time.

    ``clients`` are the numbers of those that can be trained here, with their numbers of examples.
    """

    config: Config
    setup: Setup
    engine: Engine
    clients: dict[int, int]


def workshop(config: Config, own: tuple[int, Path] | None = None) -> Workshop:
    """Load what training needs.

    Args:
        config: the federation's.
        own: a client, and the file or folder with the data that it trains on; its part of the config's data if None.

    Raises:
        InputError: whatever of the config or the data cannot be met.
    """
    fault = support.refusal(config)
    if fault:
        raise InputError(fault)
    setup = prepare(config, None if own is None else own_data(config, own[1]))
    parts = dict(enumerate(setup.clients)) if own is None else {own[0]: setup.clients[0]}
    keep_hidden_states(setup, None)
    guarantee = accounting.guarantee(config, [len(indices) for indices in setup.clients])
    engine = ENGINES[config.runtime.engine](
        setup.model,
        setup.train,
        parts,
        config,
        setup.key,
        prefix=setup.prefix,
        train=example_level.local_training(config, guarantee, setup.model),
    )
    sizes = {client: len(indices) for client, indices in parts.items()}
    return Workshop(config, setup, engine, sizes)


def own_data(config: Config, path: Path) -> tasks.TextData:
    """A client's own rows, every distinct one of them to be trained on; nothing is held out at a client.

    Raises:
        InputError: they are not as the config's data have to be.
    """
    if config.privacy.mode == "example":
        raise InputError(
            '--data: privacy.mode is "example", expected "none" or "client": epsilon is counted from the sizes that the '
            "config's own data give the clients"
        )
    if not path.exists():
        raise InputError(f"--data: got {path}, expected a file or folder with this client's rows; there is none")
    data = config.data.model_copy(
        update={"name": str(path), "validation_examples": 1, "test_examples": 1, "train_examples": None}
    )
    found = tasks.load(data)
    parts = [found.train, found.validation, found.test]
    whole = replace(
        found.train,
        texts=tuple(text for part in parts for text in part.texts),
        labels=np.concatenate([part.labels for part in parts]),
    )
    return replace(found, train=whole)


class Participant:
    """One client of a workshop."""

    def __init__(self, client: int, shop: Workshop, say: Callable[[str], None]) -> None:
        """
        Args:
            client: its number.
            shop: where it trains.
            say: is told of every round.

        Raises:
            InputError: there is no such client in the config.
        """
        if client not in shop.clients:
            raise InputError(f"client: got {client}, expected one of the config's {len(shop.clients)}, from 0 on")
        self.client, self.shop, self.say = client, shop, say
        self.held: ServerState | None = None
        self.finished = False
        self.refused: str | None = None
        self._last: tuple[tuple[int, str], Any] | None = None
        self._note = ""

    def app(self) -> ClientApp:
        """Flower's ClientApp of this client."""
        app = ClientApp()

        @app.query("hello")
        def hello(message: Message, context: Context) -> Message:
            return Message(protocol.content(self.greeting()), reply_to=message)

        @app.query("finished")
        def finish(message: Message, context: Context) -> Message:
            self.finished = True
            return Message(protocol.content(Reason()), reply_to=message)

        @app.query("refused")
        def leave(message: Message, context: Context) -> Message:
            self.refused = protocol.header_of(message.content, Reason).reason
            return Message(protocol.content(Reason()), reply_to=message)

        @app.train()
        def train(message: Message, context: Context) -> Message:
            question = protocol.header_of(message.content, Question)
            tensors = protocol.tensors_of(message.content, self.shop.setup.device)
            return Message(self.answer(question, tensors), reply_to=message)

        return app

    def delivered(self) -> None:
        """Tell of what was trained, now that the server has it."""
        if self._note:
            self.say(self._note)
            self._note = ""

    def greeting(self) -> Greeting:
        """What the server has to know before it sends anything."""
        setup = self.shop.setup
        return Greeting(
            protocol=protocol.PROTOCOL,
            version=rolora.__version__,
            client=self.client,
            config=support.shared_hash(self.shop.config),
            backbone=setup.backbone.sha256,
            labels=list(setup.data.label_names),
            examples=self.shop.clients[self.client],
            fresh=self.held is None,
            packages=records.environment()["packages"],
        )

    def answer(self, question: Question, tensors: communication.Message) -> Any:
        """Train, and say with what; or that what is here is not what the server thinks it is."""
        if self._last is not None and self._last[0] == (question.round, question.state):
            return self._last[1]  # asked again, as the server or the connection was interrupted
        start = self.received(question, tensors)
        common = {"protocol": protocol.PROTOCOL, "round": question.round, "client": self.client}
        if start is None:
            self.held = None
            return protocol.content(Answer(**common, stale=True))
        self.held = start
        trainable = frozenset(question.trainable)
        (update,) = self.shop.engine.local_updates(question.round, {self.client: start}, trainable)
        content = protocol.content(Answer(**common, weight=update.weight, loss=update.loss), update.message)
        self._last = (question.round, question.state), content
        self._note = f"round {question.round}: client {self.client} trained {', '.join(question.trainable)}"
        self._note += f", loss {update.loss:.4f}"
        return content

    def received(self, question: Question, tensors: communication.Message) -> ServerState | None:
        """What the round starts from: what was sent, beside what was held; None if that is not what the server means."""
        for added in (False, True):  # the residual as it is held, or with what the last round added to it
            state = self._assembled(question.round, tensors, added)
            if state is not None and protocol.digest(state) == question.state:
                return state
        return None

    def _assembled(self, t: int, tensors: communication.Message, added: bool) -> ServerState | None:
        held = self.held or ServerState({})
        names = dict.fromkeys([*held.layers, *(name for arrays in tensors.factors.values() for name in arrays)])
        layers = {}
        for name in names:
            before = held.layers.get(name)
            parts = {factor: tensors.factors.get(factor, {}).get(name) for factor in FACTORS}
            if before is None and any(part is None for part in parts.values()):
                return None
            layer = before or Layer(**parts)
            layer = replace(layer, **{factor: part for factor, part in parts.items() if part is not None})
            layers[name] = replace(layer, residual=_residual(name, layer, tensors, added), increment=None)
        if self.shop.config.build_algorithm().restarts and t > 0:
            layers = {name: self._restarted(t, name, layer, tensors) for name, layer in layers.items()}
        return ServerState(layers, dict(held.head) | dict(tensors.head))

    def _restarted(self, t: int, name: str, layer: Layer, tensors: communication.Message) -> Layer:
        """The layer with the adapter that everyone draws anew after a round, where it was not sent."""
        if name in tensors.factors.get("A", {}):
            return layer
        algorithm, config = self.shop.config.build_algorithm(), self.shop.config
        shapes = peft_boundary.read(self.shop.setup.model, head=False).layers[name]
        key = Key(config.seed).fold("model", "adapter").fold("restart", t - 1, name)
        whole = algorithm.restart(t - 1, replace(shapes, B=torch.zeros_like(shapes.B)), key)
        drawn = algorithm.broadcast(t, whole, config.rank_of(self.client))
        return replace(layer, A=drawn.A, B=drawn.B)


def _residual(name: str, layer: Layer, tensors: communication.Message, added: bool) -> Any:
    whole = tensors.residual.get(f"{name}.whole")
    if whole is not None:
        return whole
    parts = [tensors.residual[label] for index in range(2) if (label := f"{name}.added.{index}") in tensors.residual]
    if not added or not parts:
        return layer.residual
    product = product_of(tuple(parts))
    return product if layer.residual is None else layer.residual + product
