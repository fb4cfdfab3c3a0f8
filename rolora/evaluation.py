"""The aggregated model, measured on held-out text."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from rolora import precision
from rolora.local_training import Examples


@dataclass(frozen=True)
class Evaluation:
    """Accuracy in [0, 1] and mean cross-entropy in nats over ``examples`` examples."""

    accuracy: float
    loss: float
    examples: int

    def as_dict(self) -> dict[str, float | int]:
        """JSON-ready."""
        return asdict(self)


@torch.no_grad()
def evaluate(model: torch.nn.Module, examples: Examples, batch_size: int, device: torch.device) -> Evaluation:
    """Accuracy and loss with dropout off; batches are made of texts of similar length, which saves padding only."""
    model.eval()
    order = np.argsort([len(row) for row in examples.fields["input_ids"]], kind="stable")
    right, loss = 0, 0.0
    for start in range(0, len(order), batch_size):
        inputs, labels = examples.batch(order[start : start + batch_size], device)
        with precision.arithmetic(model):
            logits = model(**inputs).logits.float()
        right += int((logits.argmax(dim=-1) == labels).sum())
        loss += float(torch.nn.functional.cross_entropy(logits.double(), labels, reduction="sum"))
    return Evaluation(right / len(order), loss / len(order), len(order))


def pooled(parts: list[Evaluation]) -> Evaluation:
    """The evaluation of several models on parts of one set of examples, every example counted once.

    Example:
        >>> pooled([Evaluation(1.0, 0.0, 1), Evaluation(0.0, 1.0, 3)])
        Evaluation(accuracy=0.25, loss=0.75, examples=4)
    """
    total = sum(part.examples for part in parts)
    return Evaluation(
        accuracy=sum(part.accuracy * part.examples for part in parts) / total,
        loss=sum(part.loss * part.examples for part in parts) / total,
        examples=total,
    )
