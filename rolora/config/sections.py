"""The sections of a config, ``[model]`` to ``[runtime]``: the meaning of each field and the values it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from rolora.config.layer_budgets import LAYERS_BY_NAME
from rolora.errors import InputError

PositiveInt = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Probability = Annotated[float, Field(ge=0, lt=1)]


def optional(default: Any = None, **constraints: Any) -> Any:
    """Declare a field that is left out of the resolved config at its default, so that older hashes stay valid."""
    return Field(default=default, exclude_if=lambda value: value == default, **constraints)


class Refusal(InputError, ValueError):
    """InputErrors raised within a validator, from which pydantic collects only ValueErrors."""


def refuse(faults: Iterable[InputError]) -> None:
    """Raise the errors together, if there are any."""
    if faults := tuple(faults):
        raise Refusal("\n".join(map(str, faults)), faults=faults)


class Section(BaseModel):
    """A table of the config: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="after")
    def _valid(self) -> Section:
        refuse(self.faults())
        return self

    def faults(self) -> Iterator[InputError]:
        """Yield an error for each combination of fields that is not valid."""
        yield from ()


def missing(key: str, meaning: str | None, condition: str = "") -> InputError:
    """Return the error for a key that is not given."""
    expected = meaning or "a value"
    return InputError(f"{key} is missing{condition}: {expected}", key=key, got=None, expected=expected)


def unknown(key: str, expected: str) -> InputError:
    """Return the error for a key that does not exist."""
    return InputError(f"unknown key {key}, expected {expected}", key=key, expected=expected)


class ModelConfig(Section):
    """The backbone and its head."""

    name: str = Field(description="packaged name, local folder, or hub name")
    max_length: PositiveInt = Field(description="tokens; longer texts are cut")
    head: Literal["trained", "frozen"] = Field(
        description="trained and averaged, or frozen at its random initial values"
    )
    dropout: Probability | None = Field(
        default=None, description="replaces all of the backbone's dropout rates; leave out to keep them"
    )
    weights: Literal["pretrained", "random"] = optional(
        "pretrained",
        description="random: drawn from the seed, in the architecture of `name`, for tests of speed and memory",
    )
    quantization: Literal["none", "8bit", "4bit"] = optional(
        "none", description="of the frozen matrices, by bitsandbytes on CUDA: int8, or NF4 with double quantisation"
    )


def _known_layers(value: Any) -> Any:
    if isinstance(value, str) and value not in LAYERS_BY_NAME:
        refuse([InputError(got=value, expected=f"layer numbers or one of {', '.join(LAYERS_BY_NAME)}")])
    return value


def _modules(value: Any) -> Any:
    if isinstance(value, str) and value != "auto":
        refuse([InputError(got=value, expected='"auto" or a list of names such as ["query", "value"]')])
    return None if isinstance(value, str) else value


class LoraConfig(Section):
    """The adapter, in PEFT's words."""

    rank: PositiveInt = Field(description="r, the inner dimension of A B")
    alpha: Positive = Field(description="lora_alpha; the scale is alpha / rank")
    dropout: Probability = Field(description="rate of the adapter's input")
    target_modules: Annotated[tuple[str, ...] | None, BeforeValidator(_modules)] = optional(
        min_length=1, description='names of the adapted modules; leave out, or "auto", for query and value'
    )
    layers: Annotated[
        tuple[Annotated[int, Field(ge=0)], ...] | Literal[tuple(LAYERS_BY_NAME)] | None,  # type: ignore[valid-type]
        BeforeValidator(_known_layers),
    ] = Field(default=None, description="adapted layers, by number or by a name of `rolora list`; leave out for all")
    rank_stabilized: bool = Field(default=False, description="scale alpha / sqrt(rank)")


class DataConfig(Section):
    """The examples, and the number held out for validation and test."""

    name: str = Field(description="packaged name, local file or folder, or hub name such as glue/sst2")
    text_columns: tuple[str, ...] | None = Field(
        default=None, min_length=1, max_length=2, description="one column, or two for pairs"
    )
    label_column: str = Field(default="label", description="the column with the label")
    num_labels: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="leave out to count those of the training text"
    )
    train_examples: PositiveInt | None = Field(default=None, description="use this many of the training examples")
    validation_examples: PositiveInt = Field(description="held out from all clients where the source has no such split")
    test_examples: PositiveInt = Field(description="held out from all clients where the source has no such split")
    split_seed: int = Field(
        default=0, description="of the held-out examples; separate from seed, so that all seeds share a test set"
    )
    task: Literal["classification", "regression", "generation"] = optional(
        "classification", description="predict a label, predict a number, or answer a prompt"
    )
    response_column: str = optional(
        "response", description="with generation: the column with the answer; text_columns are the prompt"
    )
    template: Literal["plain", "alpaca", "chat"] = optional(
        "plain",
        description="with generation: the prompt as it is, in Alpaca's frame, or in the tokenizer's chat format",
    )
    client_column: str | None = optional(
        description='the column with the client of an example, with federation.partition = "by-column"'
    )
    packing: bool = optional(
        False, description="with generation: several of a client's texts in one row of at most model.max_length tokens"
    )
    benchmark: str | None = optional(
        description="known task whose columns, labels and metrics a file or folder has, such as sst2; implied by a hub name"
    )
    metrics: tuple[str, ...] | None = optional(
        min_length=1, description="the first is the primary one; leave out for those of the benchmark or the task"
    )


