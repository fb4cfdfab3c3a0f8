r"""On fixed finite data, Algorithm 2 converges at the rate of a matrix that the data determine.

**Statement.** With suffixes a, p for the direction a* and its orthogonal space, the local rate is the spectral radius of
:math:`J = I - f\kappa\big(S_{pp} - S_{pa}\,\frac1N\sum_i S_{i,ap}/S_{i,aa}\big)`.

**Assumptions.** Equal heads, by construction. A spectral radius below 1, and for the test real eigenvalues; measured on
each data set.

**Direction.** Tight, to first order at a*.

**Source.** Derived here, for Algorithm 2 of arXiv 2502.01755v4 (detail recalled; unverified).

**Derivation.** At :math:`a = a^* + h`, h orthogonal to a*, the b-step gives to first order
:math:`\bar\rho = 1 - \frac1N\sum_i h^T S_{i,pa}/S_{i,aa}`. The gradient is :math:`f\|b^*\|^2 S(h - (1 - \bar\rho)a^*)`, of
which the part orthogonal to a* moves h. What is left out is at most :math:`9 f\kappa\|S\|R^2\delta^2` an iteration,
:math:`R = \max_i \|S_i\|/S_{i,aa}`: :math:`4R^2` from rho, :math:`R + R^2` from its factor on the gradient, R from a - a*
and 2R from normalising.

**Test.** The slope of log delta_t against t, d = 3, from a start along the leading eigenvector. Slack is the slope's
interval, rounding at the smallest angle, and what the terms left out add up to in the eigenbasis: with r_t of them,
:math:`y_t = \lambda^t(y_0 + \sum_k \lambda^{-k-1} r_k)`, so at most :math:`\delta_0/(\lambda(1 - \lambda))` times their
constant and the basis's condition number.

**Control.** The population's rate :math:`|1 - f\kappa|`.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.bounds import local_matrix, local_ratio
from theory.linear.geometry import angle_distance, normalise
from theory.linear.model import random_truth, sample
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import EPS, Instance, Instances, Statement, equal
from theory.verification.statistics import slope

CLIENTS, SAMPLES, DIMENSION, KAPPA, ITERATIONS = 2, 18, 3, 0.15, 20
DELTA0, SMALLEST = 1e-6, 1e-11


def _instance(key: Key, of_the_population: bool) -> Instance:
    a_star, b_star = random_truth(key.fold("truth"), DIMENSION, 2)
    model = sample(key.fold("data"), CLIENTS, SAMPLES, a_star, b_star, 2)
    eigenvalues, vectors = np.linalg.eig(local_matrix(model, KAPPA))
    largest = int(np.argmax(np.abs(eigenvalues)))
    radius = float(np.abs(eigenvalues[largest]))
    met = bool(np.isrealobj(eigenvalues) and radius < 1 and DELTA0 * radius**ITERATIONS > SMALLEST)
    if not met:
        return equal(0.0, 0.0, EPS, "not counted", met=False)
    # In the basis of local_matrix, so that the start lies along the leading eigenvector and nothing has to die out.
    direction = np.linalg.svd(a_star[:, None])[0][:, 1:] @ vectors[:, largest]
    a0 = normalise(a_star + DELTA0 * direction)
    deltas = angle_distance(alt_min_gd(model, a0, KAPPA / float(b_star @ b_star), ITERATIONS).a, a_star)
    fit = slope(np.arange(deltas.shape[0], dtype=float), np.log(deltas))
    diagonal = np.einsum("i,nij,j->n", a_star, model.moments, a_star)
    largest_share = float(np.max(np.linalg.norm(model.moments, 2, axis=(1, 2)) / diagonal))  # R
    left_out = 9 * 2 * KAPPA * np.linalg.norm(np.mean(model.moments, axis=0), 2) * largest_share**2
    second = left_out * np.linalg.cond(vectors) * DELTA0 / (radius * (1 - radius))
    slack = float(fit.half_width + second + EPS * DIMENSION / SMALLEST)
    rate = local_ratio(KAPPA, 2) if of_the_population else radius
    return equal(fit.estimate, float(np.log(rate)), slack, f"radius {radius:.3f}, log delta a step", met)


def check(key: Key) -> Instances:
    """Sixty data sets, of which those with real eigenvalues and a radius below 1 count."""
    return (_instance(key.fold("instance", number), False) for number in range(60))


def control(key: Key) -> Instances:
    """The population's rate."""
    return (_instance(key.fold("instance", number), True) for number in range(20))


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4",
    kind="rate",
    statement="fixed data: local rate = spectral radius of I - f kappa (S_pp - S_pa mean_i(S_i,ap / S_i,aa))",
    convention="loss (1/m)||.||^2, gradient factor 2",
)
