r"""Fixed data identify a* only with at least as many pooled samples as dimensions.

**Statement.** With fixed data and Nm < d, at every iterate :math:`\delta_t \ge \|(I - nn^T)Ka^*\|`, K the projector onto the
pooled kernel :math:`\{v : X_iv = 0 \text{ for all } i\}` and n the direction of :math:`Ka^0`.

**Assumptions.** Nm < d (the kernel's dimension d - Nm is measured), any step size.

**Direction.** Lower. :math:`E\|(I - nn^T)Ka^*\|^2 = (d - Nm - 1)/d` for a random start: :math:`\delta \to 1` as Nm/d -> 0.

**Source.** Derived here; limits Theorem 4.5, arXiv 2502.01755v4, on reused data.

**Derivation.** Every gradient is a combination of the rows of the X_i, so an iterate's part in the kernel only ever changes its
length: :math:`Ka^t \parallel n`. With :math:`Q = (I - nn^T)K`, :math:`Qa^t = 0`, and
:math:`\delta = \|a^* - (a^{tT}a^*)a^t\| \ge \|Q(a^* - (a^{tT}a^*)a^t)\| = \|Qa^*\|`. The training loss may still vanish: every
:math:`a \propto a^* + v` with v in the kernel fits the data.

**Control.** Data drawn anew in every iteration, as few each time: their kernels have nothing in common.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.fresh_data import angle_path, fresh, starts_at, unit_columns
from theory.verification.claim import EPS, Instances, Statement, at_least

SIZES = ((1, 6, 12), (3, 5, 20), (4, 1, 30))  # N, m, d
DRAWS, ITERATIONS, DELTA0 = 12, 60, 0.9
KAPPA = 0.05
"""Small, so that the iterations stay bounded with so few samples."""


def check(key: Key, drawn_anew: bool = False) -> Instances:
    """Three sizes with fewer samples than dimensions."""
    for number, (n, m, d) in enumerate(SIZES):
        draw = key.fold("size", number)
        a_star = unit_columns(draw.fold("a*"), DRAWS, d)
        a0 = starts_at(draw.fold("a0"), a_star, DELTA0)
        data = fresh(draw.fold("data"), n, m, a_star, np.ones((1, 1, 1, 1)), 2)
        values, vectors = np.linalg.eigh(np.mean(data(0).moments, axis=1))
        zero = values < EPS * d * values[:, -1:]
        kernel = (vectors * zero[:, None, :]) @ np.swapaxes(vectors, 1, 2)
        shadow, rest = kernel @ a_star, kernel @ a0
        rest = rest / np.linalg.norm(rest, axis=1, keepdims=True)
        floor = np.linalg.norm(shadow - rest * np.sum(rest * shadow, axis=1, keepdims=True), axis=(1, 2))
        path = angle_path(data if drawn_anew else data(0), a0, a_star, KAPPA, ITERATIONS)
        # Rounding leaves a little of the kernel's other directions in every iterate.
        slack = EPS * d * ITERATIONS * values[:, -1] / np.linalg.norm(kernel @ a0, axis=(1, 2))
        met = np.sum(zero, axis=1) == d - n * m
        for row in range(DRAWS):
            where = f"N={n}, m={m}, d={d}, smallest delta of {ITERATIONS} iterations"
            yield at_least(np.min(path[row]), floor[row], slack[row], where, bool(met[row]))


def control(key: Key) -> Instances:
    """The same with fresh data."""
    return check(key, drawn_anew=True)


CLAIM = Statement(
    source="derived here; limits Theorem 4.5, arXiv 2502.01755v4, on reused data",
    kind="bound",
    statement="fixed data, N m < d: delta_t >= ||(I - n n^T) K a*||, K the kernel's projector, n along K a^0; mean square (d-Nm-1)/d",
    convention="any: every gradient lies in the span of the rows (checked at factor 2)",
)
