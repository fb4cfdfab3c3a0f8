r"""Algorithm 2 at rank r in the population: principal angles, the exact map of one iteration, and its rates.

Client i holds :math:`Y_i = X_i A^* B^*`, A* with orthonormal columns, B* of full row rank r with singular values
:math:`\sigma_1 \ge \dots \ge \sigma_r > 0` and :math:`M = B^* B^{*T}`. An iteration solves for B, takes one gradient step on
A and orthonormalises it. The coordinates in which that map is simple are the tangents

.. math::
    T = (I - A^* A^{*T})\,A\,(A^{*T} A)^{-1}, \qquad K = (I + T^T T)^{-1},

whose singular values are the tangents of the principal angles between the spans of A and A*, whatever basis A is in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array, Layer
from rolora.keys import Key
from theory.linear.ensemble import Ensemble, isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, retract, solve_b
from theory.linear.model import GradientFactor

SingularValues = Sequence[float] | Float[Array, "r"]
"""sigma_1 ... sigma_r of B*, the largest first."""


def random_factors(
    key: Key, instances: int, dimension: int, outputs: int, singular_values: SingularValues
) -> tuple[Float[Array, "i d r"], Float[Array, "i r k"]]:
    r"""Pairs (A*, B*): A* a uniform orthonormal frame, B* with given singular values and uniform singular vectors.

    Args:
        dimension: d >= r.
        outputs: k >= r.
        singular_values: sigma_1 ... sigma_r; their number is the rank.

    Example:
        >>> a_star, b_star = random_factors(Key(0), 2, 5, 4, [3.0, 1.0])
        >>> np.linalg.svd(b_star)[1].round(12)
        array([[3., 1.], [3., 1.]])
    """
    stream, rank = key.generator(), len(singular_values)
    frames = [np.linalg.qr(stream.standard_normal((instances, rows, rank)))[0] for rows in (dimension, rank, outputs)]
    return frames[0], (frames[1] * np.asarray(singular_values)) @ np.swapaxes(frames[2], -1, -2)


def population(
    a_star: Float[Array, "i d r"], b_star: Float[Array, "i r k"], gradient_factor: GradientFactor
) -> Ensemble:
    """The limit of many samples, S_i = I; all clients are then the same one.

    Example:
        >>> population(*random_factors(Key(0), 2, 5, 4, [3.0, 1.0]), 2).moments.shape
        (2, 1, 5, 5)
    """
    return planted(isotropic(a_star.shape[0], 1, a_star.shape[1]), a_star, b_star[:, None], gradient_factor)


def tangents(a: Float[Array, "*#batch d r"], a_star: Float[Array, "*#batch d r"]) -> Float[Array, "*batch d r"]:
    r"""The coordinates :math:`T = (I - A^* A^{*T})\,A\,(A^{*T} A)^{-1}` of the span of A about that of A*.

    Args:
        a: any basis of its span; A*^T A must be invertible (no principal angle of 90 degrees).

    Returns:
        T, orthogonal to A*; accurate to rounding times the condition number of A*^T A.

    Example:
        >>> tangents(np.array([[3.0], [4.0]]), np.array([[1.0], [0.0]])).round(12)
        array([[0.        ], [1.33333333]])
    """
    inner = np.swapaxes(a_star, -1, -2) @ a
    beyond = a - a_star @ inner
    # Once more for what the first projection leaves by rounding: small angles keep their relative accuracy.
    beyond = beyond - a_star @ (np.swapaxes(a_star, -1, -2) @ beyond)
    return np.swapaxes(np.linalg.solve(np.swapaxes(inner, -1, -2), np.swapaxes(beyond, -1, -2)), -1, -2)


def at_tangents(tangent: Float[Array, "*batch d r"], a_star: Float[Array, "*batch d r"]) -> Float[Array, "*batch d r"]:
    r"""The orthonormal A whose tangents are T: the Q of :math:`A^* + T`.

    Args:
        tangent: T, orthogonal to A*.

    Returns:
        Orthonormal columns; the inverse of ``tangents`` up to the choice of a basis.

    Example:
        >>> at_tangents(np.array([[0.0], [4 / 3]]), np.array([[1.0], [0.0]])).round(12)
        array([[0.6], [0.8]])
    """
    return retract(Layer(a_star + tangent, np.swapaxes(a_star, -1, -2))).A


def start_at(
    key: Key, a_star: Float[Array, "i d r"], right: Float[Array, "*#i r r"], angles: Float[Array, "*#i r"]
) -> Float[Array, "i d r"]:
    r"""Starts with prescribed principal angles, :math:`T = W\,\mathrm{diag}(\tan\theta)\,R^T`, W uniform.

    Args:
        key: the stream of W, an orthonormal frame orthogonal to A*.
        a_star: orthonormal columns, 2 r <= d.
        right: R, orthogonal; its j-th column is the direction within A* that is theta_j off.
        angles: theta_j in [0, pi/2).

    Example:
        >>> a_star = np.eye(5)[None, :, :2]
        >>> a0 = start_at(Key(0), a_star, np.eye(2)[None], np.array([[0.3, 0.1]]))
        >>> principal_angles(a0, a_star).round(12)
        array([[0.3, 0.1]])
    """
    frame = key.generator().standard_normal(a_star.shape)
    for _ in range(2):
        frame = frame - a_star @ (np.swapaxes(a_star, -1, -2) @ frame)
        frame = np.linalg.qr(frame)[0]
    return at_tangents((frame * np.tan(angles)[..., None, :]) @ np.swapaxes(right, -1, -2), a_star)


def principal_angles(a: Float[Array, "*#batch d r"], a_star: Float[Array, "*#batch d r"]) -> Float[Array, "..."]:
    r"""The principal angles between two spans, the largest first: the arc tangents of T's singular values.

    Args:
        a: a basis of the one span.
        a_star: an orthonormal basis of the other.

    Returns:
        Angles in [0, pi/2), in radians.

    Example:
        >>> float(principal_angles(np.array([[1.0], [1.0]]), np.array([[1.0], [0.0]]))[0].round(12))
        0.785398163397
    """
    return np.arctan(np.linalg.svd(tangents(a, a_star), compute_uv=False))


def population_map(
    tangent: Float[Array, "*batch d r"],
    b_star: Float[Array, "*batch r k"],
    eta: float,
    gradient_factor: GradientFactor,
) -> Float[Array, "*batch d r"]:
    r"""One iteration at infinitely many samples,

    .. math::
        T^+ = T\,(I - f\eta H), \qquad H = \big(M^{-1} + f\eta\,(I - K)\big)^{-1}, \qquad 0 \prec H \preceq M.

    Args:
        tangent: T.
        b_star: B*, of full row rank.

    Returns:
        T after the iteration; at rank 1 the tangent form of ``bounds.population_step``.

    Example:
        >>> population_map(np.array([[0.0], [1.0]]), np.array([[1.0]]), 0.25, 2).ravel().round(12)
        array([0. , 0.6])

    Source: derived in the claim rank-r-population-map.
    """
    eye, step = np.eye(b_star.shape[-2]), gradient_factor * eta
    gram = np.swapaxes(tangent, -1, -2) @ tangent
    rest = gram @ np.linalg.inv(eye + gram)  # I - K, without the cancellation of small angles
    h = np.linalg.inv(np.linalg.inv(b_star @ np.swapaxes(b_star, -1, -2)) + step * rest)
    return tangent @ (eye - step * h)


def local_ratios(singular_values: SingularValues, eta: float, gradient_factor: GradientFactor) -> Float[Array, "r"]:
    r"""The contraction ratios :math:`|1 - f\eta\sigma_j^2|` of T along the left singular vectors of B*, as T -> 0.

    Example:
        >>> local_ratios([2.0, 1.0], 0.125, 2).tolist()
        [0.0, 0.75]
    """
    return np.abs(1 - gradient_factor * eta * np.asarray(singular_values) ** 2)


def best_step(singular_values: SingularValues, gradient_factor: GradientFactor) -> float:
    r"""The step with the smallest local ratio, :math:`\eta = 2 / (f(\sigma_1^2 + \sigma_r^2))`.

    Example:
        >>> best_step([2.0, 1.0], 2)
        0.2
    """
    return 2 / (gradient_factor * (max(singular_values) ** 2 + min(singular_values) ** 2))


def best_ratio(condition: float) -> float:
    r"""The local ratio at ``best_step``, :math:`(k^2 - 1)/(k^2 + 1)` with k the condition number of B*.

    Example:
        >>> best_ratio(2.0)
        0.6
    """
    return (condition**2 - 1) / (condition**2 + 1)


def scaled_step(ensemble: Ensemble, a: Float[Array, "i d r"], eta: float) -> Float[Array, "i d r"]:
    r"""An iteration whose averaged gradient on A is multiplied by :math:`(\bar B\bar B^T)^{-1}` before the step.

    .. math::
        A \leftarrow Q\text{ of } A - \eta\,\Big(\frac1N\sum_i\nabla_A\ell_i(A, \bar B)\Big)(\bar B\bar B^T)^{-1},
        \qquad \bar B = \frac1N\sum_i \arg\min_B \ell_i(A, B)

    Args:
        ensemble: the clients, equally weighted.
        eta: the step, without a unit: the scaling takes away that of B.

    Example:
        >>> a_star, b_star = random_factors(Key(0), 1, 6, 4, [9.0, 1.0])
        >>> a0 = start_at(Key(1), a_star, np.eye(2)[None], np.array([[0.5, 0.2]]))
        >>> bool(np.max(principal_angles(scaled_step(population(a_star, b_star, 2), a0, 0.5), a_star)) < 1e-14)
        True

    Source: defined here, after scaled gradient descent for matrix factorisation.
    """
    server = Layer(a, np.mean(solve_b(ensemble, a[:, None]), axis=1))
    received = Layer(server.A[:, None], server.B[:, None])
    moved = LocalTraining(eta_a=1.0)(ensemble, received, frozenset({"A"})).A
    gradient = np.mean(received.A - moved, axis=1)
    gram = server.B @ np.swapaxes(server.B, -1, -2)
    scaled = np.swapaxes(np.linalg.solve(gram, np.swapaxes(gradient, -1, -2)), -1, -2)
    return retract(Layer(a - eta * scaled, server.B)).A


def scaled_angles(
    angles: Float[Array, "*batch r"], eta: float, gradient_factor: GradientFactor
) -> Float[Array, "*batch r"]:
    r"""The principal angles after ``scaled_step``, :math:`\tan\theta_j^+ = \frac{(1 - f\eta)\tan\theta_j}{1 + f\eta\tan^2\theta_j}`.

    Args:
        angles: theta_j in [0, pi/2).
        gradient_factor: f, with f eta <= 1.

    Returns:
        The angles of the population, in the same order; B* is not in the formula.

    Example:
        >>> float(scaled_angles(np.array([np.pi / 4]), 0.5, 2)[0])
        0.0

    Source: derived in the claim rank-r-scaled-step.
    """
    step, tangent = gradient_factor * eta, np.tan(angles)
    return np.arctan((1 - step) * tangent / (1 + step * tangent**2))
