r"""At rank r no principal angle ever increases, as long as the step is stable for the largest singular value.

**Statement.** In the population with :math:`f\eta\sigma_1^2 \le 2`, every principal angle is non-increasing:
:math:`\theta_j^+ \le \theta_j` for j = 1 ... r, each list sorted.

**Assumptions.** S_i = I, B* of full row rank, largest angle below 90 degrees: by construction.

**Direction.** Upper; attained at :math:`f\eta\sigma_1^2 = 2` as the angle along sigma_1 tends to 0.

**Source.** Derived here.

**Derivation.** :math:`T^+ = T(I - f\eta H)` (claim rank-r-population-map). :math:`I - K` is positive semi-definite, so
:math:`H^{-1} \succeq M^{-1}` and :math:`0 \prec H \preceq M \preceq \sigma_1^2 I`. With :math:`f\eta\sigma_1^2 \le 2` the
symmetric matrix :math:`I - f\eta H` lies between -I and I, and :math:`s_j(T G) \le s_j(T)\|G\|` for every singular value.
Below 2 the factor is smaller than 1, so Algorithm 2 converges to A* from every start with an invertible
:math:`A^T A^*`, at every rank and for every B* of full row rank.

**Control.** :math:`f\eta\sigma_1^2 = 2.2`.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble_rounds import alt_min_gd
from theory.linear.rank_r import population, principal_angles, random_factors, start_at
from theory.verification.claim import EPS, Instances, Statement, at_most

INSTANCES, ITERATIONS, PRODUCTS = 60, 4, 10
SPECTRA = [(1.0,), (3.0, 1.0), (2.0, 2.0), (5.0, 2.0, 0.3)]
SHARES = (0.2, 1.0, 1.7, 2.0)  # f eta sigma_1^2


def _instances(key: Key, spectrum: tuple[float, ...], shares: tuple[float, ...]) -> Instances:
    rank = len(spectrum)
    dimension = 2 * rank + 2
    a_star, b_star = random_factors(key.fold("truth"), INSTANCES, dimension, rank, spectrum)
    # Half of the starts are off along B*'s own left singular vectors, where the step acts most strongly.
    right, _ = random_factors(key.fold("right"), INSTANCES, rank, rank, np.ones(rank))
    right[::2] = np.linalg.svd(b_star[::2])[0]
    angles = key.fold("angles").generator().uniform(0.0, 1.0, (INSTANCES, rank)) ** 2 * 1.5
    a0 = start_at(key.fold("a0"), a_star, right, angles)
    for factor in (1, 2):
        for share in shares:
            eta = share / (factor * spectrum[0] ** 2)
            runs = alt_min_gd(population(a_star, b_star, factor), a0, eta, ITERATIONS)
            theta = principal_angles(runs.a, a_star[:, None])
            growth = np.max(theta[:, 1:] - theta[:, :-1], axis=-1)
            for (i, t), change in np.ndenumerate(growth):
                slack = PRODUCTS * dimension * EPS / float(np.cos(theta[i, t, 0]))
                where = f"sigma={spectrum}, f={factor}, f eta sigma_1^2={share}, angles {theta[i, t].round(3)}"
                yield at_most(float(change), 0.0, slack, where)


def check(key: Key) -> Instances:
    """Aligned and random starts, both conventions, up to the end of the range."""
    return (i for n, sigma in enumerate(SPECTRA) for i in _instances(key.fold("spectrum", n), sigma, SHARES))


def control(key: Key) -> Instances:
    """Ten per cent beyond the range."""
    return _instances(key, SPECTRA[1], (2.2,))


CLAIM = Statement(
    source="derived here; rank r of Algorithm 2, arXiv 2502.01755v4",
    kind="bound",
    statement="population, f eta sigma_1^2 <= 2: no principal angle increases (measured: largest change of an angle)",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
