r"""On equal heads FedAvg-LoRA's interference is of second order in the error: it dies faster than what it disturbs.

**Statement.** On homogeneous data without noise, along FedAvg-LoRA's own path, log ||I_t|| against log ||E_t|| has the slope 2,
:math:`E_t = A^t B^t - a^* b^{*T}`. Relative to the round's update, of size E, interference vanishes like E.

**Assumptions.** Equal b_i*, no noise, convergence (measured: counted if the error fell over the whole window).

**Direction.** Tight.

**Source.** Derived here; why the linear model does not separate the methods on equal heads (claim ``linear-model-separates``).

**Derivation.** All clients share the minimiser, so each client's gradients are linear in E:
:math:`A_i - \bar A = -K\eta f (S_i - S) E B^T + \ldots`, :math:`B_i - \bar B = -K\eta f A^T (S_i - S) E + \ldots`, and I, their
product, is quadratic: :math:`\|I\| = \|E\|^2 Q(E/\|E\|)`. For different heads the gradients do not vanish at E = 0.

**Test.** A line through the rounds in which ||E|| falls from 1e-3 to 1e-10. Its slope differs from 2 by at most 3/2 of the range of
log Q over that of log ||E||, as the direction of E turns towards the slowest mode; Q is taken from the gradients' covariance.

**Control.** Heads that differ between clients; E is then the distance from the limit that the path itself has.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.ensemble import draw_moments, planted
from theory.linear.ensemble_rounds import LocalTraining, rounds
from theory.linear.fedavg_drift import covariance, interference
from theory.linear.geometry import random_unit
from theory.verification.claim import Instance, Instances, Statement, equal
from theory.verification.statistics import slope

CLIENTS, SAMPLES, DIMENSION, OUTPUTS, ROUNDS, MODELS = 5, 60, 5, 3, 250, 3
LOCAL, LARGEST, SMALLEST = 0.25, 1e-3, 1e-10  # LOCAL = K eta


def _instance(key: Key, spread: float, steps: int) -> Instance:
    moments, _ = draw_moments(key.fold("data"), 1, CLIENTS, SAMPLES, DIMENSION)
    heads = OUTPUTS**-0.5 + spread * key.fold("heads").generator().standard_normal((1, CLIENTS, 1, OUTPUTS))
    data = planted(moments, np.eye(DIMENSION)[None, :, :1], heads, 2)
    start = Layer(A=random_unit(key.fold("a0"), DIMENSION)[None, :, None], B=np.zeros((1, 1, OUTPUTS)))
    training = LocalTraining(LOCAL / steps, LOCAL / steps, steps, frozenset())
    path = list(rounds(data, ALGORITHMS["fedavg-lora"](), start, training, ROUNDS))
    limit = np.eye(DIMENSION)[:, :1] @ heads[0, 0] if spread == 0 else path[-1].update[0]
    x, y, q = [], [], []
    for layer in path:
        error = layer.update - limit
        size = np.linalg.norm(error)
        if SMALLEST < size < LARGEST:
            x.append(np.log(size))
            y.append(np.log(np.linalg.norm(interference(data, layer, training))))
            across = moments @ error[:, None]
            form = covariance(across @ layer.B[:, None].swapaxes(-1, -2), layer.A[:, None].swapaxes(-1, -2) @ across)
            q.append(np.log(np.linalg.norm(form)) - 2 * x[-1])
    fit, turned = slope(np.array(x), np.array(y)), 1.5 * np.ptp(q) / np.ptp(x)
    where = f"N={CLIENTS}, m={SAMPLES}, K={steps}, {len(x)} rounds, slope +-{fit.half_width:.1g} +-{turned:.1g}"
    reached = np.linalg.norm(path[-1].update - limit) < SMALLEST and np.ptp(x) > np.log(1e6)
    return equal(fit.estimate, 2.0, fit.half_width + turned, where, met=bool(reached))


def check(key: Key) -> Instances:
    """Five clients, five local steps, three models."""
    return (_instance(key.fold("model", number), 0.0, 5) for number in range(MODELS))


def control(key: Key) -> Instances:
    """Different heads, one step a round, so that the product still converges, to the minimiser of the mean loss."""
    return (_instance(key.fold("model", number), 0.3, 1) for number in range(MODELS))


CLAIM = Statement(
    source="derived here, for FedAvg-LoRA on the linear model of arXiv 2502.01755v4",
    kind="rate",
    statement="equal heads, no noise: along FedAvg-LoRA's path log interference has the slope 2 against log error",
    convention="any (checked at gradient factor 2)",
)
