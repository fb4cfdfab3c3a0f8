"""SGD and AdamW on stacked parameters: torch's own update rules, with a learning rate for every client.

The rules are elementwise, so a stack of clients is stepped at once; a step count is kept for each tensor, as torch keeps
it, and advances only where the tensor had a gradient. ``tests/engine`` holds them against ``torch.optim`` step by step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float

from rolora.config import TrainingConfig

BETAS = (0.9, 0.999)
EPSILON = 1e-8


class StackedOptimizer:
    """One optimiser step for all clients of a stack."""

    def __init__(self, parts: Mapping[str, Sequence[torch.nn.Parameter]], training: Sequence[TrainingConfig]) -> None:
        """
        Args:
            parts: part ("A", "B", "head") -> parameters, (G, ...) each.
            training: the settings of the G clients; they may differ in their learning rates and in nothing else.
        """
        self.config = training[0]
        self.parameters = [parameter for chosen in parts.values() for parameter in chosen]
        self._rates: list[torch.Tensor] = []
        for part, chosen in parts.items():
            rates = [(c.learning_rate_a if part == "A" else None) or c.learning_rate for c in training]
            for parameter in chosen:
                shape = (len(rates),) + (1,) * (parameter.ndim - 1)
                self._rates.append(torch.tensor(rates, dtype=parameter.dtype).reshape(shape).to(parameter.device))
        self._steps = [0] * len(self.parameters)
        self._first: list[torch.Tensor | None] = [None] * len(self.parameters)
        self._second: list[torch.Tensor | None] = [None] * len(self.parameters)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def clip(self, largest: float) -> None:
        """Scale every client's gradients so that their common norm is at most ``largest``, as torch's clipping does."""
        found = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        squares = torch.stack([gradient.flatten(1).double().square().sum(dim=1) for gradient in found]).sum(dim=0)
        factor = (largest / (squares.sqrt() + 1e-6)).clamp(max=1.0)
        for gradient in found:
            gradient.mul_(factor.to(gradient.dtype).reshape((-1,) + (1,) * (gradient.ndim - 1)))

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for index, parameter in enumerate(self.parameters):
            if parameter.grad is None:
                continue
            self._steps[index] += 1
            if self.config.optimizer == "sgd":
                self._sgd(index, parameter, parameter.grad)
            else:
                self._adamw(index, parameter, parameter.grad)

    def _sgd(self, index: int, parameter: Float[torch.Tensor, "G ..."], gradient: Float[torch.Tensor, "G ..."]) -> None:
        if self.config.weight_decay:
            gradient = gradient.add(parameter, alpha=self.config.weight_decay)
        if self.config.momentum:
            last = self._first[index]
            self._first[index] = gradient.clone() if last is None else last.mul_(self.config.momentum).add_(gradient)
            gradient = self._first[index]
        parameter.sub_(self._rates[index] * gradient)

    def _adamw(
        self, index: int, parameter: Float[torch.Tensor, "G ..."], gradient: Float[torch.Tensor, "G ..."]
    ) -> None:
        if self._steps[index] == 1:
            self._first[index], self._second[index] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        first, second, rates = self._first[index], self._second[index], self._rates[index]
        if self.config.weight_decay:
            parameter.mul_(1 - rates * self.config.weight_decay)
        first.lerp_(gradient, 1 - BETAS[0])
        second.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
        corrections = [1 - beta ** self._steps[index] for beta in BETAS]
        parameter.sub_(rates / corrections[0] * first / (second.sqrt() / corrections[1] ** 0.5 + EPSILON))
