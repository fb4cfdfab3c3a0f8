r"""FedAvg-LoRA misses the mean update by exactly the interference, on the linear model itself.

**Statement.** After a round of FedAvg-LoRA with gradient training on the clients' data,
:math:`\frac1N\sum_i A_i B_i - A^{t+1}B^{t+1} = \frac1N\sum_i (A_i - \bar A)(B_i - \bar B)`, and this is not zero.

**Assumptions.** The clients' data differ, and each takes at least two local steps (from B = 0 the first one moves no A);
by construction. Equal weights.

**Direction.** Tight: an identity. That the interference is not zero is checked besides, against a hundred times rounding.

**Source.** arXiv 2502.01755v4, Eqs. 1-2 (as quoted elsewhere).

**Derivation.** The interference identity, applied to the server's step in ``rolora.algorithms``.

**Control.** The interference computed without subtracting the means.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.federation import ClientUpdate
from rolora.keys import Key
from theory.linear.geometry import random_unit
from theory.linear.model import random_truth, sample
from theory.linear.rounds import LAYER, local_update, rounds
from theory.verification.claim import EPS, Instances, Statement, at_least, equal_arrays

CLIENTS, SAMPLES, DIMENSION, OUTPUTS, ROUNDS, STEPS = 6, 20, 8, 5, 4, 5


def _instances(key: Key, centred: bool) -> Instances:
    a_star, b_star = random_truth(key.fold("truth"), DIMENSION, OUTPUTS)
    model = sample(key.fold("data"), CLIENTS, SAMPLES, a_star, b_star, 2)
    start = Layer(random_unit(key.fold("start"), DIMENSION)[:, None], np.zeros((1, OUTPUTS)))
    train = local_update(model, eta=0.02, local_steps=STEPS, exact_b=False)
    returned: list[ClientUpdate] = []

    def update(t, client, broadcast, trainable):
        returned.append(train(t, client, broadcast, trainable))
        return returned[-1]

    for t, (layer, _) in enumerate(rounds(model, ALGORITHMS["fedavg-lora"](), start, update, ROUNDS)):
        factors = [reply.message.factors for reply in returned[-CLIENTS:]]
        a, b = (np.stack([each[factor][LAYER] for each in factors]) for factor in ("A", "B"))
        missed = np.mean(a @ b, axis=0) - layer.update
        spread_a, spread_b = (a - a.mean(axis=0), b - b.mean(axis=0)) if centred else (a, b)
        size = float(np.max(np.linalg.norm(a, axis=(1, 2))) * np.max(np.linalg.norm(b, axis=(1, 2))))
        slack = EPS * CLIENTS * size
        yield equal_arrays(missed, np.mean(spread_a @ spread_b, axis=0), slack, f"round {t}")
        yield at_least(float(np.linalg.norm(missed)), 100 * slack, slack, f"round {t}, not zero")


def check(key: Key) -> Instances:
    """Twenty models, four rounds each, five local steps."""
    return (i for number in range(20) for i in _instances(key.fold("instance", number), True))


def control(key: Key) -> Instances:
    """Without the centring."""
    return _instances(key, False)


CLAIM = Statement(
    source="arXiv 2502.01755v4, Eqs. 1-2",
    kind="identity",
    statement="FedAvg-LoRA misses the mean update by mean (A_i - A-bar)(B_i - B-bar), which is not zero",
    convention="loss (1/m)||.||^2 in local training; the identity needs none",
)
