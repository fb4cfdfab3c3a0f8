"""Rules between sections: combinations that are refused, with the reason, before anything is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rolora.algorithms import Algorithm
from rolora.errors import InputError

Row = tuple[str, Sequence[Any], str]
"""(key, values that it may have beside being left out, reason)"""


def faults(sections: Mapping[str, Any], algorithm: Algorithm) -> Iterator[InputError]:
    """Yield an error for each setting that does not go together with another one, or with the algorithm.

    Algorithms that do not allow a robust aggregation or an optimiser at the server refuse it when they are built.

    Args:
        sections: by name, each valid in itself.
        algorithm: as built from its options.
    """
    for holds, condition, rows in _rules(sections, algorithm):
        for key, allowed, reason in rows if holds else ():
            section, _, name = key.partition(".")
            value = getattr(sections[section], name)
            if value is not None and value not in allowed:
                wanted = " or ".join(map(json.dumps, allowed)) or "nothing"
                yield InputError(key=key, got=value, expected=f"{wanted} with {condition}: {reason}")
    yield from _counts(sections, algorithm)
    if sections["privacy"].mode == "client":
        yield from _not_private(algorithm)


def _rules(sections: Mapping[str, Any], algorithm: Algorithm) -> Iterator[tuple[bool, str, list[Row]]]:
    """Yield (whether the condition holds, the condition, what it demands)."""
    data, federation, privacy, runtime = (sections[name] for name in ("data", "federation", "privacy", "runtime"))
    state, robust = federation.client_state, federation.aggregation
    yield state != "isolated", f'federation.client_state = "{state}"', [
        ("runtime.engine", ["sequential"], "its clients train in turn"),
    ]  # fmt: skip
    yield algorithm.pooled, algorithm.name, [("federation.clients_per_round", [1], "it has one client")]
    yield robust != "mean", f'federation.aggregation = "{robust}"', [
        ("federation.client_weights", ["uniform"], "a client reports its own weight, so every client counts once"),
    ]  # fmt: skip
    yield data.task == "regression", 'data.task = "regression"', [
        ("federation.partition", ["iid", "by-column"], "it divides classes"),
    ]  # fmt: skip
    yield data.task != "generation", f'data.task = "{data.task}"', [
        ("data.packing", [False], "it packs prompts and responses"),
        ("data.template", ["plain"], "it frames prompts"),
        ("data.response_column", ["response"], "it has no responses"),
    ]  # fmt: skip
    yield runtime.engine == "batched", 'runtime.engine = "batched"', [
        ("training.micro_batch_size", [], "runtime.group_size sets how many clients train together"),
    ]  # fmt: skip
    quantised = sections["model"].quantization != "none"
    for holds, condition, reason in (
        (not runtime.device.startswith("cuda"), f'runtime.device = "{runtime.device}"', "it needs a CUDA device"),
        (runtime.dtype == "float64", 'runtime.dtype = "float64"', "quantised products are in 32 or 16 bits"),
        (
            quantised and any("residual" in algorithm.changed(t) for t in range(federation.rounds)),
            algorithm.name,
            "it adds a residual to the backbone's weights, which 4 or 8 bits would round",
        ),
    ):
        yield holds, condition, [("model.quantization", ["none"], reason)]
    masks = "a recomputed layer would draw other masks"
    yield runtime.gradient_checkpointing, "runtime.gradient_checkpointing", [
        ("runtime.compile", [False], "the compiler decides what a layer keeps"),
        ("lora.dropout", [0.0], masks),
        ("model.dropout", [0.0], masks),
    ]  # fmt: skip
    mode = f'privacy.mode = "{privacy.mode}"'
    yield privacy.mode != "none", mode, [
        ("evaluation.interference", [False], "it records a measure of the clients' updates without noise"),
        ("federation.round_attempts", [1], "repeating a round depends on the updates and spends more than is counted"),
    ]  # fmt: skip
    yield privacy.mode == "client", mode, [
        ("federation.aggregation", ["mean"], "the noise is added to a mean"),
        ("federation.client_weights", ["uniform"], "each client may move the mean by clip / n at most (its sensitivity)"),
        ("federation.client_state", ["isolated"], "in a chain, one client's data change every later client's update"),
    ]  # fmt: skip
    yield privacy.mode == "example", mode, [
        ("runtime.engine", ["sequential"], "only it clips gradients example by example"),
        ("runtime.dtype", ["float32", "float64"], "norms are measured in float32 at least"),
        ("training.max_grad_norm", [], "privacy.clip clips every example's gradient"),
        ("training.micro_batch_size", [], "a drawn batch is computed at once"),
        ("training.proximal", [0.0], "its gradient belongs to no example"),
        ("data.packing", [False], "a row of several texts is not one example"),
        ("model.quantization", ["none"], "gradients through it were not checked by example"),
        ("runtime.gradient_checkpointing", [False], "a layer computed twice is counted twice"),
    ]  # fmt: skip


def _counts(sections: Mapping[str, Any], algorithm: Algorithm) -> Iterator[InputError]:
    """Yield an error for ranks, numbers of clients and columns that do not agree."""
    data, federation, rank = sections["data"], sections["federation"], sections["lora"].rank
    ranks, key = set(federation.client_ranks or ()) - {rank}, "federation.client_ranks"
    if ranks and algorithm.mixed_ranks:
        expected = f"one rank, lora.rank = {rank}, with {algorithm.name}: {algorithm.mixed_ranks}"
        yield InputError(key=key, got=sorted(ranks), expected=expected)
    elif ranks and max(ranks) > rank:
        yield InputError(key=key, got=max(ranks), expected=f"at most lora.rank = {rank}")
    fewest = federation.minimum_clients or federation.clients_per_round or federation.num_clients
    if federation.aggregation != "mean" and fewest < 3:
        expected = f'at least 3 updates a round with federation.aggregation = "{federation.aggregation}"'
        yield InputError(key="federation.num_clients", got=fewest, expected=expected)
    if (federation.partition == "by-column") != (data.client_column is not None):
        expected = "a column's name" if data.client_column is None else "nothing"
        expected += f' with federation.partition = "{federation.partition}"'
        yield InputError(key="data.client_column", got=data.client_column, expected=expected)


def _not_private(algorithm: Algorithm) -> Iterator[InputError]:
    """Yield an error if the algorithm's clients cannot be hidden."""
    for fails, wanted in (
        (algorithm.pooled, "a federation: its one client cannot be hidden"),
        (bool(algorithm.personal), "a method with one common model: factors that clients keep get no noise"),
        (not algorithm.averages, "a method whose server needs only the mean of the updates, to which noise is added"),
    ):
        if fails:
            yield InputError(key="algorithm", got=algorithm.name, expected=f'with privacy.mode = "client" {wanted}')
            break
