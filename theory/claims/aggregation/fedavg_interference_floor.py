r"""With different heads FedAvg-LoRA's interference does not vanish where the error does: its floor.

**Statement.** In the population, near the mean solution :math:`a^*\bar b^{*T}`, with Sigma the covariance of the heads,

.. math::
    \frac1N\sum_i (A_i - \bar A)(B_i - \bar B) = (f K\eta)^2\,a^* (\Sigma\bar b^*)^T\,(1 + O(K\eta)),

however the product's scale is split between A and B.

**Assumptions.** S_i = I, different b_i*, many rounds; by construction.

**Direction.** Tight, to leading order in K eta.

**Source.** Derived here.

**Derivation.** At A = s a*, B = b-bar*^T/s the residual of client i is :math:`-a^*\zeta_i^T`, :math:`\zeta_i = b_i^* - \bar b^*`:
:math:`G^A_i = -f a^*\zeta_i^T\bar b^*/s` and :math:`G^B_i = -f s\,\zeta_i^T`. Their covariance is :math:`f^2 a^*(\Sigma\bar b^*)^T`, and
the claim ``fedavg-interference-local-steps`` gives (K eta)^2 of it. s cancels. For one step a round it is harmless: at K = 1 the
mean solution is a fixed point although its interference is not zero (claim ``fedavg-heterogeneous-bias``).

**Test.** After FedAvg-LoRA's product has settled; the slack is K eta f (||a||^2 + ||b||^2 + max ||b_i*||^2), the size of the next
order, relative.

**Control.** The spread's full size, tr Sigma b-bar*, in the place of Sigma b-bar*.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.linear.fedavg_drift import heterogeneous_interference, interference
from theory.linear.geometry import start_at
from theory.verification.claim import Instances, Statement, equal_arrays

CLIENTS, DIMENSION, OUTPUTS, FACTOR = 4, 3, 3, 2
CASES = [(1, 4e-3, 1.0), (5, 1e-3, 1.0), (5, 1e-3, 1.4)]  # K, eta, the length of the first a


def check(key: Key, all_directions: bool = False) -> Instances:
    """One and several local steps, two splits of the scale."""
    for number, (local_steps, eta, length) in enumerate(CASES):
        draw = key.fold("case", number)
        heads = draw.fold("heads").generator().standard_normal((CLIENTS, OUTPUTS)) / 2 + 1.0
        heads /= np.linalg.norm(np.mean(heads, axis=0))
        mean = np.mean(heads, axis=0)
        data = planted(isotropic(1, CLIENTS, DIMENSION), np.eye(DIMENSION)[None, :, :1], heads[None, :, None], FACTOR)
        a0 = length * start_at(draw.fold("a0"), np.eye(DIMENSION)[0], 0.2)
        start = Layer(A=a0[None, :, None], B=mean[None, None] / length)
        training = LocalTraining(eta, eta, local_steps, frozenset())
        *_, layer = rounds(data, ALGORITHMS["fedavg-lora"](), start, training, int(12 / (FACTOR * local_steps * eta)))
        found_there = interference(data, layer, training)[0]
        row = heterogeneous_interference(heads, eta, local_steps, FACTOR)
        if all_directions:
            row = (FACTOR * local_steps * eta) ** 2 * np.sum(np.var(heads, axis=0)) * mean
        lengths = np.sum(layer.A**2) + np.sum(layer.B**2) + np.max(np.sum(heads**2, axis=1))
        slack = FACTOR * local_steps * eta * float(lengths) * float(np.linalg.norm(row))
        where = f"K={local_steps}, eta={eta}, ||a||={np.linalg.norm(layer.A):.2f}"
        yield equal_arrays(found_there, np.eye(DIMENSION)[:, :1] * row, slack, where)


def control(key: Key) -> Instances:
    """The heads' whole variance along b-bar*."""
    return check(key, all_directions=True)


CLAIM = Statement(
    source="derived here; the interference is that of arXiv 2502.01755v4, Eqs. 1-2",
    kind="measurement",
    statement="different heads, population: FedAvg-LoRA's interference ends at (f K eta)^2 a* (Sigma b-bar*)^T",
    convention="loss (1/m)||.||^2, gradient factor 2 (f enters as stated)",
)
