r"""Label noise and fixed data: the excess risk of Algorithm 2's limit, one share a parameter.

**Statement.** To order sigma^2, with n = N m,

.. math::
    E\,\|a_\infty\bar b^T - a^* b^{*T}\|_F^2 = \sigma^2\Big[\frac{d}{n - d - 1} + \frac{k - 1}{n - 2}
    + k\Big(\frac{1}{N(m - 2)} - \frac{1}{n - 2}\Big)\Big] \approx \sigma^2\,\frac{d + k - 1}{n},

exact for one client, otherwise but for relative terms of size :math:`d/(n m)`.

**Assumptions.** Equal m > 2, equal b_i*, n > d + 1, sigma -> 0; convergence. By construction.

**Direction.** Tight.

**Source.** Derived here.

**Derivation.** Along :math:`a^* \times (b^*)^\perp` the error is that of the clients' regressions on :math:`X_i a^*` alone:
1/(N(m-2)) in each of k - 1 directions. In the d directions :math:`\mathbb{R}^d \times b^*` one client's limit is the regression of
one output on all d inputs, of covariance :math:`(X^T X)^{-1}`, mean trace d/(n - d - 1). With N clients the first kind pays for
the clients' own 1/S_i,aa, and so does a* x b*: k directions. a itself pays less (claim ``noise-efficiency``).

**Test.** The mean over draws of the ratio, Student's interval, plus d/(n m) for N > 1.

**Control.** The d k parameters of a fit of full rank.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble import draw_noisy
from theory.linear.ensemble_rounds import alt_min_gd, solve_b
from theory.linear.label_noise import product_risk
from theory.verification.claim import Instances, Statement, equal_mean

SIZES = [(1, 60, 6, 3), (4, 15, 6, 3), (6, 12, 4, 5)]  # N, m, d, k
NOISE, KAPPA, DRAWS, ITERATIONS = 1e-4, 0.4, 2000, 50


def check(key: Key, full_rank: bool = False) -> Instances:
    """One client and several with few rows."""
    for n, m, d, k in SIZES:
        a_star = np.broadcast_to(np.eye(d)[:, :1], (DRAWS, d, 1))
        b_star = np.full((DRAWS, n, 1, k), 1 / np.sqrt(k))
        data = draw_noisy(key.fold("data", n), m, a_star, b_star, NOISE, 2)
        a = alt_min_gd(data, a_star, KAPPA, ITERATIONS, DRAWS).a[:, -1]
        b = np.mean(solve_b(data, a[:, None]), axis=1)
        risk = product_risk(NOISE, d, k, n, m)
        predicted = risk * d * k / (d + k - 1) if full_rank else risk
        share = np.sum((a @ b - a_star @ b_star[:, 0]) ** 2, axis=(-2, -1)) / predicted
        yield equal_mean(share, 1.0, f"N={n}, m={m}, d={d}, k={k}", beyond=d / (n * m * m) if n > 1 else 0.0)


def control(key: Key) -> Instances:
    """Every entry of a d x k matrix counted as a parameter."""
    return check(key, full_rank=True)


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4 with label noise",
    kind="measurement",
    statement="label noise, fixed data: ||a b-bar^T - a* b*^T||^2 has the mean sigma^2 (d + k - 1)/n, with its exact n, d, N",
    convention="any: the fixed point does not depend on the factor (checked at 2)",
)
