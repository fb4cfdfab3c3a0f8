r"""FFA-LoRA's floor in the training loss, at its minimiser.

**Statement.** :math:`E\,\min_b \frac1N\sum_i \ell_i(a^0, b) = (1 + \tilde c)\,\|b^*\|^2\delta_0^2` with
:math:`\tilde c = -\frac{1}{Nm}`.

**Derivation.** The minimum over :math:`\|b^*\|^2\delta_0^2` is the residual of a regression of N m normal numbers X p on the
independent X a, divided by N m: :math:`(Nm - 1)/(Nm)` on average. Many rounds of gradient training reach this one, not the
one-shot average.

**Test.** A Monte Carlo mean of the smallest training loss with Student's interval at confidence 0.9999; measured and predicted
are c~. The batched b-step is the one that ``tests/theory/test_linear.py`` compares with a least-squares solver.

**Control.** The constant of the one-shot average, for the minimiser.
"""

from collections.abc import Callable

import numpy as np

from rolora.keys import Key
from theory.bounds import ffa_average_excess, ffa_minimiser_excess
from theory.claim import Claim, Result, equal, judge
from theory.linear import second_moments
from theory.statistics import Interval, mean_interval

CLIENTS, SAMPLES, DELTA0, DRAWS = 3, (7, 12), 0.7, 150_000  # from m = 7 the variance of xi^2 is finite


def _excess(key: Key, m: int) -> Interval:
    """c~ by simulation: the pooled b-step, its training loss over the population's value."""
    a_star, a0, length = np.eye(2)[0], np.array([np.sqrt(1 - DELTA0**2), DELTA0]), 1.5
    pooled = np.mean(second_moments(key.generator().standard_normal((DRAWS, CLIENTS, m, 2))), axis=1)
    projected = pooled @ a0
    rho = (projected @ a_star) / (projected @ a0)
    residual = rho[:, None] * a0 - a_star
    loss = length**2 * np.einsum("ti,tij,tj->t", residual, pooled, residual)
    return mean_interval(loss / (length**2 * DELTA0**2) - 1)


def _judge(key: Key, formula: Callable[[int, int], float]) -> Result:
    found = []
    for m in SAMPLES:
        interval = _excess(key.fold("m", m), m)
        where = f"N={CLIENTS}, m={m}, {DRAWS} draws, +-{interval.half_width:.1e}"
        found.append(equal(interval.estimate, formula(CLIENTS, m), interval.half_width, where))
    return judge(found)


def check(key: Key) -> Result:
    """The formula of the smallest training loss."""
    return _judge(key, ffa_minimiser_excess)


def control(key: Key) -> Result:
    """The formula of another loss."""
    return _judge(key, ffa_average_excess)


CLAIM = Claim(
    id="ffa-floor-training-minimiser",
    source="form: Proposition 4.6, arXiv 2502.01755v4; constant derived here",
    kind="measurement",
    statement="FFA-LoRA, smallest training loss over b: (1 - 1/(Nm)) ||b*||^2 delta_0^2",
    convention="loss (1/m)||.||^2; half of it at gradient factor 1",
    expected="holds",
    check=check,
    control=control,
)
