"""LoRA-FAIR: FedAvg of both factors, then a correction of B towards the mean update."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import array_api_compat

from rolora.adapter import Layer
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import accumulator, side_by_side, weighted_mean


@dataclass(frozen=True)
class LoRAFair(Algorithm):
    r"""The mean of A stays, B is corrected by a regularised fit (Bian et al., arXiv 2411.14961).

    .. math::
        \Delta = \arg\min_X \|D - \bar A (\bar B + X)\|_F^2 + \lambda \|X\|_F^2
        = (\bar A^T \bar A + \lambda I)^{-1} \bar A^T (D - \bar A \bar B), \qquad B = \bar B + \Delta,
        \quad D = \sum_i p_i A_i B_i

    The paper compares the two products by a similarity that it leaves open; here it is the squared Frobenius distance,
    whose minimiser is closed. The part of the interference that lies outside the columns of A-bar remains.

    Args:
        penalty: lambda > 0, in units of A's squares.

    Example:
        >>> import numpy as np
        >>> clients = [Layer(np.eye(2), np.eye(2)), Layer(np.eye(2), 3 * np.eye(2))]
        >>> LoRAFair().aggregate(0, clients[0], clients, [0.5, 0.5]).update  # A common: FedAvg is exact already
        array([[2., 0.],
               [0., 2.]])
    """

    name = "lora-fair"
    exactness = "keeps the interference outside the columns of the mean A"
    exceptions: ClassVar = {
        3: "the interference outside the columns of the mean A remains",
        4: "the interference outside the columns of the mean A remains",
        6: "the penalty measures B in the basis at hand",
    }
    penalty: float = 0.01

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The mean of A, and the corrected mean of B."""
        xp = array_api_compat.array_namespace(server.A)
        wide = accumulator(server.A)
        a = weighted_mean([xp.astype(client.A, wide, copy=False) for client in clients], weights)
        b = weighted_mean([xp.astype(client.B, wide, copy=False) for client in clients], weights)
        left, right = side_by_side([*clients, Layer(a, b)], [*weights, -1.0])
        rows = xp.matrix_transpose(a)
        eye = xp.eye(a.shape[-1], dtype=a.dtype, device=array_api_compat.device(a))
        correction = xp.linalg.solve(rows @ a + self.penalty * eye, (rows @ left) @ right)
        dtype = server.A.dtype
        return Layer(xp.astype(a, dtype, copy=False), xp.astype(b + correction, dtype, copy=False))
