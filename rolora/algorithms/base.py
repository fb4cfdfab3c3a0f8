"""What an algorithm is: three pure functions on one layer, a few declarations, and the mean that most share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import array_api_compat
from jaxtyping import Float

from rolora.adapter import FACTORS, Array, Layer
from rolora.keys import Key

BOTH = frozenset(FACTORS)
"""A and B."""


class Algorithm:
    """The three decisions in which federated LoRA methods differ; local training and the round loop are common.

    Rounds are numbered from 0. ``weights`` sum to one and follow the order of ``clients``. What stands here is the
    plainest case: both factors are trained, sent and averaged somehow, the server's layer is broadcast as it is, nothing
    is kept by anyone.
    """

    name: ClassVar[str]
    personal: ClassVar[frozenset[str]] = frozenset()
    """The factors that every client keeps to itself: trained from its own last state, never sent, never aggregated."""
    mixed_ranks: ClassVar[str] = "a mean of factors needs factors of one rank"
    """Why clients of different rank are refused; empty where they are defined."""
    restarts: ClassVar[bool] = False
    """Whether the adapter is drawn anew after every aggregation (``restart``)."""
    pooled: ClassVar[bool] = False
    """Whether one client holds the data of all: the centralised reference, not a federation."""
    exactness: ClassVar[str] = "exact"
    """How the result lies to the mean update D of what clients hold after training: "exact"; "interference", D less the
    mean of the products of deviations; "tail", the best approximation of D at the server's rank; or a sentence why not."""
    exceptions: ClassVar[Mapping[int, str]] = {}
    """Law (``rolora.conformance``) -> why it does not hold for this method, by its definition."""
    local_schedule: str = ""
    """Within a local update, which factor step j trains: the j-th letter, repeated; all trainable ones if empty."""

    def trainable(self, t: int) -> frozenset[str]:
        """The factors that clients train in round t."""
        return BOTH

    def sent(self, t: int) -> frozenset[str]:
        """The factors that clients send in round t: what they train, but for what is personal."""
        return self.trainable(t) - self.personal

    def changed(self, t: int) -> frozenset[str]:
        """The parts of the server's layer that round t's aggregation changes: of "A", "B" and "residual"."""
        return self.sent(t)

    def broadcast(self, t: int, server: Layer, rank: int) -> Layer:
        """The layer from which a client of this rank starts round t."""
        return replace(server, memory={})

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The server's layer after round t."""
        raise NotImplementedError

    def restart(self, t: int, layer: Layer, key: Key) -> Layer:
        """The layer with a new adapter, for methods that ``restart`` after every aggregation."""
        return layer


def weighted_mean(arrays: Sequence[Float[Array, "*shape"]], weights: Sequence[float]) -> Float[Array, "*shape"]:
    r"""The mean :math:`\sum_i p_i X_i` of arrays of one shape, in their own dtype.

    Sums of 16-bit floats are accumulated in float32 and rounded once, at the end.

    Args:
        arrays: X_i, all of one shape, dtype and device.
        weights: p_i, non-negative, summing to one.

    Returns:
        An array of the same shape and dtype; bit-identical to X_0 if there is one array of weight 1.

    Example:
        >>> import numpy as np
        >>> weighted_mean([np.zeros(2), np.ones(2)], [0.75, 0.25])
        array([0.25, 0.25])
    """
    xp = array_api_compat.array_namespace(*arrays)
    dtype = arrays[0].dtype
    wide = accumulator(arrays[0])
    total = weights[0] * xp.astype(arrays[0], wide, copy=False)
    for weight, array in zip(weights[1:], arrays[1:], strict=True):
        total = total + weight * xp.astype(array, wide, copy=False)
    return xp.astype(total, dtype, copy=False)


def accumulator(array: Array) -> object:
    """The dtype in which sums and decompositions of such arrays are computed: at least float32."""
    xp = array_api_compat.array_namespace(array)
    return xp.float32 if xp.finfo(array.dtype).bits < 32 else array.dtype


def side_by_side(
    clients: Sequence[Layer], weights: Sequence[float]
) -> tuple[Float[Array, "*batch d q"], Float[Array, "*batch q k"]]:
    r"""The factors of the mean update: :math:`(p_1 A_1, \dots, p_N A_N)` and the B_i below each other.

    Args:
        clients: layers of any ranks.
        weights: p_i.

    Returns:
        L and R with :math:`L R = \sum_i p_i A_i B_i`, q the sum of the ranks; at least float32.

    Example:
        >>> import numpy as np
        >>> left, right = side_by_side([Layer(np.eye(2), np.eye(2)), Layer(np.eye(2)[:, :1], np.ones((1, 2)))], [0.5, 0.5])
        >>> left @ right
        array([[1. , 0.5],
               [0. , 0.5]])
    """
    xp = array_api_compat.array_namespace(clients[0].A)
    wide = accumulator(clients[0].A)
    left = xp.concat([p * xp.astype(client.A, wide) for p, client in zip(weights, clients, strict=True)], axis=-1)
    return left, xp.concat([xp.astype(client.B, wide) for client in clients], axis=-2)
