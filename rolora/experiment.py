"""One experiment from config to record: Algorithm 1 on a language model, with evaluation, bytes and checkpoints."""

from __future__ import annotations

import inspect
import json
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import save

from rolora import models, partition, peft_boundary, precision, records, tasks
from rolora.adapter import FACTORS, Layer
from rolora.communication import PARTS, Ledger
from rolora.config import Config
from rolora.engine import SequentialEngine
from rolora.errors import InputError
from rolora.evaluation import evaluate, pooled
from rolora.federation import RoundReport, ServerState, pack, run_round, start_of
from rolora.keys import Key
from rolora.local_training import Examples
from rolora.participation import sample_clients
from rolora.progress import Event

CHECKPOINT = "checkpoint.safetensors"


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
        len(data.label_names),
        key.fold("model"),
        precision.DTYPES[config.runtime.dtype],
        precision.device(config.runtime),
    )
    model = peft_boundary.attach(backbone.model, config.lora, key.fold("model"), backbone.name)
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


def run(
    config: Config,
    directory: Path,
    *,
    resume: bool = False,
    progress: Callable[[Event], None] | None = None,
) -> dict[str, Any]:
    """Run an experiment, or return the record of the same experiment if it has been run already.

    Args:
        config: what to run.
        directory: of this run; gets ``record.json`` and ``adapter/`` (PEFT's own layout), and a checkpoint meanwhile.
        resume: go on from the checkpoint; the result has the bits of an uninterrupted run.
        progress: told after every local update.

    Returns:
        The record.

    Raises:
        InputError: the config cannot be met, or there is an unfinished run and ``resume`` is False.
    """
    done = records.finished(directory, config.hash())
    if done is not None:
        return done
    checkpoint = directory / CHECKPOINT
    if checkpoint.exists() and not resume:
        raise InputError(f"{directory}: holds an unfinished run; add --resume to go on with it, or remove the folder")

    setup = prepare(config)
    algorithm = config.build_algorithm()
    ranks = {client: config.rank_of(client) for client in range(len(setup.clients))}
    trains_head = config.model.head == "trained"
    rounds = config.federation.rounds
    server = peft_boundary.read(setup.model, head=trains_head)
    ledger = Ledger()
    history: list[dict[str, Any]] = []
    if checkpoint.exists():
        server, ledger, history, initial = load_checkpoint(checkpoint, config)
    else:
        initial = measure(setup, server)

    reporter = Reporter(config, progress, len(history), initial)
    engine = SequentialEngine(
        setup.model, setup.train, setup.clients, config, setup.key, after_client=reporter.local_update_done
    )
    for t in range(len(history), rounds):
        started = time.perf_counter()
        clients = sample_clients(setup.key, t, len(setup.clients), config.federation.clients_per_round)
        server, ledger, report = run_round(
            t,
            server,
            algorithm,
            clients,
            engine.local_update,
            ledger,
            setup.key.fold("model", "adapter"),
            ranks,
            config.evaluation.interference,
        )
        due = (t + 1) % config.evaluation.every == 0 or t + 1 == rounds
        trained = time.perf_counter() - started
        evaluation = measure(setup, server) if due else None
        history.append(entry(report) | {"seconds": round(trained, 4), "evaluation": evaluation})
        save_checkpoint(checkpoint, config, server, ledger, history, initial)
        reporter.round_done(report.loss, evaluation)

    peft_boundary.write(setup.model, server)
    # The vocabulary is not trained; without this, PEFT asks the hub whether it was.
    setup.model.save_pretrained(directory / "adapter", save_embedding_layers=False)
    save_beside_adapter(directory, server)
    record = describe(setup, history, initial)
    records.write_json(directory / "record.json", record)
    checkpoint.unlink(missing_ok=True)
    return record


def save_beside_adapter(directory: Path, server: ServerState) -> None:
    """What the result needs beyond one adapter: a residual to add to the backbone, the clients' own factors."""
    for kind in ("residual", "personal"):
        tensors = {name: array.contiguous() for found, name, array in everything(server) if found == kind}
        if tensors:
            records.write_bytes(directory / f"{kind}.safetensors", save(tensors))


