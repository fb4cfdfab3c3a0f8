r"""The interference is at most the product of the factors' spreads.

**Statement.** :math:`\|\sum_i p_i (A_i - \bar A)(B_i - \bar B)\|_F \le \sqrt{\sum_i p_i \|A_i - \bar A\|_F^2}\,
\sqrt{\sum_i p_i \|B_i - \bar B\|_{op}^2}`.

**Assumptions.** Weights that are not negative and sum to one, by construction; any factors.

**Direction.** Upper, and attained by two clients at opposite points with :math:`B_i - \bar B` proportional to orthonormal
rows, which are among the instances. Over Gaussian factors the median is about half of it.

**Source.** Derived here.

**Derivation.** The triangle inequality, :math:`\|XY\|_F \le \|X\|_F \|Y\|_{op}`, and Cauchy-Schwarz over the weights.

**Control.** The operator norm for both spreads, which is smaller by up to the root of the rank.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.bounds import interference_bound
from theory.verification.claim import EPS, Instance, Instances, Statement, at_most


def _instance(key: Key, number: int, both_operator_norms: bool) -> Instance:
    d, r, k, n = [(12, 3, 9, 2), (20, 4, 16, 5), (8, 8, 8, 20)][number % 3]
    stream = key.fold("instance", number).generator()
    if number % 4 == 0:  # two opposite clients, orthonormal rows of B: the case of equality
        n, p, sign = 2, np.array([0.5, 0.5]), np.array([1.0, -1.0])[:, None, None]
        a = sign * np.linalg.qr(stream.standard_normal((d, r)))[0]
        b = sign * np.linalg.qr(stream.standard_normal((k, r)))[0].T
    else:
        p = stream.dirichlet(np.ones(n))
        a, b = stream.standard_normal((n, d, r)), stream.standard_normal((n, r, k))
    mean_a, mean_b = np.tensordot(p, a, 1), np.tensordot(p, b, 1)
    interference = np.linalg.norm(np.tensordot(p, a @ b, 1) - mean_a @ mean_b)
    bound = interference_bound(list(a), list(b), list(p))
    if both_operator_norms:
        spreads = [np.sum(p * np.linalg.norm(x, ord=2, axis=(1, 2)) ** 2) for x in (a - mean_a, b - mean_b)]
        bound = np.sqrt(spreads[0] * spreads[1])
    return at_most(interference, bound, EPS * (n + r) * bound, f"d={d}, r={r}, k={k}, N={n}")


def check(key: Key) -> Instances:
    """Random factors, and the configuration that reaches equality."""
    return (_instance(key, number, False) for number in range(120))


def control(key: Key) -> Instances:
    """Both spreads in the operator norm."""
    return (_instance(key, number, True) for number in range(120))


CLAIM = Statement(
    source="derived here",
    kind="bound",
    statement="||interference||_F <= sqrt(sum p_i ||A_i - A-bar||_F^2) sqrt(sum p_i ||B_i - B-bar||_op^2), attained",
    convention="none: no loss enters",
)
