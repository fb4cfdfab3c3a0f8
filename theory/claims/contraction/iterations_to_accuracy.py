r"""The theorem: exponential convergence to any accuracy, in angle and in product.

**Statement.** After :math:`T \ge \frac{2}{\kappa c_0}\log\frac{\delta_0}{\epsilon}` iterations of Algorithm 2 on homogeneous
fixed data: :math:`\delta_T \le \epsilon` and
:math:`\|a^T(\bar b^{T+1})^T - a^* b^{*T}\|_F \le (1 + \epsilon')\epsilon\,\|b^*\|`.

**Assumptions.** :math:`\kappa \le 1/2`, by construction. At every iterate e and :math:`|\bar\xi|` are at most
:math:`c_0/6`, measured: on reused data a^t is not independent of X, so this is not a high-probability event.

**Direction.** Upper: of the first iteration that has both. Loose: a fifth of the stated number is enough on all instances,
because the local ratio is :math:`|1 - 2\kappa|`, not :math:`\sqrt{1 - \kappa c_0}`.

**Source.** arXiv 2502.01755v4, Theorem 4.5 (constants recalled; unverified).

**Derivation.** By the one-step inequality :math:`\delta^+ \le \delta(1 - \kappa c_0)` where :math:`2\kappa\bar\rho^2 \le 1`
(claim ``finite-sample-contraction``). Elsewhere :math:`|1 - 2\kappa\bar\rho^2| \le \bar\xi^2`, and the factor is below
:math:`1/3 < 1/2 \le 1 - \kappa c_0`. So :math:`\delta_T \le \delta_0 e^{-\kappa c_0 T}`, twice as fast as stated. The
product's error is exactly :math:`\sqrt{1 + \bar\xi^2}\,\delta_T\|b^*\|` (claim ``product-error``), which is the epsilon'.

**Control.** FFA-LoRA, whose a stays: it has not reached epsilon after the stated number.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.assumptions import moment_error, overlap, xi
from theory.linear.geometry import angle_distance, start_at
from theory.linear.model import random_truth, sample
from theory.linear.rounds import local_update, relative_error, rounds
from theory.verification.claim import EPS, Instance, Instances, Statement, at_most

CLIENTS, SAMPLES, DIMENSION, OUTPUTS = 2, 10_000, 6, 3
CASES = [(d0, kappa, eps) for d0 in (0.3, 0.8) for kappa in (0.2, 0.5) for eps in (1e-2, 1e-4, 1e-6)]


def _instance(key: Key, method: str, delta0: float, kappa: float, epsilon: float) -> Instance:
    a_star, b_star = random_truth(key.fold("truth"), DIMENSION, OUTPUTS)
    model = sample(key.fold("data"), CLIENTS, SAMPLES, a_star, b_star, 2)
    a0 = start_at(key.fold("a0"), a_star, delta0)
    c0 = overlap(model, a0)
    stated = int(np.ceil(2 / (kappa * c0) * np.log(delta0 / epsilon)))
    start = Layer(a0[:, None], np.zeros((1, OUTPUTS)))
    update = local_update(model, kappa / float(b_star @ b_star))
    run = rounds(model, ALGORITHMS[method](), start, update, 2 * stated + 1, retracted=True)
    met, first = moment_error(model) <= c0 / 6, stated + 1
    for number, (layer, _) in enumerate(run):
        a = layer.A[:, 0]
        if number % 2:  # iteration number // 2 has ended; the b that belongs to the new a comes a round later
            continue
        delta, noise = float(angle_distance(a, a_star)), float(np.mean(xi(model, a)))
        met = met and abs(noise) <= c0 / 6
        if delta <= epsilon and relative_error(layer, model) <= np.sqrt(1 + noise**2) * epsilon + EPS * DIMENSION:
            first = number // 2
            break
    where = f"{method}, delta0={delta0}, kappa={kappa}, eps={epsilon}, iterations"
    return at_most(float(first), float(stated), EPS, where, met)


def check(key: Key, method: str = "rolora", cases: list[tuple[float, float, float]] = CASES) -> Instances:
    """Two starts, two steps, three accuracies."""
    return (_instance(key.fold("case", i), method, *case) for i, case in enumerate(cases))


def control(key: Key) -> Instances:
    """FFA-LoRA on the same models; iterations that it never reaches are counted as one more than stated."""
    return check(key, "ffa-lora", CASES[:4])


CLAIM = Statement(
    source="arXiv 2502.01755v4, Theorem 4.5 (constants recalled; unverified)",
    kind="bound",
    statement="T >= 2/(kappa c0) log(delta_0/eps) iterations give delta <= eps and error <= (1+eps') eps, kappa <= 1/2",
    convention="loss (1/m)||.||^2, gradient factor 2",
)
