r"""With three clients the printed averages of LoRA and RoLoRA do not differ significantly.

**Statement.** In arXiv 2409.02346, Table 1 [V], at every rank the means over the five tasks of LoRA and RoLoRA differ by less
than two standard errors of their difference.

**Assumptions.** The printed deviation is that of single runs over five seeds [V], and tasks and methods are independent. The
last cannot be checked: with common seeds the standard error of the difference may be smaller, or larger.

**Direction.** Upper: the largest is 1.1 standard errors, at rank 2 and in favour of LoRA.

**Source.** arXiv 2409.02346, Table 1 (read in the paper).

**Derivation.** The deviation of a mean of five independent tasks is :math:`\tfrac15(\sum s_j^2)^{1/2}`, its standard error over
five seeds smaller by :math:`\sqrt5`, and the two methods' add in squares.

**Control.** FFA-LoRA in RoLoRA's place.
"""

import numpy as np

from rolora.keys import Key
from theory.printed_numbers import RANKS, mean_of_cells
from theory.verification.claim import EPS, Instances, Statement, at_most

SEEDS, ERRORS = 5, 2


def check(key: Key, other: str = "rolora") -> Instances:
    """Four ranks; nothing is random."""
    for rank in RANKS:
        (mean, spread), (other_mean, other_spread) = (
            mean_of_cells(f"P2-1-r{rank}", method) for method in ("fedavg-lora", other)
        )
        allowed = ERRORS * np.hypot(spread, other_spread) / np.sqrt(SEEDS)
        yield at_most(abs(mean - other_mean), allowed, EPS * 100, f"LoRA and {other}, rank {rank}, points")


def control(key: Key) -> Instances:
    """FFA-LoRA."""
    return check(key, "ffa-lora")


CLAIM = Statement(
    source="arXiv 2409.02346, Table 1 (read in the paper)",
    kind="measurement",
    statement="3 clients: LoRA's and RoLoRA's averages [V] differ by less than 2 standard errors at every rank",
    convention="none: arithmetic on printed numbers; tasks and methods taken as independent",
)
