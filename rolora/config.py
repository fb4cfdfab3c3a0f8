"""What an experiment is, as a frozen value: read from TOML, checked, and named by its hash.

What a paper specifies has no default. Fields that have one are matters of this software (runtime, evaluation) or
switches whose default is the papers' own case.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import tomllib
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from rolora import compatibility
from rolora.algorithms import ALGORITHMS, Algorithm
from rolora.algorithms.server_optimizer import ServerOptimizer
from rolora.errors import InputError
from rolora.layer_budgets import LAYERS_BY_NAME

PositiveInt = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]


def optional(default: Any = None, **constraints: Any) -> Any:
    """A field that came later: where it has its default it is not in the resolved config, so old hashes stay valid."""
    return Field(default=default, exclude_if=lambda value: value == default, **constraints)


class Section(BaseModel):
    """A table of the config: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelConfig(Section):
    """The backbone and its head."""

    name: str = Field(description="packaged name, local folder, or hub name")
    max_length: PositiveInt = Field(description="tokens; longer texts are cut")
    head: Literal["trained", "frozen"] = Field(description="trained and averaged, or frozen at its random start")
    dropout: Probability | None = Field(
        description="all of the backbone's dropout rates; leave out to keep its own", default=None
    )
    weights: Literal["pretrained", "random"] = optional(
        "pretrained", description="random: drawn from the seed, of the architecture that name is; stands for no model"
    )
    quantization: Literal["none", "8bit", "4bit"] = optional(
        "none", description="of the frozen matrices, by bitsandbytes on CUDA: int8, or NF4 with double quantisation"
    )


def _known_layers(value: Any) -> Any:
    if isinstance(value, str) and value not in LAYERS_BY_NAME:
        raise ValueError(f"got {value!r}, expected layer numbers or one of {', '.join(LAYERS_BY_NAME)}")
    return value


def _modules(value: Any) -> Any:
    if isinstance(value, str) and value != "auto":
        raise ValueError(f'got {value!r}, expected "auto" or a list of names such as ["query", "value"]')
    return None if isinstance(value, str) else value


class LoraConfig(Section):
    """The adapter, in PEFT's words."""

    rank: PositiveInt
    alpha: Positive = Field(description="lora_alpha; the scale is alpha / rank")
    dropout: Probability
    target_modules: Annotated[tuple[str, ...] | None, BeforeValidator(_modules)] = optional(
        min_length=1, description='e.g. ["query", "value"]; leave out, or "auto", for those of query and value'
    )
    layers: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...] | Literal[tuple(LAYERS_BY_NAME)] | None, BeforeValidator(_known_layers)
    ] = Field(default=None, description="which layers, by number or by name; leave out for all")
    rank_stabilized: bool = Field(default=False, description="scale alpha / sqrt(rank)")


class DataConfig(Section):
    """Labelled text, and what is held out of it."""

    name: str = Field(description="packaged name, local file or folder, or hub name such as glue/sst2")
    text_columns: tuple[str, ...] | None = Field(
        default=None, min_length=1, max_length=2, description="one column, or two for pairs"
    )
    label_column: str = "label"
    num_labels: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="leave out to count those of the training text"
    )
    train_examples: PositiveInt | None = Field(default=None, description="use this many of the training examples")
    validation_examples: PositiveInt = Field(description="held out from all clients where the source has no such split")
    test_examples: PositiveInt = Field(description="held out from all clients where the source has no such split")
    split_seed: int = Field(
        default=0, description="which examples are held out; apart from seed, so seeds share a test set"
    )


class FederationConfig(Section):
    """Who takes part and what each client holds."""

    num_clients: PositiveInt
    rounds: PositiveInt
    partition: Literal["iid", "dirichlet", "by-label"]
    dirichlet_alpha: Positive | None = None
    labels_per_client: PositiveInt | None = None
    clients_per_round: PositiveInt | None = Field(default=None, description="leave out for all")
    client_weights: Literal["examples", "uniform"]
    client_state: Literal["isolated", "shared"] = Field(
        default="isolated",
        description="shared: the clients of a round train one model in turn and only what the previous round trained is "
        "reset; wrong on purpose, kept to measure what it does",
    )

    client_ranks: tuple[PositiveInt, ...] | None = optional(
        min_length=1, description="ranks dealt to the clients in turn, at most lora.rank; leave out for lora.rank"
    )

    @model_validator(mode="after")
    def _partition_has_its_number(self) -> FederationConfig:
        for partition, field in (("dirichlet", "dirichlet_alpha"), ("by-label", "labels_per_client")):
            given = getattr(self, field)
            if (self.partition == partition) != (given is not None):
                wanted = "a number" if self.partition == partition else "nothing"
                raise ValueError(f'{field} is {given}, expected {wanted} with partition = "{self.partition}"')
        if self.clients_per_round is not None and self.clients_per_round > self.num_clients:
            raise ValueError(
                f"clients_per_round is {self.clients_per_round}, expected at most num_clients = {self.num_clients}"
            )
        return self


