"""An experiment as a frozen value, named by the hash of all its fields.

What a paper specifies has no default. Fields that have one are matters of this software (runtime, evaluation) or
switches whose default is the papers' own case.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, Field
from pydantic.fields import FieldInfo

from rolora.algorithms import ALGORITHMS, Algorithm
from rolora.algorithms.robust import RobustAggregation
from rolora.algorithms.server_optimizer import ServerOptimizer
from rolora.config import rules
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
    unknown,
)
from rolora.errors import InputError, one_of


class Config(Section):
    """One federated fine-tuning experiment."""

    algorithm: str = Field(description="the method, as `rolora list` names it")
    seed: int = Field(description="of all random draws but the split of the data")
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

    def faults(self) -> Iterator[InputError]:
        """Yield what is wrong with the algorithm's name or options, or else what does not go together."""
        if self.algorithm not in ALGORITHMS:
            yield InputError(key="algorithm", got=self.algorithm, expected=one_of(self.algorithm, ALGORITHMS))
            return
        options = {field.name: field.default for field in dataclasses.fields(ALGORITHMS[self.algorithm])}  # type: ignore[arg-type]
        for name, value in self.method.items():
            if name not in options:
                known = f"one of {', '.join(options)}" if options else "none"
                yield unknown(f"method.{name}", f"{known} with {self.algorithm}")
            elif not isinstance(value, type(options[name])):
                wanted = f"a {type(options[name]).__name__} such as {options[name]!r}"
                yield InputError(key=f"method.{name}", got=value, expected=wanted)
            else:
                continue
            return
        try:
            algorithm = self.build_algorithm()
        except InputError as error:
            yield error
            return
        yield from rules.faults({name: getattr(self, name) for name in Config.model_fields}, algorithm)

    def build_algorithm(self) -> Algorithm:
        """Return the algorithm with its options, wrapped by robust aggregation and the server's optimiser if they are set."""
        algorithm: Algorithm = ALGORITHMS[self.algorithm](**self.method)
        if self.federation.aggregation != "mean":
            algorithm = RobustAggregation(algorithm, self.federation.aggregation, self.federation.trim_fraction)
        if self.server.optimizer == "none":
            return algorithm
        return ServerOptimizer(algorithm, **self.server.model_dump())

    def rank_of(self, client: int) -> int:
        """Return the rank of a client's adapter."""
        ranks = self.federation.client_ranks
        return self.lora.rank if ranks is None else ranks[client % len(ranks)]

    @property
    def own_backbone(self) -> bool:
        """True if the frozen model depends on the seed: a frozen head and random weights are drawn from it."""
        return self.model.head == "frozen" or self.model.weights == "random"

    def resolved(self) -> dict[str, Any]:
        """Return every field with its value, JSON-ready."""
        return self.model_dump(mode="json")

    def without(self, *keys: str) -> dict[str, Any]:
        """Return the resolved config without some keys, for comparisons of configs that may differ in them.

        Args:
            keys: of sections or fields: ``seed``, ``federation``, ``training.learning_rate``.

        Raises:
            KeyError: there is no such key.
        """
        table = self.resolved()
        for key in keys:
            field_of(key)
            *sections, name = key.split(".")
            place = table
            for section in sections:
                place = place.get(section, {})
            place.pop(name, None)
        return table

    def hash(self) -> str:
        """Return the SHA-256 of the resolved config, in hexadecimal."""
        return hashlib.sha256(json.dumps(self.resolved(), sort_keys=True).encode()).hexdigest()

    def run_name(self) -> str:
        """Return the name of the run's folder, which differs wherever the configs differ."""
        return f"{self.algorithm}-n{self.federation.num_clients}-s{self.seed}-{self.hash()[:8]}"


def field_of(key: str) -> FieldInfo:
    """Return the field of a dotted key.

    Raises:
        KeyError: there is no such key.

    Example:
        >>> field_of("lora.alpha").description
        'lora_alpha; the scale is alpha / rank'
    """
    *sections, name = key.split(".")
    fields = Config.model_fields
    for section in sections:
        kind = fields[section].annotation
        fields = kind.model_fields if isinstance(kind, type) and issubclass(kind, BaseModel) else {}
    return fields[name]


def flatten(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a nested table as dotted key -> value.

    Example:
        >>> flatten({"seed": 0, "lora": {"rank": 2, "layers": [4, 5]}})
        {'seed': 0, 'lora.rank': 2, 'lora.layers': [4, 5]}
    """
    flat: dict[str, Any] = {}
    for key, value in table.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat
