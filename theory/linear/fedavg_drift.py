r"""FedAvg-LoRA on the linear model: its interference along the path, and where different heads lead its local steps.

After K local steps of size eta from common (A, B) with client gradients :math:`G^A_i, G^B_i` there,

.. math::
    I = \frac1N\sum_i (A_i - \bar A)(B_i - \bar B) = (K\eta)^2\,\frac1N\sum_i (G^A_i - \bar G^A)(G^B_i - \bar G^B)
    + O((K\eta)^3).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array, Layer
from theory.linear.ensemble import Ensemble
from theory.linear.ensemble_rounds import LocalTraining
from theory.linear.model import GradientFactor

BOTH = frozenset({"A", "B"})
"""What FedAvg-LoRA trains in every round."""


def covariance(
    a: Float[Array, "*instances n d r"], b: Float[Array, "*instances n r k"]
) -> Float[Array, "*instances d k"]:
    r"""The clients' covariance :math:`\frac1N\sum_i (A_i - \bar A)(B_i - \bar B)`; of the factors, the interference.

    Args:
        a: one matrix a client.
        b: one matrix a client.

    Example:
        >>> covariance(np.array([[[1.0]], [[-1.0]]]), np.array([[[2.0]], [[-2.0]]]))
        array([[2.]])

    Source: arXiv 2502.01755v4, Eqs. 1-2.
    """
    spread_a, spread_b = a - np.mean(a, axis=-3, keepdims=True), b - np.mean(b, axis=-3, keepdims=True)
    return np.mean(spread_a @ spread_b, axis=-3)


def interference(ensemble: Ensemble, server: Layer, training: LocalTraining) -> Float[Array, "*instances d k"]:
    """The interference of FedAvg-LoRA's next round.

    Args:
        server: the layer that they start from.
        training: their local update.

    Returns:
        mean (A_i - A-bar)(B_i - B-bar) of the layers that they would send.

    Example:
        >>> from theory.linear.ensemble import isotropic, planted
        >>> heads = np.array([1.0, -1.0])[None, :, None, None]
        >>> clients = planted(isotropic(1, 2, 1), np.ones((1, 1, 1)), heads, 1)
        >>> start = Layer(np.ones((1, 1, 1)), np.ones((1, 1, 1)))
        >>> interference(clients, start, LocalTraining(0.1, 0.1, 1, frozenset())).round(12)
        array([[[0.01]]])
    """
    trained = training(ensemble, Layer(A=server.A[..., None, :, :], B=server.B[..., None, :, :]), BOTH)
    return covariance(trained.A, trained.B)


def leading_interference(ensemble: Ensemble, server: Layer) -> Float[Array, "*instances d k"]:
    r"""The covariance of the clients' gradients, :math:`\lim I / (K\eta)^2` as K eta -> 0.

    Args:
        ensemble: the clients; the gradients carry its factor f.
        server: the common layer.

    Example:
        >>> from theory.linear.ensemble import isotropic, planted
        >>> clients = planted(isotropic(1, 2, 1), np.ones((1, 1, 1)), np.array([1.0, -1.0])[None, :, None, None], 1)
        >>> leading_interference(clients, Layer(np.ones((1, 1, 1)), np.ones((1, 1, 1))))
        array([[[1.]]])
    """
    one = LocalTraining(1.0, 1.0, 1, frozenset())
    return interference(ensemble, server, one)


def heterogeneous_interference(
    heads: Float[Array, "n k"], eta: float, local_steps: int, gradient_factor: GradientFactor
) -> Float[Array, "k"]:
    r"""At the mean solution in the population the interference is :math:`(f K\eta)^2\,a^* (\Sigma\bar b^*)^T`, to leading order.

    Args:
        heads: b_i*; Sigma is their covariance, with 1/N.

    Returns:
        The row beside a*; it depends on the product alone, not on how its scale is split between the factors.

    Example:
        >>> heterogeneous_interference(np.array([[1.0, 0.0], [3.0, 0.0]]), 0.01, 5, 2)
        array([0.02, 0.  ])
    """
    return (gradient_factor * local_steps * eta) ** 2 * _head_covariance(heads) @ np.mean(heads, axis=0)


def displacement(
    heads: Float[Array, "n k"], eta: float, local_steps: int, gradient_factor: GradientFactor
) -> Float[Array, "k"]:
    r"""The displacement of the product from the mean solution in one round, to leading order, in the population.

    .. math::
        \eta^2\,\tfrac{K(K-1)}{2}\,f^2\,(\mathrm{tr}\,\Sigma\; I + \Sigma)\,\bar b^*

    K gradient steps are :math:`x - K\eta\, g_i + \eta^2\tfrac{K(K-1)}{2} H_i g_i`, and the mean of
    :math:`H_i g_i = \nabla \tfrac12\|g_i\|^2` is not zero where that of :math:`g_i` is:
    :math:`\tfrac1N\sum\|g_i\|^2 = f^2(b^T\Sigma b + \|a\|^2\,\mathrm{tr}\,\Sigma)` there.

    Returns:
        The row beside a*; zero for K = 1 and for equal heads.

    Example:
        >>> displacement(np.array([[1.0, 0.0], [3.0, 0.0]]), 0.01, 2, 2)
        array([0.0016, 0.    ])
    """
    sigma, mean = _head_covariance(heads), np.mean(heads, axis=0)
    size = (gradient_factor * eta) ** 2 * local_steps * (local_steps - 1) / 2
    return size * (np.trace(sigma) * mean + sigma @ mean)


def floor(
    heads: Float[Array, "n k"], a_norm: float, eta: float, local_steps: int, gradient_factor: GradientFactor
) -> Float[Array, "k"]:
    r"""The product at which ``displacement`` and FedAvg-LoRA's contraction balance, at a given length of a.

    .. math::
        r_\perp = \frac{f\eta(K-1)}{2}\,\frac{(\Sigma\bar b^*)_\perp}{\|a\|^2}, \qquad
        r_\parallel = \frac{f\eta(K-1)}{2}\,\frac{\mathrm{tr}\,\Sigma\;\bar b^* + (\Sigma\bar b^*)_\parallel}
        {\|a\|^2 + \|\bar b^*\|^2/\|a\|^2}

    along and across b-bar*. Not a fixed point: local steps also change ||a||, but slower by a factor K eta.

    Args:
        a_norm: ||a||.

    Returns:
        The row r of the product a* (b-bar* + r)^T, to leading order in K eta.

    Example:
        >>> floor(np.array([[1.0, 0.0], [3.0, 0.0]]), 1.0, 0.01, 3, 2)
        array([0.016, 0.   ])
    """
    mean = np.mean(heads, axis=0)
    pushed = displacement(heads, eta, local_steps, gradient_factor) / (gradient_factor * local_steps * eta)
    along = (pushed @ mean) / (mean @ mean) * mean
    return (pushed - along) / a_norm**2 + along / (a_norm**2 + mean @ mean / a_norm**2)


def _head_covariance(heads: Float[Array, "n k"]) -> Float[Array, "k k"]:
    centred = heads - np.mean(heads, axis=0)
    return centred.T @ centred / heads.shape[0]
