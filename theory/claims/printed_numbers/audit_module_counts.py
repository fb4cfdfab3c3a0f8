r"""The number of modules that the printed traffic implies, against the printed layers.

**Statement.** LoRA's uplink in arXiv 2409.02346, Table 6 [V], over 7.8125 KiB, is the number of modules in Table 5 [V], budget 2:
12, 18, 18, 18, 16 for SST-2, QNLI, MNLI, QQP, RTE.

**Assumptions.** A module's share is the one that divides all five entries to the printed digit (``audit-uplink-floats``).

**Direction.** Tight: a count is known to the nearest integer.

**Source.** arXiv 2409.02346, Tables 5 and 6 (read in the paper).

**Corrected.** The traffic implies 6, 12, 12, 18, 16: QQP and RTE agree with Table 5; SST-2, QNLI and MNLI do not.

**Derivation.** Arithmetic. At 8 KiB a module, the size of 2,048 fp32 numbers, the nearest integers are the same.

**Control.** The modules of Table 5's budget 1, which Table 6 does not speak of.
"""

from rolora.keys import Key
from theory.printed_numbers import TASKS, modules, number
from theory.verification.claim import Instances, Statement, equal

SHARE = 7.8125  # KiB
NEAREST = 0.5


def check(key: Key, budget: int = 2) -> Instances:
    """Five tasks; nothing is random."""
    for task in TASKS:
        printed = number("P2-6", "fedavg-lora", task)
        where = f"modules, {task}, budget {budget}"
        yield equal(printed.value / SHARE, float(modules(budget, task)), NEAREST, where)


def control(key: Key) -> Instances:
    """Another budget."""
    return check(key, 1)


CLAIM = Statement(
    source="arXiv 2409.02346, Tables 5 and 6 (read in the paper)",
    kind="measurement",
    statement="Table 6 [V] implies Table 5's [V] modules, 12, 18, 18, 18, 16 (budget 2); it implies 6, 12, 12, 18, 16",
    convention="none: arithmetic on printed numbers",
    expected="refuted",
)
