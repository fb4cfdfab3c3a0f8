"""The tables of a config, ``[model]`` to ``[runtime]``: what each field means and which values it takes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from rolora.config import rules
from rolora.config.layer_budgets import LAYERS_BY_NAME

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
    task: Literal["classification", "regression", "generation"] = optional(
        "classification", description="a label, a number, or a response to a prompt"
    )
    response_column: str = optional("response", description="with generation; text_columns are the prompt")
    template: Literal["plain", "alpaca", "chat"] = optional(
        "plain",
        description="with generation: the prompt as it is, in Alpaca's frame, or in the tokenizer's chat format",
    )
    client_column: str | None = optional(description='whose example it is, with federation.partition = "by-column"')
    packing: bool = optional(
        False, description="with generation: several of a client's texts in one row of at most model.max_length tokens"
    )
    benchmark: str | None = optional(
        description="the task whose columns, labels and metrics a file or folder has, such as sst2; a hub name says it itself"
    )
    metrics: tuple[str, ...] | None = optional(
        min_length=1, description="the first is the primary one; leave out for those of the benchmark or the task"
    )


class FederationConfig(Section):
    """Who takes part and what each client holds."""

    num_clients: PositiveInt
    rounds: PositiveInt
    partition: Literal["iid", "dirichlet", "by-label", "by-column"]
    dirichlet_alpha: Positive | None = None
    labels_per_client: PositiveInt | None = None
    clients_per_round: PositiveInt | None = Field(default=None, description="leave out for all")
    client_weights: Literal["examples", "uniform"]
    client_state: Literal["isolated", "shared", "chained"] = Field(
        default="isolated",
        description="shared: the clients of a round train one model in turn and only what the previous round trained is "
        "reset; chained: none of the factors being trained is reset; wrong on purpose, kept to measure what it does",
    )

    client_ranks: tuple[PositiveInt, ...] | None = optional(
        min_length=1, description="ranks dealt to the clients in turn, at most lora.rank; leave out for lora.rank"
    )

    minimum_clients: PositiveInt | None = optional(
        description="updates that a round needs where some are refused; leave out for those of all its clients"
    )
    round_attempts: PositiveInt = optional(1, description="how often a round is tried that has too few updates")
    update_norm_bound: Positive | None = optional(
        description="an update whose tensors, head included, are farther than this from the broadcast (L2) is refused"
    )
    aggregation: Literal["mean", "trimmed_mean", "median"] = optional(
        "mean",
        description="of what clients send, entry by entry; the other two bear some bad clients and count each once",
    )
    trim_fraction: Annotated[float, Field(gt=0, lt=0.5)] | None = optional(
        description="with trimmed_mean: of the clients, cut at either end"
    )

    @model_validator(mode="after")
    def _some_clients_may_fail(self) -> FederationConfig:
        asked = self.clients_per_round or self.num_clients
        if self.minimum_clients is not None and self.minimum_clients > asked:
            raise ValueError(
                f"minimum_clients is {self.minimum_clients}, expected at most the {asked} clients of a round"
            )
        if (self.aggregation == "trimmed_mean") != (self.trim_fraction is not None):
            wanted = "a number" if self.aggregation == "trimmed_mean" else "nothing"
            raise ValueError(
                f'trim_fraction is {self.trim_fraction}, expected {wanted} with aggregation = "{self.aggregation}"'
            )
        return self

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
    micro_batch_size: PositiveInt | None = optional(
        description="examples computed at the same time (sequential engine); the gradient is that of the whole batch"
    )
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


class PrivacyConfig(Section):
    """Differential privacy: what is hidden (mode), and how well (noise, delta). ``rolora.privacy.accounting`` counts epsilon."""

    mode: Literal["none", "client", "example"] = Field(
        default="none",
        description="client: hides a whole client from who sees the model; example: one example of a client",
    )
    clip: Positive | None = Field(
        default=None,
        description="L2 norm to which a client's update (client) or an example's gradient (example) is clipped",
    )
    noise_multiplier: NonNegative | None = Field(
        default=None, description="standard deviation of the Gaussian noise, over what one client or example can change"
    )
    target_epsilon: Positive | None = Field(
        default=None, description="instead of noise_multiplier: the least noise with this epsilon after the last round"
    )
    delta: Probability | None = Field(default=None, gt=0)
    max_epsilon: Positive | None = Field(default=None, description="a run that would spend more is refused")
    noise: Literal["reproducible", "secret"] = Field(
        default="reproducible",
        description="reproducible: drawn from the seed, for experiments, as who knows the seed can take it off; "
        "secret: drawn from the system's entropy, never the same twice",
    )

    @model_validator(mode="after")
    def _says_all_or_nothing(self) -> PrivacyConfig:
        for fault in rules.incomplete(self):
            raise ValueError(fault)
        return self


class EvaluationConfig(Section):
    """When the aggregated model is measured, and on what."""

    every: PositiveInt = Field(description="rounds between evaluations; the last round is always evaluated")
    split: Literal["validation", "test"] = "test"
    batch_size: PositiveInt = 64
    interference: bool = optional(False, description="measure, layer by layer, what every round loses")
    select: Literal["last", "validation", "test"] = optional(
        "last",
        description="which round counts: the last; the best on validation text, with test text measured once at the end; "
        "or, as the papers do it, the best on the test text, recorded beside the one that validation chooses",
    )

    @model_validator(mode="after")
    def _selection_is_told_on_test_text(self) -> EvaluationConfig:
        if self.select != "last" and self.split != "test":
            raise ValueError(
                f'evaluation.select is "{self.select}" with evaluation.split = "{self.split}", expected split = "test": '
                "rounds are compared on validation text, and the one that is chosen is measured on test text"
            )
        return self


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
