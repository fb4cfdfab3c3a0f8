"""The aggregated model, measured on held-out text."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import torch

from rolora import precision
from rolora.local_training import Examples, HiddenStates, pad, skipping


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
def evaluate(
    model: torch.nn.Module,
    examples: Examples,
    batch_size: int,
    device: torch.device,
    indices: np.ndarray | None = None,
    prefix: HiddenStates | None = None,
) -> Evaluation:
    """Accuracy and loss with dropout off; batches are made of texts of similar length, which saves padding only.

    Args:
        model: gives logits, (batch, labels).
        examples: labelled text.
        batch_size: examples at a time.
        device: where the model is.
        indices: which of the examples; all if None.
        prefix: their hidden states below the lowest adapted layer, if they are kept.

    Returns:
        The mean over these examples.
    """
    model.eval()
    order = by_length(examples, indices)
    right, loss = 0, 0.0
    with skipping(prefix):
        for start in range(0, len(order), batch_size):
            texts = [(examples, int(index)) for index in order[start : start + batch_size]]
            inputs, labels = pad(texts, device)
            if prefix is not None:
                prefix.next_batch(texts, inputs["input_ids"].shape[1])
            with precision.arithmetic(model):
                logits = model(**inputs).logits.float()
            right += int((logits.argmax(dim=-1) == labels).sum())
            loss += float(torch.nn.functional.cross_entropy(logits.double(), labels, reduction="sum"))
    return Evaluation(right / len(order), loss / len(order), len(order))


def by_length(examples: Examples, indices: np.ndarray | None = None) -> np.ndarray:
    """The indices of examples, all of them if None, from the shortest to the longest."""
    chosen = np.arange(len(examples)) if indices is None else indices
    return chosen[np.argsort([len(examples.fields["input_ids"][index]) for index in chosen], kind="stable")]


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
