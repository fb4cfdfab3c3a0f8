r"""Printed averages against the averages of the printed cells.

**Statement.** Every average printed in arXiv 2409.02346, Table 1 [V], is the mean of the five printed accuracies beside it.

**Assumptions.** None beyond the digits: cells and averages are rounded to 0.01, by construction of the table.

**Direction.** Tight: equality up to half a unit of the last digit for the average and half a unit for the cells.

**Source.** arXiv 2409.02346, Table 1, all ranks (read in the paper).

**Corrected.** One of twelve differs: FFA-LoRA at rank 4 is printed as 87.48, its cells average 87.54. The other eleven are the
claim ``audit-other-averages``. The same 87.48 stands in arXiv 2502.01755, Table 1 [S]. Which of the numbers is meant, cells
or average, cannot be told from the digits.

**Derivation.** Arithmetic. If the cells were averaged before they were rounded, the mean of the printed cells may differ from
the true mean by half a unit, and the printed average by another half: 0.01 in all.

**Control.** The averages, without that one, against the cells of the next method in the table.
"""

from rolora.keys import Key
from theory.printed_numbers import AVERAGE, METHODS, RANKS, mean_of_cells, number
from theory.verification.claim import EPS, Instances, Statement, equal


def _comparisons(lines: list[tuple[int, str, str]]) -> Instances:
    for rank, method, cells_of in lines:
        printed, (mean, _) = number(f"P2-1-r{rank}", method, AVERAGE), mean_of_cells(f"P2-1-r{rank}", cells_of)
        yield equal(printed.value, mean, printed.resolution + EPS * 100, printed.where)


def check(key: Key) -> Instances:
    """Four ranks, three methods; nothing is random."""
    return _comparisons([(rank, method, method) for rank in RANKS for method in METHODS])


def control(key: Key) -> Instances:
    """Another method's cells."""
    following = dict(zip(METHODS, (*METHODS[1:], METHODS[0]), strict=True))
    lines = [(rank, method, following[method]) for rank in RANKS for method in METHODS]
    return _comparisons([line for line in lines if line[:2] != (4, "ffa-lora")])


CLAIM = Statement(
    source="arXiv 2409.02346, Table 1 (read in the paper)",
    kind="measurement",
    statement="all 12 printed averages [V] are the means of their five cells [V]; FFA-LoRA, r = 4: 87.48, cells 87.54",
    convention="none: arithmetic on printed numbers",
    expected="refuted",
)
