"""FedAvg of both LoRA factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rolora.adapter import Layer
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import weighted_mean


@dataclass(frozen=True)
class FedAvgLoRA(Algorithm):
    r"""Average A and B separately (FedAvg applied to LoRA; called FedIT elsewhere).

    .. math::
        \bar A = \sum_i p_i A_i, \qquad \bar B = \sum_i p_i B_i

    The product misses the mean update by the interference term
    :math:`\sum_i p_i A_i B_i - \bar A \bar B = \sum_i p_i (A_i - \bar A)(B_i - \bar B)`
    (arXiv 2502.01755, equations 1 and 2).

    Example:
        >>> import numpy as np
        >>> clients = [Layer(np.eye(2), np.eye(2)), Layer(-np.eye(2), -np.eye(2))]
        >>> FedAvgLoRA().aggregate(0, clients[0], clients, [0.5, 0.5]).update  # the mean update is the identity
        array([[0., 0.], [0., 0.]])
    """

    name = "fedavg-lora"
    averages = True
    exactness = "interference"

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The mean of A beside the mean of B."""
        return Layer(
            A=weighted_mean([client.A for client in clients], weights),
            B=weighted_mean([client.B for client in clients], weights),
        )
