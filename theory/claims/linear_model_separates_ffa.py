r"""What the linear model does separate: RoLoRA from FFA-LoRA.

**Statement.** After the same rounds from the same start on the same data, RoLoRA's product error is below 1e-3 of ||b*||,
and FFA-LoRA's is at least :math:`\delta_0`.

**Derivation.** With a^0 frozen, :math:`\|a^0 b^T - a^* b^{*T}\|_F \ge \delta_0\|b^*\|` for every b: the part of a* that is
orthogonal to a^0 is out of reach. RoLoRA converges by the one-step inequality on ample data.

FFA-LoRA solves its b-step exactly, which is the best it can do; both methods are counted in communication rounds.

**Control.** FedAvg-LoRA in FFA-LoRA's place, which trains a and passes below any such floor.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.claim import EPS, Claim, Instance, Result, at_least, judge
from theory.geometry import angle_distance, normalise, random_unit
from theory.linear import sample
from theory.linear_rounds import local_update, relative_error, rounds

CLIENTS, SAMPLES, DIMENSION, OUTPUTS, STEPS, ROUNDS, CONVERGED = 10, 80, 10, 5, 20, 40, 1e-3
KAPPA, ETA = 0.25, 0.05  # of Algorithm 2's single step on a, and of FedAvg-LoRA's twenty


def _instance(key: Key, method: str) -> Instance:
    a_star = random_unit(key.fold("a*"), DIMENSION)
    b_star = normalise(key.fold("b*").generator().standard_normal(OUTPUTS))
    model = sample(key.fold("data"), CLIENTS, SAMPLES, a_star, b_star, 2)
    start = Layer(random_unit(key.fold("a0"), DIMENSION)[:, None], np.zeros((1, OUTPUTS)))
    *_, (layer, _) = rounds(model, ALGORITHMS["rolora"](), start, local_update(model, KAPPA), ROUNDS, retracted=True)
    reached = relative_error(layer, model)
    update = local_update(model, ETA, STEPS, exact_b=method == "ffa-lora")
    *_, (layer, _) = rounds(model, ALGORITHMS[method](), start, update, ROUNDS)
    delta0 = float(angle_distance(start.A[:, 0], a_star))
    where = f"{method}, N={CLIENTS}, {ROUNDS} rounds: RoLoRA at {reached:.1e}"
    return at_least(relative_error(layer, model), delta0, EPS * DIMENSION, where, met=reached < CONVERGED)


def check(key: Key) -> Result:
    """FFA-LoRA on four models."""
    return judge(_instance(key.fold("instance", number), "ffa-lora") for number in range(4))


def control(key: Key) -> Result:
    """FedAvg-LoRA on one model."""
    return judge(_instance(key.fold("instance", number), "fedavg-lora") for number in range(1))


CLAIM = Claim(
    id="linear-model-separates-ffa",
    source="arXiv 2502.01755v4, Theorem 4.5 with Proposition 4.6",
    kind="bound",
    direction="upper",
    statement="on the linear model RoLoRA's product error falls below 1e-3 ||b*||, FFA-LoRA's stays above delta_0 ||b*||",
    convention="loss (1/m)||.||^2, gradient factor 2",
    expected="holds",
    check=check,
    control=control,
)
