r"""A sufficient number of iterations from a random start, against the number in the recalled theorem.

**Statement.** In the population with gradient factor 2 and :math:`\kappa < 1/2`, from :math:`\tan\theta_0 \le \sqrt d`,

.. math::
    T \le \frac{\log\sqrt d}{\log(1 + 2\kappa)} + \frac{\log(1/\epsilon)}{|\log(1 - 2\kappa)|} + C_\kappa + 2,
    \qquad C_\kappa = \frac{\kappa(1 + 2\kappa)^2}{(1 - 2\kappa)(1 + \kappa)\,|\log(1 - 2\kappa)|}

iterations bring delta to :math:`\epsilon < 1`: the dependence on d is logarithmic, not linear.

**Assumptions.** The start, measured: a random one has :math:`E\cos^2\theta_0 = 1/d`, which is :math:`\tan\theta_0 = \sqrt{d - 1}`.

**Direction.** Upper; loose by the additive constant (3.3 at :math:`\kappa = 1/4`), of which about one iteration is used.

**Source.** Derived here; compare T of Theorem 4.5, arXiv 2502.01755v4 (recalled; unverified), with :math:`c = \kappa`.

**Corrected.** Nothing is false in :math:`T \ge \frac{2}{\kappa c_0}\log\frac{\delta_0}{\epsilon}`, but at d = 1000,
:math:`\kappa = 1/4`, :math:`\epsilon` = 1e-6 it is 110,521, where the first two terms above are 28.5.

**Derivation.** With :math:`t = \tan\theta`, :math:`\alpha = 1 - 2\kappa`, :math:`\beta = 1 + 2\kappa` one step is
:math:`t^+ = t\,(t^2 + \alpha)/(\beta t^2 + 1)`. As :math:`\alpha\beta < 1`, :math:`t^+ \le t/\beta` always: at most
:math:`\lceil\log t_0/\log\beta\rceil` steps to :math:`t \le 1`. From there
:math:`t^+/t \le \alpha(1 + 4\kappa^2t^2/\alpha)`, and with :math:`t_k \le \beta^{-k}` the corrections add up to at most
:math:`\frac{4\kappa^2}{\alpha}\sum_k\beta^{-2k} = \frac{\kappa\beta^2}{\alpha(1 + \kappa)}` in the logarithm.

**Control.** The same number without the term in d.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble import isotropic, planted
from theory.linear.fresh_data import angle_path, starts_at, unit_columns
from theory.verification.claim import EPS, Instances, Statement, at_most

KAPPAS, DIMENSIONS, ACCURACIES = (0.02, 0.1, 0.25, 0.4, 0.49), (2, 30, 1000, 10**6), (1e-2, 1e-6, 1e-12)


def recalled(kappa: float, dimension: int, epsilon: float) -> int:
    """The recalled number of iterations, from a random start."""
    return int(np.ceil(2 * dimension / kappa * np.log(np.sqrt(1 - 1 / dimension) / epsilon)))


def enough(kappa: float, dimension: int, epsilon: float) -> float:
    """The first two terms."""
    growth, decay = np.log1p(2 * kappa), -np.log1p(-2 * kappa)
    return float(np.log(dimension) / 2 / growth + np.log(1 / epsilon) / decay)


def _constant(kappa: float) -> float:
    beta, alpha = 1 + 2 * kappa, 1 - 2 * kappa
    return float(kappa * beta**2 / (alpha * (1 + kappa) * -np.log(alpha))) + 2


def check(key: Key, with_dimension: bool = True) -> Instances:
    """Five steps, four dimensions, three accuracies."""
    # The dynamics stay in the plane of a^0 and a*, so two coordinates are enough for every d.
    count, cosines = len(DIMENSIONS), np.array(DIMENSIONS, dtype=float) ** -0.5
    for kappa in KAPPAS:
        a_star = unit_columns(key.fold("a*", repr(kappa)), count, 2)
        a0 = starts_at(key.fold("a0", repr(kappa)), a_star, np.sqrt(1 - cosines**2)[:, None, None])
        data = planted(isotropic(count, 1, 2), a_star, np.ones((count, 1, 1, 1)), 2)
        longest = int(enough(kappa, DIMENSIONS[-1], ACCURACIES[-1]) + _constant(kappa)) + 2
        path = angle_path(data, a0, a_star, kappa, longest)
        for row, dimension in enumerate(DIMENSIONS):
            for epsilon in ACCURACIES:
                reached = path[row] <= epsilon
                first = int(np.argmax(reached)) if np.any(reached) else longest + 1
                stated = enough(kappa, dimension if with_dimension else 1, epsilon) + _constant(kappa)
                where = f"kappa={kappa}, d={dimension}, eps={epsilon:g}, iterations"
                yield at_most(float(first), stated, EPS * stated, where)


def control(key: Key) -> Instances:
    """Without log sqrt(d)."""
    return check(key, with_dimension=False)


CLAIM = Statement(
    source="derived here; compare T of Theorem 4.5, arXiv 2502.01755v4 (recalled; unverified)",
    kind="bound",
    statement="population: log(sqrt d)/log(1+2k) + log(1/eps)/|log(1-2k)| + C_k + 2 iterations are enough (110,521 recalled: 29)",
    convention="loss (1/m)||.||^2, gradient factor 2",
)
