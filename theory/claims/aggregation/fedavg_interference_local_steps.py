r"""FedAvg-LoRA's interference grows with the square of the local training, and what multiplies it.

**Statement.** After one round of K local steps of size eta from any common layer, for any data, heads and noise,

.. math::
    \frac1N\sum_i (A_i - \bar A)(B_i - \bar B) = (K\eta)^2\,\frac1N\sum_i (G^A_i - \bar G^A)(G^B_i - \bar G^B) + O((K\eta)^3)

with the clients' gradients G at that layer: the covariance of the two gradients across clients.

**Assumptions.** Both factors trained by gradient steps from one start; by construction.

**Direction.** Tight, in the limit K eta -> 0. For K = 1 it is exact, because one step is linear in the gradient.

**Source.** Derived here; the left side is Eqs. 1-2 of arXiv 2502.01755v4.

**Derivation.** :math:`A_i = A - K\eta\,G^A_i + O((K\eta)^2)` and the same for B; the common parts cancel. The next term has the
relative size K eta times the gradients' Lipschitz constant near the layer.

**Test.** The difference of both sides in Frobenius norm; for K > 1 the slack is (K eta) Lambda times the sum of the clients'
||G^A|| ||G^B|| / N, Lambda = f max ||S_i|| (||A||^2 + ||B||^2 + ||A B - A* B_i*||) bounding the Hessian at the layer.

**Control.** The power 1 of K eta.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.keys import Key
from theory.linear.ensemble import draw_noisy
from theory.linear.ensemble_rounds import LocalTraining
from theory.linear.fedavg_drift import BOTH, interference, leading_interference
from theory.verification.claim import EPS, Instances, Statement, equal_arrays

CLIENTS, SAMPLES, DIMENSION, OUTPUTS, RANK, FACTOR = 4, 30, 5, 3, 2, 2


def check(key: Key, power: int = 2) -> Instances:
    """Rank two, equal and different heads, noisy labels; K up to 8."""
    stream = key.fold("truth").generator()
    a_star = np.linalg.qr(stream.standard_normal((1, DIMENSION, RANK)))[0]
    for spread in (0.0, 0.5):
        b_star = stream.standard_normal((1, 1, RANK, OUTPUTS)) + spread * stream.standard_normal(
            (1, CLIENTS, RANK, OUTPUTS)
        )
        data = draw_noisy(key.fold("data", repr(spread)), SAMPLES, a_star, b_star, spread, FACTOR)
        layer = Layer(
            A=stream.standard_normal((1, DIMENSION, RANK)) / 2, B=stream.standard_normal((1, RANK, OUTPUTS)) / 2
        )
        common = Layer(A=layer.A[:, None], B=layer.B[:, None])
        moved = LocalTraining(1.0, 1.0, 1, frozenset())(data, common, BOTH)
        products = np.linalg.norm(moved.A - common.A, axis=(-2, -1)) * np.linalg.norm(moved.B - common.B, axis=(-2, -1))
        lengths = (
            np.sum(layer.A**2)
            + np.sum(layer.B**2)
            + np.max(np.linalg.norm(common.update - a_star @ b_star, 2, (-2, -1)))
        )
        curvature = FACTOR * np.max(np.linalg.norm(data.moments, 2, (-2, -1))) * lengths
        for steps in (1, 2, 8):
            for eta in (1e-5, 1e-6):
                training = LocalTraining(eta, eta, steps, frozenset())
                size = (steps * eta) ** 2 * float(np.mean(products))
                left_out = steps * eta * curvature if steps > 1 else 0.0
                # A client's movement, of size eta, is a difference of numbers of size one.
                slack = size * (left_out + EPS * CLIENTS * DIMENSION * (1 + float(np.sqrt(lengths))) / eta)
                predicted = (steps * eta) ** power * leading_interference(data, layer)
                where = f"K={steps}, eta={eta}, heads and noise {spread}"
                yield equal_arrays(interference(data, layer, training), predicted, slack, where)


def control(key: Key) -> Instances:
    """Proportional to K eta."""
    return check(key, 1)


CLAIM = Statement(
    source="derived here; the interference is that of arXiv 2502.01755v4, Eqs. 1-2",
    kind="identity",
    statement="a round's interference is (K eta)^2 times the clients' covariance of the two gradients, to leading order",
    convention="any: the gradients carry the factor (checked at 2)",
)
