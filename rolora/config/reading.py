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
from typing import Any

from pydantic import BaseModel, ValidationError, model_validator

from rolora.algorithms import ALGORITHMS, Algorithm
from rolora.algorithms.robust import RobustAggregation
from rolora.algorithms.server_optimizer import ServerOptimizer
from rolora.config import compatibility, rules
from rolora.config.sections import (
    DataConfig,
    EvaluationConfig,
    FederationConfig,
    LoraConfig,
    ModelConfig,
    PrivacyConfig,
    RuntimeConfig,
    Section,
    ServerConfig,
    TrainingConfig,
    optional,
)
from rolora.errors import InputError


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
    privacy: PrivacyConfig = optional(PrivacyConfig())

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
        if self.federation.client_state != "isolated" and self.runtime.engine == "batched":
            raise ValueError(
                f'runtime.engine is "batched", expected "sequential" with federation.client_state = '
                f'"{self.federation.client_state}": a chain of clients has no two at the same time'
            )
        if algorithm.pooled and self.federation.clients_per_round not in (None, 1):
            raise ValueError(
                f"federation.clients_per_round is {self.federation.clients_per_round}, expected 1 with one client"
            )
        return self

    @model_validator(mode="after")
    def _what_goes_together(self) -> Config:
        compatibility.check_aggregation(self)
        compatibility.check_data(self)
        compatibility.check_quantised(self)
        compatibility.check_recomputed(self)
        return self

    @model_validator(mode="after")
    def _private_where_it_can_be(self) -> Config:
        for fault in rules.refusals(self):
            raise ValueError(fault)
        return self

    def build_algorithm(self) -> Algorithm:
        """The algorithm with its options, on robust means if they are asked for, within the server's optimiser if there is one."""
        algorithm: Algorithm = ALGORITHMS[self.algorithm](**self.method)
        if self.federation.aggregation != "mean":
            algorithm = RobustAggregation(algorithm, self.federation.aggregation, self.federation.trim_fraction)
        if self.server.optimizer == "none":
            return algorithm
        return ServerOptimizer(algorithm, **self.server.model_dump())

    def rank_of(self, client: int) -> int:
        """The rank of a client's adapter."""
        ranks = self.federation.client_ranks
        return self.lora.rank if ranks is None else ranks[client % len(ranks)]

    @property
    def own_backbone(self) -> bool:
        """Whether the seed is in the frozen model too: a frozen head and random weights are drawn from it."""
        return self.model.head == "frozen" or self.model.weights == "random"

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

    With ``base = "other.toml"``, a file beside this one, the file holds only what is different from that.

    Args:
        path: a TOML file, or the ``record.json`` of a run, whose config is then run again.
        overrides: ``section.key=value``, the value in TOML (a bare word is taken as a string); they win over the file.

    Raises:
        InputError: file, key, what was given and what was expected.
    """
    table = _with_base(path)
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


def _with_base(path: Path, beneath: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A file's table on top of its base's, if it names one."""
    table = _table(path)
    base = table.pop("base", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise InputError(f'{path}: base: got {base!r}, expected the name of a file beside it, such as "base.toml"')
    if path.resolve() in beneath:
        raise InputError(f"{path}: base: got {base!r}, expected a file that does not stand on this one")
    return _merge(_with_base(path.parent / base, (*beneath, path.resolve())), table)


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
