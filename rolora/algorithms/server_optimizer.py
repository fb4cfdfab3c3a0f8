"""An optimiser at the server, around any method that averages factors: FedAvgM and FedAdam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import array_api_compat

from rolora.adapter import FACTORS, Layer
from rolora.algorithms.base import AVERAGING, WrappedAlgorithm
from rolora.errors import InputError


@dataclass(frozen=True)
class ServerOptimizer(WrappedAlgorithm):
    r"""Take the method's aggregate as a step, and its step as a gradient (Hsu et al. 1909.06335; Reddi et al. 2003.00295).

    With :math:`\Delta = \bar X - X^t` for a factor X that the round has trained,

    .. math::
        \text{momentum}: \quad m \leftarrow \beta_1 m + \Delta, \quad X^{t+1} = X^t + \eta\, m \\
        \text{adam}: \quad m \leftarrow \beta_1 m + (1 - \beta_1)\Delta, \quad v \leftarrow \beta_2 v + (1 - \beta_2)\Delta^2,
        \quad X^{t+1} = X^t + \eta\, m / (\sqrt v + \epsilon)

    A factor's memory changes only in rounds that train it. With momentum 0 and rate 1 this is the method itself.

    Example:
        >>> import numpy as np
        >>> from rolora.algorithms.fedavg_lora import FedAvgLoRA
        >>> client = Layer(np.ones((2, 1)), np.ones((1, 2)))
        >>> server = Layer(np.zeros((2, 1)), np.zeros((1, 2)))
        >>> method = ServerOptimizer(FedAvgLoRA(), "momentum", 1.0, 0.5, 0.0, 1.0)
        >>> once = method.aggregate(0, server, [client], [1.0])
        >>> method.aggregate(1, once, [once], [1.0]).B  # nothing new, but the momentum goes on
        array([[1.5, 1.5]])
    """

    optimizer: str
    learning_rate: float
    momentum: float
    second_moment: float
    epsilon: float

    def __post_init__(self) -> None:
        """Refuse methods without lasting factors."""
        if self.inner.name not in AVERAGING:
            raise InputError(
                f"server.optimizer is {self.optimizer!r}, expected none with {self.inner.name}: "
                f"its factors change their basis or never leave the clients; methods that allow one are {', '.join(AVERAGING)}"
            )

    @property
    def averages(self) -> bool:  # type: ignore[override]
        return self.inner.averages

    def mean(self, arrays: Sequence[Any], weights: Sequence[float]) -> Any:
        """Return the wrapped method's mean: the head has no memory."""
        return self.inner.mean(arrays, weights)

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """Take the wrapped method's aggregate as a step."""
        target = self.inner.aggregate(t, server, clients, weights)
        memory, moved = dict(server.memory), {}
        for factor in sorted(set(FACTORS) & self.inner.changed(t)):
            start = getattr(server, factor)
            moved[factor] = start + self.learning_rate * self._direction(
                getattr(target, factor) - start, factor, memory
            )
        return replace(server, memory=memory, **moved)

    def _direction(self, step: Any, factor: str, memory: dict[str, Any]) -> Any:
        xp = array_api_compat.array_namespace(step)
        first = memory.get(f"first moment of {factor}", xp.zeros_like(step))
        if self.optimizer == "momentum":
            memory[f"first moment of {factor}"] = first = self.momentum * first + step
            return first
        second = memory.get(f"second moment of {factor}", xp.zeros_like(step))
        memory[f"first moment of {factor}"] = first = self.momentum * first + (1 - self.momentum) * step
        memory[f"second moment of {factor}"] = second = self.second_moment * second + (1 - self.second_moment) * step**2
        return first / (xp.sqrt(second) + self.epsilon)
