r"""The floor of the angle with client weights and unequal numbers of samples.

**Statement.** With weights p_i that sum to one, m_i samples at client i, different heads and fixed data without label noise,

.. math::
    E\,\delta_\infty^2 \approx (d - 1)\sum_i\frac{p_i^2\,\tau_i^2}{m_i}, \qquad
    \tau_i = \frac{b_i^{*T}\bar b_p^*}{\|\bar b_p^*\|^2} - 1, \qquad \bar b_p^* = \sum_ip_ib_i^*,

to first order in :math:`\sqrt{d/m_i}`. With FedAvg's weights, p_i proportional to m_i, it is the equal-weights floor with the
pooled number of samples: :math:`\frac{d-1}{\sum m_i}\sum_ip_i\tau_i^2`.

**Assumptions.** Gaussian inputs, every m_i large: by construction.

**Direction.** Tight, to first order.

**Source.** Derived here; equal weights and samples are the claim heterogeneous-floor.

**Derivation.** At a = a* the weighted gradient across a* is :math:`-f\|\bar b_p^*\|^2\sum_ip_i\tau_iS_{i,pa}` to first order
and at :math:`a^* + h` it gains :math:`f\|\bar b_p^*\|^2h`, so :math:`h = \sum_ip_i\tau_iS_{i,pa}` with independent
:math:`S_{i,pa} \approx N(0, I_{d-1}/m_i)`.

**Test.** Monte Carlo mean of delta^2 over the formula, with Student's interval and the relative order d/min m_i left out.

**Control.** The formula of equal weights and the mean number of samples.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.keys import Key
from theory.linear.ensemble import draw_moments, planted
from theory.linear.ensemble_rounds import LocalTraining, alternate, subspace_distance
from theory.linear.rank_r import random_factors
from theory.verification.claim import Instance, Instances, Statement, equal_mean

SAMPLES, DIMENSION, OUTPUTS, MODELS = (1500, 3000, 9000), 6, 3, 900
WEIGHTS = ((1.0, 1.0, 1.0), (1.0, 2.0, 6.0), (5.0, 1.0, 1.0))


def _instance(key: Key, weights: tuple[float, ...], of_equal_clients: bool) -> Instance:
    share, clients = np.asarray(weights) / sum(weights), len(SAMPLES)
    a_star, b_star = random_factors(key.fold("truth"), MODELS, DIMENSION, OUTPUTS, [1.0])
    shifts = 0.5 * key.fold("heads").generator().standard_normal((MODELS, clients, 1, OUTPUTS))
    # The weighted mean head is b* in all models: kappa = 1/2 then reaches the fixed point in a few iterations.
    heads = b_star[:, None] + shifts - np.sum(share[:, None, None] * shifts, axis=1, keepdims=True)
    draws = [draw_moments(key.fold("client", i), MODELS, 1, m, DIMENSION)[0] for i, m in enumerate(SAMPLES)]
    ensemble = planted(np.concatenate(draws, axis=1), a_star, heads, 2)
    run = alternate(ensemble, Layer(a_star, b_star), LocalTraining(0.5), 5, weights=weights)
    tau = np.sum(heads * b_star[:, None], axis=(2, 3)) - 1
    floor = (DIMENSION - 1) * np.sum(share**2 * tau**2 / np.asarray(SAMPLES), axis=1)
    if of_equal_clients:
        floor = (DIMENSION - 1) * np.sum(tau**2, axis=1) / (clients * sum(SAMPLES))
    where = f"m_i={SAMPLES}, weights {weights}, {MODELS} models"
    return equal_mean(subspace_distance(run.a[:, -1], a_star) ** 2 / floor, 1.0, where, beyond=DIMENSION / min(SAMPLES))


def check(key: Key) -> Instances:
    """Three choices of weights."""
    return (_instance(key.fold("weights", n), w, False) for n, w in enumerate(WEIGHTS))


def control(key: Key) -> Instances:
    """The formula of equal weights and the mean number of samples."""
    return [_instance(key, WEIGHTS[1], True)]


CLAIM = Statement(
    source="derived here; client weights in Algorithm 2, arXiv 2502.01755v4",
    kind="measurement",
    statement="weights p_i, m_i samples, heads b_i*: E delta_inf^2 = (d-1) sum p_i^2 tau_i^2/m_i to first order (measured: ratio)",
    convention="any: the fixed point does not depend on the factor (checked at 2)",
)
