"""Evaluation of the aggregated model on held-out text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch

from rolora.data import metrics
from rolora.training.examples import Examples, by_length
from rolora.training.local_update import HiddenStates, forward, skipping
from rolora.training.objectives import widened


@dataclass(frozen=True)
class Evaluation:
    """Metrics and loss over ``examples`` examples.

    Args:
        metrics: by name, the task's primary one first; empty for generation, where the loss is the metric.
        loss: the mean over ``terms`` terms (``rolora.training.objectives``): nats, or a squared error.
        examples: their number.
        terms: number of terms of the loss: one an example, or for generation one a response token.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    loss: float = 0.0
    examples: int = 0
    terms: int = 0

    def as_dict(self) -> dict[str, float | int]:
        """Return a flat JSON-ready table: the metrics, then loss and examples."""
        return {**self.metrics, "loss": self.loss, "examples": self.examples}


@torch.no_grad()
def evaluate(
    model: torch.nn.Module,
    examples: Examples,
    batch_size: int,
    device: torch.device,
    indices: np.ndarray | None = None,
    prefix: HiddenStates | None = None,
) -> Evaluation:
    """Return metrics and loss, with dropout off; batches hold texts of similar length, which saves padding only.

    Args:
        model: with the head of the examples' task.
        examples: labelled text.
        batch_size: examples at a time.
        device: of the model.
        indices: of the examples; all if None.
        prefix: cached hidden states below the lowest adapted layer.
    """
    model.eval()
    objective, order = examples.objective, by_length(examples, indices)
    predictions, loss, terms = [], 0.0, 0
    with skipping(prefix):
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            logits, targets = forward(model, examples, chosen, device, prefix=prefix)
            total, counted = objective.total(widened(logits), targets)
            loss, terms = loss + float(total), terms + counted
            predicted = objective.predictions(logits)
            if predicted is not None:
                predictions.append((predicted.float() if predicted.is_floating_point() else predicted).cpu().numpy())
    measured = {}
    if predictions:
        measured = metrics.compute(examples.metrics, np.concatenate(predictions), np.asarray(examples.labels)[order])
    return Evaluation(measured, loss / terms, len(order), terms)


def pooled(parts: list[Evaluation]) -> Evaluation:
    """Return the joint evaluation of several models on disjoint parts of the examples.

    A metric is the mean of the parts' values, each weighted by its examples; for accuracy that is the accuracy of all.

    Example:
        >>> pooled([Evaluation({"accuracy": 1.0}, 0.0, 1, 1), Evaluation({"accuracy": 0.0}, 1.0, 3, 3)])
        Evaluation(metrics={'accuracy': 0.25}, loss=0.75, examples=4, terms=4)
    """
    examples, terms = sum(part.examples for part in parts), sum(part.terms for part in parts)
    return Evaluation(
        metrics={
            name: sum(part.metrics[name] * part.examples for part in parts) / examples for name in parts[0].metrics
        },
        loss=sum(part.loss * part.terms for part in parts) / terms,
        examples=examples,
        terms=terms,
    )
