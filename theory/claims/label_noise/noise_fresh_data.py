r"""Label noise and fresh data in every iteration: the angle around which Algorithm 2 fluctuates.

**Statement.** With :math:`g = f\kappa`, n = N m and :math:`q = n - 1 + (1 - \tfrac1N)\tfrac{2}{m - 2}`, in the stationary state

.. math::
    E\,\delta^2 = \frac{\sigma^2}{\|b^*\|^2}\,\frac{g\,(d - 1)\,q}{2 n (n - 1) - g\,(n (n - 1) + (d - 1) q)}
    \approx \frac{g}{2 - g}\,\frac{\sigma^2}{\|b^*\|^2}\,\frac{d - 1}{n},

to order sigma^2 and otherwise exact: below the floor of fixed data for kappa < 1/f, and as small as one likes with the step.

**Assumptions.** Equal m > 2, equal b_i*, a new m rows a client and iteration, sigma -> 0, a positive denominator; stationary
to :math:`r^{T}`, r the factor before E delta^2 below. All by construction.

**Direction.** Tight.

**Source.** Derived here.

**Derivation.** ``theory.linear.label_noise``: :math:`p^+ = (I - gM)p + g\tfrac{\sigma}{\|b^*\|}v`, :math:`M = X_p^T P X_p/n`,
:math:`v = X_p^T P z/n`, independent of p. Given P, for a Gaussian :math:`X_p` of d - 1 columns,
:math:`E M = \mathrm{tr}P/n = (n-1)/n`, :math:`E\|v\|^2 = (d-1)\,\mathrm{tr}PP^T/n^2` and
:math:`E M^T M = ((\mathrm{tr}P)^2 + \mathrm{tr}P^2 + (d-1)\,\mathrm{tr}PP^T)/n^2`, with :math:`\mathrm{tr}P^2 = n - 1` because
P is a projection. :math:`E\,\mathrm{tr}PP^T = q`, as :math:`E S_{i,aa}/S_{j,aa} = m/(m-2)` for i != j. Solve
:math:`E\|p\|^2 = r E\|p\|^2 + g^2 (d-1) q \sigma^2/(n\|b^*\|)^2`.

**Test.** The mean over chains of their last iterates' mean, over the prediction.

**Control.** The floor of fixed data.
"""

import functools

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble import Ensemble, draw_noisy
from theory.linear.ensemble_rounds import alt_min_gd, subspace_distance
from theory.linear.label_noise import fresh_data_floor, statistical_floor
from theory.linear.model import GradientFactor
from theory.verification.claim import Instances, Statement, equal_mean

CASES: list[tuple[int, int, int, float, GradientFactor]] = [(1, 30, 6, 0.3, 2), (3, 10, 6, 0.35, 2), (3, 10, 6, 0.9, 1)]
NOISE, OUTPUTS, CHAINS, BURN_IN, KEPT = 1e-4, 2, 1000, 24, 8  # the cases' N, m, d, kappa and f


def _deltas(key: Key, case: tuple[int, int, int, float, GradientFactor]) -> np.ndarray:
    n, m, d, kappa, factor = case
    a_star = np.broadcast_to(np.eye(d)[:, :1], (CHAINS, d, 1))
    b_star = np.full((CHAINS, n, 1, OUTPUTS), 1 / np.sqrt(OUTPUTS))

    @functools.lru_cache(maxsize=1)  # both rounds of an iteration ask for its data
    def batch(t: int) -> Ensemble:
        return draw_noisy(key.fold("t", t), m, a_star, b_star, NOISE, factor)

    a = alt_min_gd(batch, a_star, kappa, BURN_IN + KEPT).a[:, -KEPT:]
    return subspace_distance(a, np.broadcast_to(a_star[:, None], a.shape))


def check(key: Key, fixed: bool = False) -> Instances:
    """One client and several, both conventions."""
    for number, case in enumerate(CASES):
        n, m, d, kappa, factor = case
        floor = fresh_data_floor(NOISE, 1.0, kappa, factor, d, n, m)
        predicted = statistical_floor(NOISE, 1.0, d, n * m) if fixed else floor
        where = f"N={n}, m={m}, d={d}, kappa={kappa}, f={factor}, {CHAINS} chains"
        yield equal_mean(np.mean(_deltas(key.fold("case", number), case) ** 2, axis=1) / predicted, 1.0, where)


def control(key: Key) -> Instances:
    """The floor of fixed data."""
    return check(key, fixed=True)


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4 with label noise",
    kind="measurement",
    statement="label noise, fresh data: E delta^2 = g/(2-g) (sigma^2/||b*||^2)(d-1)/n, g = f kappa, with its exact n, d, N",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
