r"""With three clients LoRA's printed average is not below RoLoRA's.

**Statement.** In arXiv 2409.02346, Table 1 [V] (3 clients), LoRA's average is at or above RoLoRA's in 3 of 4 ranks.

**Assumptions.** None beyond the digits.

**Direction.** Lower: at least three of four; exactly three, and rank 4 is the exception.

**Source.** arXiv 2409.02346, Table 1 (read in the paper).

**Derivation.** Counting: 88.07/88.06, 88.20/88.28, 88.38/88.22 and 87.40/87.33 (LoRA/RoLoRA at ranks 8, 4, 2, 1). How these
differences compare with the printed deviations is the claim ``audit-three-clients-spread``. It is a statement about three
clients: with 20 and 50 the order is the other one, which the control shows.

**Control.** The same count over 20 and 50 clients, Table 2 [V] (rank 2), on the means of the printed cells.
"""

import numpy as np

from rolora.keys import Key
from theory.printed_numbers import AVERAGE, RANKS, TASKS, number
from theory.verification.claim import EPS, Instances, Statement, at_least

SHARE = 3 / 4


def _comparisons(pairs: list[tuple[float, float]], where: str) -> Instances:
    ahead = sum(lora >= rolora for lora, rolora in pairs)
    return [at_least(ahead / len(pairs), SHARE, EPS, f"{where}: {ahead} of {len(pairs)}")]


def check(key: Key) -> Instances:
    """Four ranks with 3 clients; nothing is random."""
    pairs = [tuple(number(f"P2-1-r{r}", m, AVERAGE).value for m in ("fedavg-lora", "rolora")) for r in RANKS]
    return _comparisons(pairs, "ranks with 3 clients")


def control(key: Key) -> Instances:
    """Rank 2 with 20 and with 50 clients."""

    def mean(method: str, clients: int) -> float:
        return float(np.mean([number("P2-2", method, task, clients).value for task in TASKS]))

    return _comparisons([(mean("fedavg-lora", n), mean("rolora", n)) for n in (20, 50)], "numbers of clients above 3")


CLAIM = Statement(
    source="arXiv 2409.02346, Tables 1 and 2 (read in the paper)",
    kind="measurement",
    statement="with 3 clients LoRA's printed average [V] is at or above RoLoRA's [V] in 3 of 4 ranks",
    convention="none: arithmetic on printed numbers",
)
