"""What an algorithm is: three pure functions on one layer, and the mean they share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import array_api_compat
from jaxtyping import Float

from rolora.adapter import Array, Layer


@runtime_checkable
class Algorithm(Protocol):
    """The three decisions in which federated LoRA methods differ; local training and the round loop are common.

    Rounds are numbered from 0. ``weights`` sum to one and follow the order of ``clients``.
    """

    name: str

    def trainable(self, t: int) -> frozenset[str]:
        """The factors ("A", "B") that clients train and send in round t."""
        ...

    def broadcast(self, t: int, server: Layer, rank: int) -> Layer:
        """The layer from which a client of this rank starts round t."""
        ...

    def aggregate(self, t: int, server: Layer, clients: Sequence[Layer], weights: Sequence[float]) -> Layer:
        """The server's layer after round t."""
        ...


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
    wide = xp.float32 if xp.finfo(dtype).bits < 32 else dtype
    total = weights[0] * xp.astype(arrays[0], wide, copy=False)
    for weight, array in zip(weights[1:], arrays[1:], strict=True):
        total = total + weight * xp.astype(array, wide, copy=False)
    return xp.astype(total, dtype, copy=False)
