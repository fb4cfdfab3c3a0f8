r"""The best step at rank r, and how the rate depends on the condition number of B*.

**Statement.** The local ratio of Algorithm 2 is smallest at :math:`\eta = \frac{2}{f(\sigma_1^2 + \sigma_r^2)}`, where it is
:math:`\frac{k^2 - 1}{k^2 + 1}` with :math:`k = \sigma_1/\sigma_r`; a step a tenth longer or shorter is slower.

**Assumptions.** S_i = I, B* of full row rank, k > 1 (at k = 1 the ratio is 0, as at rank 1): by construction.

**Direction.** Tight.

**Source.** Derived here.

**Derivation.** The ratio is :math:`\max_j|1 - f\eta\sigma_j^2|` (claim rank-r-local-rate): convex and piecewise linear in eta,
decreasing on the branch of sigma_r and increasing on that of sigma_1. It is least where they meet, at
:math:`1 - f\eta\sigma_r^2 = f\eta\sigma_1^2 - 1`.

**Test.** The slope of the log of the angle distance against t, from starts whose principal angles are all 1e-5: T_0 is then
1e-5 times an orthonormal frame and :math:`\|T_0(I - f\eta M)^t\|` is exactly geometric. The slack is the fit's interval, the
third-order term as a share of the smallest angle used, and rounding. A tenth from the best step the ratio must be larger.

**Control.** Rank one's best step :math:`1/(f\|B^*\|_{op}^2)`, said to have the best ratio.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble_rounds import alt_min_gd, subspace_distance
from theory.linear.model import GradientFactor
from theory.linear.rank_r import best_ratio, best_step, population, random_factors, start_at
from theory.verification.claim import EPS, Instances, Statement, at_least, equal
from theory.verification.statistics import slope

LARGEST, SMALLEST, ITERATIONS = 1e-5, 1e-9, 40
SPECTRA = [(1.5, 1.0), (2.0, 1.0), (4.0, 2.0, 1.0), (9.0, 5.0, 2.0, 1.0)]


def _log_ratio(key: Key, sigma: tuple[float, ...], eta: float, factor: GradientFactor) -> tuple[float, float]:
    """The fitted log ratio of the angle distance, and its slack."""
    rank = len(sigma)
    a_star, b_star = random_factors(key.fold("truth"), 1, 2 * rank + 1, rank + 1, sigma)
    right, _ = random_factors(key.fold("right"), 1, rank, rank, np.ones(rank))
    a0 = start_at(key.fold("a0"), a_star, right, np.full((1, rank), np.arcsin(LARGEST)))
    runs = alt_min_gd(population(a_star, b_star, factor), a0, eta, ITERATIONS)
    delta = subspace_distance(runs.a[0], np.broadcast_to(a_star, runs.a[0].shape))
    used = delta[delta > SMALLEST]
    fit = slope(np.arange(used.shape[0], dtype=float), np.log(used))
    # A step is at most 2/(f sigma_1^2) here, so (f eta sigma_1^2)^2 <= 4 stands before the third order.
    relative = (4 * LARGEST**3 + 10 * a_star.shape[1] * EPS) / float(used[-1])
    return fit.estimate, fit.half_width + relative


def _instances(key: Key, sigma: tuple[float, ...], of_rank_one: bool) -> Instances:
    stated = float(np.log(best_ratio(sigma[0] / sigma[-1])))
    for factor in (1, 2):
        best = 1 / (factor * sigma[0] ** 2) if of_rank_one else best_step(sigma, factor)
        measured, slack = _log_ratio(key, sigma, best, factor)
        where = f"sigma={sigma}, f={factor}, log ratio at"
        yield equal(measured, stated, slack, f"{where} the best step")
        for share in (0.9, 1.1):
            measured, slack = _log_ratio(key, sigma, share * best, factor)
            yield at_least(measured, stated, slack, f"{where} {share} of it")


def check(key: Key) -> Instances:
    """Condition numbers 1.5 to 9, ranks 2 to 4, both conventions."""
    return (i for n, sigma in enumerate(SPECTRA) for i in _instances(key.fold("spectrum", n), sigma, False))


def control(key: Key) -> Instances:
    """The step that is best at rank 1."""
    return _instances(key, SPECTRA[1], True)


CLAIM = Statement(
    source="derived here; rank r of Algorithm 2, arXiv 2502.01755v4",
    kind="rate",
    statement="the local ratio is least at eta = 2/(f(sigma_1^2 + sigma_r^2)): (k^2-1)/(k^2+1), k the condition number of B*",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
