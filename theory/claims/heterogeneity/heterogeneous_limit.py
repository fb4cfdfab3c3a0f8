r"""With heads that differ between clients, what RoLoRA and FFA-LoRA end at in the population.

**Statement.** With :math:`V = \frac1N\sum_i\|b_i^* - \bar b^*\|^2`, the risk of FFA-LoRA is
:math:`V + \delta_0^2\|\bar b^*\|^2` and RoLoRA's tends to V.

**Assumptions.** The population, S_i = I, by construction; V > 0, and for RoLoRA a run so long that
:math:`\delta_T^2\|\bar b^*\|^2` is below rounding, measured.

**Direction.** Tight: the limits themselves.

**Source.** The heterogeneous appendix of arXiv 2502.01755v4 (recalled, unverified); derived here.

**Derivation.** With S_i = I, :math:`\bar b = c\,\bar b^*` and the mean gradient is
:math:`f(a\|\bar b\|^2 - a^*\bar b^{*T}\bar b)`, that of one client with head b-bar*: the population map applies. The risk
:math:`\frac1N\sum_i\|a\bar b^T - a^* b_i^{*T}\|_F^2` splits into V and :math:`\|a\bar b^T - a^*\bar b^{*T}\|_F^2 =
\delta^2\|\bar b^*\|^2`, because the b_i* deviate from their mean by zero on average.

**Control.** The homogeneous prediction: V left out.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.assumptions import heterogeneity
from theory.linear.geometry import angle_distance, random_unit, start_at
from theory.linear.model import mean_loss, population
from theory.linear.rounds import local_update, rounds
from theory.verification.claim import EPS, Instances, Statement, equal

CLIENTS, DIMENSION, OUTPUTS, KAPPA = 3, 9, 5, 0.3
ROUNDS = 120  # sixty iterations at a local ratio of 0.4


def _instances(key: Key, with_variance: bool) -> Instances:
    a_star = random_unit(key.fold("a*"), DIMENSION)
    stream = key.fold("heads").generator()
    rows = stream.standard_normal(OUTPUTS) + 0.5 * stream.standard_normal((CLIENTS, OUTPUTS))
    model = population(CLIENTS, a_star, rows, 2)
    power, variance = float(model.b_mean @ model.b_mean), heterogeneity(model)
    delta0 = float(key.fold("delta0").generator().uniform(0.2, 0.9))
    start = Layer(start_at(key.fold("a0"), a_star, delta0)[:, None], np.zeros((1, OUTPUTS)))
    for method, floor in (("rolora", 0.0), ("ffa-lora", delta0**2 * power)):
        update = local_update(model, KAPPA / power)
        *_, (layer, _) = rounds(model, ALGORITHMS[method](), start, update, ROUNDS, retracted=True)
        risk = mean_loss(model, layer.A[:, 0], layer.B[0])
        predicted = floor + (variance if with_variance else 0.0)
        slack = EPS * (CLIENTS + DIMENSION) * float(np.sum(rows**2))
        ended = method == "ffa-lora" or float(angle_distance(layer.A[:, 0], a_star)) ** 2 * power <= slack
        yield equal(risk, predicted, slack, f"{method}, delta0={delta0:.2f}", met=variance > 0 and ended)


def check(key: Key) -> Instances:
    """Random heads and starts, both methods."""
    return (i for number in range(6) for i in _instances(key.fold("instance", number), True))


def control(key: Key) -> Instances:
    """Without V."""
    return _instances(key, False)


CLAIM = Statement(
    source="arXiv 2502.01755v4, heterogeneous appendix (recalled, unverified); derived here",
    kind="identity",
    statement="population risk with heads b_i*: FFA-LoRA V + delta_0^2 ||b-bar*||^2, RoLoRA's limit V",
    convention="loss (1/m)||.||^2, gradient factor 2",
)
