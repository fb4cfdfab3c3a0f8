r"""With heads that differ between clients, the population contracts as if all had the mean head.

**Statement.** In the population :math:`\delta^+ \le \delta\sqrt{1 - \kappa c_0}` with
:math:`\kappa = \eta\|\bar b^*\|^2`, :math:`\bar b^* = \frac1N\sum_i b_i^*`: for :math:`\kappa \le 1` at gradient factor 1, for
:math:`\kappa \le 1 - c_0/4` at factor 2.

**Assumptions.** S_i = I: by construction. The heads' spread is measured, and counted where it is not zero.

**Direction.** Upper; attained as delta -> 0 at the end of the range at factor 2.

**Source.** arXiv 2502.01755v4, heterogeneous appendix (recalled; unverified).

**Corrected.** The range of steps at factor 2, as for equal heads (claim ``contraction-factor-2``). "Any accuracy" is a
statement of the population only: see ``heterogeneous-arbitrary-accuracy``.

**Derivation.** The b-step gives :math:`b_i = (a^Ta^*)b_i^*`, whose mean is :math:`(a^Ta^*)\bar b^*`, and the mean gradient at
:math:`\bar b` is :math:`f(a\|\bar b\|^2 - a^*\,\bar b^{*T}\bar b)`: that of one client with the head :math:`\bar b^*`.

**Control.** :math:`\kappa = \eta\,\frac1N\sum_i\|b_i^*\|^2`, the clients' own lengths in the factor.
"""

import numpy as np

from rolora.keys import Key
from theory.linear.bounds import contraction
from theory.linear.ensemble import isotropic, planted
from theory.linear.fresh_data import angle_path, starts_at, unit_columns
from theory.linear.model import GradientFactor
from theory.verification.claim import EPS, Instances, Statement, at_most

DRAWS, CLIENTS, DIMENSION, OUTPUTS, ITERATIONS = 12, 5, 4, 3, 12
STARTS, SMALLEST = (0.1, 0.6, 0.95), 1e-6  # delta_0, and the distance below which ratios are not counted


def _instances(key: Key, f: GradientFactor, share: float, printed: bool = False, own: bool = False) -> Instances:
    for delta0 in STARTS:
        draw, c0 = key.fold("f", f, "delta0", repr(delta0), "share", repr(share)), 1 - delta0**2
        kappa = share * (1.0 if printed or f == 1 else 1 - c0 / 4)
        a_star = unit_columns(draw.fold("a*"), DRAWS, DIMENSION)
        heads = 1.0 + 3 * draw.fold("heads").generator().standard_normal((DRAWS, CLIENTS, 1, OUTPUTS))
        mean = np.mean(heads, axis=1, keepdims=True)
        power = np.sum(mean**2, axis=(1, 2, 3))
        spread = np.mean(np.sum((heads - mean) ** 2, axis=(2, 3)), axis=1)
        data = planted(isotropic(DRAWS, CLIENTS, DIMENSION), a_star, heads, f)
        path = angle_path(data, starts_at(draw.fold("a0"), a_star, delta0), a_star, kappa / power, ITERATIONS)
        lengths = 1 + spread / power if own else np.ones(DRAWS)  # mean ||b_i*||^2 / ||b-bar*||^2
        for row in range(DRAWS):
            if kappa * lengths[row] * c0 > 1:  # the factor is not a number
                continue
            factor = contraction(kappa * lengths[row], c0)
            # The b-step averages heads that may be longer than their mean, and rounding goes with their length.
            slack = EPS * (CLIENTS + DIMENSION) * (1 + spread[row] / power[row]) / SMALLEST
            where = f"f={f}, delta0={delta0}, kappa={kappa:.3f}, V/||b-bar||^2={spread[row] / power[row]:.2g}"
            before, after = path[row, :-1], path[row, 1:]
            counted = before > SMALLEST
            ratios = after[counted] / before[counted]
            yield from (at_most(ratio, factor, slack, where, bool(spread[row] > 0)) for ratio in ratios)


def _all(key: Key, shares: tuple[float, ...], **options: bool) -> Instances:
    factors: tuple[GradientFactor, ...] = (1, 2)
    return (i for f in factors for share in shares for i in _instances(key, f, share, **options))


def check(key: Key) -> Instances:
    """Both conventions, four steps up to the range's end."""
    return _all(key, (0.1, 0.5, 0.9, 1.0))


def printed(key: Key) -> Instances:
    """The end of the printed range at factor 2."""
    return _instances(key, 2, 1.0, printed=True)


def control(key: Key) -> Instances:
    """The mean of ||b_i*||^2."""
    return _all(key, (0.01,), own=True)


CLAIM = Statement(
    source="arXiv 2502.01755v4, heterogeneous appendix (recalled; unverified); range corrected here",
    kind="bound",
    statement="population, heads b_i*: delta+ <= delta sqrt(1 - kappa c0), kappa = eta ||b-bar*||^2; f=2: kappa <= 1 - c0/4, not 1",
    convention="both: f = 1 for (1/(2m))||.||^2, f = 2 for (1/m)||.||^2",
    expected="holds with the stated correction",
)
