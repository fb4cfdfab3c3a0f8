r"""The claimed contraction at gradient factor 1: true for every step that the recalled statement allows.

**Statement.** :math:`\delta^+ \le \delta\sqrt{1 - \kappa c_0}` at every angle with :math:`\cos^2\theta \ge c_0`, for all
:math:`\kappa \le 2 - c_0`, hence for all :math:`\kappa \le 1`.

**Assumptions.** The population, S_i = I, and kappa in the range, by construction; :math:`0 < c_0 < 1`, measured at the
start. :math:`\cos^2\theta \ge c_0` then persists, because delta does not grow.

**Direction.** Upper, and the end of the range is sharp: at :math:`\kappa = 2 - c_0` it is attained as delta -> 0. Inside
the range it is loose: at kappa = 1 the true factor tends to 0.

**Source.** arXiv 2502.01755v4, Lemma 4.4 (the factor as quoted elsewhere; range and convention recalled, unverified).

**Derivation.** As for factor 2, with kappa/2 in the map: :math:`(1 - \kappa x)^2 \le (1 - \kappa c_0)(1 + \kappa^2 x(1-x))`
is a convex parabola's sign in :math:`x = \cos^2\theta`. At x = 1 it asks for :math:`\kappa \le 2 - c_0`; at
:math:`x = c_0` for :math:`1 - \kappa c_0 \le 1 + \kappa^2 c_0(1 - c_0)`, which is always true. And
:math:`\kappa c_0 \le c_0(2 - c_0) < 1` there, so that the root exists.

**Control.** Gradient factor 2 with the same kappa: the convention decides.
"""

from itertools import pairwise

import numpy as np

from rolora.keys import Key
from theory.linear.assumptions import kappa, overlap
from theory.linear.bounds import contraction, largest_kappa
from theory.linear.geometry import angle_distance, start_at
from theory.linear.model import GradientFactor, population, random_truth
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import EPS, Instances, Statement, at_most

DELTAS, DIMENSION, ITERATIONS = (0.1, 0.6, 0.95, 0.999), 6, 15
SMALLEST = 1e-6  # an angle distance is known to rounding, absolute: ratios of smaller ones say little


def check(key: Key, gradient_factor: GradientFactor = 1) -> Instances:
    """Steps up to kappa = 1, and the end of the range, 2 - c0."""
    for delta0 in DELTAS:
        a_star, b_star = random_truth(key.fold("truth", repr(delta0)), DIMENSION, 3)
        model = population(1, a_star, b_star, gradient_factor)
        a0 = start_at(key.fold("a0", repr(delta0)), a_star, delta0)
        c0 = overlap(model, a0)
        for step in [*np.linspace(0.1, 1, 7), largest_kappa(c0, 1)]:
            eta = float(step) / float(b_star @ b_star)
            factor = contraction(kappa(model, eta), c0)
            deltas = angle_distance(alt_min_gd(model, a0, eta, ITERATIONS).a, a_star)
            for before, after in pairwise(deltas):
                if before > SMALLEST:
                    where = f"delta0={delta0}, kappa={step:.3f}, delta={before:.2g}"
                    yield at_most(after / before, factor, EPS * DIMENSION / before, where, met=c0 > 0)


def control(key: Key) -> Instances:
    """The same steps at gradient factor 2."""
    return check(key, 2)


CLAIM = Statement(
    source="arXiv 2502.01755v4, Lemma 4.4 (factor as quoted elsewhere)",
    kind="bound",
    statement="population: delta+ <= delta sqrt(1 - kappa c0) for all kappa <= 1, and up to kappa = 2 - c0",
    convention="loss (1/(2m))||.||^2, gradient factor 1",
)
