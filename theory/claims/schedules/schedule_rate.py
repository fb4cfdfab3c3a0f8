r"""One B-round and q A-rounds: how fast the angle falls in the end, counted by communication rounds.

**Statement.** In the population, with the exact b-step, :math:`\frac{1}{q+1}\log\frac{\delta^+}{\delta} \to
\frac{q}{q+1}\log|1 - f\kappa|` as delta -> 0: for q -> infinity twice the rate of q = 1, whatever kappa with
0 < |1 - f kappa| < 1.

**Assumptions.** S_i = I, equal b_i*, exact b-steps, a retracted after every A-round; by construction.

**Direction.** Tight.

**Source.** Derived here.

**Derivation.** Linearise the claim ``schedule-map`` at theta = 0: :math:`\theta^+ = (1 - f\kappa)^q\theta (1 + O(\theta^2))`. At
f kappa = 1 the limit is zero and the order of convergence decides: 2q + 1 a period if a is normalised at its end, which is
best per round for q = 1; :math:`2^{q+1} - 1` if it is retracted after each A-round, best for large q.

**Test.** The mean fall of log delta over as many periods as rounding allows. A period's ratio differs from the limit by at
most q times the relative :math:`(f\kappa + f^2\kappa^2/2)\,\delta^2/|1 - f\kappa|` of the claim ``local-ratio``.

**Control.** The rate of q = 1 for all q.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms.rolora import RoLoRA
from rolora.keys import Key
from theory.linear.ensemble import isotropic, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds, subspace_distance
from theory.linear.geometry import start_at
from theory.verification.claim import EPS, Instances, Statement, equal

DELTA0, SMALLEST, DIMENSION, FACTOR = 1e-4, 1e-9, 5, 2
KAPPAS, REPEATS = (0.05, 0.2, 0.35, 0.6), (1, 2, 3, 6)


def check(key: Key, one_to_one: bool = False) -> Instances:
    """Four steps, up to six A-rounds a B-round."""
    a_star, b_star = np.eye(DIMENSION)[None, :, :1], key.fold("b*").generator().standard_normal((1, 1, 1, 3))
    data = planted(isotropic(1, 1, DIMENSION), a_star, b_star, FACTOR)
    a0 = start_at(key.fold("a0"), a_star[0, :, 0], DELTA0)[None, :, None]
    start = Layer(A=a0, B=np.zeros((1, 1, 3)))
    for kappa in KAPPAS:
        ratio = abs(1 - FACTOR * kappa)
        training = LocalTraining(kappa / float(np.sum(b_star**2)))
        for q in REPEATS:
            periods = max(1, int(np.log(SMALLEST / DELTA0) / (q * np.log(ratio))))  # delta stays above SMALLEST
            *_, layer = rounds(data, RoLoRA("B" + "A" * q), start, training, periods * (q + 1), retracted=True)
            delta = float(subspace_distance(layer.A, a_star)[0])
            fall = np.log(delta / DELTA0) / (periods * (q + 1))
            step = FACTOR * kappa
            left_out = q * (step + step**2 / 2) * DELTA0**2 / ratio + EPS * DIMENSION / delta
            rate = (0.5 if one_to_one else q / (q + 1)) * np.log(ratio)
            where = f"q={q}, kappa={kappa}, {periods} periods, log delta a round"
            yield equal(fall, rate, left_out / (q + 1), where)


def control(key: Key) -> Instances:
    """The rate of alternation one to one."""
    return check(key, one_to_one=True)


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4 with q A-rounds a B-round",
    kind="rate",
    statement="population, q A-rounds a B-round: log delta falls by q/(q+1) |log|1 - f kappa|| a communication round",
    convention="loss (1/m)||.||^2, gradient factor 2 (f kappa is what matters)",
)
