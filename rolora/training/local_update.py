"""One client's local update: K optimiser steps from the broadcast, with streams of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from rolora.config import TrainingConfig
from rolora.keys import Key
from rolora.models import precision
from rolora.training.dropout import NamedDropout, has_dropout, named_dropout
from rolora.training.examples import Examples, pad

Parts = Mapping[str, list[torch.nn.Parameter]]
"""Trained parameters: part ("A", "B", "head") -> parameters."""


@runtime_checkable
class LocalTraining(Protocol):
    """Trains ``parts`` in place and returns the mean loss: :func:`train` with its config, or a private counterpart."""

    def __call__(
        self,
        model: torch.nn.Module,
        parts: Parts,
        examples: Examples,
        indices: np.ndarray,
        *,
        key: Key,
        device: torch.device,
        schedule: str = "",
        prefix: HiddenStates | None = None,
    ) -> float:
        """Arguments as those of :func:`train`."""
        ...


@runtime_checkable
class HiddenStates(Protocol):
    """Cached hidden states in place of the layers below the lowest adapted one (``rolora.training.prefix_cache``)."""

    def installed(self) -> AbstractContextManager[None]:
        """Within it the model computes nothing below."""
        ...

    def next_batch(self, texts: Sequence[tuple[Examples, int]], tokens: int) -> None:
        """Announce the rows of the next forward pass, and what they are padded to."""
        ...


def skipping(prefix: HiddenStates | None) -> AbstractContextManager[None]:
    """The context of forward passes: as the model is without ``prefix``."""
    return nullcontext() if prefix is None else prefix.installed()


def batches(key: Key, indices: np.ndarray, batch_size: int, steps: int) -> Iterator[np.ndarray]:
    """``steps`` batches of a client's example indices: shuffled epochs one after another, last incomplete ones included.

    Example:
        >>> [len(batch) for batch in batches(Key(0), np.arange(5), 2, 4)]
        [2, 2, 1, 2]
    """
    generator = key.generator()
    drawn = 0
    while True:
        order = generator.permutation(indices)
        for start in range(0, len(order), batch_size):
            if drawn == steps:
                return
            yield order[start : start + batch_size]
            drawn += 1


def optimizer(config: TrainingConfig, parts: Parts) -> torch.optim.Optimizer:
    """A fresh optimiser, without any state from elsewhere; A may have a learning rate of its own."""
    rates = {"A": config.learning_rate_a or config.learning_rate}
    groups = [{"params": chosen, "lr": rates.get(part, config.learning_rate)} for part, chosen in parts.items()]
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=config.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay)


def train(
    model: torch.nn.Module,
    parts: Parts,
    examples: Examples,
    indices: np.ndarray,
    config: TrainingConfig,
    key: Key,
    device: torch.device,
    schedule: str = "",
    prefix: HiddenStates | None = None,
) -> float:
    """Train ``parts`` in place for ``config.local_steps`` steps on the client's examples.

    Args:
        model: gives the logits of the examples' task; only the parameters in ``parts`` require gradients.
        parts: what is trained: "A", "B", "head" -> parameters.
        examples: all tokenised training examples.
        indices: which of them this client holds.
        config: optimiser, learning rates, steps, batch size, clipping, proximal term.
        key: the stream of this client in this round.
        device: where the model is.
        schedule: which factor step j trains, beside the head: the j-th letter, repeated; both if empty.
        prefix: the hidden states of the examples below the lowest adapted layer, if they are kept.

    Returns:
        The mean training loss over the steps (``rolora.training.objectives``).
    """
    descent = optimizer(config, parts)
    parameters = [parameter for chosen in parts.values() for parameter in chosen]
    starts = [parameter.detach().clone() for parameter in parameters] if config.proximal else []
    losses = []
    model.train()
    with named_dropout(has_dropout(model), [key.fold("dropout")], device) as dropout, skipping(prefix):
        for step, chosen in enumerate(batches(key.fold("batches"), indices, config.batch_size, config.local_steps)):
            if schedule:
                take_turns(parts, schedule[step % len(schedule)])
            descent.zero_grad(set_to_none=True)
            losses.append(gradients(model, examples, chosen, config.micro_batch_size, device, dropout, prefix))
            for parameter, start in zip(parameters, starts, strict=False):
                if parameter.grad is not None:
                    parameter.grad.add_(parameter.detach() - start, alpha=config.proximal)
            if config.max_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
            descent.step()
    return float(torch.stack(losses).double().mean())


def gradients(
    model: torch.nn.Module,
    examples: Examples,
    chosen: np.ndarray,
    at_once: int | None,
    device: torch.device,
    dropout: NamedDropout | None,
    prefix: HiddenStates | None,
) -> torch.Tensor:
    """Add the gradient of a batch's loss to the parameters', and return the loss.

    Args:
        model: gives the logits of the examples' task.
        examples: all tokenised training examples.
        chosen: those of the batch.
        at_once: how many of them are computed at the same time; all if None. The gradient is the same to rounding, and
            with dropout it is the gradient under other masks.
        device: where the model is.
        dropout: announces the batch to dropout, if the model has any.
        prefix: the hidden states of the examples below the lowest adapted layer, if they are kept.

    Returns:
        The batch's loss, detached.
    """
    size = at_once or len(chosen)
    parts = [chosen[start : start + size] for start in range(0, len(chosen), size)]
    whole = sum(examples.terms(part) for part in parts) if len(parts) > 1 else 0
    total = torch.zeros((), device=device)
    for part in parts:
        loss = examples.objective.mean(*forward(model, examples, part, device, dropout, prefix))
        if len(parts) > 1:
            loss = loss * (examples.terms(part) / whole)
        loss.backward()
        total = loss.detach() if len(parts) == 1 else total + loss.detach()
    return total


def forward(
    model: torch.nn.Module,
    examples: Examples,
    chosen: np.ndarray,
    device: torch.device,
    dropout: NamedDropout | None = None,
    prefix: HiddenStates | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The model's logits of these examples, and their targets; dropout and kept hidden states are told of the batch."""
    texts = [(examples, int(index)) for index in chosen]
    inputs, targets = pad(texts, device)
    own = tuple(inputs["input_ids"].shape)
    if dropout is not None:
        dropout.next_batch([own], own)
    if prefix is not None:
        prefix.next_batch(texts, own[1])
    with precision.arithmetic(model):
        return model(**inputs).logits, targets


def take_turns(parts: Parts, factor: str) -> None:
    """Only this factor, and the head, require gradients; what has none is left alone by the optimiser."""
    for part, chosen in parts.items():
        for parameter in chosen:
            parameter.requires_grad_(part in (factor, "head"))
