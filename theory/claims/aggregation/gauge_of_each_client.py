r"""A change of basis of each client's own changes no method that averages updates.

**Statement.** If client i returns :math:`(A_i R_i, R_i^{-1} B_i)` in the place of (A_i, B_i), with its own R_i, FlexLoRA's
aggregated update is the same.

**Assumptions.** The r-th and the (r+1)-th singular value of the mean differ by more than a hundredth of the first (measured):
at a tie the best approximation of rank r is not unique.

**Direction.** Tight: an equality.

**Source.** Derived here.

**Derivation.** Every client's update :math:`A_i R_i R_i^{-1} B_i = A_i B_i` is the same, and FlexLoRA looks at the clients
through :math:`\sum_i p_i A_i B_i` alone. Rounding: a relative error :math:`\epsilon` of the clients' products, times their
basis' condition number, moves the mean, and the truncation moves by at most that times
:math:`1 + 2 s_1/(s_r - s_{r+1})` to first order.

**Control.** FedAvg-LoRA, which averages the coordinates that each client has chosen.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.verification.claim import EPS, Instance, Instances, Statement, equal_arrays

CLIENTS, SHAPE, GAP = 4, (10, 2, 7), 0.01


def _instance(key: Key, method: str) -> Instance:
    d, r, k = SHAPE
    stream = key.generator()
    algorithm, weights = ALGORITHMS[method](), stream.dirichlet(np.ones(CLIENTS)).tolist()
    clients = [Layer(stream.standard_normal((d, r)), stream.standard_normal((r, k))) for _ in range(CLIENTS)]
    bases = [stream.standard_normal((r, r)) for _ in range(CLIENTS)]
    turned = [Layer(c.A @ basis, np.linalg.solve(basis, c.B)) for c, basis in zip(clients, bases, strict=True)]
    plain, gauged = (algorithm.aggregate(0, layers[0], layers, weights).update for layers in (clients, turned))
    singular = np.linalg.svd(sum(p * c.update for p, c in zip(weights, clients, strict=True)), compute_uv=False)
    gap = float((singular[r - 1] - singular[r]) / singular[0])
    size = max(float(np.linalg.norm(c.A) * np.linalg.norm(c.B)) for c in [*clients, *turned])
    condition = max(float(np.linalg.cond(basis)) for basis in bases)
    slack = EPS * (CLIENTS + d) * size * condition * (1 + 2 / max(gap, GAP))
    return equal_arrays(gauged, plain, slack, f"{method}, condition {condition:.1f}, gap {gap:.2f}", met=gap > GAP)


def check(key: Key) -> Instances:
    """Random clients, weights and bases."""
    return (_instance(key.fold("instance", number), "flexlora") for number in range(60))


def control(key: Key) -> Instances:
    """FedAvg-LoRA on the same clients and bases."""
    return (_instance(key.fold("instance", number), "fedavg-lora") for number in range(10))


CLAIM = Statement(
    source="derived here",
    kind="identity",
    statement="(A_i R_i, R_i^-1 B_i), a basis for each client, leaves FlexLoRA's aggregate unchanged (not FedAvg-LoRA's)",
    convention="none: no loss enters",
)
