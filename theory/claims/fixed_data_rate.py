r"""On fixed finite data, Algorithm 2 converges at the rate of a matrix that the data determine.

**Statement.** With suffixes a, p for the direction a* and its orthogonal space, the local rate is the spectral radius of
:math:`J = I - f\kappa\big(S_{pp} - S_{pa}\,\frac1N\sum_i S_{i,ap}/S_{i,aa}\big)`.

**Derivation.** At :math:`a = a^* + h`, h orthogonal to a*, the b-step gives to first order
:math:`\bar\rho = 1 - \frac1N\sum_i h^T S_{i,pa}/S_{i,aa}`. The gradient is :math:`f\|b^*\|^2 S(h - (1 - \bar\rho)a^*)`, of
which the part orthogonal to a* moves h; normalising changes h to second order only.

**Test.** log delta_t against t in the last iterations; the fitted slope's interval, plus second-order terms of the size of
delta at the first of them. With d = 3, J is 2 x 2; counted are data whose eigenvalues are real and well apart.

**Control.** The population's rate :math:`|1 - f\kappa|`.
"""

import numpy as np

from rolora.keys import Key
from theory.bounds import local_matrix, local_ratio
from theory.claim import EPS, Claim, Instance, Result, equal, judge
from theory.geometry import angle_distance, start_at
from theory.linear import random_truth, sample
from theory.linear_rounds import alt_min_gd
from theory.statistics import slope

CLIENTS, SAMPLES, DIMENSION, KAPPA, DELTA0, SMALLEST = 2, 18, 3, 0.15, 1e-3, 1e-10


def _instance(key: Key, of_the_population: bool) -> Instance:
    a_star, b_star = random_truth(key.fold("truth"), DIMENSION, 2)
    model = sample(key.fold("data"), CLIENTS, SAMPLES, a_star, b_star, 2)
    slow, fast = sorted(np.abs(np.linalg.eigvals(local_matrix(model, KAPPA))), reverse=True)
    # Where the smaller eigenvalue's share has died out, to rounding, the slope is that of the larger one.
    burn_in = int(np.ceil(np.log(1e-6) / np.log(fast / slow))) if fast < slow else 10**6
    length = burn_in + 20
    met = bool(slow < 1 and length < 80 and DELTA0 * slow**length > SMALLEST)
    if not met:
        return equal(0.0, 0.0, EPS, "not counted", met=False)
    a0 = start_at(key.fold("a0"), a_star, DELTA0)
    deltas = angle_distance(alt_min_gd(model, a0, KAPPA / float(b_star @ b_star), length).a[burn_in:], a_star)
    fit = slope(np.arange(deltas.shape[0], dtype=float), np.log(deltas))
    rate = local_ratio(KAPPA, 2) if of_the_population else float(slow)
    # Beside the fit's interval: second-order terms, the faster eigenvector's share, and rounding of the smallest angle.
    slack = fit.half_width + float(deltas[0]) + 1e-6 + EPS * DIMENSION / SMALLEST
    return equal(fit.estimate, float(np.log(rate)), slack, f"rates {slow:.3f} and {fast:.3f}, log delta a step")


def check(key: Key) -> Result:
    """A hundred and twenty data sets, of which those with a clear leading eigenvalue count."""
    return judge(_instance(key.fold("instance", number), False) for number in range(120))


def control(key: Key) -> Result:
    """The population's rate."""
    return judge(_instance(key.fold("instance", number), True) for number in range(40))


CLAIM = Claim(
    id="fixed-data-rate",
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4",
    kind="rate",
    direction="tight",
    statement="fixed data: local rate = spectral radius of I - f kappa (S_pp - S_pa mean_i(S_i,ap / S_i,aa))",
    convention="loss (1/m)||.||^2, gradient factor 2",
    expected="holds",
    check=check,
    control=control,
)
