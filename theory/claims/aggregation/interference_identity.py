r"""Averaging both factors misses the factors' covariance over the clients.

**Statement.** With weighted means A-bar and B-bar,

.. math::
    \sum_i p_i A_i B_i - \bar A \bar B = \sum_i p_i (A_i - \bar A)(B_i - \bar B).

**Assumptions.** The weights sum to one, by construction; any factors.

**Direction.** Tight: an identity.

**Source.** arXiv 2502.01755v4, Eqs. 1-2 (as quoted elsewhere), made an identity here.

**Derivation.** Expand the right-hand side. The two mixed sums are :math:`\bar A \bar B` each, because the weights sum to
one, and the last sum is :math:`\bar A \bar B` again: one of the three survives, with a minus.

**Control.** The same with equal weights on the right, while the clients' weights differ.
"""

import numpy as np

from rolora.keys import Key
from theory.verification.claim import EPS, Instances, Statement, equal_arrays

SHAPES = [(12, 2, 7, 3), (30, 4, 20, 10), (5, 5, 5, 50), (40, 1, 60, 2)]  # d, r, k, N


def check(key: Key, right_hand_weights: str = "the clients'") -> Instances:
    """Random factors of four shapes, weights drawn from the simplex."""
    for number in range(100):
        d, r, k, n = SHAPES[number % len(SHAPES)]
        stream = key.fold("instance", number).generator()
        a, b = stream.standard_normal((n, d, r)), stream.standard_normal((n, r, k))
        p = stream.dirichlet(np.ones(n))
        q = p if right_hand_weights == "the clients'" else np.full(n, 1 / n)
        mean_a, mean_b = np.tensordot(p, a, 1), np.tensordot(p, b, 1)
        left = np.tensordot(p, a @ b, 1) - mean_a @ mean_b
        right = np.tensordot(q, (a - mean_a) @ (b - mean_b), 1)
        # Rounding of a sum of N products of length r, at the size of the terms, before they cancel.
        size = (n + r) * np.sum(p * np.linalg.norm(a, axis=(1, 2)) * np.linalg.norm(b, axis=(1, 2)))
        yield equal_arrays(left, right, EPS * size, f"d={d}, r={r}, k={k}, N={n}")


def control(key: Key) -> Instances:
    """Equal weights on the right-hand side only."""
    return check(key, "equal")


CLAIM = Statement(
    source="arXiv 2502.01755v4, Eqs. 1-2; derived here",
    kind="identity",
    statement="sum p_i A_i B_i - A-bar B-bar = sum p_i (A_i - A-bar)(B_i - B-bar), any weights that sum to one",
    convention="none: no loss enters",
)
