"""FlexLoRA: average the products, then return to rank r by a singular value decomposition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import array_api_compat
from jaxtyping import Float

from rolora.adapter import Array, Layer
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import side_by_side


@dataclass(frozen=True)
class FlexLoRA(Algorithm):
    r"""The best approximation of rank r to the mean update (Bai et al., arXiv 2402.11505).

    .. math::
        D = \sum_i p_i A_i B_i = \sum_j s_j u_j v_j^T, \qquad
        A = \big(\sqrt{s_1}\,u_1, \dots, \sqrt{s_r}\,u_r\big), \quad B = \big(\sqrt{s_1}\,v_1, \dots, \sqrt{s_r}\,v_r\big)^T

    It misses D by exactly the tail, :math:`\|D - A B\|_F^2 = \sum_{j > r} s_j^2`, and no A B of rank r misses it by less
    (Eckart and Young, Psychometrika 1 (1936) 211-218). Where the singular values go is part of the definition, because
    the next local steps depend on it: here their square roots go to both factors, so that neither is favoured.

    A client of rank r_i < r is sent the first r_i columns and rows, which is the best approximation of that rank. D has
    rank at most sum_i r_i, and is never formed where that is less than its sides: with the clients' factors side by
    side, D = L R, and two QR decompositions leave a small core to decompose.

    Example:
        >>> import numpy as np
        >>> clients = [Layer(np.array([[2.0], [0.0]]), np.array([[3.0, 0.0]])), Layer(np.eye(2)[:, 1:], np.eye(2)[1:])]
        >>> FlexLoRA().aggregate(0, clients[0], clients, [0.5, 0.5]).update.round(12) + 0.0  # of diag(3, 1/2)
        array([[3., 0.],
               [0., 0.]])
    """

    name = "flexlora"
    exactness = "tail"
    mixed_ranks = ""

    def broadcast(self, t: int, server: Layer, rank: int) -> Layer:
        """The leading directions, as many as the client's rank."""
        return Layer(A=server.A[..., :, :rank], B=server.B[..., :rank, :])

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The truncated decomposition of the mean update, at the server's rank."""
        xp = array_api_compat.array_namespace(server.A)
        dtype = server.A.dtype
        u, s, vt = _thin_svd(*side_by_side(clients, weights), server.rank)
        root = xp.sqrt(s)
        a, b = u * root[..., None, :], root[..., :, None] * vt
        return Layer(A=xp.astype(a, dtype, copy=False), B=xp.astype(b, dtype, copy=False))


def _thin_svd(
    left: Float[Array, "*batch d q"], right: Float[Array, "*batch q k"], rank: int
) -> tuple[Float[Array, "*batch d r"], Float[Array, "*batch r"], Float[Array, "*batch r k"]]:
    """The ``rank`` leading triplets of left @ right; zeros where it has fewer."""
    xp = array_api_compat.array_namespace(left)
    if left.shape[-1] >= min(left.shape[-2], right.shape[-1]):
        u, s, vt = xp.linalg.svd(left @ right, full_matrices=False)
    else:
        q_left, core_left = xp.linalg.qr(left)
        q_right, core_right = xp.linalg.qr(xp.matrix_transpose(right))
        u, s, vt = xp.linalg.svd(core_left @ xp.matrix_transpose(core_right), full_matrices=False)
        u, vt = q_left @ u, vt @ xp.matrix_transpose(q_right)
    u, s, vt = u[..., :, :rank], s[..., :rank], vt[..., :rank, :]
    short = rank - s.shape[-1]
    if short > 0:  # fewer directions than the rank: two clients of rank 1 at a server of rank 4

        def padded(array: Array, axis: int) -> Array:
            shape = list(array.shape)
            shape[axis] = short
            zeros = xp.zeros(tuple(shape), dtype=array.dtype, device=array_api_compat.device(array))
            return xp.concat([array, zeros], axis=axis)

        u, s, vt = padded(u, -1), padded(s, -1), padded(vt, -2)
    return u, s, vt
