r"""Label noise, :math:`Y_i = X_i a^* b^{*T} + \sigma Z_i`: floors of Algorithm 2, of FFA-LoRA and of the best estimator.

Let n = N m, x the stacked :math:`X_i a^*`, :math:`X_p` the stacked inputs orthogonal to a*, y the stacked
:math:`X_i a^* / S_{i,aa}` and :math:`P = I - x y^T / n`. Every client's b-step divides by its own :math:`S_{i,aa}`, and
:math:`y^T x = n`, so P is a projection, oblique where the :math:`S_{i,aa}` differ. To first order in sigma the fixed point of
Algorithm 2 is :math:`a = a^* + p`,

.. math::
    X_p^T P X_p\, p = \frac{\sigma}{\|b^*\|}\, X_p^T P z, \qquad z \sim N(0, I_n),

and one iteration is :math:`p^+ = (I - f\kappa X_p^T P X_p / n)\,p + f\kappa\frac{\sigma}{\|b^*\|} X_p^T P z / n`. The best
rank-one fit of all rows together is the same with the orthogonal projection, which one client has by itself. P depends on
x alone, and :math:`X_p` is independent of it: every mean below follows from
:math:`\mathrm{tr} P = n - 1` and :math:`\mathrm{tr} P P^T = n - 2 + \mathrm{mean}(S_{i,aa})\,\mathrm{mean}(1/S_{i,aa})`.
"""

from __future__ import annotations

import numpy as np

from rolora.adapter import Layer
from theory.linear.ensemble import Ensemble
from theory.linear.model import GradientFactor


def statistical_floor(noise: float, b_norm: float, dimension: int, rows: int) -> float:
    r"""Fixed data: :math:`E\,\delta_\infty^2 = \frac{\sigma^2}{\|b^*\|^2}\,\frac{d - 1}{Nm - d - 1}` to order sigma^2.

    Exact in d, N and m for the best rank-one fit and for one client; for N clients Algorithm 2 is above it by the relative
    amount ``averaging_excess``.

    Args:
        rows: N m > d + 1.

    Example:
        >>> round(statistical_floor(0.1, 1.0, 5, 46), 12)
        0.001
    """
    return noise**2 / b_norm**2 * (dimension - 1) / (rows - dimension - 1)


def averaging_excess(dimension: int, num_clients: int, samples: int) -> float:
    r"""The relative excess variance of a from averaged b-steps, :math:`\frac{2(1 - 1/N)}{(m - 2)(n - d - 3)}`; 0 for N = 1.

    With :math:`y = n x / \|x\|^2 + w`, w orthogonal to x, Algorithm 2 differs from the best rank-one fit by

    .. math::
        D = -(X_p^T P X_p)^{-1} X_p^T x\; w^T (z - X_p p_{best}) / n,

    which is uncorrelated with it (Gauss-Markov). :math:`\|w\|^2\|x\|^2/n^2` has the mean 2(1 - 1/N)/(m - 2), and
    :math:`E\,\mathrm{tr} W^{-2} \approx (d-1)(n-d)^{-1}(n-d-1)^{-1}(n-d-3)^{-1} n` for the Wishart matrix of the
    orthogonal projection.

    Args:
        samples: m > 2.

    Returns:
        The relative excess, to leading order in 1/n: of size 1/(m n).

    Example:
        >>> round(averaging_excess(3, 2, 12), 12) == round(0.1 / 18, 12)
        True
    """
    return 2 * (1 - 1 / num_clients) / ((samples - 2) * (num_clients * samples - dimension - 3))