def entry(report: RoundReport) -> dict[str, Any]:
    """A round's report as a record keeps it: what JSON gives back is what was put in."""
    kept = asdict(report)
    return json.loads(json.dumps(kept if report.lost else {name: kept[name] for name in kept if name != "lost"}))


def measure(setup: Setup, server: ServerState) -> dict[str, float | int]:
    """The server's model on the held-out text; where clients have models of their own, those, each on a part of it.

    With personal factors the held-out examples are dealt to the clients at random, every example to one client: the mean
    over examples estimates the mean accuracy of the clients' models at the price of one evaluation.
    """
    algorithm, batch_size = setup.config.build_algorithm(), setup.config.evaluation.batch_size
    if not algorithm.personal:
        peft_boundary.write(setup.model, server)
        return evaluate(setup.model, setup.held_out, batch_size, setup.device).as_dict()
    order = setup.key.fold("evaluation", "clients").generator().permutation(len(setup.held_out))
    found = []
    for client, part in enumerate(np.array_split(order, len(setup.clients))):
        peft_boundary.write(setup.model, start_of(0, server, algorithm, client))
        found.append(evaluate(setup.model, setup.held_out.select(np.sort(part)), batch_size, setup.device))
    return pooled(found).as_dict()


def describe(setup: Setup, history: Sequence[dict[str, Any]], initial: dict[str, Any]) -> dict[str, Any]:
    """The record of a finished run."""
    config = setup.config
    trainable = {
        factor: sum(layer[factor].numel() for layer in peft_boundary.factor_parameters(setup.model).values())
        for factor in FACTORS
    }
    head = sum(parameter.numel() for parameter in peft_boundary.head_parameters(setup.model).values())
    return {
        "format": records.FORMAT,
        "name": config.run_name(),
        "status": "finished",
        "config": config.resolved(),
        "config_hash": config.hash(),
        "seed": config.seed,
        "command": command(config),
        "code": records.code(),
        "environment": records.environment() | setup.precision,
        "model": {
            "name": setup.backbone.name,
            "source": setup.backbone.source,
            "sha256": setup.backbone.sha256,
            "architecture": type(setup.backbone.model).__name__,
            "parameters": setup.backbone.parameters,
            "trainable": trainable | {"head": head if config.model.head == "trained" else 0},
            "adapted_layers": list(peft_boundary.factor_parameters(setup.model)),
        },
        "data": setup.data.describe()
        | {
            "client_sizes": [len(indices) for indices in setup.clients],
            "client_label_counts": [
                np.bincount(setup.data.train.labels[indices], minlength=len(setup.data.label_names)).tolist()
                for indices in setup.clients
            ],
        },
        "initial_evaluation": initial,
        "rounds": list(history),
        "final": history[-1]["evaluation"],
        "seconds": round(sum(entry["seconds"] for entry in history), 3),
    }


def command(config: Config) -> str:
    """A command line that runs this experiment again from its record alone."""
    return f"python -m rolora run {shlex.quote(config.run_name() + '/record.json')}"


class Reporter:
    """Turns what the engine and the loop tell into events for a progress bar."""

    def __init__(
        self, config: Config, progress: Callable[[Event], None] | None, finished: int, initial: dict[str, Any]
    ) -> None:
        self.progress = progress
        self.rounds = config.federation.rounds
        pooled = config.build_algorithm().pooled
        self.per_round = 1 if pooled else config.federation.clients_per_round or config.federation.num_clients
        self.round = finished
        self.done = finished * self.per_round
        self.loss: float | None = None
        self.accuracy: float | None = initial["accuracy"]
        self._tell()

    def local_update_done(self) -> None:
        """One client has finished."""
        self.done += 1
        self._tell()

    def round_done(self, loss: float, evaluation: dict[str, Any] | None) -> None:
        """The server has aggregated."""
        self.round += 1
        self.loss = loss
        self.accuracy = evaluation["accuracy"] if evaluation else self.accuracy
        self._tell()

    def _tell(self) -> None:
        if self.progress is not None:
            total = self.rounds * self.per_round
            self.progress(Event(self.done, total, self.round, self.rounds, self.loss, self.accuracy))


