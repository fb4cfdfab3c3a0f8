"""FedRot-LoRA: turn every client's factors towards the server's before averaging them apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import array_api_compat

from rolora.adapter import Layer
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import accumulator, weighted_mean
from rolora.errors import InputError

REASON = "averages the turned factors apart; their interference remains"


@dataclass(frozen=True)
class FedRotLoRA(Algorithm):
    r"""FedAvg of both factors after an orthogonal Procrustes alignment (Zhang et al., arXiv 2602.23638).

    .. math::
        R_i = \arg\min_{R^T R = I} \|A_i R - A^t\|_F = U V^T \;\text{ with }\; A_i^T A^t = U \Sigma V^T, \qquad
        \bar A = \sum_i p_i A_i R_i, \quad \bar B = \sum_i p_i R_i^T B_i

    A rotation leaves every client's update A_i B_i as it is, and brings its coordinates nearer to the server's, so the
    interference of what is averaged is smaller, not zero. The server turns what it receives: nothing else travels. The
    reference is the server's factor before the round, as in the authors' code; their softened rotations are left out.

    Args:
        reference: the factor that is aligned, "A" or "B" (zero before the first round, where nothing is turned).

    Example:
        >>> import numpy as np
        >>> swap = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> clients = [Layer(np.eye(2), np.eye(2)), Layer(swap, swap)]  # one update in two bases
        >>> FedRotLoRA().aggregate(0, clients[0], clients, [0.5, 0.5]).update
        array([[1., 0.],
               [0., 1.]])
    """

    name = "fedrot-lora"
    exactness = REASON
    exceptions: ClassVar = {3: REASON, 4: REASON, 6: "an alignment by rotations measures lengths in the basis at hand"}
    reference: str = "A"

    def __post_init__(self) -> None:
        """Refuse a factor that does not exist."""
        if self.reference not in ("A", "B"):
            raise InputError(f"reference: got {self.reference!r}, expected A or B")

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The means of the turned factors."""
        turned = [self._turned(server, client) for client in clients]
        return Layer(
            A=weighted_mean([client.A for client in turned], weights),
            B=weighted_mean([client.B for client in turned], weights),
        )

    def _turned(self, server: Layer, client: Layer) -> Layer:
        xp = array_api_compat.array_namespace(client.A)
        wide, dtype = accumulator(client.A), client.A.dtype
        a, b = xp.astype(client.A, wide, copy=False), xp.astype(client.B, wide, copy=False)
        if self.reference == "A":
            overlap = xp.matrix_transpose(a) @ xp.astype(server.A, wide, copy=False)
        else:
            overlap = b @ xp.matrix_transpose(xp.astype(server.B, wide, copy=False))
        if not bool(xp.any(overlap != 0)):
            return client
        u, _, vt = xp.linalg.svd(overlap, full_matrices=False)
        rotation = u @ vt
        turned_a, turned_b = a @ rotation, xp.matrix_transpose(rotation) @ b
        return Layer(xp.astype(turned_a, dtype, copy=False), xp.astype(turned_b, dtype, copy=False))
