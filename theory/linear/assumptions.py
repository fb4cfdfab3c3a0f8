"""Assumptions of the theorems, measured on one instance."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array
from theory.linear.geometry import angle_distance
from theory.linear.model import LinearModel


def kappa(model: LinearModel, eta: float) -> float:
    r"""The dimensionless step size :math:`\kappa = \eta\, \|\bar b^*\|^2`; the gradient factor is not in it.

    Example:
        >>> from theory.linear.model import population
        >>> kappa(population(1, np.array([1.0, 0.0]), np.array([2.0]), 2), 0.25)
        1.0
    """
    return eta * float(model.b_mean @ model.b_mean)


def overlap(model: LinearModel, a0: Float[Array, "d"]) -> float:
    r"""The start's overlap :math:`c_0 = 1 - \delta_0^2 = (a^{0T} a^*)^2`, which must be positive."""
    return 1 - float(angle_distance(a0, model.a_star)) ** 2


def moment_error(model: LinearModel) -> float:
    r"""The pooled data's distance from isotropy, :math:`e = \|\frac1N \sum_i S_i - I\|_{op}`.

    Returns:
        A number >= 0; of order sqrt(d/(Nm)) for Gaussian inputs.

    Example:
        >>> from theory.linear.model import population
        >>> moment_error(population(2, np.array([1.0, 0.0]), np.ones(1), 2))
        0.0
    """
    pooled = np.mean(model.moments, axis=0)
    return float(np.linalg.norm(pooled - np.eye(pooled.shape[0]), 2))


def rho(model: LinearModel, a: Float[Array, "d"]) -> Float[Array, "n"]:
    r"""The clients' factors :math:`\rho_i = (a^T S_i a^*)/(a^T S_i a)` of the exact b-step, :math:`b_i = \rho_i b_i^*`.

    Args:
        a: a unit vector outside the kernels of the S_i.

    Returns:
        One number a client; cos(theta) + sin(theta) xi_i.

    Example:
        >>> from theory.linear.model import population
        >>> rho(population(2, np.array([1.0, 0.0]), np.ones(1), 2), np.array([0.6, 0.8]))
        array([0.6, 0.6])
    """
    projected = model.moments @ a
    return (projected @ model.a_star) / (projected @ a)


def xi(model: LinearModel, a: Float[Array, "d"]) -> Float[Array, "n"]:
    r"""The clients' b-step noise :math:`\xi_i = (a^T S_i p)/(a^T S_i a)`, p the direction of a* orthogonal to a.

    Args:
        a: a unit vector that is not a* itself, where p is undefined.

    Returns:
        One number a client; t_m / sqrt(m) in distribution if a is independent of X_i.

    Example:
        >>> from theory.linear.model import population
        >>> xi(population(2, np.array([1.0, 0.0]), np.ones(1), 2), np.array([0.6, 0.8])).round(12) + 0.0
        array([0., 0.])
    """
    remainder = model.a_star - (a @ model.a_star) * a
    projected = model.moments @ a
    return (projected @ (remainder / np.linalg.norm(remainder))) / (projected @ a)


def heterogeneity(model: LinearModel) -> float:
    r"""The variance of the heads, :math:`V = \frac1N \sum_i \|b_i^* - \bar b^*\|^2`; zero iff homogeneous."""
    return float(np.mean(np.sum((model.b_star - model.b_mean) ** 2, axis=1)))


def alignment_variance(model: LinearModel) -> float:
    r"""The part of the heads' variance that moves a: :math:`s^2 = \frac1N \sum_i (b_i^{*T}\bar b^* - \|\bar b^*\|^2)^2`."""
    return float(np.mean((model.b_star @ model.b_mean - model.b_mean @ model.b_mean) ** 2))
