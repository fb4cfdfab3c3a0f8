r"""Cells that two methods share, standard deviation included.

**Statement.** In arXiv 2409.02346, Table 1 [V], no two methods have the same mean and the same standard deviation at one rank
and task.

**Assumptions.** Both methods are runs of their own, five seeds each.

**Direction.** Lower: of two cells at least one of mean and deviation differs by at least one printed unit.

**Source.** arXiv 2409.02346, Table 1 (read in the paper).

**Corrected.** One of sixty pairs agrees in both: LoRA and RoLoRA on RTE at rank 2 are both 82.19 +- 1.03. RTE has 277
validation examples, so that accuracies are multiples of 0.36: equal means are not rare, and equal deviations are possible.
Whether the two are runs of their own cannot be told from the digits.

**Derivation.** Comparison of digits; the gap is one unit less the larger of the two differences.

**Control.** Averages that are one row printed in two places: rank 4 with 3 clients here and in arXiv 2502.01755, Table 1 [S].
"""

from itertools import combinations

from rolora.keys import Key
from theory.printed_numbers import AVERAGE, METHODS, RANKS, TASKS, Number, number
from theory.verification.claim import EPS, Instance, Instances, Statement


def _differ(first: Number, second: Number) -> Instance:
    apart = abs(first.value - second.value)
    if first.deviation is not None and second.deviation is not None:
        apart = max(apart, abs(first.spread - second.spread))
    where = f"{first.where} and {second.where}, deviations {first.deviation} and {second.deviation}"
    return Instance(first.value, second.value, first.resolution - apart, EPS * 100, where)


def check(key: Key) -> Instances:
    """Every pair of methods at every rank and task; nothing is random."""
    return (
        _differ(number(f"P2-1-r{rank}", one, task), number(f"P2-1-r{rank}", other, task))
        for rank in RANKS
        for task in TASKS
        for one, other in combinations(METHODS, 2)
    )


def control(key: Key) -> Instances:
    """One row printed twice."""
    return (
        _differ(number("P2-1-r4", method, AVERAGE), number("P1-1-r4", method, AVERAGE, clients=3)) for method in METHODS
    )


CLAIM = Statement(
    source="arXiv 2409.02346, Table 1 (read in the paper)",
    kind="measurement",
    statement="no two methods share a cell with its deviation [V]; LoRA and RoLoRA, RTE, r = 2: 82.19 +- 1.03 both",
    convention="none: arithmetic on printed numbers",
    expected="refuted",
)
