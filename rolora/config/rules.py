"""Rules between sections: combinations that are refused, with the reason, before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rolora.algorithms import Algorithm
from rolora.errors import InputError

if TYPE_CHECKING:
    from rolora.config.sections import (
        DataConfig,
        EvaluationConfig,
        FederationConfig,
        LoraConfig,
        ModelConfig,
        PrivacyConfig,
        RuntimeConfig,
        TrainingConfig,
    )

Faults = Iterator[InputError]


def clients(algorithm: Algorithm, federation: FederationConfig, lora: LoraConfig, runtime: RuntimeConfig) -> Faults:
    """Yield an error for each setting of the clients that the algorithm or the engine does not support."""
    ranks = set(federation.client_ranks or ()) - {lora.rank}
    if ranks and algorithm.mixed_ranks:
        yield InputError(
            key="federation.client_ranks",
            got=sorted(ranks),
            expected=f"one rank, lora.rank = {lora.rank}, with {algorithm.name}: {algorithm.mixed_ranks}",
        )
    elif ranks and max(ranks) > lora.rank:
        yield InputError(key="federation.client_ranks", got=max(ranks), expected=f"at most lora.rank = {lora.rank}")
    if federation.client_state != "isolated" and runtime.engine == "batched":
        yield InputError(
            key="runtime.engine",
            got="batched",
            expected=f'"sequential" with federation.client_state = "{federation.client_state}": its clients train in turn',
        )
    if algorithm.pooled and federation.clients_per_round not in (None, 1):
        yield InputError(
            key="federation.clients_per_round", got=federation.clients_per_round, expected="1 with one client"
        )


def aggregation(federation: FederationConfig, privacy: PrivacyConfig) -> Faults:
    """Yield an error for each setting with which a robust aggregation would not be one.

    Algorithms that do not allow it refuse it themselves, in ``Config.build_algorithm``.
    """
    if federation.aggregation == "mean":
        return
    asked = f'federation.aggregation = "{federation.aggregation}"'
    if privacy.mode == "client":
        yield InputError(
            key="federation.aggregation",
            got=federation.aggregation,
            expected='"mean" with privacy.mode = "client": the noise is added to a mean',
        )
    if federation.client_weights != "uniform":
        yield InputError(
            key="federation.client_weights",
            got=federation.client_weights,
            expected=f'"uniform" with {asked}: a client reports its own weight, so every client counts once',
        )
    fewest = federation.minimum_clients or federation.clients_per_round or federation.num_clients
    if fewest < 3:
        yield InputError(key="federation.num_clients", got=fewest, expected=f"at least 3 updates a round with {asked}")


def data(data: DataConfig, federation: FederationConfig, training: TrainingConfig, runtime: RuntimeConfig) -> Faults:
    """Yield an error for each setting that does not suit the task, the partition or the engine."""
    if data.task == "regression" and federation.partition in ("dirichlet", "by-label"):
        yield InputError(
            key="federation.partition",
            got=federation.partition,
            expected='"iid" or "by-column" with data.task = "regression": it divides classes',
        )
    if (federation.partition == "by-column") != (data.client_column is not None):
        wanted = "a column's name" if data.client_column is None else "nothing"
        yield InputError(
            key="data.client_column",
            got=data.client_column,
            expected=f'{wanted} with federation.partition = "{federation.partition}"',
        )
    for field, default in (("packing", False), ("template", "plain"), ("response_column", "response")):
        if data.task != "generation" and getattr(data, field) != default:
            yield InputError(
                key=f"data.{field}",
                got=getattr(data, field),
                expected=f'{json.dumps(default)} with data.task = "{data.task}"',
            )
    if training.micro_batch_size is not None and runtime.engine == "batched":
        yield InputError(
            key="training.micro_batch_size",
            got=training.micro_batch_size,
            expected='nothing with runtime.engine = "batched"; runtime.group_size sets how many clients train together',
        )


def quantisation(model: ModelConfig, runtime: RuntimeConfig, algorithm: Algorithm, rounds: int) -> Faults:
    """Yield an error for each setting with which the backbone cannot be quantised."""
    if model.quantization == "none":
        return
    reasons = (
        (not runtime.device.startswith("cuda"), f'runtime.device = "{runtime.device}": it needs a CUDA device'),
        (runtime.dtype == "float64", 'runtime.dtype = "float64": quantised products are in 32 or 16 bits'),
        (
            any("residual" in algorithm.changed(t) for t in range(rounds)),
            f"{algorithm.name}: it adds a residual to the backbone's weights, which 4 or 8 bits would round",
        ),
    )
    for holds, reason in reasons:
        if holds:
            yield InputError(key="model.quantization", got=model.quantization, expected=f'"none" with {reason}')


def recomputation(model: ModelConfig, lora: LoraConfig, runtime: RuntimeConfig) -> Faults:
    """Yield an error for each setting with which a layer recomputed in the backward pass would differ."""
    if not runtime.gradient_checkpointing:
        return
    if runtime.compile:
        yield InputError(
            key="runtime.gradient_checkpointing",
            got=True,
            expected="false with runtime.compile: the compiler decides what a layer keeps",
        )
    for key, rate in (("lora.dropout", lora.dropout), ("model.dropout", model.dropout)):
        if rate:
            yield InputError(
                key=key,
                got=rate,
                expected="0.0 with runtime.gradient_checkpointing: a recomputed layer would draw other masks",
            )


def privacy(
    privacy: PrivacyConfig,
    algorithm: Algorithm,
    *,
    data: DataConfig,
    evaluation: EvaluationConfig,
    federation: FederationConfig,
    model: ModelConfig,
    runtime: RuntimeConfig,
    training: TrainingConfig,
) -> Faults:
    """Yield an error for each setting with which the guarantee would not hold, or is not implemented."""
    if privacy.mode == "none":
        return
    values: list[tuple[str, Any, tuple[Any, ...], str]] = [
        (
            "evaluation.interference",
            evaluation.interference,
            (False,),
            "it records a measure of the clients' updates without noise",
        ),
        (
            "federation.round_attempts",
            federation.round_attempts,
            (1,),
            "a repeated round depends on what clients send and spends more than is counted",
        ),
    ]
    if privacy.mode == "client":
        for fails, wanted in (
            (algorithm.pooled, "a federation: its one client cannot be hidden"),
            (bool(algorithm.personal), "a method with one common model: factors that clients keep get no noise"),
            (
                not algorithm.averages,
                "a method whose server needs only the mean of the updates, to which noise is added",
            ),
        ):
            if fails:
                yield InputError(key="algorithm", got=algorithm.name, expected=f'with privacy.mode = "client" {wanted}')
                break
        values += [
            (
                "federation.client_weights",
                federation.client_weights,
                ("uniform",),
                "the noise is made for a mean that each client moves by at most clip / n (its sensitivity)",
            ),
            (
                "federation.client_state",
                federation.client_state,
                ("isolated",),
                "in a chain, one client's data change every later client's update",
            ),
        ]
    else:
        values += [
            ("runtime.engine", runtime.engine, ("sequential",), "only it clips gradients example by example"),
            ("runtime.dtype", runtime.dtype, ("float32", "float64"), "norms are measured in float32 at least"),
            ("training.max_grad_norm", training.max_grad_norm, (None,), "privacy.clip clips every example's gradient"),
            ("training.micro_batch_size", training.micro_batch_size, (None,), "a drawn batch is computed at once"),
            ("training.proximal", training.proximal, (0.0,), "its gradient belongs to no example"),
            ("data.packing", data.packing, (False,), "a row of several texts is not one example"),
            ("model.quantization", model.quantization, ("none",), "gradients through it were not checked by example"),
            (
                "runtime.gradient_checkpointing",
                runtime.gradient_checkpointing,
                (False,),
                "a layer computed twice is counted twice",
            ),
        ]
    for key, got, allowed, reason in values:
        if got not in allowed:
            wanted = " or ".join("nothing" if value is None else json.dumps(value) for value in allowed)
            yield InputError(key=key, got=got, expected=f'{wanted} with privacy.mode = "{privacy.mode}": {reason}')
