r"""The interference, expanded by a computer algebra system and held against the server's own step.

**Statement.** For weights that sum to one

.. math::
    \sum_i p_i A_i B_i - \bar A\bar B = \sum_{i<j} p_i p_j (A_i - A_j)(B_i - B_j)
    = \sum_i p_i (A_i - \bar A)(B_i - \bar B),

and the left side is what the server of FedAvg-LoRA misses of the mean update.

**Assumptions.** The weights sum to one, to rounding: measured on each instance.

**Direction.** Tight: attained everywhere.

**Source.** arXiv 2502.01755v4, Eqs. 1-2; derived here.

**Derivation.** For N = 2 and 3 clients with generic 2 x 2 factors and symbolic weights, SymPy multiplies the first sum by
:math:`\sum p_i` and expands; all squares of weights cancel, which leaves the form over pairs. Its difference from the
covariance expands to zero once the last weight is eliminated: the terms that remain are counted.

**Control.** Weights that sum to 0.9, given to the same server.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory import symbolic
from theory.verification.claim import EPS, Instance, Instances, Statement, equal, equal_arrays

SIZE = 2  # rows, rank and columns of the symbolic factors


def _instance(key: Key, clients: int, total: float) -> Instance:
    stream = key.generator()
    a, b = stream.standard_normal((clients, SIZE, SIZE)), stream.standard_normal((clients, SIZE, SIZE))
    p = total * stream.dirichlet(np.ones(clients))
    layers = [Layer(*factors) for factors in zip(a, b, strict=True)]
    server = ALGORITHMS["fedavg-lora"]().aggregate(0, layers[0], layers, [float(weight) for weight in p])
    missed = np.tensordot(p, a @ b, 1) - server.update
    derived, _ = symbolic.interference(clients)
    numbers = (*p, *a.ravel(), *b.ravel())
    # Left, sums of N and of r terms at the size of the terms before they cancel; right, the bound of its evaluation.
    size = np.sum(p * np.linalg.norm(a, axis=(1, 2))) * np.max(np.linalg.norm(b, axis=(1, 2)))
    slack = EPS * 2 * (clients + SIZE) * float(size) + float(np.linalg.norm(derived.rounding(*numbers)))
    predicted = derived.value(*numbers).reshape(SIZE, SIZE)
    met = abs(float(np.sum(p)) - total) <= EPS * clients
    return equal_arrays(missed, predicted, slack, f"N={clients}, weights sum to {total}", met)


def check(key: Key, total: float = 1.0) -> Instances:
    """Two and three clients, weights drawn from the simplex."""
    for clients in (2, 3):
        terms = sum(entry != 0 for entry in symbolic.interference(clients)[1])
        yield equal(float(terms), 0.0, EPS, f"N={clients}, entries of the expanded difference")
        yield from (_instance(key.fold("clients", clients, "instance", number), clients, total) for number in range(40))


def control(key: Key) -> Instances:
    """Weights that do not sum to one."""
    return check(key, 0.9)


CLAIM = Statement(
    source="arXiv 2502.01755v4, Eqs. 1-2; derived here by SymPy",
    kind="identity",
    statement="FedAvg-LoRA misses sum_{i<j} p_i p_j (A_i - A_j)(B_i - B_j) = sum p_i (A_i - A-bar)(B_i - B-bar)",
    convention="none: no loss enters",
)
