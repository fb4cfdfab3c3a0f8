"""FedEx-LoRA: FedAvg of both factors, and what it misses goes into the backbone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import array_api_compat

from rolora.adapter import Layer, smaller_form
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import side_by_side, weighted_mean


@dataclass(frozen=True)
class FedExLoRA(Algorithm):
    r"""Exact by a residual (Singhal et al., arXiv 2410.09432).

    .. math::
        A = \bar A, \quad B = \bar B, \qquad R \leftarrow R + \sum_i p_i A_i B_i - \bar A \bar B

    The residual is the interference of FedAvg-LoRA; its rank is at most (N + 1) r, and what travels down is that product
    or the dense matrix, whichever is smaller.

    Example:
        >>> import numpy as np
        >>> clients = [Layer(np.eye(2), np.eye(2)), Layer(-np.eye(2), -np.eye(2))]
        >>> FedExLoRA().aggregate(0, clients[0], clients, [0.5, 0.5]).update
        array([[1., 0.],
               [0., 1.]])
    """

    name = "fedex-lora"

    def changed(self, t: int) -> frozenset[str]:
        """Both factors and the residual."""
        return frozenset({"A", "B", "residual"})

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The means, and the interference in the residual."""
        xp = array_api_compat.array_namespace(server.A)
        a = weighted_mean([client.A for client in clients], weights)
        b = weighted_mean([client.B for client in clients], weights)
        left, right = side_by_side([*clients, Layer(a, b)], [*weights, -1.0])
        added = xp.astype(left @ right, server.A.dtype, copy=False)
        residual = added if server.residual is None else server.residual + added
        return Layer(a, b, residual, smaller_form(left, right))
