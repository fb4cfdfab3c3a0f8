r"""Alternating least squares is exact after one iteration on homogeneous data without noise.

**Statement.** If both steps are exact, heads are equal and every S_i is invertible (m >= d), then
:math:`A^1 B^1 = A^*B^*` after one B-round and one A-round, at every rank, from every A^0 whose averaged b-step
:math:`\bar R = \frac1N\sum_i (A^TS_iA)^{-1}A^TS_iA^*` is invertible.

**Assumptions.** By construction; m >= d and the condition number of R-bar are measured per instance.

**Direction.** Tight.

**Source.** Derived here.

**Derivation.** :math:`\bar B = \bar R B^*` whatever the data. Then client i solves
:math:`A_i = S_i^{-1}C_i\bar B^T(\bar B\bar B^T)^{-1} = A^*M\bar R^T(\bar R M\bar R^T)^{-1} = A^*\bar R^{-1}`, where
:math:`M = B^*B^{*T}`: S_i has cancelled, all clients agree, and :math:`A_i\bar B = A^*B^*`. With m < d the minimiser is not
unique. A start orthogonal to A* is no obstacle on finite data, where R-bar is not zero there; in the population it is.

The linear model is thus solved in two rounds: it says nothing about the number of rounds that training needs elsewhere.

**Control.** Heads that differ between clients, with the mean head for B*.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.ensemble import draw_moments, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.linear.rank_r import random_factors
from theory.verification.claim import EPS, Instances, Statement, equal_arrays

CLIENTS, OUTPUTS, INSTANCES, DIMENSION = 4, 5, 12, 8
SIZES = [(1, 8), (1, 12), (2, 10), (3, 40)]  # r, m
BOTH = LocalTraining(eta_a=0.0, exact=frozenset({"A", "B"}))


def _instances(key: Key, rank: int, samples: int, spread: float) -> Instances:
    sigma = np.linspace(2.0, 1.0, rank)
    a_star, b_mean = random_factors(key.fold("truth"), INSTANCES, DIMENSION, OUTPUTS, sigma)
    shifts = spread * key.fold("heads").generator().standard_normal((INSTANCES, CLIENTS, rank, OUTPUTS))
    heads = b_mean[:, None] + shifts - np.mean(shifts, axis=1, keepdims=True)
    moments, _ = draw_moments(key.fold("data"), INSTANCES, CLIENTS, samples, DIMENSION)
    a0, _ = random_factors(key.fold("a0"), INSTANCES, DIMENSION, rank, sigma)
    # Every third start is orthogonal to A*.
    a0[::3] = np.linalg.qr(np.concatenate([a_star, a0], axis=-1))[0][::3, :, rank:]
    start = Layer(a0, np.zeros_like(b_mean))
    first, second = rounds(planted(moments, a_star, heads, 2), ALGORITHMS["rolora"](), start, BOTH, 2, retracted=True)
    for i in range(INSTANCES):
        # What each of the three solves loses: the conditions of A^T S_i A, of B-bar B-bar^T and of S_i.
        gram, condition = a0[i].T @ moments[i] @ a0[i], np.linalg.cond(first.B[i])
        inverse = np.linalg.norm(np.linalg.inv(gram), 2, axis=(1, 2)) * np.linalg.norm(moments[i], 2, axis=(1, 2))
        size = np.max(np.linalg.cond(gram) * inverse) * condition**2 * np.max(np.linalg.cond(moments[i]))
        size = DIMENSION * float(size) * max(1.0, sigma[0] / np.linalg.norm(first.B[i], -2)) * sigma[0]
        where = f"r={rank}, m={samples}, instance {i}"
        met = bool(samples >= DIMENSION and condition < 1e6)
        yield equal_arrays(second.update[i], a_star[i] @ b_mean[i], EPS * size, where, met)


def check(key: Key, sizes: list[tuple[int, int]] = SIZES, spread: float = 0.0) -> Instances:
    """Ranks 1 to 3, from m = d on; every third start orthogonal to A*."""
    return (i for n, size in enumerate(sizes) for i in _instances(key.fold("size", n), *size, spread))


def control(key: Key) -> Instances:
    """Different heads of the same mean."""
    return check(key, SIZES[2:], 0.3)


CLAIM = Statement(
    source="derived here; alternating least squares in the place of Algorithm 2, arXiv 2502.01755v4",
    kind="identity",
    statement="homogeneous, noiseless, m >= d: exact A- and B-steps give A B = A* B* after one iteration, at every rank",
    convention="none: a minimiser does not depend on the loss's scale",
)
