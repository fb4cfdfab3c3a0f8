r"""FFA-LoRA's floor in the training loss, at the average of the clients' solutions.

**Statement.** :math:`E\,\frac1N\sum_i \ell_i(a^0, \bar b) = (1 + \tilde c)\,\|b^*\|^2\delta_0^2` with
:math:`\tilde c = -\frac{1}{Nm} + \frac{2(N - 1)}{N^2 m(m - 2)}`.

**Assumptions.** Entries of X_i are independent N(0, 1), a^0 is independent of them, and equal heads; by construction.
m > 2 (at m = 2 and N > 1 the mean is infinite).

**Direction.** Tight: the mean itself, not a bound of it.

**Source.** The form (1 + c~) ||b*||^2 delta_0^2 is Proposition 4.6, arXiv 2502.01755v4 (as quoted elsewhere, without the
loss that it is of); the constant is derived here.

**Derivation.** The loss over :math:`\|b^*\|^2\delta_0^2` is :math:`\bar\xi^2 S_{aa} - 2\bar\xi S_{ap} + S_{pp}`. The last term has
mean 1. With :math:`S_{i,ap} = \xi_i S_{i,aa}`, the middle one has mean :math:`-2/(Nm)`, and the first
:math:`\frac{1}{N^2 m} + \frac{N - 1}{N^2(m - 2)}`, as xi_i^2 and S_{k,aa} are independent only for i != k.

**Test.** A Monte Carlo mean of the training loss at the average with Student's interval at confidence 0.9999; measured and predicted
are c~. The batched b-step is the one that ``tests/theory/test_linear.py`` compares with a least-squares solver.

**Control.** The constant of the population risk, for the training loss.
"""

from collections.abc import Callable

import numpy as np

from rolora.keys import Key
from theory.linear.bounds import ffa_average_excess, ffa_population_excess
from theory.linear.ffa_floor import CLIENTS, DRAWS, LENGTH, Losses, Moments, excesses, residual, rho
from theory.verification.claim import Instances, Statement, equal_mean


def _loss(moments: Moments) -> Losses:
    """The training loss at the average of the clients' exact b-steps."""
    error = residual(np.mean(rho(moments), axis=1))
    return LENGTH**2 * np.einsum("ti,tij,tj->t", error, np.mean(moments, axis=1), error)


def check(key: Key, formula: Callable[[int, int], float] = ffa_average_excess) -> Instances:
    """The formula of the training loss at the average."""
    for m, excess in excesses(key, _loss):
        yield equal_mean(excess, formula(CLIENTS, m), f"N={CLIENTS}, m={m}, {DRAWS} draws", digits=".1e")


def control(key: Key) -> Instances:
    """The formula of another loss."""
    return check(key, ffa_population_excess)


CLAIM = Statement(
    source="form: Proposition 4.6, arXiv 2502.01755v4; constant derived here",
    kind="measurement",
    statement="FFA-LoRA, training loss of the averaged b: (1 - 1/(Nm) + 2(N-1)/(N^2 m (m-2))) ||b*||^2 delta_0^2",
    convention="loss (1/m)||.||^2; half of it at gradient factor 1",
)
