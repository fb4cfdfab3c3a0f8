"""Many clients at the same time on one frozen backbone. What it computes is what the sequential engine computes.

The batches of G clients go through the backbone as one; adapters, head, losses, gradients, clipping, optimiser state and
random streams stay each client's own (``rolora.training.engines.stacked_adapters``). Sums are taken over other
shapes than with one client, so the last digits differ from the sequential engine's; nothing else does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from peft import PeftModel

from rolora.config import Config
from rolora.errors import InputError
from rolora.federation import ClientUpdate, ServerState
from rolora.models import costs, peft_boundary, precision
from rolora.training.dropout import NamedDropout, has_dropout, named_dropout
from rolora.training.engines.base import Job, LocalEngine, Observer
from rolora.training.engines.stacked_adapters import Stack
from rolora.training.engines.stacked_optimizers import StackedOptimizer
from rolora.training.examples import Examples, pad
from rolora.training.local_update import HiddenStates, batches, skipping, take_turns

SHARE = 0.6
"""Share of a device's memory, less the weights, for activations; the rest is for allocator and library."""

CPU_ACTIVATIONS = 2**28
"""Bytes of activations on a CPU: beyond that a larger batch is no faster there."""


class BatchedEngine(LocalEngine):
    """Trains the clients of a round in groups."""

    def __post_init__(self) -> None:
        """
        Raises:
            ValueError: ``train`` is given; this engine trains groups of clients in its own way.
        """
        super().__post_init__()
        if self.train is not None:
            raise ValueError(f'train: got {self.train} with runtime.engine = "batched", expected None')
        self.trainer = Trainer(
            self.model, head=self.trains_head, prefix=self.prefix, compiled=self.config.runtime.compile
        )
        self.group_size = group_size(self.config, self.model)

    def local_updates(
        self, t: int, starts: Mapping[int, ServerState], trainable: frozenset[str]
    ) -> Sequence[ClientUpdate]:
        """The clients' updates in the order of ``starts``; the groups are made by number, so that order changes nothing."""
        jobs = self.jobs(t, starts, trainable)
        groups = in_groups(sorted(jobs, key=lambda job: job.client), self.group_size)
        updates = {}
        for group in groups:
            for job, update in zip(group, self.trainer.train(group, self.observe_start), strict=True):
                updates[job.client] = update
                if self.after_client is not None:
                    self.after_client()
        return [updates[client] for client in starts]

    def describe(self) -> dict[str, Any]:
        """Return the engine's entries of a run's record."""
        return {"group_size": self.group_size}

    def jobs(self, t: int, starts: Mapping[int, ServerState], trainable: frozenset[str]) -> list[Job]:
        """The local updates of a round, one a client."""
        return [self.job(t, client, start, trainable) for client, start in starts.items()]


