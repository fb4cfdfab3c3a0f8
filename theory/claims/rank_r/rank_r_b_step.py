r"""The exact b-step at rank r, and the product's error after it.

**Statement.** With :math:`P = (I - A A^T) A^*` and :math:`E_i = (A^T S_i A)^{-1} A^T S_i P`,

.. math::
    B_i = (A^T A^* + E_i)\,B^*, \qquad \|A\bar B - A^* B^*\|_F^2 = \|P B^*\|_F^2 + \|\bar E B^*\|_F^2,

and in the population :math:`\bar B = A^T A^* B^*`.

**Assumptions.** A orthonormal, heads equal, m >= r: by construction. A may depend on the data: the iterates of Algorithm 2.

**Direction.** Tight.

**Source.** Derived here; at rank 1 it is :math:`\delta^2(1 + \bar\xi^2)\|b^*\|^2`, the claim product-error.

**Derivation.** The normal equations are :math:`A^T S_i A\,B_i = A^T S_i A^* B^*`, and :math:`A^* = A\,A^T A^* + P`. Hence
:math:`A\bar B - A^* B^* = A \bar E B^* - P B^*`, two terms with orthogonal column spaces. With S_i = I,
:math:`E_i = A^T P = 0`.

The left side comes from RoLoRA's rounds, on few samples, on many and on S_i = I.

**Control.** Heads that differ between clients, with their mean in the place of B*.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble import draw_moments, isotropic, planted
from theory.linear.ensemble_rounds import alt_min_gd
from theory.linear.rank_r import random_factors
from theory.verification.claim import EPS, Instances, Statement, equal, equal_arrays

CLIENTS, OUTPUTS, INSTANCES, ITERATIONS = 4, 5, 12, 3
SIZES = [(1, 3, 8), (2, 4, 8), (3, 20, 8), (3, None, 12)]  # r, m (None: the population), d


def _instances(key: Key, rank: int, samples: int | None, dimension: int, spread: float) -> Instances:
    sigma = np.linspace(2.0, 1.0, rank)
    a_star, b_mean = random_factors(key.fold("truth"), INSTANCES, dimension, OUTPUTS, sigma)
    shifts = spread * key.fold("heads").generator().standard_normal((INSTANCES, CLIENTS, rank, OUTPUTS))
    heads = b_mean[:, None] + shifts - np.mean(shifts, axis=1, keepdims=True)
    moments = isotropic(INSTANCES, CLIENTS, dimension)
    if samples is not None:
        moments, _ = draw_moments(key.fold("data"), INSTANCES, CLIENTS, samples, dimension)
    a0, _ = random_factors(key.fold("a0"), INSTANCES, dimension, rank, sigma)
    runs = alt_min_gd(planted(moments, a_star, heads, 2), a0, 0.02, ITERATIONS)
    for (i, t), b in np.ndenumerate(np.empty((INSTANCES, ITERATIONS))):
        a, b = runs.a[i, t], runs.b[i, t]
        rest = a_star[i] - a @ (a.T @ a_star[i])
        gram = a.T @ moments[i] @ a
        noise = np.mean(np.linalg.solve(gram, a.T @ moments[i] @ rest), axis=0)
        # A solution is known to rounding times the condition number of its matrix and its own length.
        lengths = np.linalg.norm(moments[i], 2, axis=(1, 2)) * np.linalg.norm(np.linalg.inv(gram), 2, axis=(1, 2))
        size = dimension * np.max(np.linalg.cond(gram) * lengths) * np.linalg.norm(heads[i], axis=(1, 2)).max()
        where = f"r={rank}, m={samples}, iteration {t}"
        yield equal_arrays(b, (a.T @ a_star[i] + noise) @ b_mean[i], EPS * size, f"B-bar, {where}")
        error = np.linalg.norm(a @ b - a_star[i] @ b_mean[i])
        predicted = np.hypot(np.linalg.norm(rest @ b_mean[i]), np.linalg.norm(noise @ b_mean[i]))
        yield equal(error, predicted, EPS * size, f"product, {where}")


def check(key: Key, spread: float = 0.0) -> Instances:
    """Equal heads."""
    return (i for number, size in enumerate(SIZES) for i in _instances(key.fold("size", number), *size, spread))


def control(key: Key) -> Instances:
    """Different heads of the same mean."""
    return check(key, 0.3)


CLAIM = Statement(
    source="derived here; rank r of Algorithm 2, arXiv 2502.01755v4",
    kind="identity",
    statement="B-bar = (A^T A* + E-bar) B*; ||A B-bar - A* B*||_F^2 = ||(I - A A^T) A* B*||_F^2 + ||E-bar B*||_F^2",
    convention="none: a minimiser does not depend on the loss's scale",
)
