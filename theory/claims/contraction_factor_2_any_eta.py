r"""The recalled statement that any step size up to 1/L_max^2 contracts at the claimed rate: false at gradient factor 2.

**Statement examined.** For every :math:`\eta \le 1/L_{max}^2` and the loss (1/m)||.||^2, Algorithm 2 keeps
:math:`\delta_t \le \delta_0 (1 - \kappa c_0)^{t/2}`, :math:`\kappa = \eta\|b^*\|^2`, :math:`c_0 = 1 - \delta_0^2`.

**Why it fails.** Near a* one iteration multiplies delta by :math:`|1 - 2\kappa|` (claim ``local-ratio``), which exceeds
:math:`\sqrt{1 - \kappa c_0}` as soon as :math:`\kappa > 1 - c_0/4`. At kappa = 1, allowed here, the local ratio is 1.

The data are finite and ample (m far above d), so that no sample-size condition can be the reason.

**Control.** Steps beyond the stated range, where the check must refute as well. That the same comparison can also come
out true is shown by ``contraction-factor-2`` and ``contraction-factor-1``.
"""

import numpy as np

from rolora.keys import Key
from theory.assumptions import kappa as measured_kappa
from theory.assumptions import moment_error, overlap
from theory.bounds import contraction
from theory.claim import EPS, Claim, Instance, Result, at_most, judge
from theory.geometry import angle_distance, normalise, random_unit, start_at
from theory.linear import sample
from theory.linear_rounds import alt_min_gd

DIMENSION, CLIENTS, SAMPLES, DELTA0, ITERATIONS = 10, 10, 2000, 0.6, 100


def _instance(key: Key, step: float) -> Instance:
    a_star = random_unit(key.fold("a*"), DIMENSION)
    b_star = normalise(key.fold("b*").generator().standard_normal(DIMENSION))  # ||b*|| = L_max = 1
    model = sample(key.fold("data"), CLIENTS, SAMPLES, a_star, b_star, 2)
    a0 = start_at(key.fold("a0"), a_star, DELTA0)
    c0, kappa = overlap(model, a0), measured_kappa(model, step)
    final = float(angle_distance(alt_min_gd(model, a0, step, ITERATIONS).a[-1], a_star))
    bound = DELTA0 * contraction(min(kappa, 1 / c0), c0) ** ITERATIONS
    where = f"d={DIMENSION}, N={CLIENTS}, m={SAMPLES}, delta0={DELTA0}, kappa={kappa:.2f}, delta after {ITERATIONS}"
    return at_most(final, bound, EPS * DIMENSION, where, met=c0 > 0 and moment_error(model) < c0 / 9)


def check(key: Key) -> Result:
    """Steps up to 1/L_max^2."""
    steps = np.array([0.5, 1.0])
    return judge(_instance(key.fold("eta", i), float(step)) for i, step in enumerate(steps))


def control(key: Key) -> Result:
    """Steps beyond the stated range."""
    return judge(_instance(key.fold("eta", i), step) for i, step in enumerate((1.5,)))


CLAIM = Claim(
    id="contraction-factor-2-any-eta",
    source="arXiv 2502.01755v4, Lemma 4.4 (factor as quoted elsewhere, range recalled; unverified)",
    kind="bound",
    direction="upper",
    statement="any eta <= 1/L_max^2 gives delta_t <= delta_0 (1 - eta (1 - delta_0^2) ||b*||^2)^(t/2)",
    convention="loss (1/m)||.||^2, gradient factor 2",
    expected="refuted",
    check=check,
    control=control,
)