class FederationConfig(Section):
    """The clients: their number, data, participation and aggregation."""

    num_clients: PositiveInt = Field(description="number of clients")
    rounds: PositiveInt = Field(description="number of communication rounds")
    partition: Literal["iid", "dirichlet", "by-label", "by-column"] = Field(
        description="division of the training examples among the clients: at random, with label skew, by the labels "
        "dealt to each, or by data.client_column"
    )
    dirichlet_alpha: Positive | None = Field(
        default=None, description='concentration with partition = "dirichlet"; smaller is more skewed'
    )
    labels_per_client: PositiveInt | None = Field(default=None, description='with partition = "by-label"')
    clients_per_round: PositiveInt | None = Field(
        default=None, description="clients drawn for each round; leave out for all"
    )
    client_weights: Literal["examples", "uniform"] = Field(
        description="weights of the aggregate: by number of examples, or equal"
    )
    client_state: Literal["isolated", "shared", "chained"] = Field(
        default="isolated",
        description="isolated: every client starts from the server's model; shared: the clients of a round train one "
        "model in turn, and only what the previous round trained is reset; chained: no factor being trained is reset. "
        "The last two are errors, kept to measure their effect",
    )
    client_ranks: tuple[PositiveInt, ...] | None = optional(
        min_length=1, description="ranks assigned to the clients in turn, at most lora.rank; leave out for lora.rank"
    )
    minimum_clients: PositiveInt | None = optional(
        description="accepted updates that a round needs; leave out for those of all its clients"
    )
    round_attempts: PositiveInt = optional(1, description="attempts at a round with too few accepted updates")
    update_norm_bound: Positive | None = optional(
        description="refuse an update whose L2 distance from the broadcast, head included, is larger"
    )
    aggregation: Literal["mean", "trimmed_mean", "median"] = optional(
        "mean",
        description="of the clients' updates, entry by entry; the last two tolerate some faulty clients and weigh all "
        "clients equally",
    )
    trim_fraction: Annotated[float, Field(gt=0, lt=0.5)] | None = optional(
        description="with trimmed_mean: fraction of the clients cut at either end"
    )

    def faults(self) -> Iterator[InputError]:
        for key, most, limit in (
            ("clients_per_round", self.num_clients, f"num_clients = {self.num_clients}"),
            (
                "minimum_clients",
                (asked := self.clients_per_round or self.num_clients),
                f"the {asked} clients of a round",
            ),
        ):
            number = getattr(self, key)
            if number is not None and number > most:
                yield InputError(key=f"federation.{key}", got=number, expected=f"at most {limit}")
        for field, value, key in (
            ("aggregation", "trimmed_mean", "trim_fraction"),
            ("partition", "dirichlet", "dirichlet_alpha"),
            ("partition", "by-label", "labels_per_client"),
        ):
            number = getattr(self, key)
            if (getattr(self, field) == value) != (number is not None):
                wanted = "a number" if number is None else "nothing"
                given = f'{field} = "{getattr(self, field)}"'
                yield InputError(key=f"federation.{key}", got=number, expected=f"{wanted} with {given}")


class TrainingConfig(Section):
    """A client's local update. Every update starts with a new optimiser."""

    optimizer: Literal["sgd", "adamw"] = Field(description="the clients' optimiser")
    learning_rate: Positive = Field(description="of all trained parameters")
    local_steps: PositiveInt = Field(description="optimiser steps of a client in one round")
    batch_size: PositiveInt = Field(description="examples of one step")
    micro_batch_size: PositiveInt | None = optional(
        description="examples computed at the same time (sequential engine); the gradient is that of the whole batch"
    )
    learning_rate_a: Positive | None = optional(description="of factor A; leave out for learning_rate")
    proximal: float = optional(0.0, ge=0, description="mu of FedProx: mu/2 ||w - w_broadcast||^2 is added to the loss")
    momentum: Probability = Field(default=0.0, description="of SGD")
    weight_decay: NonNegative = Field(default=0.0, description="of the optimiser")
    max_grad_norm: Positive | None = Field(default=None, description="clip the joint norm of all trained gradients")


