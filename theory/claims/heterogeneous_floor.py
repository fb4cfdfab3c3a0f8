r"""With different heads and fixed data, Algorithm 2 stops at a floor of its own.

**Statement.** :math:`E\,\delta_\infty^2 \approx \frac{s^2}{\|\bar b^*\|^4}\,\frac{d - 1}{Nm}` to first order, with
:math:`s^2 = \frac1N\sum_i (b_i^{*T}\bar b^* - \|\bar b^*\|^2)^2`.

**Derivation.** At a = a* the mean gradient orthogonal to a* is :math:`f\,\frac1N\sum_i S_{i,pa}(\|\bar b\|^2 - b_i^{*T}\bar b)`,
with independent :math:`S_{i,pa} \approx N(0, I_{d-1}/m)`: no fixed point there. To first order the fixed point lies off by
this over :math:`f\|\bar b^*\|^2`, whatever the step size.

**Test.** A Monte Carlo mean of delta_inf^2 over its prediction, whose value is 1; the slack is Student's interval plus the
size d/(N m) of the relative terms that the derivation leaves out.

**Control.** The spread of b_i* in every direction, V, in the place of s^2/||b-bar*||^2.
"""

import numpy as np

from rolora.keys import Key
from theory.assumptions import alignment_variance, heterogeneity
from theory.bounds import heterogeneous_floor
from theory.claim import Claim, Result, equal, judge
from theory.geometry import angle_distance, random_unit
from theory.linear import sample
from theory.linear_rounds import alt_min_gd
from theory.statistics import mean_interval

CLIENTS, SAMPLES, DIMENSION, OUTPUTS, MODELS = 2, 5000, 6, 4, 300
ITERATIONS, KAPPA = 5, 0.5  # the step whose local ratio is smallest: five iterations from a* reach the fixed point


def _ratio(key: Key, all_directions: bool) -> float:
    a_star = random_unit(key.fold("a*"), DIMENSION)
    stream = key.fold("heads").generator()
    rows = 1.0 + 0.5 * stream.standard_normal((CLIENTS, OUTPUTS))
    model = sample(key.fold("data"), CLIENTS, SAMPLES, a_star, rows, 2)
    power = float(model.b_mean @ model.b_mean)
    variance = heterogeneity(model) * power if all_directions else alignment_variance(model)
    floor = heterogeneous_floor(variance, float(np.sqrt(power)), DIMENSION, CLIENTS * SAMPLES)
    return float(angle_distance(alt_min_gd(model, a_star, KAPPA / power, ITERATIONS).a[-1], a_star) / floor) ** 2


def _judge(key: Key, all_directions: bool, models: int) -> Result:
    ratios = np.array([_ratio(key.fold("model", number), all_directions) for number in range(models)])
    interval = mean_interval(ratios)
    slack = interval.half_width + DIMENSION / (CLIENTS * SAMPLES)
    where = f"N={CLIENTS}, m={SAMPLES}, d={DIMENSION}, {models} models, +-{interval.half_width:.2g}"
    return judge([equal(interval.estimate, 1.0, slack, where)])


def check(key: Key) -> Result:
    """Fixed data, started at a* itself, which the iteration leaves."""
    return _judge(key, False, MODELS)


def control(key: Key) -> Result:
    """V in the place of its part along b-bar*."""
    return _judge(key, True, 60)


CLAIM = Claim(
    id="heterogeneous-floor",
    source="derived here; limits the heterogeneous appendix of arXiv 2502.01755v4 (recalled, unverified)",
    kind="measurement",
    direction="tight",
    statement="fixed data, heads b_i*: E delta_inf^2 = s^2 (d-1) / (N m ||b-bar*||^4) to first order (measured: ratio)",
    convention="any: the fixed point does not depend on the factor (checked at 2)",
    expected="holds",
    check=check,
    control=control,
)
