r"""With n of N clients a round and equal heads, convergence stays linear, to the exact truth.

**Statement.** On homogeneous noiseless data, with participants P_t in the t-th B-round and Q_t in the A-round after it,

.. math::
    h_{t+1} = \Big(I - f\kappa\big(S_{Q,pp} - S_{Q,pa}\,l_P^T\big)\Big)h_t + O(h_t^2), \qquad
    S_Q = \frac1n\sum_{i\in Q}S_i, \quad l_P = \frac1n\sum_{i\in P}\frac{S_{i,pa}}{S_{i,aa}},

for :math:`a = a^* + h`. Every round's map fixes the truth, so delta falls geometrically, at the rate of the product of the
participants' matrices, and to no floor.

**Assumptions.** Equal heads, no label noise: by construction. Counted are runs in which delta has fallen a hundredfold.

**Direction.** Tight, to first order in delta.

**Source.** Derived here; all clients in every round is the claim fixed-data-rate.

**Derivation.** As there, with the two means over different clients: the b-step of P gives :math:`\bar\rho = 1 - l_P^Th`, and
the gradient of Q is :math:`f\|b^*\|^2S_Q(h - (1 - \bar\rho)a^*)`.

**Test.** :math:`\log(\delta_T/\delta_0)` against the logarithm of the product applied to h_0. Slack: every iteration's second
order, at most :math:`\|S_Q\|(1 + \|l_P\|)^2` times delta up to a constant of 4, and the rounding of the last angle.

**Control.** The matrix of all N clients in every round.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.keys import Key
from theory.linear.ensemble import draw_moments, planted
from theory.linear.ensemble_rounds import LocalTraining, alternate, subspace_distance
from theory.linear.rank_r import random_factors, start_at
from theory.verification.claim import EPS, Instances, Statement, equal

CLIENTS, TAKING_PART, SAMPLES, DIMENSION, OUTPUTS, KAPPA = 6, 2, 15, 5, 3, 0.15
INSTANCES, SEQUENCES, ITERATIONS, DELTA0 = 6, 5, 25, 1e-6


def check(key: Key, sequences: int = SEQUENCES, all_clients: bool = False) -> Instances:
    """All sequences of participants."""
    for number in range(sequences):
        draw = key.fold("sequence", number)
        a_star, b_star = random_factors(draw.fold("truth"), INSTANCES, DIMENSION, OUTPUTS, [1.0])
        moments, _ = draw_moments(draw.fold("data"), INSTANCES, CLIENTS, SAMPLES, DIMENSION)
        a0 = start_at(draw.fold("a0"), a_star, np.ones((1, 1, 1)), np.full((1, 1), np.arcsin(DELTA0)))
        stream = draw.fold("participants").generator()
        sets = [stream.choice(CLIENTS, TAKING_PART, replace=False).tolist() for _ in range(2 * ITERATIONS)]
        ensemble = planted(moments, a_star, np.repeat(b_star[:, None], CLIENTS, axis=1), 2)
        run = alternate(ensemble, Layer(a0, b_star), LocalTraining(KAPPA), ITERATIONS, lambda t, sets=sets: sets[t])
        delta = subspace_distance(run.a, np.broadcast_to(a_star[:, None], run.a.shape))
        for i in range(INSTANCES):
            truth, used = a_star[i, :, 0], moments[i]
            project, couplings = np.eye(DIMENSION) - np.outer(truth, truth), used @ truth
            couplings = (couplings / (couplings @ truth)[:, None]) @ project
            h, second_order = project @ a0[i, :, 0] / (truth @ a0[i, :, 0]), 0.0
            for t in range(ITERATIONS):
                b_set, a_set = (range(CLIENTS),) * 2 if all_clients else (sets[2 * t], sets[2 * t + 1])
                pooled, coupling = np.mean(used[list(a_set)], axis=0), np.mean(couplings[list(b_set)], axis=0)
                h = h - 2 * KAPPA * (project @ pooled @ (h - (coupling @ h) * truth))
                second_order += delta[i, t] * np.linalg.norm(pooled, 2) * (1 + np.linalg.norm(coupling)) ** 2
            slack = 4 * float(second_order) + EPS * DIMENSION * ITERATIONS / float(delta[i, -1])
            measured, stated = np.log(delta[i, -1] / delta[i, 0]), np.log(np.linalg.norm(h) / np.tan(np.arcsin(DELTA0)))
            where = f"n={TAKING_PART} of N={CLIENTS}, m={SAMPLES}, {ITERATIONS} iterations, log of the whole ratio"
            yield equal(float(measured), float(stated), slack, where, met=bool(delta[i, -1] < DELTA0 / 100))


def control(key: Key) -> Instances:
    """The matrix of all N clients in every round."""
    return check(key, 1, all_clients=True)


CLAIM = Statement(
    source="derived here; partial participation in Algorithm 2, arXiv 2502.01755v4",
    kind="rate",
    statement="equal heads, n of N clients a round: h+ = (I - f kappa (S_Q,pp - S_Q,pa l_P)) h, linear to the exact truth",
    convention="loss (1/m)||.||^2, gradient factor 2",
)
