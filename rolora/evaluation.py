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
