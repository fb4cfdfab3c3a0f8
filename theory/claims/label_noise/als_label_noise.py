r"""Label noise in alternating least squares, where every client inverts its own S_i.

**Statement.** With labels :math:`Y_i = X_i a^* b_i^{*T} + \sigma Z_i` and both steps exact, at the fixed point

.. math::
    E\,\delta_\infty^2 = \frac{\sigma^2}{\|\bar b^*\|^2}\,\frac{d - 1}{N(m - d - 1)} + O(\sigma^4),

for equal and for different heads. One gradient step a round ends at :math:`\frac{\sigma^2}{\|b^*\|^2}\frac{d-1}{Nm}`
(homogeneous heads, first order in d/(Nm)): it solves the pooled problem. The ratio is :math:`m/(m - d - 1)`.

**Assumptions.** Gaussian inputs and noise, m > d + 3 (for the test's own variance), sigma small: by construction.

**Direction.** Tight, to first order in sigma^2.

**Source.** Derived here.

**Derivation.** With :math:`E_i = X_i^TZ_i/m` client i solves
:math:`a_i = t_i a^* + S_i^{-1}E_i\bar b/\|\bar b\|^2`, :math:`t_i = b_i^{*T}\bar b/\|\bar b\|^2`. The mean of the t_i is 1 and
:math:`\bar b = \bar b^*`, both up to O(sigma), so the part orthogonal to a* is
:math:`\frac1N\sum_i (S_i^{-1}E_i\bar b^*)_p/\|\bar b^*\|^2`. Given X_i its covariance is
:math:`\sigma^2 (S_i^{-1})_{pp}/(m\|\bar b^*\|^2)` a client, and :math:`E\,S_i^{-1} = \frac{m}{m - d - 1}I`. For one gradient
step the condition is :math:`(\bar S h)_p\|b^*\|^2 = (\bar E b^*)_p`, with the pooled data.

**Test.** Monte Carlo means of delta^2 over the formula, with Student's interval; for the gradient step plus
:math:`\frac{d+1}{Nm-d-1}`, by which the inverse of the pooled second moments exceeds that of their mean.

**Control.** The pooled formula, with m for m - d - 1, for alternating least squares.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.keys import Key
from theory.linear.ensemble import draw_noisy
from theory.linear.ensemble_rounds import LocalTraining, alternate, subspace_distance
from theory.linear.local_steps import least_squares_noise
from theory.linear.rank_r import random_factors
from theory.verification.claim import Instance, Instances, Statement, equal
from theory.verification.statistics import mean_interval

CLIENTS, DIMENSION, OUTPUTS, DRAWS, NOISE = 5, 6, 3, 1500, 1e-4
FEW, MANY = 20, 100  # m of the exact steps, whose formula holds for every m; of the gradient step, whose does not
BOTH = LocalTraining(eta_a=0.0, exact=frozenset({"A", "B"}))
GRADIENT = LocalTraining(eta_a=0.2)  # kappa = 0.2 at ||b*|| = 1: forty iterations reach the fixed point


def _instance(
    key: Key, training: LocalTraining, iterations: int, samples: int, spread: float, pooled: bool
) -> Instance:
    a_star, b_mean = random_factors(key.fold("truth"), DRAWS, DIMENSION, OUTPUTS, [1.0])
    shifts = spread * key.fold("heads").generator().standard_normal((DRAWS, CLIENTS, 1, OUTPUTS))
    heads = b_mean[:, None] + shifts - np.mean(shifts, axis=1, keepdims=True)
    ensemble = draw_noisy(key.fold("data"), samples, a_star, heads, NOISE, 2)
    run = alternate(ensemble, Layer(a_star, b_mean), training, iterations)
    # The pooled formula is the same with m + d + 1 samples.
    effective = samples + DIMENSION + 1 if pooled else samples
    stated = least_squares_noise(NOISE, 1.0, DIMENSION, CLIENTS, effective)
    interval = mean_interval(subspace_distance(run.a[:, -1], a_star) ** 2 / stated)
    slack = interval.half_width + (NOISE if training is BOTH else (DIMENSION + 1) / (CLIENTS * samples - DIMENSION - 1))
    where = f"{'exact' if training is BOTH else 'gradient'} A-step, m={samples}, spread {spread}, {DRAWS} draws"
    return equal(interval.estimate, 1.0, slack, where)


def check(key: Key) -> Instances:
    """Exact steps with equal and with different heads; one gradient step with equal ones."""
    exact = [_instance(key.fold("spread", repr(spread)), BOTH, 2, FEW, spread, False) for spread in (0.0, 0.5)]
    return [*exact, _instance(key.fold("gradient"), GRADIENT, 40, MANY, 0.0, True)]


def control(key: Key) -> Instances:
    """The pooled formula for exact steps."""
    return [_instance(key, BOTH, 2, FEW, 0.0, True)]


CLAIM = Statement(
    source="derived here; alternating least squares in the place of Algorithm 2, arXiv 2502.01755v4",
    kind="measurement",
    statement="label noise: ALS ends at E delta^2 = sigma^2 (d-1)/(N (m-d-1) ||b*||^2), m/(m-d-1) times one gradient step's",
    convention="any: a fixed point does not depend on the loss's scale (checked at 2)",
)
