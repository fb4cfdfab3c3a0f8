"""Cost of a run from its config alone: no weights, no data, no training.

The model is built on torch's meta device and adapted by the code of a real run; what travels is counted by the code that
counts a real run's messages, on arrays that have a shape and no numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch

from rolora.adapter import FACTORS
from rolora.config import Config, LoraConfig, ModelConfig, RuntimeConfig
from rolora.config.layer_budgets import FIXED
from rolora.data import known_tasks
from rolora.errors import InputError
from rolora.federation import ServerState
from rolora.federation.communication import nbytes, total
from rolora.keys import Key
from rolora.models import architectures, backbone, costs, peft_boundary, precision, quantization
from rolora.models.costs import Adapted, Shapes, activation_bytes
from rolora.planning.tables import render
from rolora.planning.traffic import DIRECTIONS, Traffic, pattern, traffic
from rolora.training import gradient_checkpointing

__all__ = ["Plan", "activation_bytes", "plan", "render"]

QUANTISED = {
    "8bit": "memory: a matrix of the backbone is one byte a weight and a float32 scale a row (int8); embeddings, norms, biases "
    "and head are not quantised; a decoded copy of one matrix at a time is left out",
    "4bit": "memory: a matrix of the backbone is half a byte a weight, a byte for each 64 weights and a float32 for each 16,384 "
    "(NF4, double quantisation), and tables; embeddings, norms, biases and head are not quantised; a decoded copy of one matrix "
    "at a time is left out",
}
"""Notes on how the bytes of quantised weights are counted."""


@dataclass(frozen=True)
class Plan:
    """Planned cost of one run.

    Args:
        name: the run's.
        algorithm: the method's.
        model: its name, where its sizes are from, its architecture, its pretrained parameters.
        trainable: part ("A", "B", "head") -> parameters.
        work: clients, rounds, steps, rows and tokens that the numbers are for.
        rounds: the traffic of the first rounds: until it repeats, or a few if it does not.
        repeats_every: after the first of these, the rounds repeat in groups of so many; None if they do not.
        bytes_in_all: direction -> part -> bytes of the whole run.
        memory: part -> bytes at the peak of a round, and "in all".
        flops: of a client's step by what it trains, of training and of evaluation in all, and the simple count.
        time: the throughput that was assumed, where it is from, and seconds (None without a throughput).
        notes: what was assumed, and what is left out.
    """

    name: str
    algorithm: str
    model: Mapping[str, Any]
    trainable: Mapping[str, int]
    work: Mapping[str, int]
    rounds: tuple[Traffic, ...]
    repeats_every: int | None
    bytes_in_all: Mapping[str, Mapping[str, int]]
    memory: Mapping[str, int]
    flops: Mapping[str, Any]
    time: Mapping[str, Any]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


@dataclass(frozen=True)
class ModelSkeleton:
    """A model without numbers: what of it a plan needs.

    ``frozen_bytes`` is what the unadapted model holds, quantised or not, ``adapted_bytes`` what the matrices do that have
    an adapter, ``found`` what the config leaves open of the adapter or says by name.
    """

    settings_source: str
    architecture: str
    shapes: Shapes
    parameters: int
    state: ServerState
    head: Mapping[str, torch.Tensor]
    adapters: tuple[Adapted, ...]
    frozen_bytes: int
    adapted_bytes: int
    found: Mapping[str, Any]


@lru_cache(maxsize=8)  # a grid plans the same model many times
def model_skeleton(
    model: ModelConfig,
    lora: LoraConfig,
    labels: int,
    dtype: torch.dtype,
    *,
    objective: str = "classification",
    data_name: str = "",
    recomputed: bool = False,
) -> ModelSkeleton:
    """The config's model with its adapter on the meta device.

    Args:
        model: of the config.
        lora: of the config.
        labels: outputs of the head.
        dtype: of the backbone.
        objective: "classification", "regression" or "generation".
        data_name: the papers' budgets of layers depend on the task.
        recomputed: whether the run would check that layers can be computed again.

    Raises:
        InputError: whatever of model and adapter cannot be met.
    """
    settings, source = architectures.settings_of(model.name, labels, model.dropout)
    plain = architectures.from_settings(settings, dtype, architectures.META, objective=objective)
    shapes, parameters = costs.shapes_of(plain), backbone.pretrained_parameters(plain)
    resident = sum(tensor.nbytes for tensor in (*plain.parameters(), *plain.buffers()))
    resident -= quantization.saved_bytes(model.quantization, plain)
    wrapped = peft_boundary.attach(plain, lora, Key(0), backbone.shown_name(model), data_name)
    if recomputed:
        gradient_checkpointing.check(wrapped)
    state = peft_boundary.read(wrapped, head=model.head == "trained")
    return ModelSkeleton(
        settings_source=source,
        architecture=type(plain).__name__,
        shapes=shapes,
        parameters=parameters,
        state=state,
        head=peft_boundary.head_parameters(wrapped),
        adapters=costs.adapted_modules(state),
        frozen_bytes=resident,
        adapted_bytes=sum(
            module.get_base_layer().weight.nbytes for module in peft_boundary.lora_layers(wrapped).values()
        ),
        found=peft_boundary.found(lora, wrapped),
    )


def plan(
    config: Config,
    *,
    tokens: int | None = None,
    group_size: int | None = None,
    flops_per_second: float | None = None,
) -> Plan:
    """The plan of one run.

    Args:
        config: the run's.
        tokens: mean length of a batch; ``model.max_length`` if left out, which is an upper bound.
        group_size: clients that are trained together; the config's, or one.
        flops_per_second: to tell the time; measured here if left out.

    Raises:
        InputError: whatever of the model or the adapter cannot be met.
    """
    labels = config.data.num_labels or known_tasks.outputs(config.data) or 2
    dtype = precision.DTYPES[config.runtime.dtype]
    skeleton = model_skeleton(
        config.model,
        config.lora,
        labels,
        dtype,
        objective=config.data.task,
        data_name=config.data.name,
        recomputed=config.runtime.gradient_checkpointing,
    )
    rounds = list(traffic(config, skeleton.state))
    shown, period = pattern(rounds)
    largest = max(len(one.clients) for one in rounds)
    group = min(group_size or config.runtime.group_size or 1, largest)
    length = min(tokens or config.model.max_length, config.model.max_length)
    work = {
        "clients": 1 if config.build_algorithm().pooled else config.federation.num_clients,
        "clients_per_round": largest,
        "clients_together": group,
        "rounds": len(rounds),
        "local_steps": config.training.local_steps,
        "batch_size": config.training.batch_size,
        "tokens": length,
    }
    counted = operations(config, skeleton, rounds, length, labels)
    rate = speed(config.runtime, skeleton.shapes, config.training.batch_size * length * group, flops_per_second)
    seconds = (
        (counted["training"] + counted["evaluation"]) / rate["flops_per_second"] if rate["flops_per_second"] else None
    )
    return Plan(
        name=config.run_name(),
        algorithm=config.algorithm,
        model={
            "name": backbone.shown_name(config.model),
            "sizes": skeleton.settings_source,
            "architecture": skeleton.architecture,
            "parameters": skeleton.parameters,
            "dtype": config.runtime.dtype,
        }
        | ({"quantization": config.model.quantization} if config.model.quantization != "none" else {})
        | skeleton.found,
        trainable={f: sum(getattr(layer, f).numel() for layer in skeleton.state.layers.values()) for f in FACTORS}
        | {"head": sum(tensor.numel() for tensor in skeleton.state.head.values())},
        work=work,
        rounds=tuple(rounds[:shown]),
        repeats_every=period,
        bytes_in_all={direction: total(one.by_direction()[direction] for one in rounds) for direction in DIRECTIONS},
        memory=memory(config, skeleton, rounds, length, group),
        flops=counted,
        time=rate | {"seconds": seconds},
        notes=tuple(_notes(config, labels, tokens, group_size)),
    )


def memory(
    config: Config, skeleton: ModelSkeleton, rounds: Sequence[Traffic], length: int, group: int
) -> dict[str, int]:
    """Bytes by part when most is held: at the end of a forward pass, before the round's aggregation."""
    training, algorithm = config.training, config.build_algorithm()
    layers = skeleton.state.layers.values()
    sizes = {factor: sum(nbytes(getattr(layer, factor)) for layer in layers) for factor in FACTORS}
    sizes["head"] = sum(nbytes(tensor) for tensor in skeleton.head.values())
    heads = {"head"} if skeleton.state.head else set()
    moved = max(sum(sizes[part] for part in {*one.trained, *heads}) for one in rounds)
    states = 2 if training.optimizer == "adamw" else int(training.momentum > 0)
    residual = sum(4 * adapter.d * adapter.k for adapter in skeleton.adapters)
    changes_backbone = any("residual" in algorithm.changed(one.round) for one in rounds)
    kept = sum(sizes[factor] for factor in algorithm.personal) * config.federation.num_clients
    found = {
        "backbone": skeleton.frozen_bytes,
        # the batched engine's stack of clients lies beside the model's own adapter
        "adapters and heads": (group + (config.runtime.engine == "batched")) * sum(sizes.values()),
        "gradients": group * moved,
        "optimiser": group * moved * (states + bool(training.proximal)),
        "activations": activation_bytes(
            skeleton.shapes,
            group * training.batch_size,
            length,
            precision.DTYPES[config.runtime.dtype],
            skeleton.adapters,
            on=config.runtime.device.partition(":")[0],
            trains_a=any("A" in one.trained for one in rounds),
            adapter_dropout=config.lora.dropout > 0,
            recomputed=config.runtime.gradient_checkpointing,
        ),
        "server and updates": sum(sizes.values()) + max(sum(one.bytes_up.values()) for one in rounds) + kept,
        "residual": changes_backbone * (residual + skeleton.adapted_bytes),
    }
    return found | {"in all": sum(found.values())}


