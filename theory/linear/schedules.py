r"""Schedules of the factors beyond B, A, B, A, ... in the linear model, and step sizes of their own.

A schedule repeats a pattern of rounds, each of which trains A or B (``RoLoRA.schedule``). Mixtures of RoLoRA and FFA-LoRA
iterations (BA and BB) are patterns too. The closed forms are those of infinitely many samples, S_i = I.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array, Layer
from rolora.algorithms.rolora import RoLoRA
from rolora.keys import Key
from theory.linear.ensemble import Ensemble, draw_noisy
from theory.linear.model import GradientFactor


def mixture(trains_a: Sequence[bool]) -> RoLoRA:
    """Iterations of two rounds: B then A (RoLoRA) where ``trains_a`` is true, B twice (FFA-LoRA) where it is not.

    Args:
        trains_a: one entry an iteration, at least one.

    Example:
        >>> mixture([True, False, True]).schedule
        'BABBBA'
    """
    return RoLoRA("".join("BA" if chosen else "BB" for chosen in trains_a))


def rank_two_example(key: Key, instances: int) -> tuple[Ensemble, Layer]:
    """Return noisy data of rank two with a head of its own for each of three clients, and a normal start.

    Example:
        >>> data, start = rank_two_example(Key(0), 4)
        >>> data.moments.shape, start.update.shape
        ((4, 3, 6, 6), (4, 6, 4))
    """
    stream = key.fold("truth").generator()
    a_star = np.linalg.qr(stream.standard_normal((instances, 6, 2)))[0]
    b_star = stream.standard_normal((instances, 3, 2, 4))
    start = Layer(A=stream.standard_normal((instances, 6, 2)), B=stream.standard_normal((instances, 2, 4)))
    return draw_noisy(key.fold("data"), 25, a_star, b_star, 0.1, 2), start


def repeated_a_steps(
    theta: Float[Array, "*shape"] | float, kappa: float, gradient_factor: GradientFactor, steps: int
) -> Float[Array, "*shape"] | float:
    r"""The angle after an exact b-step and q steps on a at that b, in the population.

    .. math::
        \tan\theta^+ = \tan\theta\;\frac{\gamma\cos^2\theta}{1 - \gamma\sin^2\theta}, \qquad
        \gamma = (1 - f\kappa\cos^2\theta)^q

    Args:
        theta: the angle in (-pi/2, pi/2).
        steps: q >= 0; one is ``bounds.population_step``.

    Returns:
        The next angle, negative where the steps overshoot.

    Example:
        >>> from theory.linear.bounds import population_step
        >>> bool(np.isclose(repeated_a_steps(0.5, 0.3, 2, 1), population_step(0.5, 0.3, 2)))
        True
    """
    left = (1 - gradient_factor * kappa * np.cos(theta) ** 2) ** steps
    return np.arctan(np.tan(theta) * left * np.cos(theta) ** 2 / (1 - left * np.sin(theta) ** 2))


def repeated_a_steps_retracted(theta: float, kappa: float, gradient_factor: GradientFactor, steps: int) -> float:
    r"""The same with a normalised after each step and its length moved to b, as ``ensemble_rounds.retract`` does.

    With :math:`b = y\,b^*`, from :math:`y = \cos\theta`, and :math:`g = f\kappa`:

    .. math::
        \nu\,(\cos\theta^+, \sin\theta^+) = (1 - g y^2)\,(\cos\theta, \sin\theta) + (g y, 0), \qquad y^+ = \nu y

    Args:
        theta: the angle in [0, pi/2).
        steps: q >= 0.

    Returns:
        The next angle, negative where the steps overshoot.

    Example:
        >>> bool(np.isclose(repeated_a_steps_retracted(0.5, 0.3, 2, 1), repeated_a_steps(0.5, 0.3, 2, 1)))
        True
    """
    step, y = gradient_factor * kappa, np.cos(theta)
    for _ in range(steps):
        along, across = (1 - step * y**2) * np.cos(theta) + step * y, (1 - step * y**2) * np.sin(theta)
        theta, y = np.arctan2(across, along), y * np.hypot(along, across)
    return float(theta)


def mode_factors(
    eta_a: float, eta_b: float, a_norm: float, b_norm: float, gradient_factor: GradientFactor
) -> tuple[float, float]:
    r"""The share of an error near the truth that a gradient step leaves, :math:`1 - f\eta_A\|b\|^2` and :math:`1 - f\eta_B\|a\|^2`.

    The error of the product has three parts. That in :math:`(a^*)^\perp \times b^*` is changed by steps on A alone, by the
    first factor, that in :math:`a^* \times (b^*)^\perp` by steps on B alone, by the second, and that in a* x b* by both.

    Args:
        eta_a: the step size of A.
        eta_b: the step size of B.
        a_norm: ||a|| at the limit.
        b_norm: ||b|| at the limit; ||a|| ||b|| = ||b*||.

    Example:
        >>> mode_factors(0.1, 0.2, 1.0, 2.0, 2)
        (0.19999999999999996, 0.6)
    """
    return 1 - gradient_factor * eta_a * b_norm**2, 1 - gradient_factor * eta_b * a_norm**2


def rate_a_round(factor_a: float, factor_b: float, local_steps: int, a_rounds: int, b_rounds: int) -> float:
    r"""The decrease of log ||error|| a communication round, :math:`K \min(q\,|\log|\phi_A||,\ p\,|\log|\phi_B||) / (p + q)`.

    For given factors it is greatest at p : q = log|phi_A| : log|phi_B|, where both parts fall equally fast.

    Args:
        factor_a: phi_A, what one step on A leaves; not 0, |phi_A| < 1.
        factor_b: phi_B.
        a_rounds: q, in a period.
        b_rounds: p.

    Returns:
        The rate, positive.

    Example:
        >>> round(rate_a_round(0.5, 0.25, 1, 2, 1) / float(np.log(2)), 12)
        0.666666666667
    """
    slow = min(-a_rounds * np.log(abs(factor_a)), -b_rounds * np.log(abs(factor_b)))
    return float(local_steps * slow / (a_rounds + b_rounds))
