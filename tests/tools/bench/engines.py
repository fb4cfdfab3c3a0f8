"""The engines of this project as contestants, and the job that all contestants get, made from a config."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel, get_peft_model_state_dict

from rolora import config as configuration
from rolora.config import Config
from rolora.errors import InputError
from rolora.experiment.setup import Setup, keep_hidden_states, prepare
from rolora.federation import ServerState, close_round, open_round
from rolora.federation.communication import Ledger
from rolora.keys import Key
from rolora.models import backbone, peft_boundary
from rolora.training.engines import ENGINES, Engine
from rolora.training.examples import Examples
from rolora.training.local_update import batches
from tests.tools.bench.given import Batch, Given, State, load


def exact(config: Config) -> Setup:
    """What exists before round 0, with texts of exactly ``model.max_length`` tokens and clients of equal size.

    Longer texts are cut to that length and shorter ones left out, so that nothing is padded. The texts that remain are
    dealt out in a random order, ``batch_size`` x ``local_steps`` to a client and from the beginning again when there are no
    more, so that every batch of every client is full.
    """
    setup = prepare(config)
    lengths = np.array([len(row) for row in setup.train.fields["input_ids"]])
    train = setup.train.select(np.flatnonzero(lengths == config.model.max_length))
    order = setup.key.fold("bench", "clients").generator().permutation(len(train))
    each = config.training.batch_size * config.training.local_steps
    clients = [
        order[np.arange(client * each, (client + 1) * each) % len(order)]
        for client in range(config.federation.num_clients)
    ]
    return replace(setup, train=train, clients=clients)


def give(setup: Setup) -> Given:
    """The job as a plain loop takes it: the batches that the engines will draw, and their first adapter.

    Raises:
        InputError: if the job has dropout.
    """
    config, known = setup.config, setup.backbone.model.config
    training, lora = config.training, config.lora
    if config.model.dropout != 0 or lora.dropout != 0:
        raise InputError(
            f"bench: got model.dropout = {config.model.dropout}, lora.dropout = {lora.dropout}, expected 0: a plain loop "
            "draws other masks"
        )
    settings = {field: 0.0 for field in backbone.DROPOUT_FIELDS if getattr(known, field, None) is not None}
    return Given(
        algorithm=config.algorithm,
        model=backbone.locate(config.model.name)[0],
        settings=settings | {"num_labels": len(setup.data.label_names)},
        dtype=config.runtime.dtype,
        lora={
            "r": lora.rank,
            "lora_alpha": lora.alpha,
            "lora_dropout": lora.dropout,
            "target_modules": list(lora.target_modules),
            "layers_to_transform": list(lora.layers) if lora.layers is not None else None,
        },
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        weights=[float(len(indices)) for indices in setup.clients],
        config=config.resolved(),
        start=state_of(setup.model, peft_boundary.read(setup.model, head=True)),
        batches=draw(setup.train, setup.clients, config, setup.key, setup.device),
    )


def draw(
    examples: Examples, clients: Sequence[np.ndarray], config: Config, key: Key, device: torch.device
) -> list[list[list[Batch]]]:
    """The batches that the engines will draw, by round, client and local step."""
    training = config.training
    drawn: list[list[list[Batch]]] = []
    for t in range(config.federation.rounds):
        drawn.append([])
        for client, indices in enumerate(clients):
            steps = []
            stream = key.fold("client", client, "round", t, "batches")
            for chosen in batches(stream, indices, training.batch_size, training.local_steps):
                inputs, labels = examples.batch(chosen, device)
                steps.append(inputs | {"labels": labels})
            drawn[t].append(steps)
    return drawn


def state_of(model: PeftModel, server: ServerState) -> State:
    """A server's adapter and head as PEFT's state dict."""
    peft_boundary.write(model, server)
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def engine_of(setup: Setup) -> Engine:
    """The engine that the setup's config names."""
    return ENGINES[setup.config.runtime.engine](
        setup.model, setup.train, setup.clients, setup.config, setup.key, prefix=setup.prefix
    )


def federated(engine: Engine, config: Config, key: Key, server: ServerState) -> ServerState:
    """All rounds as ``rolora.experiment.loop`` runs them, without evaluation and checkpoints.

    Args:
        engine: trains the clients.
        config: the job; all clients take part in every round.
        key: the experiment's.
        server: the first adapter and head.

    Returns:
        The state after the last round.
    """
    algorithm, ledger = config.build_algorithm(), Ledger()
    for t in range(config.federation.rounds):
        opened = open_round(t, server, algorithm, range(config.federation.num_clients), ledger)
        updates = engine.local_updates(t, opened.broadcasts, opened.trainable)
        server, ledger, _ = close_round(opened, server, algorithm, updates, ledger, key)
    return server


def contestant(folder: Path, runtime: Mapping[str, Any]) -> Callable[[], tuple[float, State, dict[str, Any]]]:
    """Prepare the job for one engine, take a first client's steps to warm up, and return what runs and times one pass.

    A prefix cache is filled here, once for all rounds; what that takes is told apart from the passes.

    Args:
        folder: of the job.
        runtime: what the job's config is to have in ``[runtime]``.

    Raises:
        InputError: if this version has no such engine or option.
    """
    table = load(folder).config
    table["runtime"] |= {"threads": len(os.sched_getaffinity(0))} | dict(runtime)
    setup = exact(configuration.check(table, "bench"))
    started = time.perf_counter()
    keep_hidden_states(setup, None)
    once = {"prefix_seconds": time.perf_counter() - started} if setup.prefix is not None else {}
    if setup.config.runtime.prefix_cache and setup.prefix is None:
        raise InputError(f"prefix_cache: {setup.prefix_record['refused']}")
    engine, server = engine_of(setup), peft_boundary.read(setup.model, head=True)
    engine.local_updates(0, {0: server}, setup.config.build_algorithm().trainable(0))

    def run() -> tuple[float, State, dict[str, Any]]:
        started = time.perf_counter()
        after = federated(engine, setup.config, setup.key, server)
        return time.perf_counter() - started, state_of(setup.model, after), {"runtime": table["runtime"], **once}

    return run
