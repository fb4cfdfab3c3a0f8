"""FlexLoRA: average the products, then return to rank r by a singular value decomposition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import array_api_compat
from jaxtyping import Float

from rolora.adapter import Array, Layer


@dataclass(frozen=True)
class FlexLoRA:
    r"""The best approximation of rank r to the mean update (Bai et al., arXiv 2402.11505).

    .. math::
        D = \sum_i p_i A_i B_i = \sum_j s_j u_j v_j^T, \qquad
        A = \big(\sqrt{s_1}\,u_1, \dots, \sqrt{s_r}\,u_r\big), \quad B = \big(\sqrt{s_1}\,v_1, \dots, \sqrt{s_r}\,v_r\big)^T

    It misses D by exactly the tail, :math:`\|D - A B\|_F^2 = \sum_{j > r} s_j^2`, and no A B of rank r misses it by less
    (Eckart and Young, Psychometrika 1 (1936) 211-218). Where the singular values go is part of the definition, because
    the next local steps depend on it: here their square roots go to both factors, so that neither is favoured.

    D has rank at most sum_i r_i, and is never formed where that is less than its sides: with the clients' factors side
    by side, D = L R, and two QR decompositions leave a small core to decompose.

    Example:
        >>> import numpy as np
        >>> clients = [Layer(np.array([[2.0], [0.0]]), np.array([[3.0, 0.0]])), Layer(np.eye(2)[:, 1:], np.eye(2)[1:])]
        >>> FlexLoRA().aggregate(0, clients[0], clients, [0.5, 0.5]).update.round(12) + 0.0  # of diag(3, 1/2)
        array([[3., 0.],
               [0., 0.]])
    """

    name = "flexlora"

    def trainable(self, t: int) -> frozenset[str]:
        """Both factors, in every round."""
        return frozenset({"A", "B"})

    def broadcast(self, t: int, server: Layer, rank: int) -> Layer:
        """The server's layer as it is."""
        return server

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The truncated decomposition of the mean update, at the server's rank."""
        xp = array_api_compat.array_namespace(server.A)
        dtype = server.A.dtype
        wide = xp.float32 if xp.finfo(dtype).bits < 32 else dtype
        left = xp.concat([p * xp.astype(client.A, wide) for p, client in zip(weights, clients, strict=True)], axis=-1)
        right = xp.concat([xp.astype(client.B, wide) for client in clients], axis=-2)
        u, s, vt = _thin_svd(left, right)
        root = xp.sqrt(s[..., : server.rank])
        a, b = u[..., :, : server.rank] * root[..., None, :], root[..., :, None] * vt[..., : server.rank, :]
        return Layer(A=xp.astype(a, dtype, copy=False), B=xp.astype(b, dtype, copy=False))


def _thin_svd(
    left: Float[Array, "*batch d q"], right: Float[Array, "*batch q k"]
) -> tuple[Float[Array, "*batch d s"], Float[Array, "*batch s"], Float[Array, "*batch s k"]]:
    """The singular value decomposition of left @ right."""
    xp = array_api_compat.array_namespace(left)
    if left.shape[-1] >= min(left.shape[-2], right.shape[-1]):
        return xp.linalg.svd(left @ right, full_matrices=False)
    q_left, core_left = xp.linalg.qr(left)
    q_right, core_right = xp.linalg.qr(xp.matrix_transpose(right))
    u, s, vt = xp.linalg.svd(core_left @ xp.matrix_transpose(core_right), full_matrices=False)
    return q_left @ u, s, vt @ xp.matrix_transpose(q_right)
