r"""More clients at equal client-rounds: the steps that one model sees fall.

**Statement.** 3 clients x 500 rounds [V], 20 x 75 [M, unverified] and 50 x 30 [C] are 1,500 client-rounds each.

**Assumptions.** SST-2, QNLI, MNLI and QQP: for RTE 200 rounds are printed with 3 clients [V], which makes 600.

**Direction.** Tight: integers.

**Source.** arXiv 2409.02346, settings (3 clients, read in the paper); supplement of arXiv 2502.01755 (50 clients, 20 local
steps, read in the code); 75 rounds recalled, unverified.

**Derivation.** Arithmetic. A round is as many sequential steps of one model as it has local steps, whatever the number of
clients: 500, 75 and 30 rounds of 20 local steps [C] are 10,000, 1,500 and 600 steps. A comparison over the number of clients
therefore also compares lengths of training; what this does to the accuracies is a question for measurement.

**Control.** The sequential steps instead of the client-rounds.
"""

from rolora.keys import Key
from theory.printed_numbers import load, rounds
from theory.verification.claim import EPS, Instances, Statement, equal

CLIENTS, TASKS = (3, 20, 50), ("SST-2", "QNLI", "MNLI", "QQP")


def check(key: Key) -> Instances:
    """Three numbers of clients, four tasks; nothing is random."""
    return (
        equal(float(clients * rounds(clients, task)), 1500.0, EPS, f"client-rounds, {task}, {clients} clients")
        for clients in CLIENTS
        for task in TASKS
    )


def control(key: Key) -> Instances:
    """Steps that one model sees, against those with 3 clients."""
    steps = float(load()["settings"]["local_steps"]["value"])
    return (
        equal(rounds(clients, task) * steps, rounds(3, task) * steps, EPS, f"steps, {task}, {clients} clients")
        for clients in CLIENTS
        for task in TASKS
    )


CLAIM = Statement(
    source="arXiv 2409.02346 and the supplement of arXiv 2502.01755; 75 rounds recalled, unverified",
    kind="measurement",
    statement="3 x 500 [V] = 20 x 75 [M] = 50 x 30 [C] = 1,500 client-rounds; one model sees 10,000, 1,500, 600 steps",
    convention="none: arithmetic on printed numbers",
)
