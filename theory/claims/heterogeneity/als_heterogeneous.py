r"""With different heads and no label noise, alternating least squares has no floor: the span is exact after one iteration.

**Statement.** If every S_i is invertible and both steps are exact, then after one iteration the span of A is that of A*,
whatever the B_i* are, and after the next B-round :math:`A\bar B = A^*\bar B^*`, exactly, for every N and m >= d.

**Assumptions.** No label noise, by construction; m >= d, and :math:`\bar B^*\bar B^T` and B-bar of full rank (conditions
below 1e6), measured per instance.

**Direction.** Tight.

**Source.** Derived here.

**Derivation.** Client i solves :math:`A_i = S_i^{-1}C_i\bar B^T(\bar B\bar B^T)^{-1} = A^*\,B_i^*\bar B^T(\bar B\bar B^T)^{-1}`:
its minimiser lies in the span of A* for every head, because its own data cancel. So does the mean,
:math:`A^*\,\bar B^*\bar B^T(\bar B\bar B^T)^{-1}`. From A = A* R^{-1} each client solves :math:`B_i = R B_i^*`, and the mean is
:math:`R\bar B^*`.

One gradient step a round does not have this: averaged over clients, the parts of S_i across a* stay in its fixed point
(claim heterogeneous-floor). Exact local steps remove the floor of heterogeneity, at a price in label noise (claim
als-label-noise).

**Control.** Algorithm 2 with one gradient step on A, run until it no longer moves.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.keys import Key
from theory.linear.ensemble import draw_moments, planted
from theory.linear.ensemble_rounds import LocalTraining, alternate, subspace_distance
from theory.linear.rank_r import random_factors
from theory.verification.claim import EPS, Instances, Statement, equal, equal_arrays

CLIENTS, OUTPUTS, INSTANCES, DIMENSION = 4, 5, 12, 8
SIZES = [(1, 8), (1, 30), (2, 12), (3, 40)]  # r, m
BOTH = LocalTraining(eta_a=0.0, exact=frozenset({"A", "B"}))


def _instances(key: Key, rank: int, samples: int, training: LocalTraining, iterations: int) -> Instances:
    a_star, b_mean = random_factors(key.fold("truth"), INSTANCES, DIMENSION, OUTPUTS, np.linspace(2.0, 1.0, rank))
    heads = b_mean[:, None] + 0.5 * key.fold("heads").generator().standard_normal((INSTANCES, CLIENTS, rank, OUTPUTS))
    b_mean = np.mean(heads, axis=1)
    moments, _ = draw_moments(key.fold("data"), INSTANCES, CLIENTS, samples, DIMENSION)
    a0, _ = random_factors(key.fold("a0"), INSTANCES, DIMENSION, rank, np.ones(rank))
    # One iteration more than it takes, for the B-round that belongs to the last A.
    run = alternate(planted(moments, a_star, heads, 2), Layer(a0, np.zeros_like(b_mean)), training, iterations + 1)
    for i in range(INSTANCES):
        a, b, first = run.a[i, -2], run.b[i, -1], run.b[i, 0]
        # The A-step solves with S_i and with B-bar B-bar^T; its mean is then orthonormalised.
        conditions = (np.linalg.cond(first), np.linalg.cond(b_mean[i] @ first.T))
        size = DIMENSION * np.max(np.linalg.cond(moments[i])) * conditions[0] ** 2 * conditions[1]
        spread = float(np.max(np.linalg.norm(heads[i], axis=(1, 2)) / np.linalg.norm(b_mean[i] @ first.T, -2)))
        size = EPS * float(size) * max(1.0, spread * float(np.linalg.norm(first)))
        where, met = f"r={rank}, m={samples}, instance {i}", bool(samples >= DIMENSION and max(conditions) < 1e6)
        yield equal(float(subspace_distance(a, a_star[i])), 0.0, size, f"sine, {where}", met)
        slack = 2 * size * float(np.max(np.linalg.norm(heads[i], axis=(1, 2))) * np.max(np.linalg.cond(moments[i])))
        yield equal_arrays(a @ b, a_star[i] @ b_mean[i], slack, f"product, {where}", met)


def check(key: Key) -> Instances:
    """Ranks 1 to 3, one iteration, from m = d on."""
    return (i for n, size in enumerate(SIZES) for i in _instances(key.fold("size", n), *size, BOTH, 1))


def control(key: Key) -> Instances:
    """One gradient step a round."""
    return _instances(key, 1, 30, LocalTraining(eta_a=0.03), 60)


CLAIM = Statement(
    source="derived here; alternating least squares in the place of Algorithm 2, arXiv 2502.01755v4",
    kind="identity",
    statement="any heads, noiseless, m >= d: exact steps find the span of A* in one iteration, then A B-bar = A* B-bar*",
    convention="none: a minimiser does not depend on the loss's scale",
)