def in_groups(jobs: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Groups of at most ``size`` jobs, as equal as they can be: the largest has at most one more than the smallest.

    Example:
        >>> [len(group) for group in in_groups(range(20), 8)]
        [7, 7, 6]
    """
    number = -(-len(jobs) // size)
    for part in np.array_split(np.arange(len(jobs)), number):
        yield [jobs[index] for index in part]


def group_size(config: Config, model: PeftModel) -> int:
    """Return the number of clients trained together: as configured, or as many as the memory for activations holds.

    Which sums are taken together depends on it, and with them the last digits. So it follows from the config and from the
    device's whole memory, never from what happens to be free, and the record keeps it. One, where an adapter or dropout
    meets what all rows of a batch share: that cannot be each client's own.

    Raises:
        InputError: if several are asked for and only one can be.
    """
    if shares_positions(model):
        if (config.runtime.group_size or 1) > 1:
            raise InputError(
                f"runtime.group_size: got {config.runtime.group_size}, expected 1, or nothing: in this model the rows of a batch "
                "share relative positions, which go through adapted matrices or dropout"
            )
        return 1
    if config.runtime.group_size is not None:
        return config.runtime.group_size
    device = next(model.parameters()).device
    budget = CPU_ACTIVATIONS
    if device.type == "cuda":
        weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
        budget = int(SHARE * (torch.cuda.get_device_properties(device).total_memory - weights))
    each = costs.activation_bytes(
        costs.shapes_of(model),
        config.training.batch_size,
        config.model.max_length,
        precision.DTYPES[config.runtime.dtype],
        costs.adapted_modules(peft_boundary.read(model, head=False)),
        on=device.type,
        adapter_dropout=config.lora.dropout > 0,
        recomputed=config.runtime.gradient_checkpointing,
    )
    return max(1, budget // each)


def shares_positions(model: PeftModel) -> bool:
    """Return whether relative positions, one table for all rows of a batch, meet an adapter or dropout (DeBERTa)."""
    settings = model.get_base_model().config
    if not getattr(settings, "relative_attention", False):
        return False
    projections = ("query_proj", "key_proj", "pos_query_proj", "pos_key_proj", "pos_proj", "pos_q_proj")
    adapted = any(name.endswith(projections) for name in peft_boundary.lora_layers(model))
    return adapted or bool(settings.hidden_dropout_prob)


class Trainer:
    """Trains groups of clients, of one run or of several, on one model."""

    def __init__(
        self, model: PeftModel, *, head: bool, prefix: HiddenStates | None = None, compiled: bool = False
    ) -> None:
        """
        Args:
            model: with PEFT's adapter; between calls it is as it was.
            head: whether the head is trained.
            compiled: whether the backbone's layers are compiled; the first steps then take long.
            prefix: the hidden states of all examples below the lowest adapted layer, if they are kept.
        """
        self.model = model
        self.prefix = prefix
        self.device = next(model.parameters()).device
        self.stack = Stack(model, head=head, compiled=compiled)
        self.has_dropout = has_dropout(model)

    def train(self, jobs: Sequence[Job], observe_start: Observer | None = None) -> list[ClientUpdate]:
        """The updates of these jobs.

        The jobs may belong to different runs; they share what shapes the computation: the model, the trainable factors, a
        residual in the backbone, and all training settings but the learning rates.
        """
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        peft_boundary.write(self.model, jobs[0].start, parts=frozenset())  # folds the residual, if there is one
        self.stack.load([job.start for job in jobs], self.device)
        if observe_start is not None:
            for index, job in enumerate(jobs):
                observe_start(job.t, job.client, self.stack.read(index, job.start))
        with self.stack.installed(), skipping(self.prefix):
            self.model.train()
            losses = self._steps(jobs)
        return [job.update(self.stack.read(index, job.start), float(losses[index])) for index, job in enumerate(jobs)]

    def _steps(self, jobs: Sequence[Job]) -> torch.Tensor:
        """All local steps; returns the mean loss of each job, (G,) float64."""
        config, schedule = jobs[0].config.training, jobs[0].algorithm.local_schedule
        parts = self.stack.trainable(jobs[0].trainable)
        descent = StackedOptimizer(parts, [job.config.training for job in jobs])
        starts = [parameter.detach().clone() for parameter in descent.parameters] if config.proximal else []
        draws = [batches(job.key.fold("batches"), job.indices, config.batch_size, config.local_steps) for job in jobs]
        losses = []
        with named_dropout(self.has_dropout, [job.key.fold("dropout") for job in jobs], self.device) as dropout:
            for step, chosen in enumerate(zip(*draws, strict=True)):
                if schedule:
                    take_turns(parts, schedule[step % len(schedule)])
                loss = self._losses([job.examples for job in jobs], chosen, dropout)
                descent.zero_grad()
                loss.sum().backward()
                for parameter, start in zip(descent.parameters, starts, strict=False):
                    if parameter.grad is not None:
                        parameter.grad.add_(parameter.detach() - start, alpha=config.proximal)
                if config.max_grad_norm is not None:
                    descent.clip(config.max_grad_norm)
                descent.step()
                losses.append(loss.detach())
        return torch.stack(losses).double().mean(dim=0).cpu()

    def _losses(
        self, examples: Sequence[Examples], chosen: Sequence[np.ndarray], dropout: NamedDropout | None
    ) -> torch.Tensor:
        """The mean loss of every client's batch, (G,)."""
        rows = max(len(indices) for indices in chosen)
        # A client with fewer rows repeats its first one, at no weight: a row of padding alone has nothing to attend to.
        filled = [np.concatenate([indices, indices[[0] * (rows - len(indices))]]) for indices in chosen]
        texts = [(source, int(index)) for source, indices in zip(examples, filled, strict=True) for index in indices]
        inputs, labels = pad(texts, self.device)
        if dropout is not None:
            own = [(len(indices), source.longest(indices)) for source, indices in zip(examples, chosen, strict=True)]
            dropout.next_batch(own, (rows, inputs["input_ids"].shape[1]))
        if self.prefix is not None:
            self.prefix.next_batch(texts, inputs["input_ids"].shape[1])
        with precision.arithmetic(self.model):
            logits = self.model(**inputs).logits
        each, terms = (found.reshape(len(chosen), rows) for found in examples[0].objective.rows(logits, labels))
        counts = torch.tensor([len(indices) for indices in chosen], device=self.device)
        own = torch.arange(rows, device=self.device) < counts[:, None]
        weights = own.to(each.dtype) / (terms * own).sum(dim=1, keepdim=True)
        return (each * weights).sum(dim=1)