class ServerConfig(Section):
    """An optimiser at the server, whose gradient is the aggregate minus the server's factor."""

    optimizer: Literal["none", "momentum", "adam"] = Field(
        default="none", description="none: take the aggregate; momentum: FedAvgM; adam: FedAdam"
    )
    learning_rate: Positive = Field(default=1.0, description="of the server's step")
    momentum: Probability = Field(default=0.9, description="of FedAvgM; the first moment's decay of FedAdam")
    second_moment: Probability = Field(default=0.99, description="the second moment's decay of FedAdam")
    epsilon: Positive = Field(default=1e-3, description="added to the root of FedAdam's second moment")


class PrivacyConfig(Section):
    """Differential privacy; ``rolora.privacy.accounting`` computes epsilon."""

    mode: Literal["none", "client", "example"] = Field(
        default="none",
        description="client: protects all data of a client; example: protects one example of a client",
    )
    clip: Positive | None = Field(
        default=None,
        description="L2 norm to which a client's update (client) or an example's gradient (example) is clipped",
    )
    noise_multiplier: NonNegative | None = Field(
        default=None, description="standard deviation of the Gaussian noise, as a multiple of the sensitivity"
    )
    target_epsilon: Positive | None = Field(
        default=None,
        description="instead of noise_multiplier: use the least noise that gives this epsilon after the last round",
    )
    delta: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None,
        description="probability of exceeding epsilon; well below 1 over the number of protected clients or examples",
    )
    max_epsilon: Positive | None = Field(default=None, description="refuse a run that would spend more")
    noise: Literal["reproducible", "secret"] = Field(
        default="reproducible",
        description="reproducible: drawn from the seed, for experiments, as the seed reveals it; secret: drawn from the "
        "system's entropy",
    )

    def faults(self) -> Iterator[InputError]:
        fields = type(self).model_fields
        if self.mode == "none":
            for key in sorted(self.model_fields_set - {"mode"}):
                if (value := getattr(self, key)) != fields[key].default:
                    yield InputError(key=f"privacy.{key}", got=value, expected='nothing with mode = "none"')
            return
        for key in ("clip", "delta"):
            if getattr(self, key) is None:
                yield missing(f"privacy.{key}", fields[key].description, f' with mode = "{self.mode}"')
        noise = [key for key in ("noise_multiplier", "target_epsilon") if getattr(self, key) is not None]
        if len(noise) != 1:
            expected = "either noise_multiplier or target_epsilon"
            yield InputError(key="privacy", got=noise or None, expected=expected)


class EvaluationConfig(Section):
    """The rounds after which the aggregated model is measured, and the data."""

    every: PositiveInt = Field(description="rounds between evaluations; the last round is always evaluated")
    split: Literal["validation", "test"] = Field(default="test", description="the data that is measured")
    batch_size: PositiveInt = Field(default=64, description="texts at a time")
    interference: bool = optional(False, description="measure each layer's aggregation error in every round")
    select: Literal["last", "validation", "test"] = optional(
        "last",
        description="the round that counts: the last; the best on validation data, with test data measured once at the "
        "end; or the best on test data (selection on test data), recorded beside the one chosen on validation data",
    )

    def faults(self) -> Iterator[InputError]:
        if self.select != "last" and self.split != "test":
            wanted = f'"test" with select = "{self.select}": the chosen round is measured on test data'
            yield InputError(key="evaluation.split", got=self.split, expected=wanted)


class RuntimeConfig(Section):
    """Engine, device and precision. Part of the hash, since all of it can change bits."""

    engine: Literal["sequential", "batched"] = Field(
        default="sequential", description="train clients one after another, or many at the same time on one backbone"
    )
    group_size: PositiveInt | None = optional(
        description="clients that the batched engine trains at the same time; leave out to choose by memory"
    )
    gradient_checkpointing: bool = optional(
        False,
        description="keep only each layer's input for the backward pass and recompute the rest; needs dropout 0.0",
    )
    compile: bool = optional(
        False, description="compile the backbone's layers (batched engine); needs a C++ compiler on a CPU"
    )
    device: str = Field(default="cpu", description="cpu, or a CUDA device such as cuda or cuda:1")
    dtype: Literal["float32", "bfloat16", "float64"] = Field(
        default="float32", description="of the backbone; adapters stay in float32"
    )
    threads: PositiveInt = Field(
        default=1, description="CPU threads; fixed, so that the bits do not depend on the number of cores"
    )
    prefix_cache: bool = optional(
        False, description="keep the hidden states below the lowest adapted layer and compute them once per example"
    )
    prefix_cache_bytes: PositiveInt = optional(
        2 * 2**30,
        description="bytes of hidden states kept in memory; up to 8 times as many go to disk, more are not kept",
    )
