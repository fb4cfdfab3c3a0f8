r"""The noise of one iteration depends on the pooled number of samples: its scaling with d, N and m.

**Statement.** One iteration near a* (its first on any data, each on fresh data) has, to first order in d/(Nm),

.. math::
    E\Big[\frac{\delta^{+2}}{\delta^2}\Big] = (1 - f\kappa)^2 + \frac{f\kappa\,(f\kappa(d - 2) + 2)}{Nm},

at :math:`f\kappa = 1` the excess d/(Nm): its slope in log d is 1, in log N and in log m -1, and in log N at the same Nm 0. The
pooled Nm for a given contraction is therefore proportional to d and does not depend on N.

**Assumptions.** Gaussian data, a independent of them; m >= 50, well above log N.

**Direction.** Tight to first order: slopes and their intervals.

**Source.** Derived here; replaces the m a client of Lemma 4.4, arXiv 2502.01755v4 (recalled; unverified).

**Derivation.** At :math:`a = a^* + h`, :math:`h \perp a^*`, an iteration takes h to
:math:`h - f\kappa(S_{pp}h - S_{pa}\bar\xi\|h\|)`, :math:`\bar\xi` the mean noise. Along h this is
:math:`1 - f\kappa(S_{11} - S_{1a}\bar\xi)`, with :math:`E S_{11} = 1`, variance 2/(Nm), and
:math:`E S_{1a}\bar\xi = 1/(Nm)`; in each of the d - 2 other directions its variance is :math:`(f\kappa)^2/(Nm)`.

**Test.** Least-squares slopes of the logarithm of group means (f = 2, :math:`\kappa = 1/2`), and the level at three steps;
Student's intervals at confidence 0.9999, and 2d/(Nm) for what is of second order.

**Control.** m in the place of Nm: no slope in N at the same m.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.fresh_data import angle_path, fresh, starts_at, unit_columns
from theory.verification.claim import Instance, Instances, Statement, equal, equal_mean
from theory.verification.statistics import slope

DELTA, GROUPS, DRAWS = 1e-3, 5, 60  # of the start; means for each size; instances in a mean
BY_DIMENSION = [(4, 200, d) for d in (4, 8, 16, 32)]  # (N, m, d)
BY_SAMPLES = [(4, m, 8) for m in (50, 200, 800, 3200)]
BY_CLIENTS = [(n, 100, 8) for n in (1, 4, 16, 64)]
AT_SAME_POOL = [(n, 6400 // n, 8) for n in (1, 4, 16, 64)]


def _excess(key: Key, num_clients: int, samples: int, dimension: int) -> list[float]:
    """Means of (delta+/delta)^2 at f kappa = 1, where the noise is all of it."""
    a_star = unit_columns(key.fold("a*"), GROUPS * DRAWS, dimension)
    data = fresh(key.fold("data"), num_clients, samples, a_star, np.ones((1, 1, 1, 1)), 2)
    path = angle_path(data(0), starts_at(key.fold("a"), a_star, DELTA), a_star, 0.5, 1)
    return [float(np.mean(group)) for group in np.split((path[:, 1] / path[:, 0]) ** 2, GROUPS)]


def _instance(key: Key, sizes: list[tuple[int, int, int]], axis: int, predicted: float) -> Instance:
    name = ("N", "m", "d")[axis]
    points = [(np.log(size[axis]), np.log(one)) for size in sizes for one in _excess(key.fold(str(size)), *size)]
    x, y = np.array(points).T
    fit = slope(x, y)
    others = ", ".join(f"{label}={one}" for label, one in zip("Nmd", sizes[0], strict=True) if label != name)
    where = f"slope in log {name} from {others}, +-{fit.half_width:.2g}"
    return equal(fit.estimate, predicted, fit.half_width, where)


def _level(key: Key, step: float) -> Instance:
    """The excess over its prediction at one size, step = f kappa."""
    n, m, d, draws = 4, 1000, 16, 3000
    a_star = unit_columns(key.fold("a*"), draws, d)
    data = fresh(key.fold("data"), n, m, a_star, np.ones((1, 1, 1, 1)), 2)(0)
    path = angle_path(data, starts_at(key.fold("a"), a_star, DELTA), a_star, step / 2, 1)
    predicted = step * (step * (d - 2) + 2) / (n * m)
    where = f"excess over predicted, f kappa={step}, N={n}, m={m}, d={d}"
    return equal_mean(
        ((path[:, 1] / path[:, 0]) ** 2 - (1 - step) ** 2) / predicted, 1.0, where, beyond=2 * d / (n * m)
    )


def check(key: Key) -> Instances:
    """Four slopes of four sizes each, and the level at three steps."""
    levels = [_level(key.fold("level", repr(step)), step) for step in (0.9, 1.0, 1.1)]
    plan = [(BY_DIMENSION, 2, 1.0), (BY_SAMPLES, 1, -1.0), (BY_CLIENTS, 0, -1.0), (AT_SAME_POOL, 0, 0.0)]
    return levels + [_instance(key.fold("slope", i), *one) for i, one in enumerate(plan)]


def control(key: Key) -> Instances:
    """N varied at the same m, predicted to change nothing."""
    return [_instance(key, BY_CLIENTS, 0, 0.0)]


CLAIM = Statement(
    source="derived here; replaces the m a client of Lemma 4.4, arXiv 2502.01755v4 (recalled; unverified)",
    kind="rate",
    statement="near a*: E(delta+/delta)^2 = (1-fk)^2 + fk(fk(d-2)+2)/(N m): pooled N m proportional to d, whatever N",
    convention="both, through f kappa; checked at f = 2, kappa = 1/2",
)
