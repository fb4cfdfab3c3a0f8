r"""Eleven of twelve printed averages recompute to the digit.

**Statement.** Every average of arXiv 2409.02346, Table 1 [V], other than FFA-LoRA's at rank 4, is the mean of its five printed
accuracies, rounded to 0.01.

**Assumptions.** None beyond the digits.

**Direction.** Tight: equality up to half a unit of the last digit, stricter than ``audit-averages``.

**Source.** arXiv 2409.02346, Table 1, all ranks (read in the paper).

**Derivation.** Arithmetic.

**Control.** The same averages against the cells of the next lower rank (of the highest rank, for the lowest).
"""

from rolora.keys import Key
from theory.printed_numbers import AVERAGE, METHODS, RANKS, mean_of_cells, number
from theory.verification.claim import EPS, Instances, Statement, equal

LEFT_OUT = (4, "ffa-lora")


def _comparisons(cells_of_rank: dict[int, int]) -> Instances:
    for rank in RANKS:
        for method in METHODS:
            printed = number(f"P2-1-r{rank}", method, AVERAGE)
            mean, _ = mean_of_cells(f"P2-1-r{cells_of_rank[rank]}", method)
            slack = printed.resolution / 2 + EPS * 100
            yield equal(printed.value, mean, slack, printed.where, met=(rank, method) != LEFT_OUT)


def check(key: Key) -> Instances:
    """Eleven averages; nothing is random."""
    return _comparisons({rank: rank for rank in RANKS})


def control(key: Key) -> Instances:
    """The neighbouring rank's cells."""
    return _comparisons(dict(zip(RANKS, (*RANKS[1:], RANKS[0]), strict=True)))


CLAIM = Statement(
    source="arXiv 2409.02346, Table 1 (read in the paper)",
    kind="measurement",
    statement="the 11 printed averages [V] other than FFA-LoRA's at r = 4 are the rounded means of their five cells [V]",
    convention="none: arithmetic on printed numbers",
)