class TrainingConfig(Section):
    """A client's local update. The optimiser is made afresh for each one."""

    optimizer: Literal["sgd", "adamw"]
    learning_rate: Positive
    local_steps: PositiveInt
    batch_size: PositiveInt
    learning_rate_a: Positive | None = optional(description="of A alone; leave out for learning_rate")
    proximal: float = optional(0.0, ge=0, description="mu of FedProx: mu/2 ||w - w_broadcast||^2 is added to the loss")
    momentum: Probability = 0.0
    weight_decay: NonNegative = 0.0
    max_grad_norm: Positive | None = Field(default=None, description="clip the norm of all trained gradients together")


class ServerConfig(Section):
    """An optimiser at the server: the aggregate less the server's factor is its gradient."""

    optimizer: Literal["none", "momentum", "adam"] = "none"
    learning_rate: Positive = 1.0
    momentum: Probability = Field(default=0.9, description="of FedAvgM; the first moment's decay of FedAdam")
    second_moment: Probability = Field(default=0.99, description="the second moment's decay of FedAdam")
    epsilon: Positive = Field(default=1e-3, description="added to the root of FedAdam's second moment")


class EvaluationConfig(Section):
    """When the aggregated model is measured, and on what."""

    every: PositiveInt = Field(description="rounds between evaluations; the last round is always evaluated")
    split: Literal["validation", "test"] = "test"
    batch_size: PositiveInt = 64
    interference: bool = optional(False, description="measure, layer by layer, what every round loses")


class RuntimeConfig(Section):
    """Where and how exactly it is computed. Part of the hash: all of it can change bits."""

    engine: Literal["sequential", "batched"] = Field(
        default="sequential", description="one client after another, or many on one backbone at the same time"
    )
    group_size: PositiveInt | None = optional(
        description="clients that the batched engine trains at the same time; leave out to choose by memory"
    )
    gradient_checkpointing: bool = optional(
        False, description="keep each layer's input alone for the backward pass and compute the rest again; no dropout"
    )
    compile: bool = optional(
        False, description="compile the backbone's layers (batched engine); needs a C++ compiler on a CPU"
    )
    device: str = "cpu"
    dtype: Literal["float32", "bfloat16", "float64"] = Field(
        default="float32", description="of the backbone; adapters stay in float32"
    )
    threads: PositiveInt = Field(default=1, description="fixed, so that the bits do not depend on the number of cores")
    prefix_cache: bool = optional(
        False, description="keep the hidden states below the lowest adapted layer and compute them once per example"
    )
    prefix_cache_bytes: PositiveInt = optional(
        2 * 2**30, description="of hidden states kept in memory; up to 8 times as many go to disk, more are not kept"
    )


