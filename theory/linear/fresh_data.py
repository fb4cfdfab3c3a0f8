"""Many instances of the rank-one model at once: truths, starts, data drawn anew in every iteration, and assumptions.

What a theorem assumes of the data is measured here on an ensemble, as ``theory.linear.assumptions`` does on one model.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array
from rolora.keys import Key
from theory.linear.ensemble import Ensemble, draw_moments, planted
from theory.linear.ensemble_rounds import alt_min_gd, subspace_distance
from theory.linear.model import GradientFactor


def unit_columns(key: Key, instances: int, dimension: int) -> Float[Array, "i d 1"]:
    """Directions drawn uniformly from the unit sphere of R^d, as columns.

    Args:
        instances: how many.

    Example:
        >>> np.linalg.norm(unit_columns(Key(0), 2, 5), axis=1).round(12).ravel()
        array([1., 1.])
    """
    columns = key.generator().standard_normal((instances, dimension, 1))
    return columns / np.linalg.norm(columns, axis=1, keepdims=True)


def starts_at(key: Key, a_star: Float[Array, "i d 1"], delta: float | Float[Array, "i 1 1"]) -> Float[Array, "i d 1"]:
    r"""One start an instance at a prescribed angle distance, :math:`\sqrt{1 - \delta_0^2}\, a^* + \delta_0\, p`.

    Args:
        key: the stream of p, uniform among the directions orthogonal to a*.
        delta: delta_0 in [0, 1], of all instances or of each.

    Example:
        >>> a_star = unit_columns(Key(0), 3, 4)
        >>> subspace_distance(starts_at(Key(1), a_star, 0.6), a_star).round(12)
        array([0.6, 0.6, 0.6])
    """
    p = key.generator().standard_normal(a_star.shape)
    for _ in range(2):  # once more for what the first projection leaves by rounding
        p = p - np.sum(p * a_star, axis=1, keepdims=True) * a_star
        p = p / np.linalg.norm(p, axis=1, keepdims=True)
    return np.sqrt(1 - np.square(delta)) * a_star + delta * p


def fresh(
    key: Key,
    num_clients: int,
    samples: int,
    a_star: Float[Array, "i d 1"],
    b_star: Float[Array, "#i #n 1 k"],
    gradient_factor: GradientFactor,
) -> Callable[[int], Ensemble]:
    """Data drawn anew in every iteration, with labels from the same truth.

    Args:
        samples: m, of a client and iteration.
        b_star: b_i*; axes of length 1 are common to all instances, or to all clients.

    Returns:
        iteration -> its ensemble, the same one at every call.

    Example:
        >>> data = fresh(Key(0), 2, 9, unit_columns(Key(1), 3, 4), np.ones((1, 1, 1, 1)), 2)
        >>> data(0).moments.shape, bool(np.array_equal(data(0).moments, data(1).moments))
        ((3, 2, 4, 4), False)
    """
    instances, dimension, _ = a_star.shape
    heads = np.broadcast_to(b_star, (instances, num_clients, *b_star.shape[-2:]))

    @lru_cache(maxsize=1)  # the two rounds of an iteration see the same data
    def draw(iteration: int) -> Ensemble:
        moments, _ = draw_moments(key.fold("iteration", iteration), instances, num_clients, samples, dimension)
        return planted(moments, a_star, heads, gradient_factor)

    return draw


def pooled_error(ensemble: Ensemble) -> Float[Array, "i"]:
    r"""The pooled data's distance from isotropy in every instance, :math:`e = \|\frac1N\sum_i S_i - I\|_{op}`.

    Example:
        >>> eye = np.eye(2)[None, None]
        >>> pooled_error(planted(1.5 * eye, eye[0, :, :, :1], np.ones((1, 1, 1, 1)), 2))
        array([0.5])
    """
    pooled = np.mean(ensemble.moments, axis=1)
    return np.linalg.norm(pooled - np.eye(pooled.shape[-1]), 2, axis=(-2, -1))


def mean_noise(ensemble: Ensemble, a: Float[Array, "i d 1"], a_star: Float[Array, "i d 1"]) -> Float[Array, "i"]:
    r"""The averaged b-step's noise, :math:`\bar\xi = \frac1N\sum_i (a^T S_i p)/(a^T S_i a)`, p = a* without its part along a.

    Args:
        a: unit vectors, none of them a* itself.

    Example:
        >>> a_star = unit_columns(Key(0), 1, 3)
        >>> model = planted(np.eye(3)[None, None], a_star, np.ones((1, 1, 1, 1)), 2)
        >>> mean_noise(model, unit_columns(Key(1), 1, 3), a_star).round(12) + 0.0
        array([0.])
    """
    p = a_star - np.sum(a * a_star, axis=1, keepdims=True) * a
    p = p / np.linalg.norm(p, axis=1, keepdims=True)
    projected = np.swapaxes(a, 1, 2)[:, None] @ ensemble.moments
    return np.mean((projected @ p[:, None]) / (projected @ a[:, None]), axis=(1, 2, 3))


def angle_path(
    data: Ensemble | Callable[[int], Ensemble],
    a0: Float[Array, "i d 1"],
    a_star: Float[Array, "i d 1"],
    eta: float | Float[Array, "i"],
    iterations: int,
) -> Float[Array, "i iterates"]:
    """The angle distances of Algorithm 2's iterates, the start's first.

    Args:
        data: one ensemble, or iteration -> ensemble.
        a0: the starts.

    Returns:
        T + 1 numbers an instance, absolute accuracy a few units of rounding.

    Example:
        >>> a_star = unit_columns(Key(0), 2, 3)
        >>> model = planted(np.broadcast_to(np.eye(3), (2, 1, 3, 3)), a_star, np.ones((2, 1, 1, 1)), 2)
        >>> angle_path(model, starts_at(Key(1), a_star, 1e-3), a_star, 0.25, 1).round(6)
        array([[0.001 , 0.0005],
               [0.001 , 0.0005]])
    """
    path = alt_min_gd(data, a0, eta, iterations).a
    return subspace_distance(path, np.broadcast_to(a_star[:, None], path.shape))
