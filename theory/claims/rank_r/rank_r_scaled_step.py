r"""Scaling A's gradient by (B B^T)^{-1} takes the condition number out of the rate.

**Statement.** In the population, with the averaged gradient on A multiplied by :math:`(\bar B\bar B^T)^{-1}` and a step
:math:`f\eta \le 1`, every principal angle moves by itself, whatever B* is:

.. math::
    \tan\theta_j^+ = \frac{(1 - f\eta)\tan\theta_j}{1 + f\eta\tan^2\theta_j}.

At :math:`f\eta = 1` one iteration is exact, and locally every direction contracts by :math:`1 - f\eta`.

**Assumptions.** S_i = I, B* of full row rank, largest angle below 90 degrees: by construction.

**Direction.** Tight.

**Source.** Derived here.

**Derivation.** With :math:`C = A^TA^*`, :math:`P = A^* - AC` and :math:`\bar B = CB^*`, the step is
:math:`A' = A + f\eta\,PMC^T(CMC^T)^{-1} = A + f\eta\,PC^{-1}`: M has cancelled. Then
:math:`(I - A^*A^{*T})A' = (1 - f\eta)F`, :math:`A^{*T}A' = (1 - f\eta)C^T + f\eta\,C^{-1}`, and by
:math:`C^{-1}C^{-T} = I + T^TT` (claim rank-r-population-map) :math:`T^+ = (1 - f\eta)\,T\,(I + f\eta\,T^TT)^{-1}`.

**Control.** Algorithm 2's own step, as long as it may be for sigma_1, with the same formula.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble_rounds import alt_min_gd
from theory.linear.rank_r import population, principal_angles, random_factors, scaled_angles, scaled_step, start_at
from theory.verification.claim import EPS, Instances, Statement, equal_arrays

INSTANCES, ITERATIONS, PRODUCTS = 20, 3, 10
SPECTRA = [(1.0,), (2.0, 1.0), (10.0, 3.0, 1.0), (100.0, 1.0)]
SHARES = (0.1, 0.5, 0.9, 1.0)  # f eta


def _instances(key: Key, sigma: tuple[float, ...], scaled: bool) -> Instances:
    rank = len(sigma)
    dimension = 2 * rank + 2
    a_star, b_star = random_factors(key.fold("truth"), INSTANCES, dimension, rank + 2, sigma)
    right, _ = random_factors(key.fold("right"), INSTANCES, rank, rank, np.ones(rank))
    angles = key.fold("angles").generator().uniform(0.05, 1.3, (INSTANCES, rank))
    for factor in (1, 2):
        ensemble = population(a_star, b_star, factor)
        for share in SHARES:
            a = start_at(key.fold("a0"), a_star, right, angles)
            for t in range(ITERATIONS):
                before, eta = principal_angles(a, a_star), share / factor
                a = (
                    scaled_step(ensemble, a, eta)
                    if scaled
                    else alt_min_gd(ensemble, a, eta / sigma[0] ** 2, 1).a[:, -1]
                )
                predicted = -np.sort(-scaled_angles(before, eta, factor))
                after = principal_angles(a, a_star)
                # The scaling solves with B-bar B-bar^T, whose condition number is at most k^2 / cos^2.
                size = (sigma[0] / sigma[-1]) ** 2 / np.cos(before[:, 0]) ** 3
                where = f"sigma={sigma}, f={factor}, f eta={share}, iteration {t}"
                for i in range(INSTANCES):
                    slack = PRODUCTS * dimension * EPS * float(size[i])
                    yield equal_arrays(after[i], predicted[i], slack, where)


def check(key: Key) -> Instances:
    """Condition numbers 1 to 100, both conventions, the exact step included."""
    return (i for n, sigma in enumerate(SPECTRA) for i in _instances(key.fold("spectrum", n), sigma, True))


def control(key: Key) -> Instances:
    """The step without the scaling, f eta sigma_1^2 in the place of f eta."""
    return _instances(key, SPECTRA[1], False)


CLAIM = Statement(
    source="derived here; the scaling is that of scaled gradient descent for low-rank factorisation",
    kind="identity",
    statement="gradient of A times (B B^T)^-1: tan theta_j+ = (1 - f eta) tan theta_j / (1 + f eta tan^2 theta_j), for every B*",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