class Config(Section):
    """One federated fine-tuning experiment."""

    algorithm: str
    seed: int
    model: ModelConfig
    lora: LoraConfig
    data: DataConfig
    federation: FederationConfig
    training: TrainingConfig
    evaluation: EvaluationConfig
    runtime: RuntimeConfig = RuntimeConfig()
    method: dict[str, str | float] = optional({}, description="the algorithm's own options, such as schedule")
    server: ServerConfig = optional(ServerConfig())

    @model_validator(mode="after")
    def _algorithm_exists(self) -> Config:
        if self.algorithm not in ALGORITHMS:
            raise ValueError(f"algorithm is {self.algorithm!r}, expected one of {', '.join(ALGORITHMS)}")
        options = {field.name: field for field in dataclasses.fields(ALGORITHMS[self.algorithm])}
        for name, value in self.method.items():
            if name not in options:
                known = f"one of {', '.join(options)}" if options else "none"
                raise ValueError(f"method.{name} is no option of {self.algorithm}, expected {known}")
            if not isinstance(value, type(options[name].default)):
                wanted = type(options[name].default).__name__
                raise ValueError(f"method.{name} is {value!r}, expected a {wanted}, as {options[name].default!r} is")
        return self

    @model_validator(mode="after")
    def _algorithm_takes_what_is_asked(self) -> Config:
        try:
            algorithm = self.build_algorithm()
        except InputError as error:
            raise ValueError(str(error)) from None
        ranks = set(self.federation.client_ranks or ()) - {self.lora.rank}
        if ranks and algorithm.mixed_ranks:
            raise ValueError(
                f"federation.client_ranks is {sorted(ranks)} beside lora.rank = {self.lora.rank}, expected one rank "
                f"with {self.algorithm}: {algorithm.mixed_ranks}"
            )
        if ranks and max(ranks) > self.lora.rank:
            raise ValueError(f"federation.client_ranks is {max(ranks)}, expected at most lora.rank = {self.lora.rank}")
        if self.federation.client_state == "shared" and self.runtime.engine == "batched":
            raise ValueError(
                'runtime.engine is "batched", expected "sequential" with federation.client_state = "shared": a chain of '
                "clients has no two at the same time"
            )
        if algorithm.pooled and self.federation.clients_per_round not in (None, 1):
            raise ValueError(
                f"federation.clients_per_round is {self.federation.clients_per_round}, expected 1 with one client"
            )
        return self

    @model_validator(mode="after")
    def _backbone_can_be_so(self) -> Config:
        compatibility.check_quantised(self)
        compatibility.check_recomputed(self)
        return self

    def build_algorithm(self) -> Algorithm:
        """The algorithm with its options, within the server's optimiser if there is one."""
        algorithm = ALGORITHMS[self.algorithm](**self.method)
        if self.server.optimizer == "none":
            return algorithm
        return ServerOptimizer(algorithm, **self.server.model_dump())

    def rank_of(self, client: int) -> int:
        """The rank of a client's adapter."""
        ranks = self.federation.client_ranks
        return self.lora.rank if ranks is None else ranks[client % len(ranks)]

    def resolved(self) -> dict[str, Any]:
        """Every field with its value, JSON-ready."""
        return self.model_dump(mode="json")

    def hash(self) -> str:
        """SHA-256 of the resolved config, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.resolved(), sort_keys=True).encode()).hexdigest()

    def run_name(self) -> str:
        """A directory name that a person can read and that differs wherever the configs differ."""
        return f"{self.algorithm}-n{self.federation.num_clients}-s{self.seed}-{self.hash()[:8]}"


def read(path: Path, overrides: list[str] | None = None) -> list[Config]:
    """The experiments of a config file: one, or the product of its ``[grid]``.

    In ``[grid]`` each key has a list of values. Under a key of the config a value is that field's, and a table sets
    several of its fields; under any other name a table sets fields of several sections together::

        [grid]
        algorithm = ["ffa-lora", "rolora"]
        scale = [{ federation = { num_clients = 3, rounds = 100 }, evaluation = { every = 20 } }]

    Args:
        path: a TOML file, or the ``record.json`` of a run, whose config is then run again.
        overrides: ``section.key=value``, the value in TOML (a bare word is taken as a string); they win over the file.

    Raises:
        InputError: file, key, what was given and what was expected.
    """
    table = _table(path)
    grid = table.pop("grid", {})
    for key, values in grid.items():
        if not isinstance(values, list) or not values:
            raise InputError(f"{path}: grid.{key}: got {values!r}, expected a list of values")
        if key not in Config.model_fields and not all(isinstance(value, dict) for value in values):
            known = ", ".join(Config.model_fields)
            raise InputError(
                f"{path}: unknown key grid.{key}, expected one of {known}, or a list of tables with those keys"
            )
    changes = [_override(text) for text in overrides or []]
    configs = []
    for choice in product(*grid.values()):
        chosen = table
        for key, value in zip(grid, choice, strict=True):
            chosen = _merge(chosen, {key: value} if key in Config.model_fields else value)
        for change in changes:
            chosen = _merge(chosen, change)
        configs.append(check(chosen, str(path)))
    return list({config.hash(): config for config in configs}.values())


def _table(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text)["config"] if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise InputError(f"config: got {path}, expected a TOML file; there is none") from None
    except KeyError:
        raise InputError(f"{path}: expected a run's record with a config in it") from None
    except (ValueError, OSError) as error:  # TOML, JSON and UTF-8 faults are all ValueErrors
        raise InputError(f"{path}: expected TOML; {error}") from None


def check(table: dict[str, Any], source: str) -> Config:
    """A config from a table, or one clear line about its first fault.

    Raises:
        InputError: source, key, what was given, what was expected.
    """
    try:
        return Config.model_validate(table)
    except ValidationError as error:
        raise InputError(f"{source}: {_describe(error.errors()[0], table)}") from None


def _describe(fault: Any, table: dict[str, Any]) -> str:
    # Between a field and an item, pydantic names the branch of a union, such as "tuple[...]": no part of a key.
    path = [str(part) for part in fault["loc"] if "[" not in str(part)]
    key = ".".join(path)
    if fault["type"] == "extra_forbidden":
        known = _keys_beside(path)
        close = difflib.get_close_matches(path[-1], known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        return f"unknown key {key}, expected one of {', '.join(known)}{hint}"
    if fault["type"] == "missing":
        return f"{key} is missing, expected {_meaning(path) or 'a value'}"
    message = fault["msg"].removeprefix("Value error, ")
    if fault["type"] == "value_error":
        return f"{key + ': ' if key else ''}{message}"
    return f"{key}: got {fault['input']!r}, expected {message.removeprefix('Input should be ')}"


def _section(path: list[str]) -> type[BaseModel]:
    section: type[BaseModel] = Config
    for part in path:
        section = section.model_fields[part].annotation  # type: ignore[assignment]
    return section


def _keys_beside(path: list[str]) -> list[str]:
    return list(_section(path[:-1]).model_fields)


def _meaning(path: list[str]) -> str | None:
    field = _section(path[:-1]).model_fields[path[-1]]
    return field.description or None


def _override(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"command line: got {text!r}, expected key=value, for example federation.rounds=10")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    return parsed


def _merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
