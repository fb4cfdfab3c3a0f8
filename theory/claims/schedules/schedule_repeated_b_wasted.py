r"""With the exact b-step a second B-round in a row changes nothing.

**Statement.** For p >= 1, B repeated p times and then A once gives the iterates of B once and then A once, on any fixed data,
at any rank, with label noise: :math:`(A^t, \bar B^t)` after t periods is the same. So p > 1 costs rounds and buys none.

**Assumptions.** The same data in the repeated rounds, all clients in all of them; by construction.

**Direction.** Tight: the two runs do the same arithmetic on the same numbers, and agree to the last bit.

**Source.** Derived here.

**Derivation.** :math:`B_i = (A^T S_i A)^{-1} A^T C_i` depends on A, not on the B that a client received, and the mean of the B_i
depends on nothing else.

**Control.** K gradient steps on B in the place of the solution.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms.rolora import RoLoRA
from rolora.keys import Key
from theory.linear.ensemble_rounds import LocalTraining, retract, rounds
from theory.linear.schedules import rank_two_example
from theory.verification.claim import EPS, Instances, Statement, equal_arrays

INSTANCES, PERIODS = 5, 6


def check(key: Key, exact: frozenset[str] = frozenset({"B"})) -> Instances:
    """Two, three and five B-rounds a period, rank two, noisy labels, different heads."""
    data, normal = rank_two_example(key, INSTANCES)
    start = retract(Layer(A=normal.A, B=np.zeros_like(normal.B)))
    training = LocalTraining(0.02, 0.02, 2, exact)
    once = list(rounds(data, RoLoRA("BA"), start, training, 2 * PERIODS, retracted=True))[1::2]
    for p in (2, 3, 5):
        repeated = list(rounds(data, RoLoRA("B" * p + "A"), start, training, (p + 1) * PERIODS, retracted=True))
        for number, (one, other) in enumerate(zip(once, repeated[p :: p + 1], strict=True)):
            size = EPS * float(np.linalg.norm(one.update))
            yield equal_arrays(other.update, one.update, size, f"p={p}, period {number + 1}")


def control(key: Key) -> Instances:
    """Two gradient steps on B."""
    return check(key, frozenset())


CLAIM = Statement(
    source="derived here, for Algorithm 2 of arXiv 2502.01755v4 with other orders of the factors",
    kind="identity",
    statement="exact b-step, fixed data: p B-rounds and an A-round give the iterates of one B-round and an A-round",
    convention="any (checked at gradient factor 2)",
)
