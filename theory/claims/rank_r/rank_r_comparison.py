r"""At rank r the largest angle falls at least as fast as at rank one with the smallest singular value.

**Statement.** In the population with :math:`f\eta\sigma_1^2 \le 1` and :math:`\kappa_r = \eta\sigma_r^2`, the largest
principal angle obeys

.. math::
    \tan\theta^+ \le \tan\theta\,\frac{1 - f\kappa_r\cos^2\theta}{1 + f\kappa_r\sin^2\theta},
    \qquad\text{that is}\qquad \theta^+ \le \theta - \arctan\big(\tfrac f2\kappa_r \sin 2\theta\big).

The right side is the rank-one map and increases with theta, so :math:`\theta_t` is at most the rank-one trajectory from
:math:`\theta_0`, and every statement on that trajectory with :math:`f\kappa \le 1` holds at rank r with kappa_r.

**Assumptions.** S_i = I, B* of full row rank, largest angle below 90 degrees: by construction.

**Direction.** Upper; attained where A is off along the r-th left singular vector of B* alone.

**Source.** Derived here.

**Derivation.** :math:`\|T^+\| \le \|T\|\,\|I - f\eta H\|` (claim rank-r-population-map) and
:math:`0 \prec H \preceq \sigma_1^2 I`, so the norm is :math:`1 - f\eta\lambda_{\min}(H)`. As
:math:`I - K = T^TT(I + T^TT)^{-1} \preceq \sin^2\theta\,I`, :math:`\lambda_{\min}(H) \ge
1/(\sigma_r^{-2} + f\eta\sin^2\theta)`, and :math:`1 - \frac{f\kappa_r}{1 + f\kappa_r\sin^2\theta}` is the quotient above.
If T has the one right singular vector u_r, both inequalities are equalities.

**Control.** The rank-one map with :math:`\sigma_1`, the operator norm of B*.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.bounds import population_step
from theory.linear.ensemble_rounds import alt_min_gd
from theory.linear.rank_r import population, principal_angles, random_factors, start_at
from theory.verification.claim import EPS, Instances, Statement, at_most

INSTANCES, ITERATIONS, PRODUCTS = 60, 6, 10
SPECTRA = [(1.0,), (3.0, 1.0), (2.0, 1.9, 1.8), (5.0, 2.0, 0.5)]
SHARES = (0.1, 0.5, 1.0)  # f eta sigma_1^2


def _instances(key: Key, spectrum: tuple[float, ...], index: int) -> Instances:
    rank = len(spectrum)
    dimension = 2 * rank + 2
    a_star, b_star = random_factors(key.fold("truth"), INSTANCES, dimension, rank, spectrum)
    right, _ = random_factors(key.fold("right"), INSTANCES, rank, rank, np.ones(rank))
    right[::3] = np.linalg.svd(b_star[::3])[0]
    angles = key.fold("angles").generator().uniform(0.01, 1.55, (INSTANCES, rank))
    angles[::6, :-1] = 0.0  # off along u_r alone: the bound is attained
    a0 = start_at(key.fold("a0"), a_star, right, angles)
    for factor in (1, 2):
        for share in SHARES:
            eta = share / (factor * spectrum[0] ** 2)
            runs = alt_min_gd(population(a_star, b_star, factor), a0, eta, ITERATIONS)
            largest = principal_angles(runs.a, a_star[:, None])[..., 0]
            bound = population_step(largest[:, :-1], eta * spectrum[index] ** 2, factor)
            for (i, t), after in np.ndenumerate(largest[:, 1:]):
                slack = PRODUCTS * dimension * EPS / float(np.cos(largest[i, t]))
                where = f"sigma={spectrum}, f={factor}, f eta sigma_1^2={share}, angle {largest[i, t]:.3f}"
                yield at_most(float(after), float(bound[i, t]), slack, where)


def check(key: Key) -> Instances:
    """Aligned and random starts, near the saddle too, both conventions."""
    return (i for n, sigma in enumerate(SPECTRA) for i in _instances(key.fold("spectrum", n), sigma, -1))


def control(key: Key) -> Instances:
    """The largest singular value in the place of the smallest."""
    return _instances(key, SPECTRA[1], 0)


CLAIM = Statement(
    source="derived here; rank r of Algorithm 2, arXiv 2502.01755v4",
    kind="bound",
    statement="population, f eta sigma_1^2 <= 1: theta_max+ <= theta - arctan((f/2) eta sigma_r^2 sin 2theta), rank one's map",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
