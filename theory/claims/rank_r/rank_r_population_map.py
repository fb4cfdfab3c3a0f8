r"""One iteration of Algorithm 2 at rank r, in closed form.

**Statement.** With :math:`M = B^* B^{*T}`, the tangents :math:`T = (I - A^*A^{*T})A(A^{*T}A)^{-1}` and
:math:`K = (I + T^T T)^{-1}`, one iteration in the population is

.. math::
    T^+ = T\,(I - f\eta H), \qquad H = \big(M^{-1} + f\eta\,(I - K)\big)^{-1}.

**Assumptions.** S_i = I, B* of full row rank, no principal angle of 90 degrees: by construction. Any eta.

**Direction.** Tight.

**Source.** Derived here; at rank 1 it is the tangent form of the claim population-map.

**Derivation.** With :math:`C = A^T A^*` and :math:`P = A^* - A C`, the b-step gives C B* and the step on A is
:math:`A' = A + f\eta\,P M C^T`. Hence :math:`A^{*T}A' = (I + f\eta(I - C^TC)M)\,C^T` and, as P's part beyond A* is -F C with
:math:`F = (I - A^*A^{*T})A`, :math:`(I - A^*A^{*T})A' = F(I - f\eta\,C M C^T)`. Orthonormalising does not change
:math:`T^+ = F (I - f\eta\,CMC^T) C^{-T} (I + f\eta(I - C^TC)M)^{-1} = T\,(I - f\eta\,C^TC\,M)(I + f\eta(I - C^TC)M)^{-1}`,
and :math:`C^T C = K` because :math:`I = A^T A = C C^T + F^T F`. The product of the last two brackets is
:math:`I - f\eta M (I + f\eta(I - K)M)^{-1} = I - f\eta H`.

**Control.** Angle by angle the rank-one map, the j-th largest angle with sigma_j: true only if the principal directions are
the left singular vectors of B*.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble_rounds import alt_min_gd
from theory.linear.local_steps import population_step
from theory.linear.model import GradientFactor
from theory.linear.rank_r import population, population_map, random_factors, start_at, tangents
from theory.verification.claim import EPS, Instances, Statement, equal_arrays

INSTANCES, PRODUCTS = 40, 10  # the matrix products on the way from A to T+, each with rounding of d units
SIZES = [(1, 4), (2, 7), (3, 9), (5, 20)]  # r, d
SHARES = (0.1, 1.0, 1.9, 3.0)  # f eta sigma_1^2


def _instances(key: Key, rank: int, dimension: int, factor: GradientFactor, angle_by_angle: bool) -> Instances:
    sigma = np.linspace(2.0, 0.5, rank)
    a_star, b_star = random_factors(key.fold("truth"), INSTANCES, dimension, rank + 2, sigma)
    right, _ = random_factors(key.fold("right"), INSTANCES, rank, rank, np.ones(rank))
    angles = -np.sort(-key.fold("angles").generator().uniform(0.01, 1.5, (INSTANCES, rank)))
    a0 = start_at(key.fold("a0"), a_star, right, angles)
    before = tangents(a0, a_star)
    for share in SHARES:
        eta = share / (factor * sigma[0] ** 2)
        measured = tangents(alt_min_gd(population(a_star, b_star, factor), a0, eta, 1).a[:, -1], a_star)
        predicted = population_map(before, b_star, eta, factor)
        if angle_by_angle:
            left, values, rows = np.linalg.svd(before, full_matrices=False)
            after = np.tan(population_step(np.arctan(values), eta * sigma**2, 1, factor))
            predicted = (left * after[:, None]) @ rows
        for i in range(INSTANCES):
            # A is known to rounding, whatever its angles; T divides by A*^T A, whose condition number is at most 1/cos.
            size = (1 + share) * (1 + np.linalg.norm(before[i])) / np.cos(angles[i, 0])
            where = f"r={rank}, d={dimension}, f={factor}, f eta sigma_1^2={share}, largest angle {angles[i, 0]:.2f}"
            yield equal_arrays(measured[i], predicted[i], PRODUCTS * dimension * EPS * size, where)


def check(key: Key) -> Instances:
    """Both conventions, ranks 1 to 5, steps up to beyond stability."""
    cases = [(*size, factor) for size in SIZES for factor in (1, 2)]
    return (i for number, case in enumerate(cases) for i in _instances(key.fold("case", number), *case, False))


def control(key: Key) -> Instances:
    """The rank-one map for every angle."""
    return _instances(key, 3, 9, 2, True)


CLAIM = Statement(
    source="derived here; rank r of Algorithm 2, arXiv 2502.01755v4",
    kind="identity",
    statement="T+ = T (I - f eta H), H = (M^-1 + f eta (I - K))^-1, M = B* B*^T, K = (I + T^T T)^-1",
    convention="both: f = 2 for (1/m)||.||^2, f = 1 for (1/(2m))||.||^2",
)
