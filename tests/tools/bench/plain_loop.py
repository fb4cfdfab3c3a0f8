"""The baseline: federated LoRA as a careful user writes it with peft and transformers, one client after another.

One model; every client gets the server's adapter and head by PEFT's own functions, a new AdamW, and its batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict

from tests.tools.bench.given import Batch, Given, State, build_model, load


def federated(model: PeftModel, given: Given, autocast: torch.dtype | None = None) -> State:
    """All rounds of the job.

    Args:
        model: with PEFT's adapter, on the device of ``given.start`` and ``given.batches``.
        given: the job.
        autocast: reduced precision of the forward pass.

    Returns:
        The server's adapter and head after the last round.
    """
    server = given.start
    for t, clients in enumerate(given.batches):
        trained = trained_factors(given.algorithm, t)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("modules_to_save" in name or any(factor in name for factor in trained))
        states = [local_update(model, server, batches, given, autocast) for batches in clients]
        server = server | weighted_mean(states, given.weights, trained)
    return server


def trained_factors(algorithm: str, t: int) -> tuple[str, ...]:
    """FedAvg-LoRA trains both factors, RoLoRA one after the other, B first."""
    return {"fedavg-lora": ("lora_A", "lora_B"), "rolora": (("lora_B", "lora_A")[t % 2],)}[algorithm]


def local_update(
    model: PeftModel, server: State, batches: list[Batch], given: Given, autocast: torch.dtype | None = None
) -> State:
    """One client's adapter and head after its batches."""
    set_peft_model_state_dict(model, server)
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=given.learning_rate, weight_decay=given.weight_decay)
    for batch in batches:
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        with torch.autocast(batch["labels"].device.type, autocast, enabled=autocast is not None):
            logits = model(**inputs).logits
        loss = torch.nn.functional.cross_entropy(
            logits.to(torch.promote_types(logits.dtype, torch.float32)), batch["labels"]
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    # Without False, PEFT asks at every call whether the vocabulary was changed.
    state = get_peft_model_state_dict(model, save_embedding_layers=False)
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def weighted_mean(states: list[State], weights: list[float], trained: tuple[str, ...]) -> State:
    """The clients' mean of the head and of the factors that were trained."""
    shares = [weight / sum(weights) for weight in weights]
    return {
        name: sum(share * state[name] for share, state in zip(shares, states, strict=True))
        for name in states[0]
        if "lora_" not in name or any(factor in name for factor in trained)
    }


def contestant(folder: Path) -> Callable[[], tuple[float, State, dict[str, Any]]]:
    """Load model and batches, take a first step to warm up, and return what runs and times one pass."""
    given = load(folder)
    model = build_model(given)
    federated(model, replace(given, batches=[[given.batches[0][0][:1]]], weights=[1.0]))

    def run() -> tuple[float, State, dict[str, Any]]:
        started = time.perf_counter()
        final = federated(model, given)
        return time.perf_counter() - started, final, {"threads": torch.get_num_threads()}

    return run
