"""FLoRA: stack the clients' factors, merge the stack into the backbone, begin with new adapters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import array_api_compat

from rolora.adapter import Layer, first_down_projection, smaller_form
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import side_by_side
from rolora.keys import Key


@dataclass(frozen=True)
class FLoRA(Algorithm):
    r"""Stacking is exact at any ranks (Wang et al., arXiv 2409.05976).

    .. math::
        R \leftarrow R + (p_1 A_1, \dots, p_N A_N) \begin{pmatrix} B_1 \\ \vdots \\ B_N \end{pmatrix}
        = R + \sum_i p_i A_i B_i, \qquad A \leftarrow \text{a new draw}, \quad B \leftarrow 0

    The scale of the stack is the clients' own, alpha / r of one adapter and not of the stacked rank: scale is not part of
    a layer here, and the residual crosses into PEFT with the same scale as A B. What travels down is the stack, so it
    grows with the number of clients; the new adapter is drawn from a stream that everyone can name, and costs nothing.

    Example:
        >>> import numpy as np
        >>> clients = [Layer(np.eye(2), np.eye(2)), Layer(np.eye(2)[:, :1], np.array([[0.0, 4.0]]))]
        >>> layer = FLoRA().aggregate(0, clients[0], clients, [0.5, 0.5])
        >>> layer.update
        array([[0.5, 2. ],
               [0. , 0.5]])
        >>> layer.B
        array([[0., 0.], [0., 0.]])
    """

    name = "flora"
    mixed_ranks = ""
    restarts = True

    def changed(self, t: int) -> frozenset[str]:
        """The residual alone is sent: A and B are drawn anew by everyone."""
        return frozenset({"residual"})

    def broadcast(self, t: int, server: Layer, rank: int) -> Layer:
        """The first columns and rows of the new adapter, as many as the client's rank."""
        return replace(server, A=server.A[..., :, :rank], B=server.B[..., :rank, :], memory={})

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The stack in the residual; A stays until ``restart`` draws it, B is zero."""
        xp = array_api_compat.array_namespace(server.A)
        left, right = side_by_side(clients, weights)
        added = xp.astype(left @ right, server.A.dtype, copy=False)
        residual = added if server.residual is None else server.residual + added
        return Layer(server.A, xp.zeros_like(server.B), residual, smaller_form(left, right))

    def restart(self, t: int, layer: Layer, key: Key) -> Layer:
        """A new A^0 from the layer's stream of this round."""
        xp = array_api_compat.array_namespace(layer.A)
        draw = first_down_projection(key, layer.A.shape[-2], layer.rank)
        a = xp.asarray(draw, device=array_api_compat.device(layer.A))
        return replace(layer, A=xp.astype(a, layer.A.dtype, copy=False))
