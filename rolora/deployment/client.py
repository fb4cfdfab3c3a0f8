"""Deployed client: a ClientApp that trains on its own data, from the server's state to the bit.

It keeps the tensors that it was sent, so that the next round sends only what has changed. Before it trains it compares the digest
of its start with the server's: where they differ it replies so, and is sent everything.
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
from rolora.deployment.protocol import ClientHello, Reason, TrainReply, TrainRequest
from rolora.errors import InputError
from rolora.experiment.setup import Setup, keep_hidden_states, prepare
from rolora.federation import ServerState, communication
from rolora.keys import Key
from rolora.models import peft_boundary
from rolora.privacy import accounting, example_level
from rolora.training.engines import ENGINES, Engine


@dataclass(frozen=True)
class TrainingContext:
    """Data, backbone and engine that the clients of one process share.

    ``clients`` maps the clients that can be trained here to their numbers of examples.
    """

    config: Config
    setup: Setup
    engine: Engine
    clients: dict[int, int]


def training_context(config: Config, own: tuple[int, Path] | None = None) -> TrainingContext:
    """Load data and model, and make the engine.

    Args:
        config: the federation's.
        own: a client, and the file or folder with its rows; its part of the config's data if None.

    Raises:
        InputError: the config cannot be deployed or met, or the data are not as it describes them.
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
    return TrainingContext(config, setup, engine, sizes)


def own_data(config: Config, path: Path) -> tasks.TextData:
    """Load a client's own rows: every distinct one is trained on, nothing is held out.

    Raises:
        InputError: they are not as the config describes its data.
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
    loaded = tasks.load(data)
    parts = [loaded.train, loaded.validation, loaded.test]
    train = replace(
        loaded.train,
        texts=tuple(text for part in parts for text in part.texts),
        labels=np.concatenate([part.labels for part in parts]),
    )
    return replace(loaded, train=train)


class Client:
    """One client: replies to the server's messages."""

    def __init__(self, client: int, training: TrainingContext, report: Callable[[str], None]) -> None:
        """
        Args:
            client: its number.
            training: data, model and engine.
            report: takes a line about every round.

        Raises:
            InputError: there is no such client in the config.
        """
        if client not in training.clients:
            raise InputError(f"client: got {client}, expected one of the config's {len(training.clients)}, from 0 on")
        self.client, self.training, self.report = client, training, report
        self.held: ServerState | None = None
        self.finished = False
        self.rejected: str | None = None
        self._last: tuple[tuple[int, str], Any] | None = None
        self._note = ""

    def app(self) -> ClientApp:
        """Return Flower's ClientApp of this client."""
        app = ClientApp()

        @app.query("hello")
        def hello(message: Message, context: Context) -> Message:
            return Message(protocol.content(self.hello()), reply_to=message)

        @app.query("finished")
        def finish(message: Message, context: Context) -> Message:
            self.finished = True
            return Message(protocol.content(Reason()), reply_to=message)

        @app.query("refused")
        def reject(message: Message, context: Context) -> Message:
            self.rejected = protocol.header_of(message.content, Reason).reason
            return Message(protocol.content(Reason()), reply_to=message)

        @app.train()
        def train(message: Message, context: Context) -> Message:
            request = protocol.header_of(message.content, TrainRequest)
            tensors = protocol.tensors_of(message.content, self.training.setup.device)
            return Message(self.reply(request, tensors), reply_to=message)

        return app

    def delivered(self) -> None:
        """Report the round that was trained, now that the server has the update."""
        if self._note:
            self.report(self._note)
            self._note = ""

    def hello(self) -> ClientHello:
        """Return the description that the server checks before it sends anything of the model."""
        setup = self.training.setup
        return ClientHello(
            protocol=protocol.PROTOCOL,
            version=rolora.__version__,
            client=self.client,
            config=support.shared_hash(self.training.config),
            backbone=setup.backbone.sha256,
            labels=list(setup.data.label_names),
            examples=self.training.clients[self.client],
            fresh=self.held is None,
            packages=records.environment()["packages"],
        )

    def reply(self, request: TrainRequest, tensors: communication.Message) -> Any:
        """Train and return the update's content, or that the start differs from the server's."""
        if self._last is not None and self._last[0] == (request.round, request.state):
            return self._last[1]  # the round is repeated, or the server or the connection was interrupted
        start = self.start(request, tensors)
        common = {"protocol": protocol.PROTOCOL, "round": request.round, "client": self.client}
        if start is None:
            self.held = None
            return protocol.content(TrainReply(**common, stale=True))
        self.held = start
        trainable = frozenset(request.trainable)
        (update,) = self.training.engine.local_updates(request.round, {self.client: start}, trainable)
        content = protocol.content(TrainReply(**common, weight=update.weight, loss=update.loss), update.message)
        self._last = (request.round, request.state), content
        self._note = f"round {request.round}: client {self.client} trained {', '.join(request.trainable)}"
        self._note += f", loss {update.loss:.4f}"
        return content

    def start(self, request: TrainRequest, tensors: communication.Message) -> ServerState | None:
        """Return the round's start, of the tensors sent and those held; None if its digest is not the server's."""
        for added in (False, True):  # the residual as it is held, or with the increment of the last round
            state = self._assembled(request.round, tensors, added)
            if state is not None and protocol.digest(state) == request.state:
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
        if self.training.config.build_algorithm().restarts and t > 0:
            layers = {name: self._restarted(t, name, layer, tensors) for name, layer in layers.items()}
        return ServerState(layers, dict(held.head) | dict(tensors.head))

    def _restarted(self, t: int, name: str, layer: Layer, tensors: communication.Message) -> Layer:
        """Return the layer with the adapter that all sides draw anew after a round, where it was not sent."""
        if name in tensors.factors.get("A", {}):
            return layer
        algorithm, config = self.training.config.build_algorithm(), self.training.config
        shapes = peft_boundary.read(self.training.setup.model, head=False).layers[name]
        key = Key(config.seed).fold("model", "adapter").fold("restart", t - 1, name)
        restarted = algorithm.restart(t - 1, replace(shapes, B=torch.zeros_like(shapes.B)), key)
        drawn = algorithm.broadcast(t, restarted, config.rank_of(self.client))
        return replace(layer, A=drawn.A, B=drawn.B)


def _residual(name: str, layer: Layer, tensors: communication.Message, added: bool) -> Any:
    residual = tensors.residual.get(f"{name}.whole")
    if residual is not None:
        return residual
    parts = [tensors.residual[label] for index in range(2) if (label := f"{name}.added.{index}") in tensors.residual]
    if not added or not parts:
        return layer.residual
    product = product_of(tuple(parts))
    return product if layer.residual is None else layer.residual + product
