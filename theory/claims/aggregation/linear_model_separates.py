r"""The linear model does not separate RoLoRA from FedAvg-LoRA.

**Statement.** On the linear model RoLoRA converges and FedAvg-LoRA does not: after the same rounds from the same start on
the same data, RoLoRA's product error is below 1e-3 of ||b*||, and FedAvg-LoRA's stays above.

**Assumptions.** Homogeneous heads, by construction. RoLoRA converges, measured: other instances are not counted. Both take
K = 20 local gradient steps of one size a round; RoLoRA's rounds are counted singly, as in Algorithm 1, so it has no more.

**Direction.** Lower, as stated: of FedAvg-LoRA's error, which falls to rounding instead.

**Source.** A reading of arXiv 2502.01755v4, section 4.1; not a numbered statement.

**Corrected.** Refuted: FedAvg-LoRA converges here, too. What the linear model shows is FFA-LoRA's floor (claim
``linear-model-separates-ffa``).

**Derivation.** The homogeneous clients share the minimiser a* b*^T and differ by their sampling noise alone. Interference
is a product of two spreads, each of which shrinks with the distance to that common minimiser, so it vanishes in the limit.

**Control.** One client, where there is no interference and FedAvg-LoRA is gradient descent. The contrast is FFA-LoRA in
FedAvg-LoRA's place, where the same comparison holds.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.geometry import normalise, random_unit, start_at
from theory.linear.model import sample
from theory.linear.rounds import local_update, relative_error, rounds
from theory.verification.claim import EPS, Instance, Instances, Statement, at_least

ROWS, DIMENSION, OUTPUTS, STEPS, ETA, ROUNDS, CONVERGED = 800, 10, 5, 20, 0.1, 30, 1e-3  # ROWS = N m
DELTA0 = 0.95  # a random direction's angle distance, root mean square, at d = 10


def _instance(key: Key, clients: int, other: str) -> Instance:
    a_star = random_unit(key.fold("a*"), DIMENSION)
    b_star = normalise(key.fold("b*").generator().standard_normal(OUTPUTS))
    model = sample(key.fold("data"), clients, ROWS // clients, a_star, b_star, 2)
    start = Layer(start_at(key.fold("a0"), a_star, DELTA0)[:, None], np.zeros((1, OUTPUTS)))
    update = local_update(model, ETA, STEPS, exact_b=False)
    error = {}
    for method in ("rolora", other):
        *_, (layer, _) = rounds(model, ALGORITHMS[method](), start, update, ROUNDS)
        error[method] = relative_error(layer, model)
    where = f"N={clients}, K={STEPS}, {ROUNDS} rounds: RoLoRA at {error['rolora']:.1e}, {other} measured"
    return at_least(error[other], CONVERGED, EPS, where, met=error["rolora"] < CONVERGED)


def check(key: Key) -> Instances:
    """Twenty clients, two models."""
    return (_instance(key.fold("instance", number), 20, "fedavg-lora") for number in range(2))


def control(key: Key) -> Instances:
    """One client with all the rows."""
    return [_instance(key, 1, "fedavg-lora")]


def contrast(key: Key) -> Instances:
    """FFA-LoRA in FedAvg-LoRA's place."""
    return [_instance(key, 20, "ffa-lora")]


CLAIM = Statement(
    source="a reading of arXiv 2502.01755v4, section 4.1; not a numbered statement",
    kind="measurement",
    statement="on the linear model RoLoRA's product error falls below 1e-3 ||b*|| and FedAvg-LoRA's does not",
    convention="loss (1/m)||.||^2, gradient factor 2",
    expected="refuted",
)
