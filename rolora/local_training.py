"""One client's local update: K optimiser steps from the broadcast, with streams of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from rolora import precision
from rolora.config import TrainingConfig
from rolora.dropout import has_dropout, named_dropout
from rolora.keys import Key

Parts = Mapping[str, list[torch.nn.Parameter]]
"""What is trained: part ("A", "B", "head") -> its parameters."""


@dataclass(frozen=True)
class Examples:
    """Tokenised examples: token ids and segment ids by example, and labels, (n,) integers."""

    fields: dict[str, Sequence[Sequence[int]]]
    labels: np.ndarray
    pad: dict[str, int]

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, indices: np.ndarray) -> Examples:
        """Some of the examples, in the order given."""
        fields = {name: [rows[index] for index in indices] for name, rows in self.fields.items()}
        return replace(self, fields=fields, labels=self.labels[indices])

    def longest(self, indices: np.ndarray) -> int:
        """The number of tokens of the longest of these examples."""
        return max(len(self.fields["input_ids"][index]) for index in indices)

    def batch(self, indices: np.ndarray, device: torch.device) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """These examples as model inputs, padded to the longest of them, and their labels."""
        return pad([(self, int(index)) for index in indices], device)


def pad(texts: Sequence[tuple[Examples, int]], device: torch.device) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Examples, given as (source, index), as model inputs, (rows, tokens) each, and their labels, (rows,).

    Padded at the end to the longest of them, whatever side the tokenizer prefers: a text's positions, and so its logits,
    then do not depend on the texts beside it.
    """
    source = texts[0][0]
    longest = max(len(each.fields["input_ids"][index]) for each, index in texts)
    inputs = {}
    for name in source.fields:
        padded = np.full((len(texts), longest), source.pad[name], dtype=np.int64)
        for row, (each, index) in enumerate(texts):
            values = each.fields[name][index]
            padded[row, : len(values)] = values
        inputs[name] = torch.from_numpy(padded).to(device)
    labels = np.array([each.labels[index] for each, index in texts], dtype=np.int64)
    return inputs, torch.from_numpy(labels).to(device)


@runtime_checkable
class HiddenStates(Protocol):
    """What stands for the layers below the lowest adapted one (``rolora.engine.prefix``)."""

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
        model: gives logits, (batch, labels); only the parameters in ``parts`` require gradients.
        parts: what is trained: "A", "B", "head" -> parameters.
        examples: all tokenised training examples.
        indices: which of them this client holds.
        config: optimiser, learning rates, steps, batch size, clipping, proximal term.
        key: the stream of this client in this round.
        device: where the model is.
        schedule: which factor step j trains, beside the head: the j-th letter, repeated; both if empty.
        prefix: the hidden states of the examples below the lowest adapted layer, if they are kept.

    Returns:
        The mean training loss (cross-entropy, nats) over the steps.
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
            texts = [(examples, int(index)) for index in chosen]
            inputs, labels = pad(texts, device)
            own = tuple(inputs["input_ids"].shape)
            if dropout is not None:
                dropout.next_batch([own], own)
            if prefix is not None:
                prefix.next_batch(texts, own[1])
            with precision.arithmetic(model):
                logits = model(**inputs).logits
            loss = cross_entropy(logits, labels)
            descent.zero_grad(set_to_none=True)
            loss.backward()
            for parameter, start in zip(parameters, starts, strict=False):
                if parameter.grad is not None:
                    parameter.grad.add_(parameter.detach() - start, alpha=config.proximal)
            if config.max_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(parameters, config.max_grad_norm)
            descent.step()
            losses.append(loss.detach())
    return float(torch.stack(losses).double().mean())


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """The cross-entropy in nats, computed in float32 at least."""
    exact = logits if logits.dtype == torch.float64 else logits.float()
    return torch.nn.functional.cross_entropy(exact, labels, reduction=reduction)


def take_turns(parts: Parts, factor: str) -> None:
    """Only this factor, and the head, require gradients; what has none is left alone by the optimiser."""
    for part, chosen in parts.items():
        for parameter in chosen:
            parameter.requires_grad_(part in (factor, "head"))