def operations(
    config: Config, skeleton: ModelSkeleton, rounds: Sequence[Traffic], length: int, labels: int
) -> dict[str, Any]:
    """Floating-point operations: counted (``rolora.models.costs.counted_flops``), and by the simple count 4 P T."""
    training, schedule = config.training, config.build_algorithm().local_schedule
    heads = {"head"} if skeleton.state.head else set()
    steps: Counter[frozenset[str]] = Counter()
    for one in rounds:
        for step in range(training.local_steps):
            factors = {schedule[step % len(schedule)]} if schedule else set(one.trained)
            steps[frozenset(factors | heads)] += len(one.clients)
    by_step = {trained: flops(config, labels, training.batch_size, length, trained) for trained in steps}
    evaluated = 1 + -(-len(rounds) // config.evaluation.every)  # before round 0, when due, and after the last
    held_out = config.data.test_examples if config.evaluation.split == "test" else config.data.validation_examples
    row = flops(config, labels, 1, length)
    return {
        "client_step": {"+".join(sorted(part)): count for part, count in by_step.items()},
        "training": sum(steps[part] * count for part, count in by_step.items()),
        "evaluation": evaluated * held_out * row,
        "simple_client_step": 4 * skeleton.parameters * training.batch_size * length,
        "simple_training": 4 * skeleton.parameters * training.batch_size * length * steps.total(),
    }


def flops(config: Config, labels: int, rows: int, length: int, trained: frozenset[str] = frozenset()) -> int:
    """Return the operations of one batch: of a local update's step on ``trained``, or of a forward pass if it is empty."""
    checkpointing = config.runtime.gradient_checkpointing and bool(trained)
    return _flops(
        config.model, config.lora, labels, config.data.task, config.data.name, checkpointing, rows, length, trained
    )


@lru_cache(maxsize=64)  # a grid plans the same step many times
def _flops(
    model: ModelConfig,
    lora: LoraConfig,
    labels: int,
    objective: str,
    data_name: str,
    checkpointing: bool,
    rows: int,
    length: int,
    trained: frozenset[str],
) -> int:
    settings, _ = architectures.settings_of(model.name, labels, model.dropout)
    settings._attn_implementation = "eager"
    plain = architectures.from_settings(settings, torch.float32, architectures.META, objective=objective)
    wrapped = peft_boundary.attach(plain, lora, Key(0), backbone.shown_name(model), data_name).train(bool(trained))
    wrapped.config.use_cache = False
    if checkpointing:
        gradient_checkpointing.enable(wrapped)
    peft_boundary.set_trainable(wrapped, trained & frozenset(FACTORS), head="head" in trained)
    return costs.counted_flops(wrapped, rows, length, backward=bool(trained))


def speed(runtime: RuntimeConfig, shapes: Shapes, rows: int, given: float | None) -> dict[str, Any]:
    """Operations a second: given, or measured on the config's device if this machine has it."""
    if given is not None:
        return {"flops_per_second": given, "source": "given"}
    try:
        measured = costs.throughput(runtime, shapes.hidden, shapes.intermediate, rows)
    except InputError:
        return {"flops_per_second": None, "source": f"this machine has no {runtime.device}; give --flops-per-second"}
    return {"flops_per_second": measured, "source": f"matrix products measured here, {runtime.device}, {runtime.dtype}"}


def _notes(config: Config, labels: int, tokens: int | None, group_size: int | None) -> Iterator[str]:
    if tokens is None:
        yield f"tokens: every batch is taken to be model.max_length = {config.model.max_length} long, an upper bound"
    yield "rows: every batch is taken to be full, an upper bound where clients hold few examples"
    if config.data.num_labels is None and known_tasks.outputs(config.data) is None:
        yield f"labels: {labels} assumed, as data.num_labels is left out and data are not read"
    yield "evaluation: as many held-out examples as the config asks for; a source with its own split may have others"
    if config.runtime.engine == "batched" and not (group_size or config.runtime.group_size):
        yield "memory: of one client at a time, as neither runtime.group_size nor --group-size says how many"
    if config.lora.layers in FIXED:
        yield f"lora.layers: those of {config.lora.layers} are recalled from the paper, unverified"
    if config.model.quantization != "none":
        yield QUANTISED[config.model.quantization]
    if config.runtime.gradient_checkpointing:
        yield (
            "memory: activations are each adapted layer's input, from the lowest adapted layer up, and one whole layer, the one "
            "that is computed again; FLOPs: those layers' forward pass once more"
        )
    yield "memory: passing tensors, evaluation, the libraries' workspace and a device's context are left out"
    yield "time: all operations at the speed of bare matrix products; what is slower than those, and loading, is left out"
