r"""Numbers that are printed twice, against each other.

**Statement.** The cells of arXiv 2409.02346 for 3 clients at rank 2 are equal in Table 1 [V] and in Table 2 [V].

**Assumptions.** Both tables name the same setting: 3 clients, rank 2, the same layers.

**Direction.** Tight: digit by digit.

**Source.** arXiv 2409.02346, Tables 1 and 2 (read in the paper).

**Corrected.** One of fifteen differs: RoLoRA on MNLI is 85.55 in Table 1 and 85.66 in Table 2. The average printed in Table 1,
88.22, is that of 85.55 (88.224); with 85.66 it would be 88.25.

**Derivation.** Comparison of digits.

**Control.** Table 1's cells at rank 4 against Table 2's at rank 2, without the cell above.
"""

from rolora.keys import Key
from theory.printed_numbers import METHODS, TASKS, number
from theory.verification.claim import EPS, Instances, Statement, equal


def check(key: Key, table: str = "P2-1-r2", left_out: tuple[str, str] | None = None) -> Instances:
    """Fifteen pairs; nothing is random."""
    for method in METHODS:
        for task in TASKS:
            first, second = number(table, method, task), number("P2-2", method, task, clients=3)
            where = f"{first.where} and {second.where}"
            yield equal(first.value, second.value, EPS * 100, where, met=(method, task) != left_out)


def control(key: Key) -> Instances:
    """Another rank's cells."""
    return check(key, "P2-1-r4", ("rolora", "MNLI"))


CLAIM = Statement(
    source="arXiv 2409.02346, Tables 1 and 2 (read in the paper)",
    kind="measurement",
    statement="the 15 cells at 3 clients, r = 2 are the same in Tables 1 and 2 [V]; RoLoRA on MNLI: 85.55 and 85.66",
    convention="none: arithmetic on printed numbers",
    expected="refuted",
)
