"""What exists before round 0: data, clients, model and first adapter, none of them dependent on the algorithm."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peft import PeftModel

from rolora import models, partition, peft_boundary, precision, recomputation, tasks
from rolora.config import Config
from rolora.engine.prefix import Prefix, Refused
from rolora.keys import Key
from rolora.local_training import Examples


@dataclass
class Setup:
    """All that exists before round 0."""

    config: Config
    key: Key
    data: tasks.TextData
    clients: list[np.ndarray]
    backbone: models.Backbone
    model: PeftModel
    train: Examples
    held_out: Examples
    precision: dict[str, Any]
    prefix: Prefix | None = None
    prefix_record: dict[str, Any] | None = None

    @property
    def device(self):
        """Where the model is."""
        return next(self.model.parameters()).device


def prepare(config: Config) -> Setup:
    """Load data and model, divide the data, attach the first adapter.

    Nothing here depends on the algorithm: with one seed, all algorithms start from the same data, clients and adapter.

    Raises:
        InputError: whatever of the config cannot be met.
    """
    key = Key(config.seed)
    data = tasks.load(config.data)
    clients = divide(config, key, data.train.labels)
    settings = precision.apply(config.runtime)
    backbone = models.load(
        config.model,
        "classification",
        len(data.label_names),
        key.fold("model"),
        precision.DTYPES[config.runtime.dtype],
        precision.device(config.runtime),
    )
    model = peft_boundary.attach(backbone.model, config.lora, key.fold("model"), backbone.name, config.data.name)
    if config.runtime.gradient_checkpointing:
        recomputation.enable(model)
    held_out = data.test if config.evaluation.split == "test" else data.validation
    return Setup(
        config=config,
        key=key,
        data=data,
        clients=clients,
        backbone=backbone,
        model=model,
        train=tokenise(backbone, data.train, config.model.max_length),
        held_out=tokenise(backbone, held_out, config.model.max_length),
        precision=settings,
    )


def keep_hidden_states(setup: Setup, folder: Path | None) -> None:
    """Keep the hidden states below the lowest adapted layer, where the config asks for it and it can be done exactly.

    Args:
        setup: gets them, and what a record says of them: why there are none, if there are none.
        folder: of the run, for a file on disk where memory does not suffice; none is written if None.

    Raises:
        InputError: what was computed twice differs by more than rounding.
    """
    runtime = setup.config.runtime
    if not runtime.prefix_cache or setup.prefix_record is not None:
        return
    batch_size = setup.config.evaluation.batch_size
    try:
        if runtime.gradient_checkpointing and recomputation.HOOKS_RUN_AGAIN:
            raise Refused(
                "runtime.gradient_checkpointing: this version of transformers runs a layer's hooks again with it"
            )
        sources = [setup.train, setup.held_out]
        setup.prefix = Prefix(setup.model, sources, batch_size, runtime.prefix_cache_bytes, folder)
        setup.prefix_record = setup.prefix.describe()
    except Refused as reason:
        setup.prefix_record = {"refused": str(reason)}


def divide(config: Config, key: Key, labels: np.ndarray) -> list[np.ndarray]:
    """The clients' example indices by the config's partition."""
    federation = config.federation
    if config.build_algorithm().pooled:
        return [np.arange(len(labels))]
    stream = key.fold("partition", federation.num_clients)
    if federation.partition == "dirichlet":
        return partition.dirichlet(stream, labels, federation.num_clients, federation.dirichlet_alpha)
    if federation.partition == "by-label":
        return partition.by_label(stream, labels, federation.num_clients, federation.labels_per_client)
    return partition.iid(stream, labels, federation.num_clients)


def tokenise(backbone: models.Backbone, split: Any, max_length: int) -> Examples:
    """All texts of a split as what the model takes, once, so that no step tokenises again."""
    tokenizer, taken = backbone.tokenizer, inspect.signature(backbone.model.forward).parameters
    columns = list(zip(*split.texts, strict=True))
    encoded = tokenizer(*(list(column) for column in columns), truncation=True, max_length=max_length)
    pad = {"input_ids": tokenizer.pad_token_id, "attention_mask": 0, "token_type_ids": tokenizer.pad_token_type_id}
    return Examples(
        fields={name: rows for name, rows in encoded.items() if name in pad and name in taken},
        labels=split.labels,
        pad=pad,
    )
