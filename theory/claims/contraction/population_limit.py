r"""Finite data approach the population map like one over the root of the pooled sample size.

**Statement.** The root mean square of :math:`\theta^+ - \theta^+_{pop}` decays as :math:`(Nm)^{-1/2}`, however the rows are
spread over the clients.

**Assumptions.** Gaussian data independent of a, m far above 2 (xi_i has the variance 1/(m - 2), not 1/m), by construction.

**Direction.** Tight: the exponent itself, as the first-order deviation has a positive variance.

**Source.** Derived here.

**Derivation.** To first order the deviation is linear in :math:`S - I` and :math:`\bar\xi`, both of which are means over
N m independent rows with a finite variance.

**Test.** The slope of log RMS against log(N m), for one client and for eight in turn, with Student's interval over the
sizes; measured and predicted are slopes.

**Control.** The rate 1/(N m), the square of the true one.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.bounds import population_step
from theory.linear.ensemble import draw_moments, planted
from theory.linear.ensemble_rounds import alt_min_gd
from theory.linear.geometry import angle_distance, normalise, start_at
from theory.verification.claim import Instances, Statement, equal
from theory.verification.statistics import slope

CLIENTS, DIMENSION, THETA, KAPPA, RUNS = (1, 8), 4, 0.8, 0.3, 300
ROWS = [8 * int(m) for m in np.geomspace(40, 1280, 20)]  # N m


def check(key: Key, rate: float = -0.5) -> Instances:
    """The exponent -1/2."""
    a_star, target, errors = normalise(np.ones(DIMENSION)), population_step(THETA, KAPPA, 2), []
    a0 = np.tile(start_at(key.fold("a0"), a_star, float(np.sin(THETA)))[:, None], (RUNS, 1, 1))
    for number, rows in enumerate(ROWS):
        clients = CLIENTS[number % 2]
        moments, _ = draw_moments(key.fold("rows", rows), RUNS, clients, rows // clients, DIMENSION)
        model = planted(moments, a_star[None, :, None], np.ones((1, clients, 1, 1)), 2)
        after = alt_min_gd(model, a0, KAPPA, 1).a[:, -1, :, 0]
        errors.append(np.sqrt(np.mean((np.arcsin(angle_distance(after, a_star)) - target) ** 2)))
    fit = slope(np.log(np.array(ROWS, dtype=float)), np.log(np.array(errors)))
    where = f"N = 1 and 8, N m from {ROWS[0]} to {ROWS[-1]}, {RUNS} runs each, +-{fit.half_width:.2g}"
    return [equal(fit.estimate, rate, fit.half_width, where)]


def control(key: Key) -> Instances:
    """The exponent -1."""
    return check(key, -1.0)


CLAIM = Statement(
    source="derived here",
    kind="rate",
    statement="theta+ on finite data misses the population map by O((N m)^(-1/2)), root mean square",
    convention="loss (1/m)||.||^2, gradient factor 2",
)
