r"""On homogeneous data without noise, K local steps leave no floor: the truth is a fixed point for every K.

**Statement.** With equal heads and no label noise :math:`(a^*, b^*)` is a fixed point of RoLoRA's rounds with K local
gradient steps on A, whatever K and the data are, with exact B-steps and with K gradient steps on B; and where the spectral
radius of :math:`\bar W_{pp} - \bar W_{pa}l^T` is below 1, delta tends to 0, not to a floor of the drift.

**Assumptions.** Equal heads, by construction. The radius is measured: counted are data where it is below 0.5, so that T
iterations leave less than rounding.

**Direction.** Tight.

**Source.** Derived here; client drift in local SGD has a floor in general, but only where the clients' optima differ.

**Derivation.** In an A-round client i ends at :math:`a^*/\bar\rho + W_i(a - a^*/\bar\rho)` with
:math:`W_i = (I - f\eta\|\bar b\|^2S_i)^K` and :math:`\bar b = \bar\rho b^*`: all clients are drawn to the same point. At
a = a* the b-step gives :math:`\bar\rho = 1`, and nothing moves. At :math:`a = a^* + h`,
:math:`\bar\rho = 1 - l^Th + O(h^2)` with :math:`l = \frac1N\sum_i S_{i,pa}/S_{i,aa}`, so
:math:`a - a^*/\bar\rho = h - (l^Th)a^*` and :math:`h^+ = (\bar W_{pp} - \bar W_{pa}l^T)h`.

**Control.** Heads that differ between clients: the clients' optima for A at a common b-bar differ, and drift has a floor.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.keys import Key
from theory.linear.ensemble import draw_moments, planted
from theory.linear.ensemble_rounds import LocalTraining, alternate, subspace_distance
from theory.linear.local_steps import local_steps_matrix
from theory.linear.rank_r import random_factors, start_at
from theory.verification.claim import EPS, Instances, Statement, equal

CLIENTS, SAMPLES, DIMENSION, OUTPUTS, INSTANCES, STEP, ITERATIONS = 3, 30, 5, 3, 10, 0.3, 60  # STEP is f eta ||b*||^2
LOCAL_STEPS, DELTA0 = (2, 5, 20), 0.5


def _instances(key: Key, local_steps: int, exact: bool, spread: float) -> Instances:
    a_star, b_star = random_factors(key.fold("truth"), INSTANCES, DIMENSION, OUTPUTS, [1.0])
    heads = b_star[:, None] + spread * key.fold("heads").generator().standard_normal((INSTANCES, CLIENTS, 1, OUTPUTS))
    moments, _ = draw_moments(key.fold("data"), INSTANCES, CLIENTS, SAMPLES, DIMENSION)
    a0 = start_at(key.fold("a0"), a_star, np.ones((1, 1, 1)), np.full((1, 1), np.arcsin(DELTA0)))
    training = LocalTraining(STEP / 2, STEP / 2, local_steps, frozenset({"B"} if exact else ()))
    starts = (a_star, a0) if exact else (a_star,)
    for name, start in zip(("the truth", f"delta0={DELTA0}"), starts, strict=False):
        run = alternate(planted(moments, a_star, heads, 2), Layer(start, b_star), training, ITERATIONS)
        delta = subspace_distance(run.a[:, -1], a_star)
        for i in range(INSTANCES):
            matrix = local_steps_matrix(moments[i], a_star[i, :, 0], STEP, local_steps)
            radius = float(np.max(np.abs(np.linalg.eigvals(matrix))))
            # Every iteration adds rounding of K local steps and contracts what came before.
            slack = EPS * DIMENSION * local_steps / (1 - radius) if radius < 1 else EPS
            where = f"from {name}, K={local_steps}, exact B: {exact}, radius {radius:.2f}, delta after {ITERATIONS}"
            yield equal(float(delta[i]), 0.0, slack, where, met=radius < 0.5)


def check(key: Key, spread: float = 0.0) -> Instances:
    """Equal heads, K from 2 to 20, from the truth and from afar, B exactly and by K gradient steps."""
    cases = [(count, exact) for count in LOCAL_STEPS for exact in (True, False)]
    return (i for n, case in enumerate(cases) for i in _instances(key.fold("case", n), *case, spread))


def control(key: Key) -> Instances:
    """Different heads."""
    return check(key, 0.3)


CLAIM = Statement(
    source="derived here; K local steps in the place of Algorithm 2's one, arXiv 2502.01755v4",
    kind="identity",
    statement="equal heads, noiseless: with K local steps delta tends to 0 for every K, there is no floor of client drift",
    convention="loss (1/m)||.||^2, gradient factor 2; the fixed point does not depend on it",
)
