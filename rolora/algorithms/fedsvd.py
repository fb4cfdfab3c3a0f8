"""FedSVD: train B under a common A, then turn the product into an orthonormal A and a new B."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import array_api_compat

from rolora.adapter import Layer
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import accumulator, weighted_mean


@dataclass(frozen=True)
class FedSVD(Algorithm):
    r"""FFA-LoRA whose A follows the data (Lee et al., arXiv 2505.12805).

    .. math::
        A^t \bar B = U \Sigma V^T, \qquad A^{t+1} = U, \quad B^{t+1} = \Sigma V^T

    Clients train and send B alone, so the mean is exact, and the decomposition of a product of rank r loses nothing: the
    update is that of FFA-LoRA, with orthonormal columns in A. Both factors travel down.

    Example:
        >>> import numpy as np
        >>> server = Layer(np.array([[3.0], [4.0]]), np.zeros((1, 2)))
        >>> layer = FedSVD().aggregate(0, server, [Layer(server.A, np.array([[1.0, 0.0]]))], [1.0])
        >>> layer.update
        array([[3., 0.],
               [4., 0.]])
        >>> float(np.linalg.norm(layer.A).round(12))
        1.0
    """

    name = "fedsvd"
    exceptions: ClassVar = {5: "the server turns A and B together after every round"}

    def trainable(self, t: int) -> frozenset[str]:
        """B, in every round."""
        return frozenset({"B"})

    def changed(self, t: int) -> frozenset[str]:
        """The server changes both."""
        return frozenset({"A", "B"})

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The mean of B, and the decomposition of its product with A."""
        xp = array_api_compat.array_namespace(server.A)
        wide, dtype = accumulator(server.A), server.A.dtype
        b = weighted_mean([xp.astype(client.B, wide, copy=False) for client in clients], weights)
        q, r = xp.linalg.qr(xp.astype(server.A, wide, copy=False))
        u, s, vt = xp.linalg.svd(r @ b, full_matrices=False)
        return Layer(xp.astype(q @ u, dtype, copy=False), xp.astype(s[..., :, None] * vt, dtype, copy=False))
