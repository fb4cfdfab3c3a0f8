r"""The contraction is stronger than claimed.

**Statement.** :math:`\delta^+ \le \delta (1 - 2\kappa c_0)` at every angle with :math:`\cos^2\theta \ge c_0` iff
:math:`\kappa \le 1/(1 + c_0)`, hence for all :math:`\kappa \le 1/2`. It is below the claimed
:math:`\delta\sqrt{1 - \kappa c_0}`.

**Assumptions.** The population, S_i = I, and kappa in the range, by construction; :math:`0 < c_0 < 1`, measured.

**Direction.** Upper, and the end of the range is sharp: at :math:`\kappa = 1/(1 + c_0)` it is attained as delta -> 0. At
:math:`\cos^2\theta = c_0` it is loose by :math:`\sqrt{1 + 4\kappa^2 c_0(1 - c_0)} \le \sqrt{1 + \kappa^2}`.

**Source.** Derived here; sharpens Lemma 4.4, arXiv 2502.01755v4 (as quoted elsewhere).

**Derivation.** With :math:`x = \cos^2\theta`, :math:`(\delta^+/\delta)^2 = (1 - 2\kappa x)^2/(1 + 4\kappa^2 x(1 - x))`. That
:math:`(1 - 2\kappa x)^2 \le (1 - 2\kappa c_0)^2(1 + 4\kappa^2 x(1 - x))` is the sign of a convex parabola in x, so the ends
of [c_0, 1] decide. At x = c_0 it is plain; at x = 1 it is :math:`|1 - 2\kappa| \le 1 - 2\kappa c_0`, which is
:math:`\kappa \le 1/(1 + c_0)`. Then :math:`u = \kappa c_0 \le 1/2`, and :math:`(1 - 2u)^2 \le 1 - u` for :math:`u \le 3/4`.

**Control.** :math:`\kappa` two per cent above :math:`1/(1 + c_0)`, where the right-hand side is still positive.
"""

from itertools import pairwise

import numpy as np

from rolora.keys import Key
from theory.linear.assumptions import kappa, overlap
from theory.linear.bounds import sharp_contraction
from theory.linear.geometry import angle_distance, start_at
from theory.linear.model import population, random_truth
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import EPS, Instances, Statement, at_most

DELTAS, DIMENSION, ITERATIONS = (0.3, 0.6, 0.95, 0.999), 6, 15
SMALLEST = 1e-6  # an angle distance is known to rounding, absolute: ratios of smaller ones say little


def _instances(key: Key, share: float) -> Instances:
    """One step at each iterate from every start, kappa a share of the range's end."""
    for delta0 in DELTAS:
        a_star, b_star = random_truth(key.fold("truth", repr(delta0)), DIMENSION, 3)
        model, a0 = population(1, a_star, b_star, 2), start_at(key.fold("a0", repr(delta0)), a_star, delta0)
        c0 = overlap(model, a0)
        eta = share / (1 + c0) / float(b_star @ b_star)
        step = kappa(model, eta)
        factor = sharp_contraction(step, c0)
        deltas = angle_distance(alt_min_gd(model, a0, eta, ITERATIONS).a, a_star)
        for before, after in pairwise(deltas):
            if before > SMALLEST:
                where = f"delta0={delta0}, kappa={step:.3f}, delta={before:.2g}"
                yield at_most(after / before, factor, EPS * DIMENSION / before, where, met=c0 > 0)


def check(key: Key) -> Instances:
    """Eight steps up to the end of the range, which is included."""
    return (i for share in np.linspace(0.125, 1, 8) for i in _instances(key, float(share)))


def control(key: Key) -> Instances:
    """Two per cent beyond the range."""
    return _instances(key, 1.02)


CLAIM = Statement(
    source="derived here; sharpens Lemma 4.4, arXiv 2502.01755v4",
    kind="bound",
    statement="population: delta+ <= delta (1 - 2 kappa c0) iff kappa <= 1/(1 + c0)",
    convention="loss (1/m)||.||^2, gradient factor 2",
)
