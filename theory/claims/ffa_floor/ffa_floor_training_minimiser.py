r"""FFA-LoRA's floor in the training loss, at its minimiser.

**Statement.** :math:`E\,\min_b \frac1N\sum_i \ell_i(a^0, b) = (1 + \tilde c)\,\|b^*\|^2\delta_0^2` with
:math:`\tilde c = -\frac{1}{Nm}`.

**Assumptions.** Entries of X_i are independent N(0, 1), a^0 is independent of them, and equal heads; by construction.
Any N m > 1.

**Direction.** Tight: the mean itself, not a bound of it.

**Source.** The form (1 + c~) ||b*||^2 delta_0^2 is Proposition 4.6, arXiv 2502.01755v4 (as quoted elsewhere, without the
loss that it is of); the constant is derived here.

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
from theory.linear.bounds import ffa_average_excess, ffa_minimiser_excess
from theory.linear.ffa_floor import CLIENTS, DRAWS, LENGTH, Losses, Moments, excesses, residual, rho
from theory.verification.claim import Instances, Statement, equal_mean


def _loss(moments: Moments) -> Losses:
    """The training loss at the pooled b-step, which is its smallest value."""
    pooled = np.mean(moments, axis=1)
    error = residual(rho(pooled))
    return LENGTH**2 * np.einsum("ti,tij,tj->t", error, pooled, error)


def check(key: Key, formula: Callable[[int, int], float] = ffa_minimiser_excess) -> Instances:
    """The formula of the smallest training loss."""
    for m, excess in excesses(key, _loss):
        yield equal_mean(excess, formula(CLIENTS, m), f"N={CLIENTS}, m={m}, {DRAWS} draws", digits=".1e")


def control(key: Key) -> Instances:
    """The formula of another loss."""
    return check(key, ffa_average_excess)


CLAIM = Statement(
    source="form: Proposition 4.6, arXiv 2502.01755v4; constant derived here",
    kind="measurement",
    statement="FFA-LoRA, smallest training loss over b: (1 - 1/(Nm)) ||b*||^2 delta_0^2",
    convention="loss (1/m)||.||^2; half of it at gradient factor 1",
)
