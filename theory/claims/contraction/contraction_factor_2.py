r"""The claimed contraction at gradient factor 2, with the range of steps corrected.

**Statement.** :math:`\delta^+ \le \delta \sqrt{1 - \kappa c_0}` at every angle with :math:`\cos^2\theta \ge c_0` iff
:math:`\kappa \le 1 - c_0/4`.

**Assumptions.** The population, S_i = I, and kappa in the range, by construction; :math:`0 < c_0 < 1`, measured.

**Direction.** Upper, and the end of the range is sharp: at :math:`\kappa = 1 - c_0/4` it is attained as delta -> 0. Inside
the range it is loose: at kappa = 1/2 the true factor tends to 0.

**Source.** arXiv 2502.01755v4, Lemma 4.4 (the factor as quoted elsewhere; range and convention recalled, unverified).

**Corrected.** The recalled range is :math:`\kappa \le 1`. The correction is credited only if that range fails here, too.

**Derivation.** With :math:`x = \cos^2\theta`, one step gives
:math:`(\delta^+/\delta)^2 = (1 - 2\kappa x)^2 / (1 + 4\kappa^2 x(1 - x))`. At x -> 1 this is :math:`(1 - 2\kappa)^2`, at most
:math:`1 - \kappa c_0` iff :math:`\kappa \le 1 - c_0/4`. For fixed kappa the inequality reads q(x) <= 0 with a convex
parabola q, so on [c_0, 1] its ends decide. At x = c_0 it is :math:`\kappa c_0\,h(\kappa) \le 0`,
:math:`h = -3 + 4\kappa(2c_0 - 1) + 4\kappa^2 c_0 (1 - c_0)`, convex in kappa, with :math:`h(0) = -3` and, at the end of the
range, :math:`h = (1 - c_0)\,(c_0(4 - c_0)^2/4 - 7 + 2c_0) < 0`.

**Control.** :math:`\kappa` two per cent above :math:`1 - c_0/4`.
"""

from itertools import pairwise

from rolora.keys import Key
from theory.linear.assumptions import kappa, overlap
from theory.linear.bounds import contraction, largest_kappa
from theory.linear.geometry import angle_distance, start_at
from theory.linear.model import population, random_truth
from theory.linear.rounds import alt_min_gd
from theory.verification.claim import EPS, Instances, Statement, at_most

DELTAS, DIMENSION, ITERATIONS = (0.1, 0.6, 0.95, 0.999), 6, 15
SHARES = tuple(i / 8 for i in range(1, 9))  # of the range's end
SMALLEST = 1e-6  # an angle distance is known to rounding, absolute: ratios of smaller ones say little


def _instances(key: Key, share: float, printed: bool = False) -> Instances:
    """One step at each iterate from every start, kappa a share of the range's end."""
    for delta0 in DELTAS:
        a_star, b_star = random_truth(key.fold("truth", repr(delta0)), DIMENSION, 3)
        model, a0 = population(1, a_star, b_star, 2), start_at(key.fold("a0", repr(delta0)), a_star, delta0)
        c0 = overlap(model, a0)
        end = 1.0 if printed else largest_kappa(c0, 2)
        eta = share * end / float(b_star @ b_star)
        factor = contraction(kappa(model, eta), c0)
        deltas = angle_distance(alt_min_gd(model, a0, eta, ITERATIONS).a, a_star)
        for before, after in pairwise(deltas):
            if before > SMALLEST:
                where = f"delta0={delta0}, kappa={share * end:.3f}, delta={before:.2g}"
                yield at_most(after / before, factor, EPS * DIMENSION / before, where, met=c0 > 0)


def check(key: Key) -> Instances:
    """Eight steps up to the end of the corrected range."""
    return (i for share in SHARES for i in _instances(key, share))


def printed(key: Key) -> Instances:
    """The same shares of the printed range."""
    return (i for share in SHARES for i in _instances(key, share, printed=True))


def control(key: Key) -> Instances:
    """Two per cent beyond the corrected range."""
    return _instances(key, 1.02)


CLAIM = Statement(
    source="arXiv 2502.01755v4, Lemma 4.4 (factor as quoted elsewhere); range corrected here",
    kind="bound",
    statement="population: delta+ <= delta sqrt(1 - kappa c0); correction: kappa <= 1 - c0/4 instead of kappa <= 1",
    convention="loss (1/m)||.||^2, gradient factor 2",
    expected="holds with the stated correction",
)
