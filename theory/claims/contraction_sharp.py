r"""For small steps the contraction is stronger than claimed.

**Statement.** In the population with gradient factor 2 and :math:`\kappa \le 1/2`,
:math:`\delta^+ \le \delta (1 - 2\kappa c_0)`, which is below both :math:`\delta(1 - \kappa c_0)` and
:math:`\delta\sqrt{1 - \kappa c_0}`.

**Derivation.** :math:`\delta^+/\delta = |1 - 2\kappa x|/\sqrt{1 + 4\kappa^2 x(1 - x)}` with
:math:`x = \cos^2\theta \ge c_0`. For :math:`2\kappa x \le 1` the numerator is at most :math:`1 - 2\kappa c_0` and the
denominator at least 1. The angle then decreases, so :math:`x \ge c_0` at all later iterates.

**Control.** :math:`\kappa` beyond 1/2, where the step overshoots near a*.
"""

from itertools import pairwise

import numpy as np

from rolora.keys import Key
from theory.assumptions import kappa, overlap
from theory.bounds import sharp_contraction
from theory.claim import EPS, Claim, Instance, Result, at_most, judge
from theory.geometry import angle_distance, start_at
from theory.linear import population, random_truth
from theory.linear_rounds import alt_min_gd

DELTAS, DIMENSION, ITERATIONS = (0.1, 0.6, 0.95, 0.999), 6, 15
SMALLEST = 1e-6  # an angle distance is known to rounding, absolute; ratios of smaller ones are not counted


def _instances(key: Key, steps: list[float]) -> list[Instance]:
    found = []
    for delta0 in DELTAS:
        a_star, b_star = random_truth(key.fold("truth", repr(delta0)), DIMENSION, 3)
        model, a0 = population(1, a_star, b_star, 2), start_at(key.fold("a0", repr(delta0)), a_star, delta0)
        c0 = overlap(model, a0)
        for step in steps:
            eta = step / float(b_star @ b_star)
            factor = sharp_contraction(kappa(model, eta), c0)
            deltas = angle_distance(alt_min_gd(model, a0, eta, ITERATIONS).a, a_star)
            for before, after in pairwise(deltas):
                if before > SMALLEST:
                    where = f"delta0={delta0}, kappa={step:.3f}, delta={before:.2g}"
                    found.append(at_most(after / before, factor, EPS * DIMENSION / SMALLEST, where, met=c0 > 0))
    return found


def check(key: Key) -> Result:
    """Steps up to kappa = 1/2, the end included."""
    return judge(_instances(key, [float(step) for step in np.linspace(0.05, 0.5, 7)]))


def control(key: Key) -> Result:
    """kappa = 0.8."""
    return judge(_instances(key, [0.8]))


CLAIM = Claim(
    id="contraction-sharp",
    source="derived here; sharpens Lemma 4.4, arXiv 2502.01755v4",
    kind="bound",
    direction="upper",
    statement="population: delta+ <= delta (1 - 2 kappa c0) for all kappa <= 1/2",
    convention="loss (1/m)||.||^2, gradient factor 2",
    expected="holds",
    check=check,
    control=control,
)
