r"""With different heads and K > 1 local steps FedAvg-LoRA settles off the mean solution, in the population.

**Statement.** Let Sigma be the covariance of the heads. One round from :math:`a^*\bar b^{*T}` moves the product by
:math:`\eta^2\tfrac{K(K-1)}{2}f^2\,a^*\,[(\mathrm{tr}\,\Sigma\,I + \Sigma)\,\bar b^*]^T`, and it settles at :math:`a^*(\bar b^* + r)^T`,

.. math::
    r_\perp = \frac{f\eta(K-1)}{2}\,\frac{(\Sigma\bar b^*)_\perp}{\|a\|^2}, \qquad
    r_\parallel = \frac{f\eta(K-1)}{2}\,\frac{\mathrm{tr}\,\Sigma\;\bar b^* + (\Sigma\bar b^*)_\parallel}
    {\|a\|^2 + \|\bar b^*\|^2/\|a\|^2},

to leading order in K eta. K = 1 has no bias, whatever its interference.

**Assumptions.** S_i = I, different b_i*, equal step sizes; by construction.

**Direction.** Tight, to leading order. r is not a limit for ever: ||a|| drifts on, slower by a factor K eta, away from
:math:`\|a\|^4 = \bar b^{*T}\Sigma\bar b^*/\mathrm{tr}\,\Sigma`, so it is compared at the ||a|| that is measured.

**Source.** Derived here.

**Derivation.** ``theory.linear.fedavg_drift``: K steps of client i are
:math:`-K\eta g_i + \eta^2\tfrac{K(K-1)}{2}\nabla\tfrac12\|g_i\|^2`, and different heads have
g_i of mean zero but not zero, with mean :math:`\|g_i\|^2 = f^2(b^T\Sigma b + \|a\|^2\,\mathrm{tr}\,\Sigma)`. A round
takes :math:`fK\eta\|a\|^2` of r across b-bar* and :math:`fK\eta(\|a\|^2 + \|b\|^2)` of r along it. RoLoRA has no such term: with the
other factor fixed a client's K steps are linear in its head, with one matrix for all.

**Test.** Both displacements; the slack is K eta f (||a||^2 + ||b||^2 + max ||b_i*||^2), the size of the next order, relative.

**Control.** K in the place of K - 1.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.linear.fedavg_drift import displacement, floor
from theory.verification.claim import Instances, Statement, equal_arrays

CLIENTS, DIMENSION, OUTPUTS, FACTOR = 4, 3, 3, 2
CASES = [(2, 2e-3, 1.0), (5, 8e-4, 1.0), (5, 8e-4, 1.3)]  # K, eta, the length of the first a


def check(key: Key, all_steps: bool = False) -> Instances:
    """Two and five local steps, two splits of the scale."""
    for number, (local_steps, eta, length) in enumerate(CASES):
        heads = key.fold("case", number).generator().standard_normal((CLIENTS, OUTPUTS)) / 2 + 1.0
        heads /= np.linalg.norm(np.mean(heads, axis=0))
        mean, a_star = np.mean(heads, axis=0), np.eye(DIMENSION)[:, :1]
        data = planted(isotropic(1, CLIENTS, DIMENSION), a_star[None], heads[None, :, None], FACTOR)
        start = Layer(A=length * a_star[None], B=mean[None, None] / length)
        training = LocalTraining(eta, eta, local_steps, frozenset())
        path = list(rounds(data, ALGORITHMS["fedavg-lora"](), start, training, int(10 / (FACTOR * local_steps * eta))))
        wrong = local_steps / (local_steps - 1) if all_steps else 1.0
        settled = floor(heads, float(np.linalg.norm(path[-1].A)), eta, local_steps, FACTOR)
        lengths = length**2 + length**-2 + np.max(np.sum(heads**2, axis=1))
        for name, layer, row in (
            ("one round", path[0], displacement(heads, eta, local_steps, FACTOR)),
            (f"{len(path)} rounds", path[-1], settled),
        ):
            slack = FACTOR * local_steps * eta * float(lengths) * float(np.linalg.norm(row))
            moved, where = layer.update[0] - a_star * mean, f"{name}, K={local_steps}, eta={eta}, ||a||={length}"
            yield equal_arrays(moved, wrong * a_star * row, slack, where)


def control(key: Key) -> Instances:
    """K for K - 1."""
    return check(key, all_steps=True)


CLAIM = Statement(
    source="derived here, for FedAvg-LoRA on the heterogeneous linear model of arXiv 2502.01755v4",
    kind="measurement",
    statement="different heads, K > 1: FedAvg-LoRA settles off a* b-bar*^T by (f eta (K-1)/2) times terms in Sigma b-bar*",
    convention="loss (1/m)||.||^2, gradient factor 2 (f enters as stated)",
)
