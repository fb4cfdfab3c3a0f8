"""Data, clients, model and first adapter before round 0, none of them dependent on the algorithm; kept for the next run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel

from rolora import data as tasks
from rolora.config import Config
from rolora.data import partition
from rolora.federation import ServerState
from rolora.keys import Key
from rolora.models import backbone as models
from rolora.models import peft_boundary, precision
from rolora.training import gradient_checkpointing, process_group
from rolora.training.examples import Examples
from rolora.training.prefix_cache import Prefix, Refused
from rolora.training.tokenisation import packed, tokenise


@dataclass
class Setup:
    """All that exists before round 0.

    ``clients`` are the indices of each client's examples in ``train``; ``shares`` those of its texts in ``data.train`` and
    ``texts``, which differ where texts are packed. ``first`` is the server's state before round 0.
    """

    config: Config
    key: Key
    data: tasks.TextData
    backbone: models.Backbone
    model: PeftModel
    first: ServerState
    precision: dict[str, Any]
    texts: Examples
    train: Examples
    held_out: Examples
    test: Examples | None  # where rounds are selected: held_out is then the validation text
    clients: list[np.ndarray] = field(default_factory=list)
    shares: list[np.ndarray] = field(default_factory=list)
    prefix: Prefix | None = None
    prefix_record: dict[str, Any] | None = None

    @property
    def device(self):
        """The device of the model's parameters."""
        return next(self.model.parameters()).device

    def reused(self, config: Config) -> Setup | None:
        """Return the setup of another config on the same backbone and tokens; it :func:`needs` what this one does.

        Clients, head and first adapter are drawn from the config's own seed, so its run has the bits of one alone. None where
        they cannot be: loading drew them in another way.
        """
        key = Key(config.seed)
        first = _first_state(self, config, key)
        if first is None:
            return None
        shares = divide(config, key, self.data.train.labels, self.data.train.owners)
        settings = precision.apply(config.runtime)
        return _divided(replace(self, config=config, key=key, precision=settings, first=first), shares)


class SetupCache:
    """The setup of a process's last run, used again by the next one if it needs the same model and data.

    At most one backbone is held: what the next run cannot use is released before another is loaded.
    """

    def __init__(self) -> None:
        self._setup: Setup | None = None
        self._needs: str | None = None

    def get(self, config: Config) -> Setup:
        """Return the setup of a config, from the last one if possible.

        Raises:
            InputError: whatever of the config cannot be met.
        """
        needed = needs(config)
        setup = self._setup.reused(config) if self._setup is not None and needed == self._needs else None
        if setup is None:
            self._setup = None
            setup = prepare(config)
        self._setup, self._needs = None if needed is None else setup, needed
        return setup


def needs(config: Config) -> str | None:
    """Return what a run needs of model and data, as text; None if it changes the model or cannot leave it to another."""
    algorithm, evaluation = config.build_algorithm(), config.evaluation
    folds = any("residual" in algorithm.changed(t) for t in range(config.federation.rounds))
    if folds or config.privacy.mode != "none" or process_group.count() > 1:
        return None
    table = config.resolved()
    shared = {name: table[name] for name in ("model", "lora", "data", "runtime") if name in table}
    shared["evaluation"] = [evaluation.split, evaluation.select, evaluation.batch_size]
    return json.dumps(shared | {"seed": config.seed if config.own_backbone else None}, sort_keys=True)


def prepare(config: Config, data: tasks.TextData | None = None) -> Setup:
    """Load data and model, divide the data, attach the first adapter.

    Nothing here depends on the algorithm: with one seed, all algorithms start from the same data, clients and adapter.

    Args:
        config: of the run.
        data: one client's own data in the place of the config's; they are not divided.

    Raises:
        InputError: whatever of the config cannot be met.
    """
    key = Key(config.seed)
    if data is None:
        data = tasks.load(config.data)
        shares = divide(config, key, data.train.labels, data.train.owners)
    else:
        shares = [np.arange(len(data.train))]
    settings = precision.apply(config.runtime)
    backbone, model = _load(config, data, key)
    selects = config.evaluation.select != "last"
    held_out = data.test if config.evaluation.split == "test" and not selects else data.validation
    texts = tokenise(backbone, data.train, config, data.metrics)
    setup = Setup(
        config=config,
        key=key,
        data=data,
        backbone=backbone,
        model=model,
        first=peft_boundary.read(model, head=config.model.head == "trained"),
        precision=settings,
        texts=texts,
        train=texts,
        held_out=tokenise(backbone, held_out, config, data.metrics),
        test=tokenise(backbone, data.test, config, data.metrics) if selects else None,
    )
    return _divided(setup, shares)


