"""HetLoRA: clients of different rank, padded with zeros and weighted by the size of their updates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import array_api_compat
from jaxtyping import Float

from rolora.adapter import Array, Layer
from rolora.algorithms.base import Algorithm
from rolora.algorithms.means import accumulator, weighted_mean


@dataclass(frozen=True)
class HetLoRA(Algorithm):
    r"""Truncate on the way down, pad on the way up (Cho et al., arXiv 2401.06432).

    .. math::
        \bar A = \sum_i w_i (A_i \;\, 0), \qquad \bar B = \sum_i w_i \begin{pmatrix} B_i \\ 0 \end{pmatrix}, \qquad
        w_i \propto p_i \|A_i B_i\|_F

    The factors are averaged apart, so the interference of FedAvg-LoRA remains. The paper's pruning of ranks during local
    training is not part of this: a client keeps its rank. Where all updates are zero, the weights are the p_i.

    Example:
        >>> import numpy as np
        >>> clients = [Layer(np.eye(2), np.eye(2)), Layer(np.eye(2)[:, :1], np.sqrt(2) * np.eye(2)[:1])]
        >>> HetLoRA().aggregate(0, clients[0], clients, [0.5, 0.5]).A
        array([[1. , 0. ],
               [0. , 0.5]])
    """

    name = "hetlora"
    exactness = "weighs clients by the size of their updates"
    exceptions: ClassVar = {
        3: "clients are weighed by the size of their updates",
        4: "clients are weighed by the size of their updates",
    }
    mixed_ranks = ""

    def broadcast(self, t: int, server: Layer, rank: int) -> Layer:
        """The first columns and rows, as many as the client's rank."""
        return Layer(A=server.A[..., :, :rank], B=server.B[..., :rank, :])

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The means of the padded factors."""
        sizes = [p * _size(client) for p, client in zip(weights, clients, strict=True)]
        shares = [size / sum(sizes) for size in sizes] if sum(sizes) > 0 else list(weights)
        a = weighted_mean([_padded(client.A, -1, server.rank) for client in clients], shares)
        b = weighted_mean([_padded(client.B, -2, server.rank) for client in clients], shares)
        return Layer(a, b)


def _size(layer: Layer) -> float:
    """||A B||_F, from the r x r Gram matrices."""
    xp = array_api_compat.array_namespace(layer.A)
    wide = accumulator(layer.A)
    a, b = xp.astype(layer.A, wide, copy=False), xp.astype(layer.B, wide, copy=False)
    square = xp.sum((xp.matrix_transpose(a) @ a) * (b @ xp.matrix_transpose(b)))
    return float(xp.sqrt(xp.maximum(square, xp.zeros_like(square))))


def _padded(factor: Float[Array, "*shape"], axis: int, rank: int) -> Float[Array, "*padded"]:
    xp = array_api_compat.array_namespace(factor)
    shape = list(factor.shape)
    shape[axis] = rank - shape[axis]
    zeros = xp.zeros(tuple(shape), dtype=factor.dtype, device=array_api_compat.device(factor))
    return xp.concat([factor, zeros], axis=axis)
