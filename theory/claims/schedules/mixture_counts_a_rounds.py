r"""In a mixture of RoLoRA and FFA-LoRA iterations only the A-rounds count.

**Statement.** With the exact b-step on fixed data, T iterations of two rounds of which s T train A (B, A) and the others do not
(B, B), in any order, end at the A of s T RoLoRA iterations, to the last bit.

**Assumptions.** The same data and clients in all rounds; by construction.

**Direction.** Tight.

**Source.** Derived here; the setting is that of arXiv 2502.01755v4, Figure 5 (mixtures of RoLoRA and FFA-LoRA rounds).

**Derivation.** B after a B-round is a function of A alone, so an iteration (B, B) leaves A, and the next (B, A) starts from the same
pair as if the former had not been. The order of the iterations, early or late or spread, cannot matter; nor can T by itself.

**Control.** The b-step by K gradient steps: then B remembers, and iterations without A bring it nearer to its minimiser.
"""

import numpy as np

from rolora.adapter import Layer
from rolora.algorithms import ALGORITHMS
from rolora.keys import Key
from theory.linear.ensemble_rounds import LocalTraining, retract, rounds
from theory.linear.schedules import mixture, rank_two_example
from theory.verification.claim import EPS, Instances, Statement, equal_arrays

INSTANCES, ITERATIONS = 5, 20


def check(key: Key, exact: frozenset[str] = frozenset({"B"})) -> Instances:
    """Shares of 10, 20, 50 and 80 per cent in three orders; rank two, noisy labels, different heads."""
    data, normal = rank_two_example(key, INSTANCES)
    start = retract(Layer(A=normal.A, B=np.zeros_like(normal.B)))
    training = LocalTraining(0.02, 0.02, 2, exact)
    for trained in (2, 4, 10, 16):
        *_, alone = rounds(data, ALGORITHMS["rolora"](), start, training, 2 * trained, retracted=True)
        first = np.arange(ITERATIONS) < trained
        orders = {
            "first": first,
            "last": first[::-1],
            "shuffled": key.fold("s", trained).generator().permutation(first),
        }
        for name, chosen in orders.items():
            schedule = mixture(chosen.tolist())
            *_, mixed = rounds(data, schedule, start, training, 2 * ITERATIONS, retracted=True)
            where = f"{trained} of {ITERATIONS} iterations train A, {name}"
            yield equal_arrays(mixed.A, alone.A, EPS * float(np.linalg.norm(alone.A)), where)


def control(key: Key) -> Instances:
    """Two gradient steps on B."""
    return check(key, frozenset())


CLAIM = Statement(
    source="derived here, for the mixtures of arXiv 2502.01755v4, Figure 5, with the exact b-step",
    kind="identity",
    statement="T iterations of which sT train A, in any order, end at the A of sT RoLoRA iterations",
    convention="any (checked at gradient factor 2)",
)