def _load(config: Config, data: tasks.TextData, key: Key) -> tuple[models.Backbone, PeftModel]:
    backbone = models.load(
        config.model,
        config.data.task,
        data.num_outputs,
        key.fold("model"),
        precision.DTYPES[config.runtime.dtype],
        precision.device(config.runtime),
    )
    model = peft_boundary.attach(backbone.model, config.lora, key.fold("model"), backbone.name, config.data.name)
    # Nothing is generated here; with a cache of keys, transformers would not see that a row holds several texts.
    model.config.use_cache = False
    if config.runtime.gradient_checkpointing:
        gradient_checkpointing.enable(model)
    return backbone, model


def _first_state(setup: Setup, config: Config, key: Key) -> ServerState | None:
    """Return the state before round 0 of another config, drawn on this setup's model; None if loading draws another one.

    It is drawn for this setup's own seed first, and has to be what loading gave: on another device, or where a checkpoint lacks
    weights, it may not be.
    """
    if config.seed == setup.config.seed:
        return setup.first
    head = config.model.head == "trained"
    drawn, loaded = peft_boundary.first_state(setup.model, setup.key.fold("model"), head=head), setup.first
    pairs = [(drawn.head[name], tensor) for name, tensor in loaded.head.items()]
    for name, layer in loaded.layers.items():
        pairs += [(drawn.layers[name].A, layer.A), (drawn.layers[name].B, layer.B)]
    if not all(torch.equal(first, second) for first, second in pairs):
        return None
    return peft_boundary.first_state(setup.model, key.fold("model"), head=head)


def _divided(setup: Setup, shares: list[np.ndarray]) -> Setup:
    """The setup with its texts dealt to the clients; a row of packed texts is one client's."""
    if not setup.config.data.packing:
        return replace(setup, clients=shares, shares=shares)
    if len(shares) == len(setup.shares) and all(map(np.array_equal, shares, setup.shares)):
        return setup
    train, clients = packed(setup.texts, shares, setup.config.model.max_length)
    return replace(setup, train=train, clients=clients, shares=shares, prefix=None, prefix_record=None)


def keep_hidden_states(setup: Setup, folder: Path | None) -> None:
    """Keep the hidden states below the lowest adapted layer, where the config asks for it and it can be done exactly.

    Args:
        setup: gets them, and their description for the record: the reason, if there are none.
        folder: of the run, for a file on disk where memory does not suffice; none is written if None.

    Raises:
        InputError: what was computed twice differs by more than rounding.
    """
    runtime = setup.config.runtime
    if not runtime.prefix_cache or setup.prefix_record is not None:
        return
    batch_size = setup.config.evaluation.batch_size
    try:
        if runtime.gradient_checkpointing and gradient_checkpointing.HOOKS_RUN_AGAIN:
            raise Refused(
                "runtime.gradient_checkpointing: this version of transformers runs a layer's hooks again with it"
            )
        sources = [setup.train, setup.held_out, *([] if setup.test is None else [setup.test])]
        setup.prefix = Prefix(setup.model, sources, batch_size, runtime.prefix_cache_bytes, folder)
        setup.prefix_record = setup.prefix.describe()
    except Refused as reason:
        setup.prefix_record = {"refused": str(reason)}


def divide(config: Config, key: Key, labels: np.ndarray, owners: np.ndarray | None = None) -> list[np.ndarray]:
    """Return the clients' example indices by the config's partition; ``owners`` gives each example's client in the data."""
    federation = config.federation
    if config.build_algorithm().pooled:
        return [np.arange(len(labels))]
    if federation.partition == "by-column":
        return partition.by_column(owners, federation.num_clients)
    stream = key.fold("partition", federation.num_clients)
    if federation.partition == "dirichlet":
        return partition.dirichlet(stream, labels, federation.num_clients, federation.dirichlet_alpha)
    if federation.partition == "by-label":
        return partition.by_label(stream, labels, federation.num_clients, federation.labels_per_client)
    return partition.iid(stream, labels, federation.num_clients)
