r"""The right-hand sides: closed forms that the measured numbers are compared with.

Notation: :math:`\kappa = \eta\|b^*\|^2`, f the gradient factor (2 for the loss (1/m)||.||^2, 1 for half of it),
:math:`c_0 = 1 - \delta_0^2`. Every formula in kappa alone says for which f it holds; those that take f hold for both.
Unless a source is named, a formula is derived in the claim that checks it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array
from theory.linear.model import GradientFactor, LinearModel


def interference_bound(
    a: Sequence[Float[Array, "d r"]], b: Sequence[Float[Array, "r k"]], weights: Sequence[float]
) -> float:
    r"""The norm bound :math:`\sqrt{\sum p_i \|A_i - \bar A\|_F^2}\,\sqrt{\sum p_i \|B_i - \bar B\|_{op}^2}`.

    Args:
        a: the clients' A_i.
        b: the clients' B_i.
        weights: p_i, non-negative, summing to one.

    Example:
        >>> one = np.eye(1)
        >>> interference_bound([one, -one], [one, -one], [0.5, 0.5])
        1.0
    """
    p, stack_a, stack_b = np.asarray(weights), np.stack(a), np.stack(b)
    spread_a = stack_a - np.tensordot(p, stack_a, 1)
    spread_b = stack_b - np.tensordot(p, stack_b, 1)
    frobenius = np.sum(p * np.linalg.norm(spread_a, axis=(1, 2)) ** 2)
    operator = np.sum(p * np.linalg.norm(spread_b, ord=2, axis=(1, 2)) ** 2)
    return float(np.sqrt(frobenius * operator))


def population_step(
    theta: Float[Array, "*shape"] | float, kappa: float, gradient_factor: GradientFactor
) -> Float[Array, "*shape"] | float:
    r"""One iteration at infinitely many samples, :math:`\theta^+ = \theta - \arctan(\tfrac f2 \kappa \sin 2\theta)`.

    Args:
        theta: the angle between a and a*, in [0, pi/2].
        kappa: eta ||b*||^2 >= 0.

    Returns:
        The next angle in radians; negative where the step overshoots a*.

    Example:
        >>> float(population_step(np.pi / 2, 0.3, 2)) == np.pi / 2  # the saddle, to rounding
        True
    """
    return theta - np.arctan(gradient_factor / 2 * kappa * np.sin(2 * theta))


def population_step_tangent(theta: float, kappa: float, gradient_factor: GradientFactor) -> float:
    r"""The same step as :math:`\tan\theta^+ = \tan\theta\,\frac{1 - f\kappa\cos^2\theta}{1 + f\kappa\sin^2\theta}`.

    Args:
        theta: the angle in [0, pi/2).
        kappa: eta ||b*||^2 >= 0.

    Example:
        >>> bool(np.isclose(population_step_tangent(0.5, 0.3, 2), population_step(0.5, 0.3, 2)))
        True
    """
    step = gradient_factor * kappa
    return float(np.arctan(np.tan(theta) * (1 - step * np.cos(theta) ** 2) / (1 + step * np.sin(theta) ** 2)))


def local_ratio(kappa: float, gradient_factor: GradientFactor) -> float:
    r"""The population's contraction ratio as theta -> 0, :math:`|1 - f\kappa|`."""
    return abs(1 - gradient_factor * kappa)


def contraction(kappa: float, c0: float) -> float:
    r"""The claimed factor of one iteration, :math:`\sqrt{1 - \kappa c_0}`.

    Args:
        kappa: eta ||b*||^2, with kappa c0 <= 1.
        c0: 1 - delta_0^2.

    Returns:
        A number in [0, 1]. In the population it bounds the ratio for all kappa <= ``largest_kappa(c0, f)``.

    Example:
        >>> contraction(0.75, 1.0)
        0.5

    Source: arXiv 2502.01755v4, Lemma 4.4 (the factor as quoted elsewhere; its convention is unverified).
    """
    return float(np.sqrt(1 - kappa * c0))


def sharp_contraction(kappa: float, c0: float) -> float:
    r"""The factor :math:`1 - 2\kappa c_0`, for gradient factor 2 and :math:`\kappa \le 1/2`: below ``contraction``'s."""
    return 1 - 2 * kappa * c0


def largest_kappa(c0: float, gradient_factor: GradientFactor) -> float:
    r"""Up to where ``contraction`` holds in the population: :math:`1 - c_0/4` for f = 2, :math:`2 - c_0` for f = 1.

    Both solve :math:`(1 - f\kappa)^2 = 1 - \kappa c_0`, the condition at theta -> 0, which is the tightest of all angles.

    Args:
        c0: 1 - delta_0^2 in (0, 1).

    Example:
        >>> largest_kappa(0.64, 2), largest_kappa(0.64, 1)
        (0.84, 1.3599999999999999)
    """
    return 1 - c0 / 4 if gradient_factor == 2 else 2 - c0


def one_step(delta: float, kappa: float, rho_bar: float, xi_bar: float, e: float) -> float:
    r"""The deterministic bound of one iteration on finite data, gradient factor 2.

    .. math::
        \delta^+ \le \delta\, \frac{|1 - 2\kappa\bar\rho^2| + 2\kappa|\bar\rho|\, e \sqrt{1 + \bar\xi^2}}
        {1 - 2\kappa|\bar\rho|\,\delta\,(|\bar\xi| + e\sqrt{1 + \bar\xi^2})}

    Args:
        delta: the angle distance before.
        rho_bar: the mean factor of the b-step.
        xi_bar: the mean noise of the b-step.
        e: ``assumptions.moment_error``.

    Returns:
        The bound of the angle distance after; infinite where the denominator is not positive and nothing is said.

    Example:
        >>> one_step(0.5, 0.25, 1.0, 0.0, 0.0)
        0.25
    """
    noise = e * np.sqrt(1 + xi_bar**2)
    denominator = 1 - 2 * kappa * abs(rho_bar) * delta * (abs(xi_bar) + noise)
    if denominator <= 0:
        return float("inf")
    return float(delta * (abs(1 - 2 * kappa * rho_bar**2) + 2 * kappa * abs(rho_bar) * noise) / denominator)


