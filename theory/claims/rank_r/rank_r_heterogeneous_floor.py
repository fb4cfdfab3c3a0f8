r"""The floor of Algorithm 2 at rank r, with different heads and fixed data.

**Statement.** On fixed data without label noise the principal angles at the fixed point obey, to first order,

.. math::
    E\sum_j\sin^2\theta_j \approx \frac{d - r}{Nm}\;\frac1N\sum_i\big\|(B_i^* - \bar B^*)\,\bar B^{*+}\big\|_F^2,

with the pseudo-inverse :math:`\bar B^{*+} = \bar B^{*T}(\bar B^*\bar B^{*T})^{-1}`, whatever the step size. The deviation of the
heads counts relative to the singular values of the mean head, the small ones most.

**Assumptions.** Gaussian inputs, m large, mean head of full row rank: by construction.

**Direction.** Tight, to first order in :math:`\sqrt{d/m}`.

**Source.** Derived here; r = 1 is the claim heterogeneous-floor.

**Derivation.** At A = A* the b-steps are exact and the mean gradient across A* is
:math:`f\,\frac1N\sum_iS_{i,pa}(\bar B^* - B_i^*)\bar B^{*T}`. To first order the gradient at the tangents T adds
:math:`f\,T\,\bar B^*\bar B^{*T}`, so :math:`T = \frac1N\sum_iS_{i,pa}(B_i^* - \bar B^*)\bar B^{*+}`. The entries of S_{i,pa}, a
(d - r) x r matrix, are independent with mean 0 and variance 1/m up to O(1/m^2).

**Test.** Monte Carlo mean of the ratio with Student's interval; slack beside it: the left-out relative order d/m, times the
condition number's square, and 1e-4 for the iterations left out.

**Control.** Rank one's formula with Frobenius norms, :math:`\|(B_i^* - \bar B^*)\bar B^{*T}\|_F^2/\|\bar B^*\|_F^4`.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.keys import Key
from theory.linear.ensemble import draw_moments, planted
from theory.linear.ensemble_rounds import LocalTraining, alternate
from theory.linear.rank_r import best_ratio, best_step, random_factors, tangents
from theory.verification.claim import Instance, Instances, Statement, equal_mean

CLIENTS, SAMPLES, DIMENSION, OUTPUTS, MODELS = 3, 6000, 7, 4, 500
SPECTRA = [(1.0, 1.0), (1.5, 1.0), (1.5, 1.2, 1.0)]


def _instance(key: Key, sigma: tuple[float, ...], frobenius: bool) -> Instance:
    rank = len(sigma)
    a_star, b_mean = random_factors(key.fold("truth"), MODELS, DIMENSION, OUTPUTS, sigma)
    shifts = 0.4 * key.fold("heads").generator().standard_normal((MODELS, CLIENTS, rank, OUTPUTS))
    shifts -= np.mean(shifts, axis=1, keepdims=True)
    moments, _ = draw_moments(key.fold("data"), MODELS, CLIENTS, SAMPLES, DIMENSION)
    ensemble, start = planted(moments, a_star, b_mean[:, None] + shifts, 2), Layer(a_star, b_mean)
    ratio, condition = best_ratio(sigma[0] / sigma[-1]), sigma[0] / sigma[-1]
    iterations = 3 if ratio == 0 else int(np.ceil(np.log(1e-5) / np.log(ratio)))
    run = alternate(ensemble, start, LocalTraining(best_step(sigma, 2)), iterations)
    measured = np.sum(tangents(run.a[:, -1], a_star) ** 2, axis=(1, 2))
    inverse = np.linalg.pinv(b_mean)
    if frobenius:
        inverse = np.swapaxes(b_mean, 1, 2) / np.sum(b_mean**2, axis=(1, 2), keepdims=True)
    spread = np.mean(np.sum((shifts @ inverse[:, None]) ** 2, axis=(2, 3)), axis=1)
    where = f"sigma={sigma}, N={CLIENTS}, m={SAMPLES}, d={DIMENSION}, {MODELS} models"
    stated = spread * (DIMENSION - rank) / (CLIENTS * SAMPLES)
    return equal_mean(measured / stated, 1.0, where, beyond=condition**2 * DIMENSION / SAMPLES + 1e-4)


def check(key: Key) -> Instances:
    """Ranks 2 and 3, condition numbers 1 and 1.5."""
    return (_instance(key.fold("spectrum", n), sigma, False) for n, sigma in enumerate(SPECTRA))


def control(key: Key) -> Instances:
    """Frobenius norms in the rank-one formula."""
    return [_instance(key, SPECTRA[1], True)]


CLAIM = Statement(
    source="derived here; rank r of Algorithm 2, arXiv 2502.01755v4",
    kind="measurement",
    statement="fixed data, heads B_i*: E sum_j sin^2 theta_j = (d-r)/(N m) mean_i ||(B_i* - B-bar*) B-bar*^+||_F^2 to first order",
    convention="any: the fixed point does not depend on the factor (checked at 2)",
)
