"""Aggregation primitives: weighted mean, robust means (trimmed mean, median), concatenated factors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import array_api_compat
from jaxtyping import Float

from rolora.adapter import Array, Layer


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


def trimmed_mean(arrays: Sequence[Float[Array, "*shape"]], fraction: float) -> Float[Array, "*shape"]:
    r"""Entry by entry, the mean of what is left when :math:`\lceil \beta n \rceil` values are cut at either end.

    While fewer clients than are cut send anything at all, however large, every entry lies within the range of the others'
    (Yin et al., arXiv 1803.01498). Every array counts once. At least one value is left of an odd number, two of an even
    one: with a fraction next to 1/2 this is the median.

    Args:
        arrays: X_i, all of one shape, dtype and device; finite.
        fraction: :math:`\beta`, from 0 to 1/2.

    Returns:
        An array of the same shape and dtype, to the bit the same in whatever order the arrays are given.

    Example:
        >>> import numpy as np
        >>> trimmed_mean([np.asarray([x]) for x in (1.0, 2.0, 3.0, 4.0, 1e6)], 0.2)
        array([3.])
    """
    count = len(arrays)
    # The tolerance: 0.1 of 30 is 3.0000000000000004 in floating point, and not more than 3.
    cut = min(math.ceil(fraction * count - 1e-9), (count - 1) // 2)
    xp = array_api_compat.array_namespace(*arrays)
    ordered = xp.sort(xp.stack(list(arrays)), axis=0)
    left = count - 2 * cut
    return weighted_mean([ordered[cut + index, ...] for index in range(left)], [1 / left] * left)


def median(arrays: Sequence[Float[Array, "*shape"]]) -> Float[Array, "*shape"]:
    """The middle value of every entry, or the mean of the two in the middle.

    Args:
        arrays: as those of :func:`trimmed_mean`.

    Example:
        >>> import numpy as np
        >>> median([np.asarray([x]) for x in (1.0, 1e6, 2.0)]), median([np.asarray([x]) for x in (1.0, 3.0)])
        (array([2.]), array([2.]))
    """
    return trimmed_mean(arrays, 0.5)


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