def save_checkpoint(
    path: Path,
    config: Config,
    server: ServerState,
    ledger: Ledger,
    history: list[dict[str, Any]],
    initial: dict[str, Any],
) -> None:
    """Replace the checkpoint: tensors and progress in one safetensors file, so they cannot disagree."""
    tensors = {f"{part}|{name}": array.contiguous() for part, name, array in everything(server)}
    progress = {
        "config_hash": config.hash(),
        "ledger": {
            "server": dict(ledger.server),
            "held": {str(client): dict(held) for client, held in ledger.held.items()},
            "previous": dict(ledger.previous),
        },
        "rounds": history,
        "initial": initial,
    }
    records.write_bytes(path, save(tensors, metadata={"progress": json.dumps(progress)}))


def load_checkpoint(path: Path, config: Config) -> tuple[ServerState, Ledger, list[dict[str, Any]], dict[str, Any]]:
    """Read what :func:`save_checkpoint` wrote.

    Raises:
        InputError: if it belongs to another config or is damaged.
    """
    try:
        with safe_open(path, framework="pt", device=config.runtime.device) as file:
            progress = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except Exception as error:  # safetensors' own error type is not public
        raise InputError(f"{path}: expected a checkpoint of this software; {str(error).splitlines()[0]}") from None
    if progress["config_hash"] != config.hash():
        raise InputError(
            f"{path}: belongs to another config, expected hash {config.hash()[:8]}; remove it or use its config"
        )
    ledger = Ledger(
        server=progress["ledger"]["server"],
        held={int(client): held for client, held in progress["ledger"]["held"].items()},
        previous=progress["ledger"]["previous"],
    )
    return restored(tensors), ledger, progress["rounds"], progress["initial"]


def everything(server: ServerState) -> Iterator[tuple[str, str, Any]]:
    """Every tensor of a state as (kind, name, tensor): what a checkpoint has to hold."""
    yield from pack(server, frozenset(PARTS)).arrays()
    for name, layer in server.layers.items():
        if layer.residual is not None:
            yield "residual", name, layer.residual
        for index, array in enumerate(layer.increment or ()):
            yield "increment", f"{index}|{name}", array
        for memory, array in layer.memory.items():
            yield "memory", f"{memory}|{name}", array
    for client, layers in server.personal.items():
        for name, factors in layers.items():
            for factor, array in factors.items():
                yield "personal", f"{client}|{factor}|{name}", array


def restored(tensors: Mapping[str, Any]) -> ServerState:
    """The state from the tensors of :func:`everything`, by "kind|name"."""
    layers: dict[str, dict[str, Any]] = {}
    head: dict[str, Any] = {}
    personal: dict[int, dict[str, dict[str, Any]]] = {}
    increments: dict[str, dict[int, Any]] = {}
    for label, tensor in tensors.items():
        kind, _, name = label.partition("|")
        if kind == "head":
            head[name] = tensor
        elif kind == "personal":
            client, factor, name = name.split("|", 2)
            personal.setdefault(int(client), {}).setdefault(name, {})[factor] = tensor
        elif kind == "increment":
            index, _, name = name.partition("|")
            increments.setdefault(name, {})[int(index)] = tensor
        elif kind == "memory":
            memory, _, name = name.partition("|")
            layers.setdefault(name, {}).setdefault("memory", {})[memory] = tensor
        else:
            layers.setdefault(name, {})[kind] = tensor
    for name, parts in increments.items():
        layers[name]["increment"] = tuple(parts[index] for index in sorted(parts))
    return ServerState({name: Layer(**parts) for name, parts in layers.items()}, head, personal)
