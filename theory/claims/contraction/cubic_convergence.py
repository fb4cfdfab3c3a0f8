r"""At the best step, kappa = 1/2 with gradient factor 2, the convergence is cubic.

**Statement.** With :math:`f\kappa = 1`, :math:`\delta^+ = \delta^3/\sqrt{1 + \delta^2 - \delta^4}`, so
:math:`\delta_{t+1}/\delta_t^3 \to 1`.

**Assumptions.** The population, S_i = I, and :math:`0 < \delta_0 < 1`, by construction. On finite data the local ratio is of
the order of ||S - I|| instead (claim ``fixed-data-rate``): cubic convergence is the population's alone.

**Direction.** Tight: an identity at every angle.

**Source.** Derived here, for Algorithm 2 of arXiv 2502.01755v4 (detail recalled; unverified).

**Derivation.** The population map has
:math:`\delta^+ = \delta\,|1 - f\kappa(1 - \delta^2)|/\sqrt{1 + f^2\kappa^2\delta^2(1 - \delta^2)}`; at :math:`f\kappa = 1` the
numerator is :math:`\delta^2`. It is the one step whose linear term vanishes, as the local ratio is :math:`|1 - f\kappa|`.

**Control.** kappa two per cent smaller, where the convergence is linear again.
"""

from itertools import pairwise

import numpy as np

from rolora.keys import Key
from theory.linear.geometry import angle_distance, start_at
from theory.linear.model import GradientFactor, population, random_truth
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import EPS, Instances, Statement, equal

DELTAS, DIMENSION, ITERATIONS = (0.1, 0.5, 0.8, 0.95, 0.99), 6, 8
SMALLEST = 1e-12  # of delta^3; far above the rounding of an angle, so that agreement is not that of two zeros


def check(key: Key, step: float = 1.0) -> Instances:
    """Five starts in both conventions, every iterate whose successor is far above rounding."""
    cases: list[tuple[float, GradientFactor]] = [(delta0, factor) for delta0 in DELTAS for factor in (1, 2)]
    for delta0, factor in cases:
        draw = key.fold("delta0", repr(delta0), "f", factor)
        a_star, b_star = random_truth(draw.fold("truth"), DIMENSION, 3)
        a0, eta = start_at(draw.fold("a0"), a_star, delta0), step / factor / float(b_star @ b_star)
        deltas = angle_distance(alt_min_gd(population(2, a_star, b_star, factor), a0, eta, ITERATIONS).a, a_star)
        for before, after in pairwise(deltas):
            predicted = before**3 / np.sqrt(1 + before**2 - before**4)
            where = f"f={factor}, kappa={step / factor:.3f}, delta={before:.2g}"
            # The new angle is known to rounding, absolute; the map's slope at the old one is below 3.
            yield equal(after, predicted, 3 * EPS * DIMENSION, where, met=bool(predicted > SMALLEST))


def control(key: Key) -> Instances:
    """A step two per cent smaller."""
    return check(key, 0.98)


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4",
    kind="identity",
    statement="population, f kappa = 1: delta+ = delta^3 / sqrt(1 + delta^2 - delta^4), cubic convergence",
    convention="both: kappa = 1/2 for (1/m)||.||^2, kappa = 1 for (1/(2m))||.||^2",
)
