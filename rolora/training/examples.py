"""Tokenised examples: select, sort by length, pad to a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from rolora.training.objectives import IGNORED, OBJECTIVES, Objective


@dataclass(frozen=True)
class Examples:
    """Tokenised examples with labels, task and metrics.

    ``fields`` holds token ids and segment ids by example; ``labels`` are (n,) numbers, or for generation one target a token.
    ``texts_in_row`` is the number of texts that each example is packed from, None without packing.
    """

    fields: dict[str, Sequence[Sequence[int]]]
    labels: np.ndarray | Sequence[Sequence[int]]
    pad: dict[str, int]
    task: str = "classification"
    metrics: tuple[str, ...] = ("accuracy",)
    texts_in_row: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def objective(self) -> Objective:
        """The training objective of the task."""
        return OBJECTIVES[self.task]

    def select(self, indices: np.ndarray) -> Examples:
        """Return these examples, in the order given."""
        fields = {name: [rows[index] for index in indices] for name, rows in self.fields.items()}
        chosen = [self.labels[index] for index in indices]
        labels = np.array(chosen, dtype=self.labels.dtype) if isinstance(self.labels, np.ndarray) else chosen
        texts = None if self.texts_in_row is None else self.texts_in_row[indices]
        return replace(self, fields=fields, labels=labels, texts_in_row=texts)

    def texts(self, indices: np.ndarray) -> int:
        """Return the number of texts in these examples."""
        return len(indices) if self.texts_in_row is None else int(self.texts_in_row[indices].sum())

    def terms(self, indices: np.ndarray) -> int:
        """Return the number of terms that the loss of these examples is a mean of."""
        if self.task != "generation":
            return len(indices)
        return sum(sum(target != IGNORED for target in self.labels[index][1:]) for index in indices)

    def longest(self, indices: np.ndarray) -> int:
        """Return the token count of the longest of these examples."""
        return max(len(self.fields["input_ids"][index]) for index in indices)

    def batch(self, indices: np.ndarray, device: torch.device) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return model inputs, padded to the longest of these examples, and labels."""
        return pad([(self, int(index)) for index in indices], device)


def pad(texts: Sequence[tuple[Examples, int]], device: torch.device) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return model inputs, (rows, tokens) each, and targets of examples given as (source, index).

    Padded at the end to the longest of them, whatever side the tokenizer prefers: a text's positions, and so its logits,
    then do not depend on the texts beside it.
    """
    first = texts[0][0]
    longest = max(len(source.fields["input_ids"][index]) for source, index in texts)
    inputs = {}
    for name in first.fields:
        padded = np.full((len(texts), longest), first.pad[name], dtype=np.int64)
        for row, (source, index) in enumerate(texts):
            values = source.fields[name][index]
            padded[row, : len(values)] = values
        inputs[name] = torch.from_numpy(padded).to(device)
    targets = first.objective.targets([source.labels[index] for source, index in texts], longest)
    return inputs, targets.to(device)


def by_length(examples: Examples, indices: np.ndarray | None = None) -> np.ndarray:
    """Return the indices (all if None), from the shortest example to the longest."""
    chosen = np.arange(len(examples)) if indices is None else indices
    return chosen[np.argsort([len(examples.fields["input_ids"][index]) for index in chosen], kind="stable")]
