r"""The recalled bound of the product's error against its exact value: how loose it is.

**Statement.** With :math:`\epsilon' = |\bar\xi|`, the recalled :math:`\|a\bar b^T - a^*b^{*T}\|_F \le
(1 + \epsilon')\delta\|b^*\|` overstates: the relative excess over :math:`\delta\|b^*\|` is at most :math:`\bar\xi^2/2`.

**Assumptions.** None on the data; the mean noise is measured. a is not a*, so that the excess is defined.

**Direction.** Upper. Attained as :math:`\bar\xi \to 0`; the excess itself is never negative, so :math:`\delta\|b^*\|` is a
lower bound of the error. The recalled excess :math:`\epsilon'` is at least :math:`2/\epsilon'` times as large.

**Source.** Derived here; compare Theorem 4.5, arXiv 2502.01755v4 (recalled; unverified).

**Derivation.** The error is exactly :math:`\sqrt{1 + \bar\xi^2}\,\delta\|b^*\|` (claim ``product-error``), and
:math:`0 \le \sqrt{1 + x^2} - 1 \le x^2/2`.

**Control.** A quarter in the place of the half.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.ensemble_rounds import solve_b
from theory.linear.fresh_data import fresh, mean_noise, starts_at, unit_columns
from theory.verification.claim import EPS, Instances, Statement, at_least, at_most

DRAWS, DELTAS = 40, (0.05, 0.5, 0.95)
SIZES = ((1, 12, 3), (3, 10, 5), (5, 200, 8))  # N, m, d


def check(key: Key, constant: float = 1 / 2) -> Instances:
    """Three sizes and three angles; the excess from above and from below."""
    for number, (n, m, d) in enumerate(SIZES):
        for delta in DELTAS:
            draw = key.fold("size", number, "delta", repr(delta))
            a_star, b_star = unit_columns(draw.fold("a*"), DRAWS, d), np.array([[[[0.6, -0.8, 1.2]]]])
            a = starts_at(draw.fold("a"), a_star, delta)
            data = fresh(draw.fold("data"), n, m, a_star, b_star, 2)(0)
            b = np.mean(solve_b(data, a[:, None]), axis=1)
            error = np.linalg.norm(a @ b - a_star @ b_star[0], axis=(1, 2))
            excess = error / (delta * np.linalg.norm(b_star)) - 1
            noise = mean_noise(data, a, a_star)
            # A client's quotient is known to rounding times the ratio of what enters it to what is left of it.
            spread = (
                np.linalg.norm(data.moments, 2, axis=(-2, -1))
                / (np.swapaxes(a, 1, 2)[:, None] @ data.moments @ a[:, None])[..., 0, 0]
            )
            slack = 4 * EPS * (n + d) * np.mean(spread, axis=1) * (1 + np.abs(noise)) / delta
            for index in range(DRAWS):
                where = f"N={n}, m={m}, d={d}, delta={delta}, xi={noise[index]:.2g}"
                yield at_most(excess[index], constant * noise[index] ** 2, slack[index], where)
                yield at_least(excess[index], 0.0, slack[index], where)


def control(key: Key) -> Instances:
    """Half the bound."""
    return check(key, 1 / 4)


CLAIM = Statement(
    source="derived here; compare Theorem 4.5, arXiv 2502.01755v4 (recalled; unverified)",
    kind="bound",
    statement="0 <= ||a b-bar^T - a* b*^T||_F / (delta ||b*||) - 1 <= xi-bar^2/2, where the recalled bound has eps' = |xi-bar|",
    convention="none: holds for any a",
)
