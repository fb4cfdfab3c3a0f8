r"""At rank r the averaged b-step is unbiased, and its variance grows with the rank.

**Statement.** For A independent of the data, :math:`\bar B = A^T A^* B^* + \bar E B^*` with :math:`E\,\bar E = 0` and

.. math::
    E\,\|\bar E B^*\|_F^2 = \frac{r}{N(m - r - 1)}\,\|(I - A A^T) A^* B^*\|_F^2, \qquad m > r + 1,

so the population risk of the average is :math:`\big(1 + \frac{r}{N(m - r - 1)}\big)\|(I - A A^T) A^* B^*\|_F^2`.

**Assumptions.** Gaussian inputs, independent clients, equal heads, m > r + 3 (for the test's own variance): by construction.

**Direction.** Tight.

**Source.** Derived here; r = 1 is the 1/(N(m-2)) of the claim ffa-floor-population.

**Derivation.** U = X_i A and :math:`V = X_i (I - AA^T) A^* B^*` are independent, as their coefficients are orthogonal, and
:math:`E_i B^* = (U^T U)^{-1} U^T V`. Given U its mean is 0 and its mean square is
:math:`\mathrm{tr}\,(U^T U)^{-1}` times the sum of the variances of a row of V, :math:`\|(I - AA^T)A^*B^*\|_F^2`. The mean
of an inverse Wishart matrix gives :math:`E\,\mathrm{tr}\,(U^T U)^{-1} = r/(m - r - 1)`. Independent clients: divide by N.

**Test.** Monte Carlo means with Student's intervals at confidence 0.9999: of the squared error over its prediction (1), and
of :math:`\langle \bar E B^*, G\rangle` for a fixed direction G (0).

**Control.** The rank-one constant, 1/(N(m - 2)).
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble import draw_moments, planted
from theory.linear.ensemble_rounds import solve_b
from theory.linear.rank_r import random_factors
from theory.verification.claim import Instances, Statement, equal
from theory.verification.statistics import mean_interval

CLIENTS, OUTPUTS, DRAWS, DIMENSION = 3, 4, 6000, 6
SIZES = [(1, 8), (2, 9), (3, 12), (3, 40)]  # r, m


def check(key: Key, sizes: list[tuple[int, int]] = SIZES, rank_one: bool = False) -> Instances:
    """Ranks 1 to 3, few and many samples."""
    for rank, samples in sizes:
        draw = key.fold("r", rank, "m", samples)
        a_star, b_star = random_factors(draw.fold("truth"), 1, DIMENSION, OUTPUTS, np.linspace(2.0, 1.0, rank))
        a, _ = random_factors(draw.fold("a"), 1, DIMENSION, rank, np.ones(rank))
        moments, _ = draw_moments(draw.fold("data"), DRAWS, CLIENTS, samples, DIMENSION)
        heads = np.repeat(b_star[:, None], CLIENTS, axis=1)
        b = np.mean(solve_b(planted(moments, a_star, heads, 2), a[:, None]), axis=1)
        mean = np.swapaxes(a, -1, -2) @ a_star @ b_star
        risk = float(np.sum((a @ mean - a_star @ b_star) ** 2))
        effective = 1 if rank_one else rank
        variance = effective / (CLIENTS * (samples - effective - 1)) * risk
        where = f"r={rank}, N={CLIENTS}, m={samples}, {DRAWS} draws"
        square = mean_interval(np.sum((b - mean) ** 2, axis=(1, 2)) / variance)
        yield equal(square.estimate, 1.0, square.half_width, f"variance over its formula, {where}")
        along = mean_interval(np.sum((b - mean) * np.ones((rank, OUTPUTS)), axis=(1, 2)))
        yield equal(along.estimate, 0.0, along.half_width, f"mean, {where}")


def control(key: Key) -> Instances:
    """The rank-one constant at rank 3."""
    return check(key, SIZES[2:3], rank_one=True)


CLAIM = Statement(
    source="derived here; rank r of Algorithm 2, arXiv 2502.01755v4",
    kind="measurement",
    statement="E B-bar = A^T A* B*; E ||B-bar - A^T A* B*||_F^2 = r/(N(m-r-1)) ||(I - A A^T) A* B*||_F^2 (measured: ratio)",
    convention="none: a minimiser does not depend on the loss's scale",
)
