r"""FFA-LoRA's floor in the population risk.

**Statement.** :math:`E\,\|a^0\bar b^T - a^* b^{*T}\|_F^2 = (1 + \tilde c)\,\|b^*\|^2\delta_0^2` with
:math:`\tilde c = \frac{1}{N(m - 2)}`.

**Assumptions.** Entries of X_i are independent N(0, 1), a^0 is independent of them, and equal heads; by construction.
m > 2 (at m = 2 the mean is infinite).

**Direction.** Tight: the mean itself, not a bound of it.

**Source.** The form (1 + c~) ||b*||^2 delta_0^2 is Proposition 4.6, arXiv 2502.01755v4 (as quoted elsewhere, without the
loss that it is of); the constant is derived here.

**Derivation.** The product's error is :math:`\delta_0^2(1 + \bar\xi^2)\|b^*\|^2` (claim ``product-error``), and
:math:`E\,\bar\xi^2 = \mathrm{Var}(t_m)/(mN) = 1/(N(m - 2))`.

**Test.** A Monte Carlo mean of the population risk with Student's interval at confidence 0.9999; measured and predicted
are c~. The batched b-step is the one that ``tests/theory/test_linear.py`` compares with a least-squares solver.

**Control.** The constant of the training loss, for the population risk.
"""

from collections.abc import Callable

import numpy as np

from rolora.keys import Key
from theory.linear.bounds import ffa_average_excess, ffa_population_excess
from theory.linear.ffa_floor import CLIENTS, DRAWS, LENGTH, Losses, Moments, excesses, residual, rho
from theory.verification.claim import Instances, Statement, equal_mean


def _risk(moments: Moments) -> Losses:
    """The population risk at the average of the clients' exact b-steps."""
    return LENGTH**2 * np.sum(residual(np.mean(rho(moments), axis=1)) ** 2, axis=1)


def check(key: Key, formula: Callable[[int, int], float] = ffa_population_excess) -> Instances:
    """The formula of the population risk."""
    for m, excess in excesses(key, _risk):
        yield equal_mean(excess, formula(CLIENTS, m), f"N={CLIENTS}, m={m}, {DRAWS} draws", digits=".1e")


def control(key: Key) -> Instances:
    """The formula of another loss."""
    return check(key, ffa_average_excess)


CLAIM = Statement(
    source="form: Proposition 4.6, arXiv 2502.01755v4; constant derived here",
    kind="measurement",
    statement="FFA-LoRA, population risk of the averaged b: (1 + 1/(N(m-2))) ||b*||^2 delta_0^2",
    convention="loss (1/m)||.||^2; half of it at gradient factor 1",
)
