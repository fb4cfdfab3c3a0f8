r"""Label noise and fixed data: the angle at which Algorithm 2 stops.

**Statement.** With labels :math:`Y_i = X_i a^* b^{*T} + \sigma Z_i`, to order sigma^2 and exact in d, N and m but for a
relative :math:`\frac{2(1 - 1/N)}{(m - 2)(Nm - d - 3)}`,

.. math::
    E\,\delta_\infty^2 = \frac{\sigma^2}{\|b^*\|^2}\,\frac{d - 1}{Nm - d - 1},

to first order in d/(Nm) :math:`(\sigma^2/\|b^*\|^2)(d - 1)/(Nm)`, whatever the step size.

**Assumptions.** Equal m, the same b*, N m > d + 1, convergence (measured: counted if the last iterations move nothing), by
construction the rest.

**Direction.** Tight, in the limit sigma -> 0 that is taken here.

**Source.** Derived here.

**Derivation.** ``theory.linear.label_noise``: the fixed point regresses the noise on the inputs orthogonal to a* after projecting out
:math:`X_i a^*`, obliquely for N > 1. For one client the projection is orthogonal, so the covariance is sigma^2/||b*||^2 times
the inverse of a Wishart matrix of dimension d - 1 with n - 1 degrees of freedom, of mean 1/(n - d - 1). The noise of the
b-step enters only times :math:`S_{pa}`: this is what makes the degrees of freedom n - 1 instead of n.

**Test.** The mean over draws of data and noise, over its prediction; the slack is Student's interval plus twice the relative
term left out.

**Control.** A client's own m in the place of the pooled N m.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble import Ensemble, draw_noisy
from theory.linear.ensemble_rounds import alt_min_gd, subspace_distance
from theory.linear.label_noise import averaging_excess, statistical_floor
from theory.verification.claim import Instances, Statement, equal
from theory.verification.statistics import mean_interval

SIZES = [(1, 60, 6), (4, 15, 6), (3, 40, 9)]  # N, m, d
NOISE, LENGTH, KAPPA, OUTPUTS, DRAWS, ITERATIONS = 1e-4, 1.5, 0.4, 2, 3000, 60


def _squares(data: Ensemble, a_star: np.ndarray) -> np.ndarray:
    """delta^2 of the last iterates; the last one stands for the limit."""
    a = alt_min_gd(data, a_star, KAPPA / LENGTH**2, ITERATIONS, DRAWS).a[:, -11:]
    return subspace_distance(a, np.broadcast_to(a_star[:, None], a.shape)) ** 2


def check(key: Key, pooled: bool = True) -> Instances:
    """One client and several, n of order ten times d."""
    for n, m, d in SIZES:
        a_star = np.broadcast_to(np.eye(d)[:, :1], (DRAWS, d, 1))
        b_star = np.full((DRAWS, n, 1, OUTPUTS), LENGTH / np.sqrt(OUTPUTS))
        data = draw_noisy(key.fold("data", n), m, a_star, b_star, NOISE, 2)
        deltas = _squares(data, a_star)
        moved = abs(np.mean(deltas[:, -1]) / np.mean(deltas[:, 0]) - 1)
        interval = mean_interval(deltas[:, -1] / statistical_floor(NOISE, LENGTH, d, (n if pooled else 1) * m))
        slack = interval.half_width + 2 * averaging_excess(d, n, m)
        where = f"N={n}, m={m}, d={d}, {DRAWS} draws, +-{interval.half_width:.2g}"
        yield equal(interval.estimate, 1.0, slack, where, met=bool(moved < 1e-3 and (pooled or n > 1)))


def control(key: Key) -> Instances:
    """Without the number of clients."""
    return check(key, pooled=False)


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4 with label noise",
    kind="measurement",
    statement="label noise, fixed data: E delta_inf^2 = (sigma^2/||b*||^2) (d-1)/(Nm-d-1) (measured: ratio)",
    convention="any: the fixed point does not depend on the factor (checked at 2)",
)
