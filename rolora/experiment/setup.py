"""What exists before round 0: data, clients, model and first adapter, none of them dependent on the algorithm."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from peft import PeftModel

from rolora import data as tasks
from rolora.config import Config
from rolora.data import partition
from rolora.keys import Key
from rolora.models import backbone as models
from rolora.models import peft_boundary, precision
from rolora.training import gradient_checkpointing
from rolora.training.examples import Examples
from rolora.training.prefix_cache import Prefix, Refused
from rolora.training.tokenisation import packed, tokenise


@dataclass
class Setup:
    """All that exists before round 0.

    ``clients`` are the indices of each client's examples in ``train``; ``shares`` those of its texts in ``data.train``, which
    differ where texts are packed.
    """

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
    shares: list[np.ndarray] = field(default_factory=list)
    test: Examples | None = None  # where rounds are selected: held_out is then the validation text

    @property
    def device(self):
        """Where the model is."""
        return next(self.model.parameters()).device


def prepare(config: Config, data: tasks.TextData | None = None, beside: Setup | None = None) -> Setup:
    """Load data and model, divide the data, attach the first adapter.

    Nothing here depends on the algorithm: with one seed, all algorithms start from the same data, clients and adapter.

    Args:
        config: what is asked for.
        data: one client's own data in the place of the config's; they are not divided.
        beside: of a run with the same model and data, whose data and tokens are used.

    Raises:
        InputError: whatever of the config cannot be met.
    """
    key = Key(config.seed)
    if data is None:
        data = tasks.load(config.data) if beside is None else beside.data
        clients = divide(config, key, data.train.labels, data.train.owners)
    else:
        clients = [np.arange(len(data.train))]
    settings = precision.apply(config.runtime)
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
    selects = config.evaluation.select != "last"
    held_out = data.test if config.evaluation.split == "test" and not selects else data.validation
    if beside is not None and not config.data.packing:
        same = {name: getattr(beside, name) for name in ("train", "held_out", "test")}
        return Setup(
            config=config, key=key, data=data, clients=clients, backbone=backbone, model=model, precision=settings,
            shares=clients, **same,
        )  # fmt: skip
    train, shares = tokenise(backbone, data.train, config, data.metrics), clients
    if config.data.packing:
        train, clients = packed(train, clients, config.model.max_length)
    return Setup(
        config=config,
        key=key,
        data=data,
        clients=clients,
        backbone=backbone,
        model=model,
        train=train,
        held_out=tokenise(backbone, held_out, config, data.metrics),
        precision=settings,
        test=tokenise(backbone, data.test, config, data.metrics) if selects else None,
        shares=shares,
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
    """The clients' example indices by the config's partition; ``owners`` says whose they are by the data themselves."""
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