def gradient_deviation(delta: float, b_norm: float, xi_bar: float, e: float) -> float:
    r"""A bound of the averaged gradient's distance from its mean at fixed b-bar, :math:`2 (1 + \bar\xi^2)\, e\, \delta \|b^*\|^2`.

    Args:
        delta: the angle distance.
        xi_bar: the mean noise of the b-step.
        e: ``assumptions.moment_error``.

    Example:
        >>> gradient_deviation(0.5, 2.0, 0.0, 0.1)
        0.4
    """
    return 2 * (1 + xi_bar**2) * e * delta * b_norm**2


def failure_probability(s: float, num_clients: int, samples: int, iterations: int) -> float:
    r"""The union bound :math:`T\,(4 e^{-s^2/2} + N e^{-m/16})` over T iterations with fresh data.

    Args:
        s: the deviation in units of the noise; tau = (sqrt(d) + s)/sqrt(N m).
        samples: m, of one client and iteration.

    Returns:
        A probability, or more than 1 where nothing is said.

    Example:
        >>> round(failure_probability(4.0, 4, 6000, 10), 4)
        0.0134
    """
    return float(iterations * (4 * np.exp(-(s**2) / 2) + num_clients * np.exp(-samples / 16)))


def ffa_population_excess(num_clients: int, samples: int) -> float:
    r"""c~ of the averaged b's **population** risk: :math:`\frac{1}{N(m-2)}`, m > 2.

    Returns:
        c~ in risk = (f/2) (1 + c~) ||b*||^2 delta_0^2.

    Example:
        >>> ffa_population_excess(5, 12)
        0.02

    Source: the form is Proposition 4.6 of arXiv 2502.01755v4; its constant is derived here.
    """
    return 1 / (num_clients * (samples - 2))


def ffa_average_excess(num_clients: int, samples: int) -> float:
    r"""c~ of the averaged b's expected **training** loss: :math:`-\frac{1}{Nm} + \frac{2(N-1)}{N^2 m (m-2)}`, m > 2.

    Returns:
        c~ in loss = (f/2) (1 + c~) ||b*||^2 delta_0^2; negative for large m.

    Example:
        >>> ffa_average_excess(1, 10)
        -0.1

    Source: the form is Proposition 4.6 of arXiv 2502.01755v4; its constant is derived here.
    """
    n, m = num_clients, samples
    return -1 / (n * m) + 2 * (n - 1) / (n**2 * m * (m - 2))


def ffa_minimiser_excess(num_clients: int, samples: int) -> float:
    r"""c~ of the smallest **training** loss over b: :math:`-\frac{1}{Nm}`, one degree of freedom of N m.

    Returns:
        c~ in loss = (f/2) (1 + c~) ||b*||^2 delta_0^2.

    Example:
        >>> ffa_minimiser_excess(2, 5)
        -0.1
    """
    return -1 / (num_clients * samples)


def heterogeneous_floor(alignment_variance: float, b_mean_norm: float, dimension: int, rows: int) -> float:
    r"""The floor of Algorithm 2 on fixed data, :math:`\delta_\infty \approx \frac{s}{\|\bar b^*\|^2}\sqrt{\frac{d-1}{Nm}}`.

    Args:
        alignment_variance: s^2, ``assumptions.alignment_variance``.
        b_mean_norm: ||b-bar*||.
        rows: N m, all clients together.

    Returns:
        The root mean square of the angle distance, to first order in sqrt(d/(N m)).

    Example:
        >>> heterogeneous_floor(1.0, 1.0, 5, 400)
        0.1
    """
    return float(np.sqrt(alignment_variance * (dimension - 1) / rows) / b_mean_norm**2)


def local_matrix(model: LinearModel, kappa: float) -> Float[Array, "c c"]:
    r"""Algorithm 2's derivative at a* on fixed homogeneous data, on the space orthogonal to a* (suffix p).

    .. math::
        I - f\kappa\Big(S_{pp} - S_{pa}\, \frac1N\sum_i \frac{S_{i,ap}}{S_{i,aa}}\Big), \qquad S = \frac1N \sum_i S_i

    Args:
        model: the clients, with equal b_i*.

    Returns:
        A (d-1, d-1) matrix; its spectral radius is the local ratio.

    Example:
        >>> from theory.linear.model import population
        >>> local_matrix(population(2, np.array([1.0, 0.0, 0.0]), np.ones(1), 2), 0.25)
        array([[0.5, 0. ],
               [0. , 0.5]])
    """
    # The last d - 1 left singular vectors of the single column a* are a basis of its orthogonal space.
    basis = np.linalg.svd(model.a_star[:, None])[0][:, 1:]
    pooled = np.mean(model.moments, axis=0)
    coupling = np.mean([s @ model.a_star / (model.a_star @ s @ model.a_star) for s in model.moments], axis=0)
    inner = basis.T @ (pooled - np.outer(pooled @ model.a_star, coupling)) @ basis
    return np.eye(basis.shape[1]) - model.gradient_factor * kappa * inner
