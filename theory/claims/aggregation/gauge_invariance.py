r"""A change of basis of the rank, common to server and clients, changes no method's aggregate.

**Statement.** If every client returns :math:`(A_i R, R^{-1} B_i)` with one R in the place of (A_i, B_i), and the server held
the same, the aggregated update is the same for FedAvg-LoRA, FFA-LoRA and RoLoRA.

**Assumptions.** R is invertible and common; by construction. (That gradient training commutes with R is not claimed: it
does for orthogonal R alone.)

**Direction.** Tight: an identity.

**Source.** Derived here.

**Derivation.** The means are linear: :math:`\overline{A R} = \bar A R` and :math:`\overline{R^{-1}B} = R^{-1}\bar B`, and R
cancels in the product, whichever factors are averaged.

**Control.** A different R_i for each client under FedAvg-LoRA: the clients' updates are the same, the average is not.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.verification.claim import EPS, Instance, Instances, Statement, equal_arrays

CLIENTS, SHAPE = 5, (10, 3, 7)
METHODS = ("fedavg-lora", "ffa-lora", "rolora")


def _instance(key: Key, method: str, t: int, common: bool) -> Instance:
    d, r, k = SHAPE
    stream = key.generator()
    algorithm, weights = ALGORITHMS[method](), list(stream.dirichlet(np.ones(CLIENTS)))
    server = Layer(stream.standard_normal((d, r)), stream.standard_normal((r, k)))
    fresh = [Layer(stream.standard_normal((d, r)), stream.standard_normal((r, k))) for _ in range(CLIENTS)]
    moved = algorithm.trainable(t)
    clients = [Layer(c.A if "A" in moved else server.A, c.B if "B" in moved else server.B) for c in fresh]
    bases = [stream.standard_normal((r, r)) + 3 * np.eye(r) for _ in range(CLIENTS)]
    bases = [bases[0]] * CLIENTS if common else bases

    def rebased(layer: Layer, basis: np.ndarray) -> Layer:
        return Layer(layer.A @ basis, np.linalg.solve(basis, layer.B))

    plain = algorithm.aggregate(t, server, clients, weights).update
    other = [rebased(client, basis) for client, basis in zip(clients, bases, strict=True)]
    gauged = algorithm.aggregate(t, rebased(server, bases[0]), other, weights).update
    size = max(np.linalg.norm(layer.A) * np.linalg.norm(layer.B) for layer in [*clients, *other])
    slack = EPS * (CLIENTS + r) * float(size * max(np.linalg.cond(basis) for basis in bases))
    return equal_arrays(gauged, plain, slack, f"{method}, round {t}")


def check(key: Key) -> Instances:
    """Three methods, both kinds of round."""
    cases = [(method, t, number) for method in METHODS for t in (0, 1) for number in range(15)]
    return (_instance(key.fold(method, t, number), method, t, True) for method, t, number in cases)


def control(key: Key) -> Instances:
    """FedAvg-LoRA with a basis for each client."""
    return (_instance(key.fold(number), "fedavg-lora", 0, False) for number in range(5))


CLAIM = Statement(
    source="derived here",
    kind="identity",
    statement="(A_i R, R^-1 B_i) with one R for all leaves the aggregate of FedAvg-LoRA, FFA-LoRA and RoLoRA unchanged",
    convention="none: no loss enters",
)
