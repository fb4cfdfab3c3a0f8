r"""FlexLoRA's loss in a round: the tail of the exact mean's singular values, the least that any rank-r update loses.

**Statement.** With :math:`D = \sum_i p_i A_i B_i` and its singular values :math:`s_1 \ge s_2 \ge \dots`, FlexLoRA's server
holds A B with :math:`\|D - A B\|_F = \sqrt{\sum_{j > r} s_j^2}`, and every product of rank r misses D by at least as much.

**Assumptions.** None on the clients' factors; the tail is not zero on the counted instances (measured), or any method would
do.

**Direction.** Tight: an equality at every instance. As a lower bound for other methods it is attained by this one alone.

**Source.** Eckart and Young, Psychometrika 1 (1936) 211-218, for the server's step of FlexLoRA (arXiv 2402.11505).

**Derivation.** The truncated singular value decomposition is a best approximation of its rank in the Frobenius norm; the
error is what the truncation leaves. The tail is computed here from the eigenvalues of D^T D, not by the decomposition that
the method itself uses.

**Control.** FedAvg-LoRA on the same clients: its product has rank r too, and misses D by more than the tail.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.verification.claim import EPS, Instance, Instances, Statement, equal

SIZES = [(4, 6, 5, 2), (9, 3, 2, 1), (12, 10, 4, 3), (5, 12, 6, 1)]  # d, k, N, r


def _instance(key: Key, number: int, method: str) -> Instance:
    d, k, n, r = SIZES[number % len(SIZES)]
    stream = key.generator()
    weights = stream.dirichlet(np.ones(n)).tolist()
    clients = [Layer(stream.standard_normal((d, r)), stream.standard_normal((r, k))) for _ in range(n)]
    mean = sum(p * client.update for p, client in zip(weights, clients, strict=True))
    layer = ALGORITHMS[method]().aggregate(0, clients[0], clients, weights)
    squares = np.linalg.eigvalsh(mean.T @ mean)[::-1]
    tail = float(np.sqrt(np.sum(np.maximum(squares[r:], 0))))
    # An eigenvalue of D^T D is known to rounding of the largest; the root of a small sum loses accordingly.
    slack = EPS * k * squares[0] / max(tail, EPS)
    where = f"d={d}, k={k}, N={n}, r={r}"
    missed = float(np.linalg.norm(mean - layer.update))
    return equal(missed, tail, float(slack), where, met=bool(tail > 1e-3 * np.sqrt(squares[0])))


def check(key: Key) -> Instances:
    """Random factors and weights of four sizes, few and many clients."""
    return (_instance(key.fold("instance", number), number, "flexlora") for number in range(200))


def control(key: Key) -> Instances:
    """FedAvg-LoRA's product of the same rank."""
    return (_instance(key.fold("instance", number), number, "fedavg-lora") for number in range(20))


CLAIM = Statement(
    source="Eckart and Young 1936, for FlexLoRA (arXiv 2402.11505)",
    kind="identity",
    statement="FlexLoRA misses the mean update by sqrt(sum of s_j^2, j > r), the least that rank r allows",
    convention="no loss involved",
)
