r"""The asymptotic rate of Algorithm 2.

**Statement.** :math:`\delta_{t+1}/\delta_t \to |1 - f\kappa|` as delta -> 0.

**Assumptions.** The population, S_i = I, and :math:`f\kappa < 2`, by construction. At :math:`f\kappa = 1` the limit is 0
(claim ``cubic-convergence``), at 2 it is 1 (claim ``critical-step``), and beyond there is no convergence (claim
``beyond-critical-step``).

**Direction.** Tight, in the limit; at larger angles the ratio is given by the population map.

**Source.** Derived here, for Algorithm 2 of arXiv 2502.01755v4 (detail recalled; unverified).

**Derivation.** Linearise the population map at theta = 0. Exactly,
:math:`\delta^+/\delta = |1 - f\kappa(1 - \delta^2)|/\sqrt{1 + f^2\kappa^2\delta^2(1 - \delta^2)}`, which differs from the
limit by at most :math:`(f\kappa + f^2\kappa^2/2)\,\delta^2` for :math:`f\kappa \le 2`.

**Test.** The slope of log delta_t against t, with its interval, plus that remainder at the largest delta, and rounding at
the smallest.

**Control.** The claimed factor :math:`\sqrt{1 - \kappa c_0}`, an upper bound, taken for the rate itself.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.bounds import contraction, local_ratio
from theory.linear.geometry import angle_distance, start_at
from theory.linear.model import GradientFactor, population, random_truth
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import EPS, Instances, Statement, equal
from theory.verification.statistics import slope

DELTA0, DIMENSION, SMALLEST = 1e-4, 5, 1e-9
CASES: list[tuple[float, GradientFactor]] = [
    (0.05, 2), (0.1, 2), (0.25, 2), (0.4, 2), (0.7, 2), (0.9, 2), (0.3, 1), (1.3, 1),
]  # fmt: skip


def check(key: Key, claimed_bound: bool = False) -> Instances:
    """Eight steps in both conventions."""
    for kappa, factor in CASES:
        draw = key.fold("kappa", repr(kappa), "f", factor)
        a_star, b_star = random_truth(draw.fold("truth"), DIMENSION, 3)
        a0 = start_at(draw.fold("a0"), a_star, DELTA0)
        model = population(1, a_star, b_star, factor)
        deltas = angle_distance(alt_min_gd(model, a0, kappa / float(b_star @ b_star), 60).a, a_star)
        used = deltas[deltas > SMALLEST]
        fit = slope(np.arange(used.shape[0], dtype=float), np.log(used))
        step, ratio = factor * kappa, local_ratio(kappa, factor)
        rate = contraction(kappa, 1 - DELTA0**2) if claimed_bound and kappa < 1 else ratio
        slack = fit.half_width + ((step + step**2 / 2) * DELTA0**2 + EPS * DIMENSION / SMALLEST) / ratio
        yield equal(fit.estimate, float(np.log(rate)), slack, f"kappa={kappa}, f={factor}, log delta a step")


def control(key: Key) -> Instances:
    """The claimed upper bound as the rate."""
    return check(key, claimed_bound=True)


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4",
    kind="rate",
    statement="population: delta_(t+1) / delta_t tends to |1 - f kappa| as delta tends to 0",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
