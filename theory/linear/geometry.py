"""Directions in R^d: unit vectors, the angle distance, and starts at a prescribed angle."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array
from rolora.keys import Key


def normalise(a: Float[Array, "*batch d"]) -> Float[Array, "*batch d"]:
    r"""The retraction onto the unit sphere, :math:`a / \|a\|`.

    Args:
        a: a direction, not zero.

    Returns:
        Unit vectors of the same shape, to a few units of rounding.

    Raises:
        ValueError: a vector is zero or not finite, so it has no direction.

    Example:
        >>> normalise(np.array([3.0, 4.0]))
        array([0.6, 0.8])

    Source: the last step of Algorithm 2, arXiv 2502.01755v4 (as recalled; unverified).
    """
    length = np.linalg.norm(a, axis=-1, keepdims=True)
    if not np.all((length > 0) & np.isfinite(length)):
        raise ValueError(f"a vector of length {float(np.min(length))} has no direction")
    return a / length


def angle_distance(a: Float[Array, "*batch d"], a_star: Float[Array, "d"]) -> Float[Array, "*batch"]:
    r"""The angle distance :math:`|\sin\theta(a, a^*)| = \|(I - \hat a \hat a^T)\, a^*\|`, :math:`\hat a = a/\|a\|`.

    Args:
        a: any non-zero vectors; their lengths do not matter.
        a_star: the true down-projection, a unit vector.

    Returns:
        Numbers in [0, 1]; the error is a few units of rounding, absolute, so that tiny angles are resolved to 1e-16.

    Raises:
        ValueError: a vector is zero.

    Example:
        >>> float(angle_distance(np.array([0.0, 2.0]), np.array([1.0, 0.0])))
        1.0

    Source: arXiv 2502.01755v4, Definition 4.1.
    """
    unit = normalise(a)
    cosine = np.sum(unit * a_star, axis=-1, keepdims=True)
    return np.linalg.norm(a_star - cosine * unit, axis=-1)


def random_unit(key: Key, dimension: int) -> Float[Array, "d"]:
    """A direction drawn uniformly from the unit sphere of R^d.

    Args:
        dimension: d, at least 1.

    Example:
        >>> bool(np.isclose(np.linalg.norm(random_unit(Key(0), 5)), 1.0))
        True
    """
    return normalise(key.generator().standard_normal(dimension))


def orthogonal_unit(key: Key, a_star: Float[Array, "d"]) -> Float[Array, "d"]:
    """A direction drawn uniformly from the unit vectors orthogonal to ``a_star``.

    Args:
        a_star: a unit vector in at least two dimensions.

    Returns:
        A unit vector whose product with ``a_star`` is zero to rounding.

    Example:
        >>> a_star = random_unit(Key(0), 4)
        >>> bool(abs(orthogonal_unit(Key(1), a_star) @ a_star) < 1e-15)
        True
    """
    direction = random_unit(key, a_star.shape[0])
    # Projected twice: one projection leaves a component of the size of rounding over the length that remained.
    for _ in range(2):
        direction = normalise(direction - (direction @ a_star) * a_star)
    return direction


def start_at(key: Key, a_star: Float[Array, "d"], delta: float) -> Float[Array, "d"]:
    r"""A start at a prescribed angle distance, :math:`a^0 = \sqrt{1 - \delta_0^2}\, a^* + \delta_0\, p`.

    Args:
        key: the stream that p, a random direction orthogonal to a*, is drawn from.
        a_star: a unit vector.
        delta: delta_0 in [0, 1]; 1 is the saddle.

    Returns:
        A unit vector with a^T a* >= 0.

    Raises:
        ValueError: delta is outside [0, 1].

    Example:
        >>> a_star = random_unit(Key(0), 4)
        >>> round(float(angle_distance(start_at(Key(1), a_star, 0.6), a_star)), 12)
        0.6

    Source: the start of section 4.1, arXiv 2502.01755v4.
    """
    if not 0 <= delta <= 1:
        raise ValueError(f"an angle distance lies in [0, 1], not at {delta}")
    return normalise(np.sqrt(1 - delta**2) * a_star + delta * orthogonal_unit(key, a_star))
