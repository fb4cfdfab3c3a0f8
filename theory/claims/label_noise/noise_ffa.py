r"""FFA-LoRA under label noise: the floor of the frozen start stays, and acts on the b-step like noise itself.

**Statement.** For m > 2, exactly,

.. math::
    E\,\|a^0\bar b^T - a^* b^{*T}\|_F^2 = \|b^*\|^2\delta_0^2 + \frac{\|b^*\|^2\delta_0^2 + k\sigma^2}{N(m - 2)}.

**Assumptions.** a^0 fixed before the data are drawn, equal m > 2, equal b_i*, exact b-steps. By construction.

**Direction.** Tight.

**Source.** Derived here; sigma = 0 is the claim ``ffa-floor-population`` (the form: Proposition 4.6, arXiv 2502.01755v4).

**Derivation.** With :math:`u_i = X_i a^0`, :math:`b_i = (u_i^T X_i a^*/\|u_i\|^2) b^* + \sigma Z_i^T u_i/\|u_i\|^2`.
:math:`X_i a^* = c\,u_i + \delta_0 v_i` with v_i independent of u_i and standard normal, so
:math:`b_i = c\,b^* + (\delta_0 b^* v_i^T + \sigma Z_i^T)\,u_i/\|u_i\|^2`: the part of the signal that a^0 misses enters exactly as
label noise does. Each independent direction has the variance :math:`E\,1/\|u_i\|^2 = 1/(m - 2)`, and the mean of N clients a
N-th of it. The error a^0 (b-bar - c b*)^T is orthogonal to the floor's.

**Test.** The mean over draws, in units of the floor and minus it; Student's interval.

**Control.** m in the place of m - 2, which is what a fixed design would give.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.ensemble import draw_noisy
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.linear.label_noise import ffa_risk
from theory.verification.claim import Instances, Statement, equal_mean

# From m = 7 the fourth moment of the b-step's noise is finite. The floor does not depend on d: a plane is enough.
CASES = [(1, 7, 0.4, 0.5), (3, 9, 0.7, 0.2), (2, 8, 0.0, 1.0)]  # N, m, delta0, sigma
LENGTH, OUTPUTS, DRAWS = 1.5, 3, 40_000


def check(key: Key, fixed_design: bool = False) -> Instances:
    """Floor and noise in three proportions; measured is what exceeds the floor."""
    for number, (n, m, delta0, noise) in enumerate(CASES):
        a_star = np.broadcast_to(np.eye(2)[:, :1], (DRAWS, 2, 1))
        b_star = np.full((DRAWS, n, 1, OUTPUTS), LENGTH / np.sqrt(OUTPUTS))
        data = draw_noisy(key.fold("case", number), m, a_star, b_star, noise, 2)
        a0 = np.broadcast_to(np.array([[np.sqrt(1 - delta0**2)], [delta0]]), (DRAWS, 2, 1))
        start, training = Layer(A=a0, B=np.zeros((DRAWS, 1, OUTPUTS))), LocalTraining(0.0)
        (layer,) = rounds(data, ALGORITHMS["ffa-lora"](), start, training, 1)
        floor = LENGTH**2 * delta0**2
        predicted = ffa_risk(noise, LENGTH, delta0, OUTPUTS, n, m + 2 if fixed_design else m) - floor
        where = f"N={n}, m={m}, delta0={delta0}, sigma={noise}, {DRAWS} draws"
        yield equal_mean(
            np.sum((layer.update - a_star @ b_star[:, 0]) ** 2, axis=(-2, -1)) - floor, predicted, where, digits=".1e"
        )


def control(key: Key) -> Instances:
    """The variance of a fixed design."""
    return check(key, fixed_design=True)


CLAIM = Statement(
    source="derived here; extends Proposition 4.6 of arXiv 2502.01755v4 to label noise",
    kind="measurement",
    statement="FFA-LoRA with label noise: risk = F + (F + k sigma^2)/(N(m-2)), F = ||b*||^2 delta_0^2",
    convention="the squared error of the product; times f/2 it is the excess risk",
)
