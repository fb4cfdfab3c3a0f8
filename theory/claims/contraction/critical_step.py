r"""At kappa = 1 and gradient factor 2 the convergence is not exponential at all.

**Statement.** With f = 2 and kappa = 1, :math:`\delta_t \sqrt{8t} \to 1`.

**Assumptions.** The population, S_i = I, and :math:`0 < \delta_0^2 \le 3/4`, by construction.

**Direction.** Tight in the limit; :math:`\delta_t \le (8t + \delta_0^{-2})^{-1/2}` is an upper bound at every t.

**Source.** Derived here, for Algorithm 2 of arXiv 2502.01755v4 (detail recalled; unverified).

**Derivation.** :math:`\delta^+ = \delta\,|1 - 2\cos^2\theta|/\sqrt{1 + \sin^2 2\theta}`; with :math:`s = \delta^2`,
:math:`\frac1{s^+} - \frac1s = \frac{8(1 - s)}{(1 - 2s)^2}`, exactly. It is at least 8 for :math:`s \le 3/4`, so s_t falls
like 1/(8t), and it exceeds 8 by :math:`8s(3 - 4s)/(1 - 2s)^2 \to 0`.

**Test.** The least-squares slope of 1/delta^2 against t over the last half of the run. It is an average of the increments
there with positive weights, so it lies between 8 and 8 plus the excess at the first of them, which is the slack.

**Control.** kappa = 0.99, where the convergence is exponential again.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.geometry import angle_distance, start_at
from theory.linear.model import population, random_truth
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import Instances, Statement, equal
from theory.verification.statistics import slope

ITERATIONS, DIMENSION, DELTAS = 400, 4, (0.3, 0.8)


def check(key: Key, kappa: float = 1.0) -> Instances:
    """Two starts at kappa = 1."""
    for delta0 in DELTAS:
        draw = key.fold("delta0", repr(delta0))
        a_star, b_star = random_truth(draw.fold("truth"), DIMENSION, 2)
        model, a0 = population(1, a_star, b_star, 2), start_at(draw.fold("a0"), a_star, delta0)
        run = alt_min_gd(model, a0, kappa / float(b_star @ b_star), ITERATIONS)
        late = np.arange(ITERATIONS // 2, ITERATIONS + 1)
        s = angle_distance(run.a[late], a_star) ** 2
        fit = slope(late.astype(float), 1 / s)
        slack = float(8 * s[0] * (3 - 4 * s[0]) / (1 - 2 * s[0]) ** 2)
        yield equal(fit.estimate, 8.0, slack, f"delta0={delta0}, T={ITERATIONS}, 1/delta^2 a step")


def control(key: Key) -> Instances:
    """kappa = 0.99."""
    return check(key, 0.99)


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4",
    kind="rate",
    statement="population, kappa = 1: delta_t decays like 1/sqrt(8 t), so 1/delta_t^2 grows by 8 an iteration",
    convention="loss (1/m)||.||^2, gradient factor 2",
)
