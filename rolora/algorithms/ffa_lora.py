"""FFA-LoRA: the down-projection is frozen at its random start."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rolora.adapter import Layer
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import weighted_mean


@dataclass(frozen=True)
class FFALoRA(Algorithm):
    r"""Train and average B alone, with :math:`A^0` common and frozen for ever (arXiv 2403.12313).

    .. math::
        A^{t+1} = A^0, \qquad B^{t+1} = \sum_i p_i B_i

    Exact, because :math:`\sum_i p_i A^0 B_i = A^0 \sum_i p_i B_i`; but the update never leaves the column space of A^0.

    Example:
        >>> import numpy as np
        >>> server = Layer(np.array([[1.0], [0.0]]), np.zeros((1, 2)))
        >>> clients = [Layer(server.A, np.array([[1.0, 0.0]])), Layer(server.A, np.array([[0.0, 1.0]]))]
        >>> FFALoRA().aggregate(0, server, clients, [0.5, 0.5]).update
        array([[0.5, 0.5], [0. , 0. ]])
    """

    name = "ffa-lora"
    averages = True

    def trainable(self, t: int) -> frozenset[str]:
        """B, in every round."""
        return frozenset({"B"})

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The mean of B under the server's own A."""
        return Layer(A=server.A, B=weighted_mean([client.B for client in clients], weights))
