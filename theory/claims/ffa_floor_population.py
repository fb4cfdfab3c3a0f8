r"""FFA-LoRA's floor in the population risk.

**Statement.** :math:`E\,\|a^0\bar b^T - a^* b^{*T}\|_F^2 = (1 + \tilde c)\,\|b^*\|^2\delta_0^2` with
:math:`\tilde c = \frac{1}{N(m - 2)}`, m > 2.

**Derivation.** The product's error is :math:`\delta_0^2(1 + \bar\xi^2)\|b^*\|^2` (claim ``product-error``), and
:math:`E\,\bar\xi^2 = \mathrm{Var}(t_m)/(mN) = 1/(N(m - 2))`.

**Test.** A Monte Carlo mean of the population risk with Student's interval at confidence 0.9999; measured and predicted
are c~. The batched b-step is the one that ``tests/theory/test_linear.py`` compares with a least-squares solver.

**Control.** The constant of the training loss, for the population risk.
"""

from collections.abc import Callable

import numpy as np

from rolora.keys import Key
from theory.bounds import ffa_average_excess, ffa_population_excess
from theory.claim import Claim, Result, equal, judge
from theory.linear import second_moments
from theory.statistics import Interval, mean_interval

CLIENTS, SAMPLES, DELTA0, DRAWS = 3, (7, 12), 0.7, 150_000  # from m = 7 the variance of xi^2 is finite


def _excess(key: Key, m: int) -> Interval:
    """c~ by simulation: the exact b-steps averaged, their risk over its value at infinitely many samples."""
    a_star, a0, length = np.eye(2)[0], np.array([np.sqrt(1 - DELTA0**2), DELTA0]), 1.5
    moments = second_moments(key.generator().standard_normal((DRAWS, CLIENTS, m, 2)))
    projected = moments @ a0
    rho = np.mean((projected @ a_star) / (projected @ a0), axis=1)
    residual = rho[:, None] * a0 - a_star
    risk = length**2 * np.sum(residual**2, axis=1)
    return mean_interval(risk / (length**2 * DELTA0**2) - 1)


def _judge(key: Key, formula: Callable[[int, int], float]) -> Result:
    found = []
    for m in SAMPLES:
        interval = _excess(key.fold("m", m), m)
        where = f"N={CLIENTS}, m={m}, {DRAWS} draws, +-{interval.half_width:.1e}"
        found.append(equal(interval.estimate, formula(CLIENTS, m), interval.half_width, where))
    return judge(found)


def check(key: Key) -> Result:
    """The formula of the population risk."""
    return _judge(key, ffa_population_excess)


def control(key: Key) -> Result:
    """The formula of another loss."""
    return _judge(key, ffa_average_excess)


CLAIM = Claim(
    id="ffa-floor-population",
    source="form: Proposition 4.6, arXiv 2502.01755v4; constant derived here",
    kind="measurement",
    statement="FFA-LoRA, population risk of the averaged b: (1 + 1/(N(m-2))) ||b*||^2 delta_0^2",
    convention="loss (1/m)||.||^2; half of it at gradient factor 1",
    expected="holds",
    check=check,
    control=control,
)
