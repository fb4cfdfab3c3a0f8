r"""Near the truth the error contracts along the left singular vectors of B*, each at a ratio of its own.

**Statement.** In the population :math:`T_{t+1} u_j = (1 - f\eta\sigma_j^2)\,T_t u_j` to first order in T, with u_j the left
singular vectors of B*. So the local ratio of the angle distance is :math:`\max_j |1 - f\eta\sigma_j^2|`.

**Assumptions.** S_i = I, B* of full row rank, :math:`f\eta\sigma_1^2 < 2`: by construction.

**Direction.** Tight.

**Source.** Derived here; at rank 1 it is the :math:`|1 - f\kappa|` of the claim local-ratio.

**Derivation.** In :math:`T^+ = T(I - f\eta H)` (claim rank-r-population-map) :math:`I - K = T^TT + O(T^4)`, hence
:math:`H = M - f\eta\,M T^TT M + O(T^4)`, and :math:`M u_j = \sigma_j^2 u_j`.

**Test.** The slope of :math:`\log\|T_t u_j\|` against t, from T of size 1e-5, while it is above 1e-9. The slack is the fit's
interval, the rounding of the smallest T, and what the term :math:`f^2\eta^2\sigma_1^2\sigma_j^2\|T\|^3` can add to the
smallest column that is used. Ratios below 0.02 leave fewer than three points and are not counted.

**Control.** The rank-one rate with :math:`\|B^*\|_F^2` in the place of each sigma_j^2.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble_rounds import alt_min_gd
from theory.linear.rank_r import local_ratios, population, random_factors, start_at, tangents
from theory.verification.claim import EPS, Instances, Statement, equal
from theory.verification.statistics import slope

LARGEST, SMALLEST, ITERATIONS, SLOWEST = 1e-5, 1e-9, 60, 0.02
SPECTRA = [(1.0, 1.0), (2.0, 1.0), (3.0, 2.0, 1.0), (5.0, 2.0, 1.0, 0.5)]  # condition numbers 1, 2, 3, 10
SHARES = (0.3, 0.8, 1.5)  # f eta sigma_1^2


def _instances(key: Key, sigma: tuple[float, ...], frobenius: bool) -> Instances:
    rank = len(sigma)
    dimension = 2 * rank + 1
    a_star, b_star = random_factors(key.fold("truth"), 1, dimension, rank + 1, sigma)
    left, right = np.linalg.svd(b_star)[0], random_factors(key.fold("right"), 1, rank, rank, np.ones(rank))[0]
    a0 = start_at(key.fold("a0"), a_star, right, np.full((1, rank), LARGEST))
    for factor in (1, 2):
        for share in SHARES:
            eta = share / (factor * sigma[0] ** 2)
            runs = alt_min_gd(population(a_star, b_star, factor), a0, eta, ITERATIONS)
            columns = np.linalg.norm(tangents(runs.a[0], a_star) @ left, axis=-2)  # iterates, j
            rates = local_ratios(sigma, eta, factor)
            stated = (
                local_ratios([float(np.sqrt(np.sum(np.square(sigma))))] * rank, eta, factor) if frobenius else rates
            )
            for j in range(rank):
                used = columns[columns[:, j] > SMALLEST, j]
                if used.shape[0] < 3 or rates[j] < SLOWEST or stated[j] == 0:
                    continue
                fit = slope(np.arange(used.shape[0], dtype=float), np.log(used))
                third_order = share**2 * float(np.max(columns)) ** 3
                relative = (third_order + 10 * dimension * EPS) / (float(used[-1]) * float(rates[j]))
                where = f"sigma={sigma}, j={j + 1}, f={factor}, f eta sigma_1^2={share}, log ratio"
                yield equal(fit.estimate, float(np.log(stated[j])), fit.half_width + relative, where)


def check(key: Key) -> Instances:
    """Four condition numbers, steps below and above 1/(f sigma_1^2), both conventions."""
    return (i for n, sigma in enumerate(SPECTRA) for i in _instances(key.fold("spectrum", n), sigma, False))


def control(key: Key) -> Instances:
    """One ratio, |1 - f eta ||B*||_F^2|, for all directions."""
    return _instances(key, SPECTRA[1], True)


CLAIM = Statement(
    source="derived here; rank r of Algorithm 2, arXiv 2502.01755v4",
    kind="rate",
    statement="population: along the left singular vectors of B* the error contracts by |1 - f eta sigma_j^2| an iteration",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