def fresh_data_floor(
    noise: float,
    b_norm: float,
    kappa: float,
    gradient_factor: GradientFactor,
    dimension: int,
    num_clients: int,
    samples: int,
) -> float:
    r"""Fresh data in every iteration: the stationary mean of delta^2, to order sigma^2 and exact in d, N and m.

    .. math::
        \frac{\sigma^2}{\|b^*\|^2}\,\frac{g\,(d - 1)\,q}{2 n (n - 1) - g\,(n (n - 1) + (d - 1) q)}, \quad g = f\kappa,\
        q = n - 1 + \Big(1 - \frac1N\Big)\frac{2}{m - 2}

    To first order in d/n this is g / (2 - g) times the floor of fixed data.

    Args:
        samples: m > 2, of one client and iteration.

    Returns:
        The mean of the squared angle distance; infinite where the recursion has no stationary variance.

    Example:
        >>> fixed = statistical_floor(0.1, 1.0, 5, 40_000)
        >>> round(fresh_data_floor(0.1, 1.0, 0.25, 2, 5, 4, 10_000) / fixed, 3)
        0.333
    """
    n, step = num_clients * samples, gradient_factor * kappa
    q = n - 1 + (1 - 1 / num_clients) * 2 / (samples - 2)
    denominator = 2 * n * (n - 1) - step * (n * (n - 1) + (dimension - 1) * q)
    return noise**2 / b_norm**2 * step * (dimension - 1) * q / denominator if denominator > 0 else float("inf")


def product_risk(noise: float, dimension: int, outputs: int, num_clients: int, samples: int) -> float:
    r"""Algorithm 2's limit on fixed data: :math:`E\,\|a\bar b^T - a^* b^{*T}\|_F^2` to order sigma^2.

    .. math::
        \sigma^2\Big[\frac{d}{n - d - 1} + \frac{k - 1}{n - 2} + k\Big(\frac{1}{N(m - 2)} - \frac{1}{n - 2}\Big)\Big]

    Exact for one client. The first two terms are the best rank-one fit's, about sigma^2 (d + k - 1)/n, one share for each
    parameter; the third is what averaging the clients' own b-steps costs in k directions.

    Args:
        samples: m > 2.

    Example:
        >>> round(product_risk(1.0, 5, 3, 1, 106), 6) == round(5 / 100 + 2 / 104, 6)
        True
    """
    n = num_clients * samples
    averaging = 1 / (num_clients * (samples - 2)) - 1 / (n - 2)
    return noise**2 * (dimension / (n - dimension - 1) + (outputs - 1) / (n - 2) + outputs * averaging)


def ffa_risk(noise: float, b_norm: float, delta0: float, outputs: int, num_clients: int, samples: int) -> float:
    r"""FFA-LoRA with exact b-steps: :math:`E\,\|a^0\bar b^T - a^* b^{*T}\|_F^2`, exact.

    .. math::
        \|b^*\|^2\delta_0^2 + \frac{\|b^*\|^2\delta_0^2 + k\sigma^2}{N(m - 2)}

    Args:
        delta0: the frozen start's angle distance.
        samples: m > 2.

    Example:
        >>> ffa_risk(1.0, 2.0, 0.5, 3, 5, 12)
        1.08
    """
    floor = b_norm**2 * delta0**2
    return floor + (floor + outputs * noise**2) / (num_clients * (samples - 2))


def best_rank_one(ensemble: Ensemble) -> Layer:
    r"""The pooled least-squares fit of rank one, with a unit a: the maximum-likelihood estimate for normal noise.

    With S and C the clients' means and :math:`S = L L^T` the loss is
    :math:`\|L^T a b^T - L^{-1} C\|_F^2` plus a constant, so :math:`L^T a` and b are the leading singular vectors.

    Args:
        ensemble: equal numbers of rows a client; the mean of the S_i invertible.

    Returns:
        One layer an instance; the sign of a is arbitrary.

    Example:
        >>> from theory.linear.ensemble import isotropic, planted
        >>> truth = np.eye(3)[None, :, :1], np.full((1, 2, 1, 2), 2.0)
        >>> np.abs(best_rank_one(planted(isotropic(1, 2, 3), *truth, 2)).update[0].round(12))
        array([[2., 2.],
               [0., 0.],
               [0., 0.]])

    Source: Eckart and Young, Psychometrika 1 (1936) 211-218.
    """
    root = np.linalg.cholesky(np.mean(ensemble.moments, axis=-3))
    left, values, right = np.linalg.svd(np.linalg.solve(root, np.mean(ensemble.cross, axis=-3)), full_matrices=False)
    a = np.linalg.solve(np.swapaxes(root, -1, -2), left[..., :, :1])
    length = np.linalg.norm(a, axis=-2, keepdims=True)
    return Layer(A=a / length, B=length * values[..., :1, None] * right[..., :1, :])
