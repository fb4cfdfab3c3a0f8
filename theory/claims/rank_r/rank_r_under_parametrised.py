r"""Fitting a smaller rank than the truth's: Algorithm 2 ends at the best approximation of that rank.

**Statement.** In the population, with A of rank r' < r, :math:`\sigma_{r'} > \sigma_{r'+1}` and :math:`f\eta\sigma_1^2 \le 1`,
from a random start :math:`\|A\bar B - A^*B^*\|_F^2 \to \sum_{j > r'} \sigma_j^2`, the least that any product of rank r' has.

**Assumptions.** S_i = I; singular values with gaps; a random start: by construction. Measured per instance: the angle
between the span of A and that of the first r' left singular vectors of A* B* is below 1e-6 at the end.

**Direction.** Tight.

**Source.** Derived here; the least error is Eckart and Young's, Psychometrika 1 (1936) 211-218.

**Derivation.** With :math:`W = A^*B^*` and :math:`G = WW^T` the b-step gives :math:`A^TW` and the step on A is
:math:`A + f\eta(I - AA^T)GA`: gradient ascent of :math:`\mathrm{tr}\,A^TGA` over spans. Its fixed points are the invariant
spans of G, of which only that of the r' largest eigenvectors is stable: a component of the j-th vector (j <= r') along the
l-th (l > r') is multiplied by :math:`1 - f\eta(\sigma_j^2 - \sigma_l^2)`. There :math:`A\bar B = AA^TW` is W's projection on
its first left singular vectors. Off by an angle phi the error exceeds the tail by at most
:math:`r'\sigma_1^2\sin^2\phi`.

**Control.** FFA-LoRA, eta = 0, whose error is that of a random span.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble_rounds import alt_min_gd, subspace_distance
from theory.linear.rank_r import population, random_factors
from theory.verification.claim import EPS, Instances, Statement, equal

INSTANCES, DIMENSION, OUTPUTS, ITERATIONS = 10, 8, 5, 120
SIGMA = (3.0, 2.0, 1.0)


def check(key: Key, step: float = 0.9) -> Instances:
    """Ranks 1 and 2 of a truth of rank 3."""
    a_star, b_star = random_factors(key.fold("truth"), INSTANCES, DIMENSION, OUTPUTS, SIGMA)
    truth = a_star @ b_star
    top = np.linalg.svd(truth)[0]
    for fitted in (1, 2):
        a0, _ = random_factors(key.fold("a0", fitted), INSTANCES, DIMENSION, OUTPUTS, np.ones(fitted))
        eta = step / (2 * SIGMA[0] ** 2)
        runs = alt_min_gd(population(a_star, b_star, 2), a0, eta, ITERATIONS)
        error = np.sum((runs.a[:, -2] @ runs.b[:, -1] - truth) ** 2, axis=(1, 2))
        off = subspace_distance(runs.a[:, -2], top[:, :, :fitted])
        tail = float(np.sum(np.square(SIGMA[fitted:])))
        for i in range(INSTANCES):
            slack = fitted * SIGMA[0] ** 2 * min(float(off[i]), 1e-6) ** 2 + 10 * DIMENSION * EPS * SIGMA[0] ** 2
            met = bool(off[i] < 1e-6) or step == 0
            yield equal(float(error[i]), tail, slack, f"r'={fitted} of {len(SIGMA)}, angle {off[i]:.1e}", met)


def control(key: Key) -> Instances:
    """A frozen."""
    return check(key, 0.0)


CLAIM = Statement(
    source="derived here; rank r' < r in Algorithm 2, arXiv 2502.01755v4",
    kind="identity",
    statement="population, rank r' < r fitted: ||A B-bar - A* B*||_F^2 tends to the Eckart-Young tail, sum_{j>r'} sigma_j^2",
    convention="loss (1/m)||.||^2, gradient factor 2; the limit does not depend on it",
)
