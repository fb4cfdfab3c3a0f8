r"""The printed traffic as a multiple of one module's size.

**Statement.** In arXiv 2409.02346, Table 6 [V], LoRA's row is 6, 12, 12, 18 and 16 times 2,000 fp32 numbers, 7.8125 KiB (SST-2,
QNLI, MNLI, QQP, RTE), and the rows of FFA-LoRA and RoLoRA are half of LoRA's printed entries.

**Assumptions.** A KB is 1,024 bytes. The five multiples are inferred from the table here; no source prints them.

**Direction.** Tight: equality up to half a unit of the last printed digit.

**Source.** arXiv 2409.02346, Table 6 (read in the paper).

**Derivation.** Arithmetic. A pair of rank-1 factors of a 1024 x 1024 matrix has 2,048 numbers. The halves are those of rounded
numbers: 23.5 for SST-2 is half of 46.9, where half of 46.875 would print as 23.4.

**Control.** 2,048 numbers a module.
"""

from rolora.keys import Key
from theory.printed_numbers import METHODS, TASKS, number
from theory.verification.claim import EPS, Instances, Statement, equal

MULTIPLES = dict(zip(TASKS, (6, 12, 12, 18, 16), strict=True))
NUMBERS = 2000
BYTES, KIBIBYTE = 4, 1024


def check(key: Key, numbers: int = NUMBERS) -> Instances:
    """Three methods, five tasks; nothing is random."""
    for method in METHODS:
        for task in TASKS:
            printed = number("P2-6", method, task)
            predicted = MULTIPLES[task] * numbers * BYTES / KIBIBYTE
            if method != "fedavg-lora":
                predicted = number("P2-6", "fedavg-lora", task).value / 2
            yield equal(printed.value, predicted, printed.resolution / 2 + EPS * 200, f"{printed.where}, KB")


def control(key: Key) -> Instances:
    """As many numbers as a pair of factors has."""
    return check(key, 2 * KIBIBYTE)


CLAIM = Statement(
    source="arXiv 2409.02346, Table 6 (read in the paper)",
    kind="measurement",
    statement="Table 6 [V]: LoRA is 7.8125 KiB (2,000 fp32 numbers) x {6, 12, 12, 18, 16}; the other rows are half of it",
    convention="none: arithmetic on printed numbers",
)
