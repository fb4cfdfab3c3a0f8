r"""Objectives of local training and evaluation: classification, regression, generation.

Every row of a batch has a sum of losses and a number of terms; the loss of a batch is the sum over all its rows divided by
the number of all their terms:

* classification: the cross-entropy of the row's label, in nats; one term a row;
* regression: the squared error of the model's one output; one term a row;
* generation: :math:`-\log p(\text{token} \mid \text{all before it})` of the response's tokens, in nats; one term a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch.nn import functional

IGNORED = -100
"""The target of a token that is not learned: the prompt's, and padding."""


@runtime_checkable
class Objective(Protocol):
    """One kind of target. ``name`` is the config's ``data.task``."""

    name: str

    def targets(self, labels: Sequence[Any], tokens: int) -> torch.Tensor:
        """The labels of a batch's rows as a tensor; ``tokens`` is what the rows are padded to."""
        ...

    def mean(self, logits: torch.Tensor, targets: torch.Tensor) -> Float[torch.Tensor, ""]:
        """The loss of a batch."""
        ...

    def rows(
        self, logits: torch.Tensor, targets: torch.Tensor
    ) -> tuple[Float[torch.Tensor, "rows"], Int[torch.Tensor, "rows"]]:
        """The sum of losses of every row, and how many terms it has."""
        ...

    def total(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[Float[torch.Tensor, ""], int]:
        """The sum of losses of all rows, and how many terms they have."""
        ...

    def predictions(self, logits: torch.Tensor) -> torch.Tensor | None:
        """Return the predictions that metrics compare with the labels, one a row; None where only the loss is a metric."""
        ...


def exact(logits: torch.Tensor) -> torch.Tensor:
    """Losses are computed in float32 at least."""
    return logits if logits.dtype == torch.float64 else logits.float()


def widened(logits: torch.Tensor) -> torch.Tensor:
    """Logits to be measured, in float64; those over a vocabulary stay as they are, and only what counts is widened."""
    return logits.double() if logits.ndim == 2 else logits


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, reduction: str = "mean") -> torch.Tensor:
    """The cross-entropy in nats."""
    return functional.cross_entropy(exact(logits), labels, reduction=reduction)


def totalled(
    rows: tuple[Float[torch.Tensor, "rows"], Int[torch.Tensor, "rows"]],
) -> tuple[Float[torch.Tensor, ""], int]:
    """All rows' sums, added in float64, and their terms."""
    sums, terms = rows
    return sums.double().sum(), int(terms.sum())


class Classification:
    """Logits (rows, labels); labels are integers from 0."""

    name = "classification"

    def targets(self, labels: Sequence[Any], tokens: int) -> Int[torch.Tensor, "rows"]:
        """(rows,) integers."""
        return torch.from_numpy(np.array(labels, dtype=np.int64))

    def mean(self, logits: torch.Tensor, targets: torch.Tensor) -> Float[torch.Tensor, ""]:
        """The mean cross-entropy."""
        return cross_entropy(logits, targets)

    def rows(
        self, logits: torch.Tensor, targets: torch.Tensor
    ) -> tuple[Float[torch.Tensor, "rows"], Int[torch.Tensor, "rows"]]:
        """Every row's cross-entropy."""
        return cross_entropy(logits, targets, reduction="none"), torch.ones_like(targets)

    def total(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[Float[torch.Tensor, ""], int]:
        """Summed by the library, whose order of addition committed records have in their last digits."""
        return cross_entropy(logits, targets, reduction="sum"), len(targets)

    def predictions(self, logits: torch.Tensor) -> Int[torch.Tensor, "rows"]:
        """The likeliest label."""
        return logits.argmax(dim=-1)


class Regression:
    """Logits (rows, 1); labels are numbers."""

    name = "regression"

    def targets(self, labels: Sequence[Any], tokens: int) -> Float[torch.Tensor, "rows"]:
        """(rows,) in float64, which a loss takes into its own precision."""
        return torch.from_numpy(np.array(labels, dtype=np.float64))

    def mean(self, logits: torch.Tensor, targets: torch.Tensor) -> Float[torch.Tensor, ""]:
        """The mean squared error."""
        return self.rows(logits, targets)[0].mean()

    def rows(
        self, logits: torch.Tensor, targets: torch.Tensor
    ) -> tuple[Float[torch.Tensor, "rows"], Int[torch.Tensor, "rows"]]:
        """Every row's squared error."""
        found = exact(logits).squeeze(-1)
        return (found - targets.to(found.dtype)).square(), torch.ones_like(targets, dtype=torch.int64)

    def total(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[Float[torch.Tensor, ""], int]:
        """The sum over the rows, in float64."""
        return totalled(self.rows(logits, targets))

    def predictions(self, logits: torch.Tensor) -> Float[torch.Tensor, "rows"]:
        """The output itself."""
        return logits.squeeze(-1)


class Generation:
    """Logits (rows, tokens, vocabulary); a row's labels are its token ids, ``IGNORED`` where nothing is learned.

    The logits at a position are of the next token, so targets are shifted by one against them.
    """

    name = "generation"

    def targets(self, labels: Sequence[Any], tokens: int) -> Int[torch.Tensor, "rows {tokens}"]:
        """(rows, tokens), ``IGNORED`` at the padding."""
        padded = np.full((len(labels), tokens), IGNORED, dtype=np.int64)
        for row, values in enumerate(labels):
            padded[row, : len(values)] = values
        return torch.from_numpy(padded)

    def mean(self, logits: torch.Tensor, targets: torch.Tensor) -> Float[torch.Tensor, ""]:
        """The mean over all response tokens of the batch."""
        sums, terms = self.rows(logits, targets)
        return sums.sum() / terms.sum()

    def rows(
        self, logits: torch.Tensor, targets: torch.Tensor
    ) -> tuple[Float[torch.Tensor, "rows"], Int[torch.Tensor, "rows"]]:
        """Every row's sum over its response tokens. Only their logits are taken into float32: they are few, and wide."""
        following = targets[:, 1:]
        learned = following != IGNORED
        each = cross_entropy(logits[:, :-1][learned], following[learned], reduction="none")
        placed = each.new_zeros(learned.shape).masked_scatter(learned, each)
        return placed.sum(dim=1), learned.sum(dim=1)

    def total(self, logits: torch.Tensor, targets: torch.Tensor) -> tuple[Float[torch.Tensor, ""], int]:
        """The sum over the rows, in float64."""
        return totalled(self.rows(logits, targets))

    def predictions(self, logits: torch.Tensor) -> None:
        """None: answers are generated and read elsewhere (``rolora.evaluation.benchmarks``)."""
        return None


OBJECTIVES: dict[str, Objective] = {each.name: each for each in (Classification(), Regression(), Generation())}
"""``data.task`` -> objective."""
