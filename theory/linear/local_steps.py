r"""Variants of Algorithm 2 that keep its fixed points or move them: K local steps, exact A-steps, sampling, weights.

In an A-round with K local gradient steps at a common b-bar, client i ends at

.. math::
    a_i = t_i a^* + W_i\,(a - t_i a^*), \qquad W_i = (I - f\eta\|\bar b\|^2 S_i)^K, \qquad
    t_i = \frac{b_i^{*T}\bar b}{\|\bar b\|^2},

which is one averaged gradient step at K = 1 and, if every S_i is invertible, alternating least squares as K grows.
Everything that the claims on these variants have in common stands here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array
from theory.linear.model import GradientFactor


def population_step(
    theta: Float[Array, "*shape"] | float,
    kappa: Float[Array, "..."] | float,
    local_steps: int,
    gradient_factor: GradientFactor,
) -> Float[Array, "*shape"] | float:
    r"""One iteration with K local steps at infinitely many samples,

    .. math::
        \tan\theta^+ = \tan\theta\,\frac{q\cos^2\theta}{1 - q\sin^2\theta}, \qquad q = (1 - f\kappa\cos^2\theta)^K.

    Args:
        theta: the angle between a and a*, in [0, pi/2).
        kappa: eta ||b*||^2 >= 0; a number, or an array that broadcasts against theta.

    Returns:
        The next angle in radians; negative where the step overshoots a*. The ratio tends to (1 - f kappa)^K.

    Example:
        >>> from theory.linear.bounds import population_step as one_step
        >>> bool(np.isclose(population_step(0.5, 0.3, 1, 2), one_step(0.5, 0.3, 2)))
        True

    Source: derived in the claim local-steps-rate.
    """
    cosine, sine = np.cos(theta) ** 2, np.sin(theta) ** 2
    left = (1 - gradient_factor * kappa * cosine) ** local_steps
    return np.arctan(np.tan(theta) * left * cosine / (1 - left * sine))


def drift_factor(local_steps: int, step: float) -> float:
    r"""The factor by which K local steps raise the floor under different heads, :math:`g = \frac{K x (1 - x)^{K-1}}{1 - (1 - x)^K}`.

    Args:
        step: x = f eta ||b-bar*||^2, in (0, 1].

    Returns:
        A number in [0, 1]: 1 at K = 1, decreasing in K, about y/(e^y - 1) with y = K x for small x.

    Example:
        >>> round(drift_factor(1, 0.3), 12), round(drift_factor(5, 0.3), 4)
        (1.0, 0.4329)

    Source: derived in the claim local-steps-drift.
    """
    rest = 1 - step
    return float(local_steps * step * rest ** (local_steps - 1) / (1 - rest**local_steps))


def local_steps_matrix(
    moments: Float[Array, "n d d"], a_star: Float[Array, "d"], step: float, local_steps: int
) -> Float[Array, "c c"]:
    r"""The derivative at a* of an iteration with K local steps on homogeneous fixed data, :math:`\bar W_{pp} - \bar W_{pa} l^T`.

    Here :math:`\bar W = \frac1N\sum_i (I - xS_i)^K`, :math:`l = \frac1N\sum_i S_{i,pa}/S_{i,aa}`, and the suffixes a, p stand for
    a* and its orthogonal space; at K = 1 it is ``bounds.local_matrix``.

    Args:
        step: x = f eta ||b*||^2.

    Returns:
        A (d-1, d-1) matrix; its spectral radius is the local ratio.

    Example:
        >>> local_steps_matrix(np.eye(3)[None], np.eye(3)[0], 0.5, 2)
        array([[0.25, 0.  ],
               [0.  , 0.25]])
    """
    basis = np.linalg.svd(a_star[:, None])[0][:, 1:]
    left = np.mean(np.linalg.matrix_power(np.eye(a_star.shape[0]) - step * moments, local_steps), axis=0)
    coupling = np.mean([s @ a_star / (a_star @ s @ a_star) for s in moments], axis=0)
    return basis.T @ (left - np.outer(left @ a_star, coupling)) @ basis


def least_squares_noise(noise: float, b_norm: float, dimension: int, num_clients: int, samples: int) -> float:
    r"""The floor of alternating least squares under label noise, :math:`\frac{\sigma^2}{\|b^*\|^2}\,\frac{d - 1}{N(m - d - 1)}`.

    Args:
        noise: sigma, of every entry of Y.
        b_norm: ||b-bar*||.
        samples: m > d + 1, of one client.

    Returns:
        The mean of delta^2 to first order in sigma^2. One gradient step a round has m in the place of m - d - 1, to
        first order in d/(N m).

    Example:
        >>> least_squares_noise(1.0, 1.0, 6, 5, 27)
        0.05

    Source: derived in the claim als-label-noise.
    """
    return noise**2 / b_norm**2 * (dimension - 1) / (num_clients * (samples - dimension - 1))


def participation_floor(heterogeneity: float, participants: int, num_clients: int) -> float:
    r"""The mean square of a sample's mean head about that of all clients, :math:`V\,\frac{N - n}{n (N - 1)}`.

    Args:
        heterogeneity: V, the mean of ||b_i* - b-bar*||^2.
        participants: n, drawn without replacement.
        num_clients: N > 1.

    Returns:
        A number >= 0, zero iff all take part or V = 0.

    Example:
        >>> participation_floor(1.0, 2, 5), participation_floor(1.0, 5, 5)
        (0.375, 0.0)
    """
    return heterogeneity * (num_clients - participants) / (participants * (num_clients - 1))


def weighted_noise(weights: Sequence[float], samples: Sequence[int]) -> float:
    r"""The variance of the averaged b-step's noise, :math:`\sum_i p_i^2/(m_i - 2)`, weights normalised here.

    Args:
        weights: positive numbers, p_i up to their sum.
        samples: m_i > 2.

    Returns:
        Least, :math:`1/\sum_i(m_i - 2)`, at weights proportional to m_i - 2.

    Example:
        >>> weighted_noise([1.0, 1.0], [12, 12]), weighted_noise([10.0, 30.0], [12, 32])
        (0.05, 0.025)
    """
    share = np.asarray(weights, dtype=float) / np.sum(weights)
    return float(np.sum(share**2 / (np.asarray(samples) - 2.0)))
