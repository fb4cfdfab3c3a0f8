r"""With different heads and fixed data, Algorithm 2 stops at a floor of its own.

**Statement.** :math:`E\,\delta_\infty^2 \approx \frac{s^2}{\|\bar b^*\|^4}\,\frac{d - 1}{Nm}` to first order, with
:math:`s^2 = \frac1N\sum_i (b_i^{*T}\bar b^* - \|\bar b^*\|^2)^2`.

**Assumptions.** Gaussian data with N m far above d, by construction (d/(N m) = 6e-4). The iteration starts at a* itself
with kappa = 1/2, whose local ratio is of the order of ||S - I||: five iterations reach the fixed point.

**Direction.** Tight, to first order in d/(N m).

**Source.** Derived here; limits the heterogeneous appendix of arXiv 2502.01755v4 (recalled, unverified).

**Derivation.** At a = a* the mean gradient orthogonal to a* is :math:`f\,\frac1N\sum_i S_{i,pa}(\|\bar b\|^2 - b_i^{*T}\bar b)`,
with independent :math:`S_{i,pa} \approx N(0, I_{d-1}/m)`: no fixed point there. To first order the fixed point lies off by
this over :math:`f\|\bar b^*\|^2`, whatever the step size.

**Test.** A Monte Carlo mean of delta_inf^2 over its prediction, whose value is 1; the slack is Student's interval plus the
size d/(N m) of the relative terms that the derivation leaves out, a hundredth of that interval.

**Control.** The spread of b_i* in every direction, V, in the place of s^2/||b-bar*||^2.
"""

import numpy as np
from jaxtyping import Float

from rolora.adapter import Array
from rolora.keys import Key
from theory.linear.bounds import heterogeneous_floor
from theory.linear.ensemble import draw_moments, planted
from theory.linear.ensemble_rounds import alt_min_gd
from theory.linear.geometry import angle_distance, normalise
from theory.verification.claim import Instances, Statement, equal_mean

CLIENTS, SAMPLES, DIMENSION, OUTPUTS, MODELS = 2, 5000, 6, 4, 3000
ITERATIONS, KAPPA = 5, 0.5  # the step whose local ratio is smallest: five iterations from a* reach the fixed point


def _ratios(key: Key, all_directions: bool) -> Float[Array, "models"]:
    """delta_inf^2 over its prediction, one number a model."""
    a_star = normalise(np.ones(DIMENSION))
    heads = 1.0 + 0.5 * key.fold("heads").generator().standard_normal((MODELS, CLIENTS, OUTPUTS))
    mean = np.mean(heads, axis=1)
    power = np.sum(mean**2, axis=1)
    aligned = np.mean((np.einsum("mnk,mk->mn", heads, mean) - power[:, None]) ** 2, axis=1)  # s^2
    spread = np.mean(np.sum((heads - mean[:, None]) ** 2, axis=2), axis=1)  # V
    variance = spread * power if all_directions else aligned
    moments, _ = draw_moments(key.fold("data"), MODELS, CLIENTS, SAMPLES, DIMENSION)
    model = planted(moments, a_star[None, :, None], heads[:, :, None, :], 2)
    start = np.tile(a_star[:, None], (MODELS, 1, 1))
    delta = angle_distance(alt_min_gd(model, start, KAPPA / power, ITERATIONS).a[:, -1, :, 0], a_star)
    each = zip(variance, np.sqrt(power), strict=True)
    floors = [heterogeneous_floor(float(v), float(norm), DIMENSION, CLIENTS * SAMPLES) for v, norm in each]
    return (delta / np.array(floors)) ** 2


def check(key: Key, all_directions: bool = False) -> Instances:
    """Fixed data, started at a* itself, which the iteration leaves."""
    where = f"N={CLIENTS}, m={SAMPLES}, d={DIMENSION}, {MODELS} models"
    return [equal_mean(_ratios(key, all_directions), 1.0, where, beyond=DIMENSION / (CLIENTS * SAMPLES))]


def control(key: Key) -> Instances:
    """V in the place of its part along b-bar*."""
    return check(key, all_directions=True)


CLAIM = Statement(
    source="derived here; limits the heterogeneous appendix of arXiv 2502.01755v4 (recalled, unverified)",
    kind="measurement",
    statement="fixed data, heads b_i*: E delta_inf^2 = s^2 (d-1) / (N m ||b-bar*||^4) to first order (measured: ratio)",
    convention="any: the fixed point does not depend on the factor (checked at 2)",
)
